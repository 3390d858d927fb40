"""The manifest of a snapshot: what is in it, as lines of JSON.

A **unit** is what is whole or not at all: a result, an attachment, a task file, or all files of a submission. Units are
in the order of `unit_order`, so that two manifests are compared in one pass, with one unit of each in memory:

    {"path": "results/job1.zip", "size_bytes": 5, "mtime_ns": 1795192759000000000, "sha256": "..."}
    {"path": "submissions/job1/", "files": 1, "mtime_ns": 1795192759000000001}
    {"path": "submissions/job1/src/main.c", "size_bytes": 5, "mtime_ns": 1795192759000000002, "sha256": "..."}
    {"totals": {"files": 2, "size_bytes": 10}, "sha256": "..."}

A submission begins with its folder, whose time is its version, and the number of files that it has. The last line tells
the sums, and the SHA-256 of all lines before it.
"""

import hashlib
import itertools
import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fileserver.storage.usage import Usage

NAME = "manifest.jsonl"
FOLDERS = ("results", "submissions", "attachments", "tasks")
"""What a snapshot holds, in this order: what refers to something lies before it."""


@dataclass(frozen=True)
class Entry:
    """One file of a snapshot, or, without a digest, the folder of a submission, with the number of its files."""

    path: str
    mtime_ns: int
    size_bytes: int = 0
    sha256: str | None = None
    files: int = 1

    def line(self) -> bytes:
        told: dict[str, Any] = {"path": self.path, "mtime_ns": self.mtime_ns}
        if self.sha256 is None:
            told["files"] = self.files
        else:
            told |= {"size_bytes": self.size_bytes, "sha256": self.sha256}
        return _line(told)


@dataclass(frozen=True)
class Unit:
    """The entries of one unit. *key* is its path; that of a submission's folder without the slash at its end."""

    key: str
    folder: Entry | None = None
    files: dict[str, Entry] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether all files are there that the unit had when it was backed up."""
        return self.is_submission == bool(self.folder) and len(self.files) == (self.folder.files if self.folder else 1)

    @property
    def is_submission(self) -> bool:
        return self.key.startswith("submissions/")

    @property
    def usage(self) -> Usage:
        return Usage(len(self.files), sum(entry.size_bytes for entry in self.files.values()))

    def lines(self) -> bytes:
        entries = [*([self.folder] if self.folder else []), *self.files.values()]
        return b"".join(entry.line() for entry in entries)


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode("ascii") + b"\n"


def unit_key(path: str) -> str:
    """The unit that *path* belongs to."""
    return "/".join(path.split("/")[:2]) if path.startswith("submissions/") else path


def unit_order(key: str) -> tuple[int, str]:
    """What units are sorted by."""
    folder, _, name = key.partition("/")
    return FOLDERS.index(folder), name


def manifest_lines(units: Iterable[Unit]) -> Iterator[bytes]:
    """The manifest of *units*, in pieces."""
    digest, total = hashlib.sha256(), Usage(0, 0)
    for unit in units:
        lines = unit.lines()
        digest.update(lines)
        total += unit.usage
        yield lines
    totals = {"files": total.files, "size_bytes": total.size_bytes}
    yield _line({"totals": totals, "sha256": digest.hexdigest()})


def is_whole(path: Path) -> bool:
    """Whether the manifest *path* has all lines that were written, as they were."""
    digest, last = hashlib.sha256(), b""
    with open(path, "rb") as file:
        for line in file:
            digest.update(last)
            last = line
    try:
        return bool(json.loads(last)["sha256"] == digest.hexdigest())
    except (ValueError, TypeError, KeyError):
        return False


def read_units(path: Path) -> Generator[Unit]:
    """The units of the manifest *path*. Lines that cannot be understood are left out."""
    with open(path, "rb") as file:
        entries = filter(None, map(_parse, file))
        for key, found in itertools.groupby(entries, key=lambda entry: unit_key(entry.path)):
            unit = list(found)
            folder = next((entry for entry in unit if entry.sha256 is None), None)
            yield Unit(key, folder, {entry.path: entry for entry in unit if entry.sha256 is not None})


def _parse(line: bytes) -> Entry | None:
    try:
        entry = Entry(**json.loads(line))
        unit_order(unit_key(entry.path))
    except (ValueError, TypeError, AttributeError):
        return None
    numbers = (entry.mtime_ns, entry.size_bytes, entry.files)
    texts = (entry.path, entry.sha256 or "")
    are_numbers = all(isinstance(number, int) and abs(number) < 1 << 63 for number in numbers)
    return entry if are_numbers and all(isinstance(text, str) for text in texts) else None


class PreviousUnits:
    """The units of the manifest *path* of an older snapshot, if any, for who asks for them in their order."""

    def __init__(self, path: Path | None) -> None:
        self._units = read_units(path) if path else None
        self._next = next(self._units, None) if self._units else None

    def find(self, key: str) -> Unit:
        """The unit *key*, without files if there is none. The same may be asked for again, an earlier one may not."""
        while self._units and self._next and unit_order(self._next.key) < unit_order(key):
            self._next = next(self._units, None)
        return self._next if self._next and self._next.key == key else Unit(key)

    def close(self) -> None:
        if self._units:
            self._units.close()
