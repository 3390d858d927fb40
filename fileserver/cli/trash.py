"""What gc and check have taken out of its place: to be seen, put back, or deleted for good."""

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from fileserver.cli.documents import echo_document, printable
from fileserver.cli.gc import EXIT_FAILED, Sums, line
from fileserver.cli.options import directory_option
from fileserver.cli.working import EXIT_DAMAGED, open_services
from fileserver.core.errors import FileserverError
from fileserver.maintenance.trash import empty, restore
from fileserver.services import Services
from fileserver.storage.holding import Held, HoldingArea
from fileserver.storage.last_use import DAY_NS

quarantine_option = click.option("--quarantine", is_flag=True, help="Of the quarantine, instead of the trash.")


@click.group()
def trash() -> None:
    """See, put back, or delete for good what gc and check took away."""


@trash.command("list", epilog="Exit status: 0 done, 2 wrong usage or settings.")
@directory_option
@quarantine_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def list_held(group_directory: Path | None, directory: Path | None, quarantine: bool, as_json: bool) -> None:
    """Print what lies there, the oldest first."""
    with open_services(group_directory, directory) as services:
        held = _area(services, quarantine).held()
        if as_json:
            echo_document("held", map(_document, held), dict)
            return
        for one in held:
            what = printable(f"{one.note.bucket}/{one.note.key}")
            click.echo(f"{one.name}  {what}, {one.size_bytes()} bytes: {printable(one.note.reason)}")


@trash.command(
    "restore",
    epilog="Exit status: 0 all is back, 1 something is not, 2 wrong usage or settings, "
    "3 all is back, but something is damaged, or may be.",
)
@directory_option
@quarantine_option
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def restore_held(group_directory: Path | None, directory: Path | None, quarantine: bool, names: Iterable[str]) -> None:
    """Put things back where they were, unless something newer lies there.

    NAME is what `trash list` prints first. All is read: what is damaged is put back as well, and told. For the
    settings of [retention], what is put back is stored anew.
    """
    statuses = {0}
    with open_services(group_directory, directory) as services:
        area = _area(services, quarantine)
        for name in names:
            try:
                statuses.add(_restore(services, area, name))
            except (FileserverError, OSError) as error:
                statuses.add(EXIT_FAILED)
                click.echo(f"{name}: {error}", err=True)
    sys.exit(EXIT_FAILED if EXIT_FAILED in statuses else max(statuses))


def _restore(services: Services, area: HoldingArea, name: str) -> int:
    restored = restore(services, area, name)
    note = restored.held.note
    what = printable(f"{note.bucket}/{note.key}")
    click.echo(f"{name}: {what} is back")
    for flaw in restored.flaws:
        click.echo(f"{name}: {what} is not as it was stored: {printable(flaw)}", err=True)
    return EXIT_DAMAGED if restored.flaws else 0


@trash.command("empty", epilog="Exit status: 0 done, 1 something could not be deleted, 2 wrong usage or settings.")
@directory_option
@click.option(
    "--older-than-days",
    type=click.IntRange(min=0),
    default=0,
    help="Only what has been there for more than so many days.",
)
@click.pass_obj
def empty_trash(group_directory: Path | None, directory: Path | None, older_than_days: int) -> None:
    """Delete for good what lies in the trash."""
    sums, before_ns = Sums(), time.time_ns() - older_than_days * DAY_NS

    def rule(taken_ns: int) -> str | None:
        return "the trash is emptied" if not older_than_days or taken_ns < before_ns else None

    with open_services(group_directory, directory) as services:
        for removal in sums.count(empty(services.trash, rule)):
            click.echo(line(removal))
    click.echo(f"{sums.deleted} deleted ({sums.deleted_bytes} bytes), {sums.failed} failed")
    if sums.failed:
        sys.exit(EXIT_FAILED)


def _area(services: Services, quarantine: bool) -> HoldingArea:
    return services.quarantine if quarantine else services.trash


def _document(held: Held) -> dict[str, object]:
    taken_at = datetime.fromtimestamp(held.note.taken_at, UTC).isoformat(timespec="seconds")
    return {"name": held.name, **asdict(held.note), "taken_at": taken_at, "size_bytes": held.size_bytes()}
