"""What all processes of a working directory have answered, by method, route and status.

Each process counts in memory, and keeps its numbers in a file of its own, `staging/.requests/<n>`, so that any process
can tell the sum. A file belongs to whoever holds its lock; when a process dies, the next one takes its file over and
goes on counting, so that no number ever falls and there are no more files than there were processes at once. The files
are written, not mapped: a full disk costs numbers, where a mapping would cost the process.

A file is a sequence of records of 256 bytes. A text of at most 95 bytes says what is counted, and 20 numbers follow:
bytes received, bytes sent, seconds, failed logins, and the requests that took at most so many seconds, by `BOUNDS`.
"""

import fcntl
import logging
import math
import os
import stat
import struct
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fileserver.storage.filesystem import open_state_file
from fileserver.web.exchange import Exchange

log = logging.getLogger(__name__)

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)
"""Seconds up to which a request may take to be counted there; one more number is for those that take longer."""

_FOLDER = ".requests"
_RECORD = struct.Struct(f"<96p{4 + len(BOUNDS) + 1}d")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_OTHER = "other"


@dataclass
class RequestCount:
    """The requests with one method, route and status; `by_seconds` has their number for each of `BOUNDS`, and more."""

    received_bytes: float = 0.0
    sent_bytes: float = 0.0
    seconds: float = 0.0
    failed_logins: float = 0.0
    by_seconds: list[float] = field(default_factory=lambda: [0.0] * (len(BOUNDS) + 1))

    def __iadd__(self, other: "RequestCount") -> "RequestCount":
        self.received_bytes += other.received_bytes
        self.sent_bytes += other.sent_bytes
        self.seconds += other.seconds
        self.failed_logins += other.failed_logins
        self.by_seconds = [a + b for a, b in zip(self.by_seconds, other.by_seconds, strict=True)]
        return self


class Kind(NamedTuple):
    """What is counted together: the method and the route, or `other` for unknown ones, and the status, 0 for none."""

    method: str
    route: str
    status: int

    @classmethod
    def of(cls, exchange: Exchange) -> "Kind":
        method = exchange.environ["REQUEST_METHOD"]
        return cls(method if method in _METHODS else _OTHER, exchange.route or _OTHER, exchange.status)


Counts = defaultdict[Kind, RequestCount]


class RequestCounts:
    """The numbers of one working directory with this *staging* folder; `add` observes exchanges."""

    def __init__(self, staging: Path) -> None:
        self._folder = staging / _FOLDER
        self._lock = threading.Lock()
        self._own: _OwnFile | None = None
        self._is_broken = False

    def add(self, exchange: Exchange) -> None:
        """Count *exchange*, which has ended."""
        with self._lock:
            try:
                if self._own is None or not self._own.is_current():
                    self._own = _OwnFile(self._folder)
                self._own.add(exchange)
                self._is_broken = False
            except OSError as error:
                if not self._is_broken:
                    log.warning("requests are not counted for now: %s", error)
                self._is_broken = True

    def read(self) -> Counts:
        """The sums over all processes, those that have ended included."""
        total: Counts = defaultdict(RequestCount)
        for content in self._contents():
            for _, kind, count in _records(content):
                total[kind] += count
        return total

    def _contents(self) -> Iterator[bytes]:
        try:
            names = os.listdir(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            with suppress(OSError):  # Nobody but a server puts files there; whatever else lies there is no number.
                yield _read(self._folder / name)


class _OwnFile:
    """The file that this process holds, and its numbers."""

    def __init__(self, folder: Path) -> None:
        self.pid = os.getpid()
        self._file = _take(folder)
        try:
            content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        except OSError:
            os.close(self._file)
            raise
        self._counts = {kind: (offset, count) for offset, kind, count in _records(content)}
        self._end = len(content) // _RECORD.size * _RECORD.size

    def is_current(self) -> bool:
        """Whether it is still this process's: a fork must not write where its parent does, nor to what was removed."""
        return self.pid == os.getpid() and os.fstat(self._file).st_nlink > 0

    def add(self, exchange: Exchange) -> None:
        kind = Kind.of(exchange)
        if kind not in self._counts:
            self._counts[kind] = self._end, RequestCount()
            self._end += _RECORD.size
        offset, count = self._counts[kind]
        count.received_bytes += exchange.received_bytes
        count.sent_bytes += exchange.sent_bytes
        count.seconds += exchange.seconds
        count.failed_logins += exchange.login_failed
        count.by_seconds[bisect_left(BOUNDS, exchange.seconds)] += 1
        os.pwrite(self._file, _packed(kind, count), offset)


def _read(path: Path) -> bytes:
    """The content of a regular file. Raises OSError."""
    # Without O_NONBLOCK the open of a FIFO would wait for its writer.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def _take(folder: Path) -> int:
    """Open the first file in *folder* that no process holds, and hold it as long as this one lives."""
    number = 0
    while True:
        file = open_state_file(folder / str(number))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            os.close(file)
            number += 1
        except OSError:
            os.close(file)
            raise


def _packed(kind: Kind, count: RequestCount) -> bytes:
    text = f"{kind.method} {kind.route} {kind.status}".encode()
    numbers = count.received_bytes, count.sent_bytes, count.seconds, count.failed_logins
    return _RECORD.pack(text, *numbers, *count.by_seconds)


def _records(content: bytes) -> Iterator[tuple[int, Kind, RequestCount]]:
    """The records with their offsets; what a power cut has left of one makes no sense, and is left out."""
    whole = len(content) // _RECORD.size * _RECORD.size
    for offset in range(0, whole, _RECORD.size):
        text, received, sent, seconds, failed, *by_seconds = _RECORD.unpack_from(content, offset)
        if not all(0 <= number < math.inf for number in (received, sent, seconds, failed, *by_seconds)):
            continue
        with suppress(ValueError):
            method, route, status = text.decode().split(" ")
            yield offset, Kind(method, route, int(status)), RequestCount(received, sent, seconds, failed, by_seconds)
