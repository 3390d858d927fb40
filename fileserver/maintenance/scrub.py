"""The scrub: the processes that serve a working directory check it, byte by byte, slice after slice.

One process at a time does it. What it found is kept in `staging/.scrub`, so that a restart goes on with the next slice
when that is due.
"""

import atexit
import fcntl
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fileserver.maintenance.check import Check
from fileserver.maintenance.findings import Kind, Subset
from fileserver.maintenance.pace import Pace
from fileserver.maintenance.reading import Reader
from fileserver.services import Services
from fileserver.storage.filesystem import open_state_file

log = logging.getLogger(__name__)

_STATE, _LOCK = ".scrub", ".scrub.lock"
_BUSY_SECONDS = 60.0
_AFTER_ERROR_SECONDS = 600.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class ScrubResult:
    """What the check of one *slice* of so many *slices*, counted from 1, has found; times are seconds."""

    slice: int
    slices: int
    files: int
    bytes_read: int
    damaged: int
    unreadable: int
    seconds: float
    finished_at: float
    """Since the epoch."""

    @property
    def finished_at_text(self) -> str:
        return datetime.fromtimestamp(int(self.finished_at), UTC).isoformat().replace("+00:00", "Z")


def read_result(staging: Path) -> ScrubResult | None:
    """The result of the last scrub of the working directory with this staging folder.

    None if there was none yet, or if what is kept of it makes no sense.
    """
    try:
        result = ScrubResult(**json.loads((staging / _STATE).read_bytes()))
        return result if _makes_sense(result) else None
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def _makes_sense(result: ScrubResult) -> bool:
    """Whether the members are what they should be; raises ValueError, TypeError or OverflowError if they are not."""
    counts = (result.slice, result.slices, result.files, result.bytes_read, result.damaged, result.unreadable)
    return (
        all(type(count) is int and count >= 0 for count in counts)
        and 1 <= result.slice <= result.slices
        and math.isfinite(result.seconds)
        and bool(result.finished_at_text)
    )


class Scrub:
    """Checks the next slice when it is due. *pause* waits some seconds, and may raise what ends the check."""

    def __init__(self, services: Services, pause: Callable[[float], object] = time.sleep) -> None:
        self._services = services
        self._settings = services.settings.maintenance
        self._root = services.staging.root
        self._pause = pause

    def run_if_due(self) -> float:
        """Check the next slice if it is due, and no other process is at it; returns the seconds to wait until then."""
        with self._alone() as alone:
            if not alone:
                return _BUSY_SECONDS
            last = read_result(self._root)
            due_in = self._due_in(last)
            if due_in <= 0:
                self._keep(self._check(last))
                due_in = self._period_seconds
        return due_in

    @property
    def _period_seconds(self) -> float:
        return self._settings.scrub_every_hours * 3600.0

    def _due_in(self, last: ScrubResult | None) -> float:
        now = time.time()
        # The clock may have been set back: then nobody knows how long ago it was.
        if last is None or last.finished_at > now:
            return 0.0
        return last.finished_at + self._period_seconds - now

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        fd = open_state_file(self._root / _LOCK)
        try:
            yield _try_lock(fd)
        finally:
            os.close(fd)

    def _check(self, last: ScrubResult | None) -> ScrubResult:
        slices = self._settings.scrub_slices
        subset = Subset(last.slice % slices + 1 if last else 1, slices)
        reader = Reader(Pace(self._settings.scrub_max_bytes_per_second, self._pause))
        check, began = Check(self._services, reader, subset), time.monotonic()
        damaged = unreadable = 0
        for found in check.run():
            for finding in found:
                damaged += finding.is_damage
                unreadable += finding.kind is Kind.UNREADABLE
                level = logging.ERROR if finding.is_damage else logging.WARNING
                log.log(level, "scrub: %s: %s; %s", ascii(finding.place), finding.detail, finding.heals or finding.kind)
        seconds = round(time.monotonic() - began, 3)
        read = (check.counts.files, reader.bytes_read)
        return ScrubResult(subset.number, slices, *read, damaged, unreadable, seconds, time.time())

    def _keep(self, result: ScrubResult) -> None:
        self._services.staging.keep(_STATE, json.dumps(asdict(result)).encode() + b"\n")


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Stopped(Exception):
    """The process ends."""


class ScrubThread:
    """Runs the scrub beside the requests of a process. It holds no process up, and ends with it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runs: dict[int, _Run] = {}

    def start(self) -> None:
        """Start the thread of this process, unless it runs already."""
        process = os.getpid()
        if process not in self._runs:
            run = _Run(self._services)
            if self._runs.setdefault(process, run) is run:
                run.start()

    def stop(self) -> None:
        """End the thread of this process, if there is one."""
        if run := self._runs.get(os.getpid()):
            run.stop()


class _Run:
    """One thread in one process."""

    def __init__(self, services: Services) -> None:
        self._scrub = Scrub(services, self._pause)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)

    def start(self) -> None:
        atexit.register(self.stop)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _run(self) -> None:
        try:
            while True:
                self._pause(self._run_once())
        except _Stopped:
            return

    def _run_once(self) -> float:
        """Seconds until the next turn."""
        try:
            return self._scrub.run_if_due()
        except _Stopped:
            raise
        except Exception:
            log.exception("the scrub failed, and will be tried again")
            return _AFTER_ERROR_SECONDS
