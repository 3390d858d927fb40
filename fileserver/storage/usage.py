"""How many files each bucket holds, and how many bytes, without walking over them.

A small file in staging, shared by all processes of a working directory, holds the numbers. Every commit adds its
difference. The first process to start on a directory counts anew, which mends what a crash between a commit and its
note here, or an admin who deletes files, made wrong. The numbers are advice: nothing is decided by them.
"""

import fcntl
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fileserver.storage.filesystem import open_state_file

log = logging.getLogger(__name__)

_PAIR = struct.Struct(">qq")


@dataclass(frozen=True)
class Usage:
    """What one bucket holds."""

    files: int
    size_bytes: int


class UsageLedger:
    """The numbers of all buckets; *counters* says how each one is counted from scratch."""

    def __init__(self, folder: Path, counters: Mapping[str, Callable[[], Usage]]) -> None:
        self._slots = {name: (number + 1) * _PAIR.size for number, name in enumerate(counters)}
        self._path = folder / ".usage"
        # Held shared for the life of the process, and by its forks: who gets it exclusively is alone, and counts.
        self._alive = open_state_file(folder / ".alive")
        try:
            fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._count(counters)
        fcntl.flock(self._alive, fcntl.LOCK_SH)

    def close(self) -> None:
        """Let another process be the first one again; for tests and short-lived commands."""
        os.close(self._alive)

    def _count(self, counters: Mapping[str, Callable[[], Usage]]) -> None:
        pairs = [_PAIR.pack(time.time_ns(), 0)]
        for count in counters.values():
            usage = count()
            pairs.append(_PAIR.pack(usage.files, usage.size_bytes))
        with self._locked() as fd:
            os.pwrite(fd, b"".join(pairs), 0)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        fd = open_state_file(self._path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

    @staticmethod
    def _read(fd: int, size_bytes: int, at: int) -> bytes:
        """Read from the file of numbers; what somebody cut off it reads as zero."""
        return os.pread(fd, size_bytes, at).ljust(size_bytes, b"\0")

    def add(self, bucket: str, files: int, size_bytes: int) -> None:
        """Note that *bucket* holds so many files and bytes more (or less)."""
        at = self._slots[bucket]
        with self._locked() as fd:
            old = _PAIR.unpack(self._read(fd, _PAIR.size, at))
            os.pwrite(fd, _PAIR.pack(old[0] + files, old[1] + size_bytes), at)

    def read(self) -> dict[str, Usage]:
        """What each bucket holds now."""
        with self._locked() as fd:
            data = self._read(fd, _PAIR.size * (len(self._slots) + 1), 0)
        return {name: Usage(*_PAIR.unpack_from(data, at)) for name, at in self._slots.items()}

    def started_at_seconds(self) -> float:
        """When the first process of those that run now started, in seconds since the epoch."""
        with self._locked() as fd:
            started_ns, _ = _PAIR.unpack(self._read(fd, _PAIR.size, 0))
        return float(started_ns / 1e9)


def count_files(root: Path) -> Usage:
    """Count the regular files below *root*, and their bytes."""
    files = size_bytes = 0
    todo = [root]
    while todo:
        folder = todo.pop()
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            log.warning("%s is not counted: %s", folder, error.strerror)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                files += 1
                size_bytes += entry.stat(follow_symlinks=False).st_size
    return Usage(files, size_bytes)


def count_folders(root: Path) -> Usage:
    """Count the folders directly in *root*, and the bytes of all files in them."""
    folders = sum(entry.is_dir(follow_symlinks=False) for entry in os.scandir(root))
    return Usage(folders, count_files(root).size_bytes)
