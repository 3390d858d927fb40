"""The check of a working directory, and its repair."""

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fileserver.cli.documents import printable
from fileserver.cli.options import directory_option
from fileserver.cli.working import EXIT_DAMAGED, open_services
from fileserver.maintenance.check import Check
from fileserver.maintenance.findings import Finding, Findings, Subset
from fileserver.maintenance.pace import Pace
from fileserver.maintenance.reading import Reader
from fileserver.maintenance.repair import Repair
from fileserver.maintenance.statistics import human_size

_EPILOG = (
    "Exit status: 0 all is sound (there may be warnings), 1 the check could not be completed, "
    "2 wrong usage or settings, 3 something is damaged; after --repair, what only an upload can heal."
)


def _subset(context: click.Context, parameter: click.Parameter, value: str | None) -> Subset:
    found = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", "1/1" if value is None else value)
    if not found or int(found[1]) > int(found[2]):
        raise click.BadParameter("it must be like 1/30, one of so many slices")
    return Subset(int(found[1]), int(found[2]))


class _Report:
    """What is told: each finding at once, or all of them in one JSON document at the end."""

    def __init__(self, check: Check, reader: Reader, as_json: bool) -> None:
        self._check = check
        self._reader = reader
        self._as_json = as_json
        self._found: list[dict[str, Any]] = []
        self._sums = dict.fromkeys(("damaged", "mended", "warnings"), 0)
        self._began = time.monotonic()

    @property
    def exit_status(self) -> int:
        return EXIT_DAMAGED if self._sums["damaged"] else 0

    def add(self, found: Findings) -> None:
        for finding in found:
            self._sums["damaged" if finding.remains else "mended" if finding.mended else "warnings"] += 1
            if self._as_json:
                self._found.append(_document(finding))
            else:
                click.echo(_line(finding))

    def end(self, completed: bool) -> None:
        seconds, bytes_read, counts = time.monotonic() - self._began, self._reader.bytes_read, self._check.counts
        if self._as_json:
            document = {
                "completed": completed,
                "findings": self._found,
                "counts": {**self._sums, **asdict(counts)},
                "bytes_read": bytes_read,
                "seconds": round(seconds, 3),
            }
            click.echo(json.dumps(document, indent=2))
            return
        if counts.unrecordable:
            click.echo(f"digests cannot be recorded: {counts.unrecordable}")
        click.echo(
            f"{counts.files} files checked, {human_size(bytes_read)} read, in {seconds:.1f} s: "
            + ", ".join(f"{number} {name}" for name, number in self._sums.items())
            + f"; {counts.unverified} unverified, {counts.recorded} recorded now"
        )


def _document(finding: Finding) -> dict[str, Any]:
    severity = "damage" if finding.is_damage else "warning"
    members = asdict(finding)
    del members["version"]
    return {**members, "severity": severity, "heals": finding.heals}


def _line(finding: Finding) -> str:
    parts = [f"{finding.kind:<9} {printable(finding.place)}: {finding.detail}", finding.action, finding.heals]
    return "; ".join(part for part in parts if part)


@contextmanager
def _progress(check: Check) -> Iterator[Iterable[Findings]]:
    """What the check finds, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield check.run()
        return
    with click.progressbar(check.run(), length=check.expected_keys(), file=sys.stderr) as found:
        yield found


@click.command(epilog=_EPILOG)
@directory_option
@click.option("--read-data", is_flag=True, help="Read and hash every byte; without it: names, sizes and times.")
@click.option("--subset", callback=_subset, metavar="N/M", help="Check one of M slices, such as 1/30.")
@click.option("--max-bytes-per-second", type=click.IntRange(min=1), help="Read no faster. By default no limit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--repair", is_flag=True, help="Mend what is wrong, or move it to the folder quarantine.")
@click.pass_obj
def check(
    group_directory: Path | None,
    directory: Path | None,
    read_data: bool,
    subset: Subset,
    max_bytes_per_second: int | None,
    as_json: bool,
    repair: bool,
) -> None:
    """Check a working directory, whether its server runs or not: is everything there what was stored?

    Lines of what is found begin with its kind; `damaged` and `missing` mean a loss, all others are warnings.
    """
    with open_services(group_directory, directory) as services:
        reader = Reader(Pace(max_bytes_per_second))
        checking = Check(services, reader if read_data else None, subset)
        repairing = Repair(services, reader) if repair else None
        report, completed = _Report(checking, reader, as_json), False
        try:
            with _progress(checking) as each:
                for found in each:
                    report.add(repairing.mend(found) if repairing else found)
            completed = True
        except OSError as error:
            raise click.ClickException(f"the check could not be completed: {error}") from None
        finally:
            report.end(completed)
    sys.exit(report.exit_status)
