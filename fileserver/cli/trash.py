"""What gc and check have taken out of its place: to be seen, put back, or deleted for good."""

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from fileserver.cli.documents import error_text, json_document, json_option, printable
from fileserver.cli.options import directory_option
from fileserver.cli.reporting import EXIT_FAILED, Sums, removal_line
from fileserver.cli.working import EXIT_DAMAGED, open_services
from fileserver.core.errors import FileserverError
from fileserver.maintenance.trash import empty, remove, restore
from fileserver.services import Services
from fileserver.storage.holding import HoldingArea
from fileserver.storage.last_use import DAY_NS

MAX_DAYS = 36_500

quarantine_option = click.option("--quarantine", is_flag=True, help="Of the quarantine, instead of the trash.")


@click.group()
def trash() -> None:
    """See, put back, or delete for good what gc and check took away."""


@trash.command("list", epilog="Exit status: 0 done, 1 something cannot be read, 2 wrong usage or settings.")
@directory_option
@quarantine_option
@json_option
@click.pass_obj
def list_held(group_directory: Path | None, directory: Path | None, quarantine: bool, as_json: bool) -> None:
    """Print what lies there, the oldest first."""
    with open_services(group_directory, directory) as services:
        area = _area(services, quarantine)
        if as_json:
            unreadable = _print_document(area)
        else:
            unreadable = _print_lines(area)
    if unreadable:
        sys.exit(EXIT_FAILED)


def _print_document(area: HoldingArea) -> int:
    with json_document("held") as document:
        for held in area.held():
            taken_at = datetime.fromtimestamp(held.note.taken_at, UTC).isoformat(timespec="seconds")
            told = {"name": held.name, **asdict(held.note), "taken_at": taken_at, "size_bytes": held.size_bytes()}
            document.add(told)
        unreadable = [{"name": one.name, "error": str(one)} for one in area.unreadable()]
        document.members["unreadable"] = unreadable
    return len(unreadable)


def _print_lines(area: HoldingArea) -> int:
    for held in area.held():
        what = printable(f"{held.note.bucket}/{held.note.key}")
        click.echo(f"{held.name}  {what}, {held.size_bytes()} bytes: {printable(held.note.reason)}")
    unreadable = list(area.unreadable())
    for one in unreadable:
        click.echo(f"{one.name}  UNREADABLE: {one}")
    return len(unreadable)


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
                click.echo(f"{printable(name)}: {error_text(error)}", err=True)
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
@quarantine_option
@click.option(
    "--older-than-days",
    type=click.IntRange(0, MAX_DAYS),
    default=0,
    help="Only what has been there for more than so many days.",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def empty_area(
    group_directory: Path | None,
    directory: Path | None,
    quarantine: bool,
    older_than_days: int,
    names: tuple[str, ...],
) -> None:
    """Delete for good what lies there, or only what has one of these names.

    What cannot be read, so that nobody can tell what it is, is only deleted by its NAME.
    """
    if names and older_than_days:
        raise click.UsageError("give either names or --older-than-days")
    sums, before_ns = Sums(), time.time_ns() - older_than_days * DAY_NS

    def rule(taken_ns: int) -> str | None:
        return "all is deleted" if not older_than_days or taken_ns < before_ns else None

    with open_services(group_directory, directory) as services:
        area = _area(services, quarantine)
        for removal in sums.count(remove(area, names) if names else empty(area, rule)):
            click.echo(removal_line(removal))
    click.echo(f"{sums.deleted} deleted ({sums.deleted_bytes} bytes), {sums.failed} failed")
    if sums.failed:
        sys.exit(EXIT_FAILED)


def _area(services: Services, quarantine: bool) -> HoldingArea:
    return services.quarantine if quarantine else services.trash
