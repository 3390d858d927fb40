#!/usr/bin/env python3
"""Measure the memory and the written bytes that the fileserver needs for big transfers.

Starts gunicorn with the fileserver on a free port and a fresh directory, warms it up with small
requests of each kind, and takes the resident memory of its processes as the idle level. Then it
streams bodies, made on the fly, and measures the PUT of a result, the POST of a task file (as a
form) and the GET of a task file: first one transfer of each kind, then four at once of each.

Peak memory over idle: the sum of VmHWM over the processes of the server (reset through
/proc/PID/clear_refs before each measurement) or the highest sum of VmRSS seen every 20 ms,
whichever is more, less the idle level. Pages of mapped files count. The column "no file" is the
part that belongs to no file (RssAnon + RssShmem), as sampled. The idle level is taken only
once, so memory that a transfer leaves behind counts against all that follow.

Written per byte received (uploads): what the processes of the server passed to write() (wchar),
and what they made dirty in the page cache of the disk (write_bytes), both from /proc/PID/io,
for each byte of the request bodies.

Limits: 32 MiB over idle for one transfer, 64 MiB for four at once, 1.05 bytes written per byte
received. Exit codes: 0 all within the limits, 1 a limit is exceeded, 2 it could not be measured.

Needs Linux and free disk space of six times the size of a transfer. What the server stored is
deleted on the way, and the directory that was used at the end. Settings of the server can be
given in the environment (FILESERVER_...).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from footprint_client import Client, Transferred, at_once, warm_up
from footprint_server import (
    MeasurementError,
    PeakSampler,
    Server,
    process_tree,
    reset_peaks,
    running_server,
    usage_of,
)

MIB = 1 << 20
PROJECT = Path(__file__).resolve().parent.parent
MANY = 4
SPACE_FACTOR = MANY + 2
LIMIT_ONE_BYTES = 32 * MIB
LIMIT_MANY_BYTES = 64 * MIB
LIMIT_WRITTEN_PER_RECEIVED = 1.05

Transfer = Callable[[], Transferred]


@dataclass(frozen=True)
class Written:
    """Bytes written per byte received, counted in two ways."""

    by_calls: float
    by_dirty_pages: float


@dataclass(frozen=True)
class Measurement:
    """What one transfer, or several at once, needed."""

    title: str
    mib_per_second: float
    peak_over_idle_bytes: int
    fileless_over_idle_bytes: int
    limit_bytes: int
    written: Written | None = None

    def exceeded(self) -> list[str]:
        """What is beyond its limit."""
        beyond = []
        if self.peak_over_idle_bytes > self.limit_bytes:
            beyond.append("memory")
        if self.written is not None:
            most = max(self.written.by_calls, self.written.by_dirty_pages)
            if most > LIMIT_WRITTEN_PER_RECEIVED:
                beyond.append("written")
        return beyond

    def row(self) -> str:
        """A line of the Markdown table."""
        cells = [self.title, f"{self.mib_per_second:.0f}"]
        for size_bytes in (self.peak_over_idle_bytes, self.limit_bytes):
            cells.append(f"{size_bytes / MIB:.1f}")
        cells.append(f"{self.fileless_over_idle_bytes / MIB:.1f}")
        if self.written is None:
            cells += ["", ""]
        else:
            cells += [f"{self.written.by_calls:.3f}", f"{self.written.by_dirty_pages:.3f}"]
        cells.append(f"**exceeded: {', '.join(self.exceeded())}**" if self.exceeded() else "ok")
        return f"| {' | '.join(cells)} |"


TABLE_HEAD = (
    "| transfer | MiB/s | peak over idle, MiB | limit, MiB | no file, MiB"
    " | written/received (write calls) | written/received (dirty pages) | limits |\n"
    "|---|--:|--:|--:|--:|--:|--:|---|"
)


class Footprint:
    """Measures a server that is warm; its idle level is taken when this object is made."""

    def __init__(self, server: Server, size_bytes: int) -> None:
        self.server_pid, self.client = server.pid, Client(server.port)
        self.size_bytes = size_bytes
        self.processes = set(process_tree(server.pid))
        self.idle = usage_of(server.pid)

    def measurements(self) -> Iterator[Measurement]:
        """Each kind of transfer once, then four at once; deletes what is no longer needed."""
        client, size, task_path = self.client, self.size_bytes, ""
        for count in (1, MANY):
            names = [f"x{n}.zip" for n in range(count)]
            puts = [partial(client.put_result, name, size) for name in names]
            measurement, results = self._measure("PUT of a result", puts, True)
            yield measurement
            self._delete(results)
            posts = [partial(client.post_task_file, size)] * count
            measurement, task_files = self._measure("POST of a task file", posts, True)
            yield measurement
            if not task_path:
                task_path = task_files.pop().path
            self._delete(task_files)
            gets = [partial(client.get, task_path, size)] * count
            yield self._measure("GET of a task file", gets, False)[0]

    def _delete(self, stored: Iterable[Transferred]) -> None:
        for each in stored:
            self.client.delete(each.path)

    def _measure(
        self, kind: str, transfers: Sequence[Transfer], uploads: bool
    ) -> tuple[Measurement, list[Transferred]]:
        reset_peaks(self.server_pid)
        before, sampler = usage_of(self.server_pid), PeakSampler(self.server_pid)
        sampler.start()
        start = time.perf_counter()
        try:
            finished = at_once(transfers)
            seconds = time.perf_counter() - start
        finally:
            sampler.stop()
        after = usage_of(self.server_pid)
        if self.processes.difference(process_tree(self.server_pid)):
            raise MeasurementError(f"{kind}: a process of the server ended, and its peak is lost")
        received = sum(each.body_bytes for each in finished)
        written = Written(
            (after.write_call_bytes - before.write_call_bytes) / received,
            (after.dirtied_bytes - before.dirtied_bytes) / received,
        )
        peak_bytes = max(after.peak_rss_bytes, sampler.rss_bytes)
        fileless_bytes = max(after.fileless_rss_bytes, sampler.fileless_rss_bytes)
        single = len(transfers) == 1
        measurement = Measurement(
            kind if single else f"{kind}, {len(transfers)} at once",
            received / MIB / seconds,
            peak_bytes - self.idle.rss_bytes,
            fileless_bytes - self.idle.fileless_rss_bytes,
            LIMIT_ONE_BYTES if single else LIMIT_MANY_BYTES,
            written if uploads else None,
        )
        return measurement, finished


def is_in_memory(directory: Path) -> bool:
    """Whether the directory is on a file system that keeps files in memory only."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1] in ("tmpfs", "ramfs")
    return False


