#!/usr/bin/env python3
"""Measure what durability costs: the same server with and without fsync, in one run.

Without: the library libeatmydata (Debian package eatmydata), loaded into the server, turns fsync into nothing. The
two servers are measured in turns, each time on a new working directory. Every request has content of its own. The
client is Python on the same machine, so its time is in both numbers, and the ratio flatters a little.

Prints a table for docs/performance.md: the median rates, and the ratio of the medians. Exit codes: 0 measured, 2 it
could not be measured.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from footprint_client import BOUNDARY
from footprint_server import MeasurementError, running_server

PROJECT = Path(__file__).resolve().parent.parent
LIBRARY = "libeatmydata.so"
MIB = 1 << 20
SUBMITTED_FILES = 10

Request = tuple[str, str, bytes]
"""Method, path, body."""

_numbers = count()


def put_result(size_bytes: int) -> Request:
    return "PUT", f"/results/{next(_numbers)}.zip", os.urandom(size_bytes)


def post_form(path: str, files: int, size_bytes: int) -> Request:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{number}"\r\n\r\n'.encode() + os.urandom(size_bytes)
        for number in range(files)
    ]
    return "POST", path, b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


@dataclass(frozen=True)
class Load:
    """So many clients, each with a connection of its own, that send requests for a time."""

    name: str
    clients: int
    make: Callable[[], Request]


LOADS = [
    Load("PUT of a result, 16 KiB, 1 client", 1, lambda: put_result(16 * 1024)),
    Load("PUT of a result, 16 KiB, 8 clients", 8, lambda: put_result(16 * 1024)),
    Load("PUT of a result, 64 MiB, 1 client", 1, lambda: put_result(64 * MIB)),
    Load("POST of a task file, 64 KiB, 8 clients", 8, lambda: post_form("/tasks", 1, 64 * 1024)),
    Load(
        "submission of 10 files of 2 KiB, 1 client",
        1,
        lambda: post_form(f"/submissions/{next(_numbers)}", SUBMITTED_FILES, 2048),
    ),
    Load(
        "submission of 10 files of 2 KiB, 8 clients",
        8,
        lambda: post_form(f"/submissions/{next(_numbers)}", SUBMITTED_FILES, 2048),
    ),
]


def send_until(port: int, deadline: float, make: Callable[[], Request]) -> int:
    """Send requests until *deadline*; how many were answered with success."""
    connection, answered = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    while time.monotonic() < deadline:
        method, path, body = make()
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        if answer.read() and answer.status != 200:
            raise MeasurementError(f"{method} {path}: {answer.status}")
        answered += 1
    connection.close()
    return answered


def rate(port: int, load: Load, seconds: float) -> float:
    """Requests in a second."""
    start = time.monotonic()
    with ThreadPoolExecutor(load.clients) as pool:
        jobs = [pool.submit(send_until, port, start + seconds, load.make) for _ in range(load.clients)]
        answered = sum(job.result() for job in jobs)
    return answered / (time.monotonic() - start)


def measure(load: Load, seconds: float, preload: Path | None, folder: Path) -> float:
    gunicorn = PROJECT / ".venv/bin/gunicorn"
    with (
        tempfile.TemporaryDirectory(prefix="fsync-cost-", dir=folder) as directory,
        running_server(gunicorn, "fileserver:create_app()", PROJECT, Path(directory), preload) as server,
    ):
        rate(server.port, load, min(1.0, seconds))
        return rate(server.port, load, seconds)


def find_library() -> Path:
    found = sorted(Path("/usr/lib").glob(f"**/{LIBRARY}"))
    if not found:
        raise MeasurementError(f"there is no {LIBRARY}; install the Debian package eatmydata")
    return found[0]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=4, help="of each sample (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=3, help="of each load and server (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=PROJECT, help="on the disk to measure (default: the project)")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    try:
        library = find_library()
        print("| write | with fsync, 1/s | without, 1/s | with / without |\n|---|--:|--:|--:|")
        for load in LOADS:
            rates: dict[Path | None, list[float]] = {None: [], library: []}
            for _ in range(options.samples):
                for preload, samples in rates.items():
                    samples.append(measure(load, options.seconds, preload, options.folder))
            durable, careless = (statistics.median(samples) for samples in rates.values())
            print(f"| {load.name} | {durable:.1f} | {careless:.1f} | {durable / careless:.2f} |", flush=True)
    except (MeasurementError, OSError) as error:
        print(f"fsync_cost.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
