"""What a working directory holds, and how it grows."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fileserver.cli.documents import json_option
from fileserver.cli.options import directory_option
from fileserver.cli.working import open_services
from fileserver.maintenance.statistics import TITLES, Growth, Overview, growth, held_usage, human_size, overview
from fileserver.storage.usage import Usage


@click.command(epilog="Exit status: 0 done, 2 wrong usage or settings.")
@directory_option
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How far to look back.")
@json_option
@click.pass_obj
def stats(group_directory: Path | None, directory: Path | None, days: int, as_json: bool) -> None:
    """Tell what is stored, and what of it was stored on each of the last days.

    The days (UTC) are those of the modification of what is stored now: what was replaced or deleted since is not told.
    """
    with open_services(group_directory, directory) as services:
        now = overview(services)
        is_used = not services.ledger.was_alone
        held = {"trash": held_usage(services.trash), "quarantine": held_usage(services.quarantine)}
        by_day = growth(services, datetime.now(UTC).date(), days)
    click.echo(json.dumps(_summary(now, is_used, held, by_day)) if as_json else _text(now, is_used, held, by_day))


def _summary(now: Overview, is_used: bool, held: dict[str, Usage], by_day: Growth) -> dict[str, Any]:
    return {
        "in_use_since": now.started_at_text if is_used else None,
        "bytes_used": now.bytes_used,
        "bytes_free": now.bytes_free,
        "resources": {name: _counts(usage) for name, usage in now.usage.items()},
        **{name: _counts(usage) for name, usage in held.items()},
        "days": [
            {"day": str(day), **{name: _counts(usage) for name, usage in found.items()}}
            for day, found in by_day.items()
        ],
    }


def _counts(usage: Usage) -> dict[str, int]:
    return {"files": usage.files, "size_bytes": usage.size_bytes}


def _text(now: Overview, is_used: bool, held: dict[str, Usage], by_day: Growth) -> str:
    rows = [(title, now.usage[name]) for name, title in TITLES.items()]
    rows += [(name.capitalize(), usage) for name, usage in held.items()]
    used = f"since {now.started_at_text}" if is_used else "by nobody else"
    columns = "".join(f"{title:>21}" for title in TITLES.values())
    return "\n".join(
        [
            f"{'':<21}{'Files':>12}{'Size':>15}",
            *(f"{title:<21}{usage.files:>12,}{human_size(usage.size_bytes):>15}" for title, usage in rows),
            f"{'Stored':<21}{human_size(now.bytes_used):>27}",
            f"{'Free':<21}{human_size(now.bytes_free):>27}",
            f"{'In use':<21}{used:>27}",
            "",
            "Stored now, by the day of its modification (UTC)",
            f"{'':<10}{columns}",
            *(f"{day}{''.join(map(_cell, found.values()))}".rstrip() for day, found in by_day.items()),
        ]
    )


def _cell(usage: Usage) -> str:
    return f"{usage.files:>9,}{human_size(usage.size_bytes):>12}" if usage.files else f"{'-':>9}{'':>12}"
