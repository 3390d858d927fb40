"""The check of a working directory, and its repair."""

import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fileserver.cli.documents import json_document, json_option, printable
from fileserver.cli.options import directory_option
from fileserver.cli.reporting import EXIT_FAILED
from fileserver.cli.working import EXIT_DAMAGED, open_services
from fileserver.maintenance.check import Check
from fileserver.maintenance.findings import Finding, Findings, Kind, Subset
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


class _Run:
    """One check, with its repair if that is wanted: what it finds, and what that comes to."""

    def __init__(self, check: Check, reader: Reader, repair: Repair | None) -> None:
        self._check = check
        self._reader = reader
        self._repair = repair
        self._sums = dict.fromkeys(("damaged", "mended", "warnings", "unreadable"), 0)
        self._began = time.monotonic()

    def findings(self) -> Iterator[Finding]:
        """Each finding as it is made."""
        with _progress(self._check) as each:
            for found in each:
                for finding in self._repair.mend(found) if self._repair else found:
                    self._sums[_sum_of(finding)] += 1
                    yield finding

    @property
    def exit_status(self) -> int:
        """The exit status that tells the result."""
        if self._sums["damaged"]:
            return EXIT_DAMAGED
        return EXIT_FAILED if self._sums["unreadable"] else 0

    def summary(self) -> dict[str, Any]:
        """The members of the JSON document behind the findings."""
        return {
            "completed": not self._sums["unreadable"],
            "counts": {**self._sums, **asdict(self._check.counts)},
            "bytes_read": self._reader.bytes_read,
            "seconds": round(time.monotonic() - self._began, 3),
        }

    def sentence(self) -> str:
        """The same for people."""
        counts, told = self._check.counts, self.summary()
        unrecordable = f"digests cannot be recorded: {counts.unrecordable}\n" if counts.unrecordable else ""
        return (
            f"{unrecordable}{counts.files} files checked, {human_size(told['bytes_read'])} read, "
            f"in {told['seconds']:.1f} s: "
            + ", ".join(f"{number} {name}" for name, number in self._sums.items())
            + f"; {counts.unverified} unverified, {counts.recorded} recorded now"
        )


def _sum_of(finding: Finding) -> str:
    if finding.remains:
        return "damaged"
    if finding.mended:
        return "mended"
    return "unreadable" if finding.kind is Kind.UNREADABLE else "warnings"


def _item(finding: Finding) -> dict[str, Any]:
    severity = "damage" if finding.is_damage else "warning"
    members = asdict(finding)
    del members["version"]
    return {**members, "severity": severity, "heals": finding.heals}


def _line(finding: Finding) -> str:
    parts = [f"{finding.kind:<10} {printable(finding.place)}: {finding.detail}", finding.action, finding.heals]
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
@json_option
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

    Lines of what is found begin with its kind; `damaged` and `missing` mean a loss, `unreadable` that nobody knows; all
    others are warnings.
    """
    with open_services(group_directory, directory) as services:
        reader = Reader(Pace(max_bytes_per_second))
        checking = Check(services, reader if read_data else None, subset)
        run = _Run(checking, reader, Repair(services, reader) if repair else None)
        if as_json:
            with json_document("findings") as document:
                for finding in run.findings():
                    document.add(_item(finding))
                document.members |= run.summary()
        else:
            for finding in run.findings():
                click.echo(_line(finding))
            click.echo(run.sentence())
    sys.exit(run.exit_status)