def default_work() -> Path:
    """The folder for temporary files, if on the current folder's file system, else this one."""
    here, temporary = Path.cwd(), Path(tempfile.gettempdir())
    return temporary if temporary.stat().st_dev == here.stat().st_dev else here


@dataclass(frozen=True)
class Options:
    work: Path
    size_bytes: int
    gunicorn: Path
    app: str
    project: Path


def parse_options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work_help = "existing folder on a disk; a fresh one is made in it (default: %(default)s)"
    parser.add_argument("--work", type=Path, default=default_work(), metavar="DIR", help=work_help)
    size_help = "size of each transfer (default: %(default)s)"
    parser.add_argument("--size-mib", type=int, default=2048, metavar="N", help=size_help)
    gunicorn_help = "gunicorn program (default: %(default)s)"
    gunicorn = PROJECT / ".venv/bin/gunicorn"
    parser.add_argument("--gunicorn", type=Path, default=gunicorn, metavar="FILE", help=gunicorn_help)
    app_help = "application for gunicorn (default: %(default)s)"
    parser.add_argument("--app", default="fileserver:create_app()", help=app_help)
    project_help = "folder to run gunicorn in (default: %(default)s)"
    parser.add_argument("--project", type=Path, default=PROJECT, metavar="DIR", help=project_help)
    given = parser.parse_args()
    if given.size_mib < 1:
        parser.error("--size-mib must be at least 1")
    # absolute, but with its links kept: a program of a virtual environment is one
    return Options(
        given.work.resolve(),
        given.size_mib * MIB,
        given.gunicorn.absolute(),
        given.app,
        given.project.resolve(),
    )


def check(options: Options) -> None:
    """Raises MeasurementError where the measurement cannot succeed."""
    work, size_bytes = options.work, options.size_bytes
    if not options.gunicorn.is_file():
        raise MeasurementError(f"--gunicorn: there is no {options.gunicorn}")
    if not options.project.is_dir():
        raise MeasurementError(f"--project: {options.project} is not a folder")
    if not work.is_dir():
        raise MeasurementError(f"--work: {work} is not a folder")
    if is_in_memory(work):
        raise MeasurementError(f"--work: {work} is in memory, not on a disk; choose another")
    free_bytes, needed_bytes = shutil.disk_usage(work).free, SPACE_FACTOR * size_bytes
    if free_bytes < needed_bytes:
        raise MeasurementError(f"{work} has {free_bytes // MIB} MiB free, {needed_bytes // MIB} MiB are needed")


def measure(options: Options) -> bool:
    """Prints the table; whether all is within the limits."""
    check(options)
    good = True
    with (
        tempfile.TemporaryDirectory(
            prefix="fileserver-footprint-", dir=options.work, ignore_cleanup_errors=True
        ) as name,
        running_server(options.gunicorn, options.app, options.project, Path(name)) as server,
    ):
        warm_up(Client(server.port))
        footprint = Footprint(server, options.size_bytes)
        print(
            f"{options.size_bytes // MIB} MiB each; idle: {footprint.idle.rss_bytes / MIB:.1f} MiB"
            f" in {len(footprint.processes)} processes; limit of written/received:"
            f" {LIMIT_WRITTEN_PER_RECEIVED}\n\n{TABLE_HEAD}"
        )
        for measurement in footprint.measurements():
            print(measurement.row(), flush=True)
            good = good and not measurement.exceeded()
    return good


def main() -> int:
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that the server is ended too
    try:
        return 0 if measure(options) else 1
    except MeasurementError as error:
        print(f"footprint.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
