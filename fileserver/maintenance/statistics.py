"""What a working directory holds, what it has free, and how it grows."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from fileserver.services import Services
from fileserver.storage.holding import HoldingArea
from fileserver.storage.last_use import DAY_NS
from fileserver.storage.usage import NOTHING, Usage, folder_bytes, regular_files

TITLES = {
    "results": "Results",
    "submission_archives": "Submission archives",
    "submissions": "Submissions",
    "attachments": "Attachments",
    "task_files": "Exercise files",
}
"""The resources, and what people call them."""

_EPOCH = date(1970, 1, 1)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")

Growth = dict[date, dict[str, Usage]]
"""By day (UTC) and resource."""


@dataclass(frozen=True)
class Overview:
    """What is held now, of each resource; the free bytes; and since when the directory is served."""

    usage: dict[str, Usage]
    bytes_free: int
    started_at: datetime

    @property
    def bytes_used(self) -> int:
        return sum(used.size_bytes for used in self.usage.values())

    @property
    def started_at_text(self) -> str:
        return self.started_at.isoformat().replace("+00:00", "Z")

    @property
    def uptime(self) -> timedelta:
        return datetime.now(UTC) - self.started_at


def overview(services: Services) -> Overview:
    """The state of the working directory, without walking over it."""
    started_at = datetime.fromtimestamp(services.ledger.started_at_seconds(), UTC).replace(microsecond=0)
    return Overview(services.ledger.read(), services.staging.space.free_bytes(), started_at)


def held_usage(area: HoldingArea) -> Usage:
    """How many things a holding area has, and their bytes."""
    hollow = set(area.hollow())
    return sum((Usage(1, area.size_bytes(name)) for name in area.names() if name not in hollow), NOTHING)


def growth(services: Services, today: date, days: int) -> Growth:
    """What is held now of each resource, by the day of its modification time, for the last *days* up to *today*.

    What was replaced or deleted since counts no more. A submission counts as one on the day of its last version.
    """
    window = [today - timedelta(days=back) for back in reversed(range(days))]
    by_number = {(day - _EPOCH).days: dict.fromkeys(TITLES, NOTHING) for day in window}
    for name in TITLES:
        for mtime_ns, usage in _held(services, name):
            if (day := mtime_ns // DAY_NS) in by_number:
                by_number[day][name] += usage
    return dict(zip(window, by_number.values(), strict=True))


def _held(services: Services, name: str) -> Iterator[tuple[int, Usage]]:
    """Each thing of the resource *name*, with its modification time in nanoseconds."""
    if name == "submissions":
        yield from _submissions(services.folders.root)
        return
    for bucket in services.ledger.accounts[name].buckets:
        for entry in regular_files(services.buckets[bucket].root):
            with suppress(FileNotFoundError):
                info = entry.stat(follow_symlinks=False)
                yield info.st_mtime_ns, Usage(1, info.st_size)


def _submissions(root: Path) -> Iterator[tuple[int, Usage]]:
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False).st_mtime_ns, Usage(1, folder_bytes(Path(entry.path)))


def human_size(size_bytes: int) -> str:
    """*size_bytes* in the largest unit that leaves a whole part."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size_bytes} {_UNITS[0]}"
