"""The server that is measured: starting it, ending it, and what its processes use."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.02
START_SECONDS = 30
STOP_SECONDS = 5


class MeasurementError(Exception):
    """Something prevents measuring; nothing is known about the limits."""


@dataclass(frozen=True)
class Usage:
    """Sums over the processes of the server."""

    rss_bytes: int = 0
    peak_rss_bytes: int = 0
    fileless_rss_bytes: int = 0
    write_call_bytes: int = 0
    dirtied_bytes: int = 0


def process_tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except OSError:  # ended since it was listed
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    tree = [pid]
    for process in tree:  # grows while it is walked
        tree += children.get(process, [])
    return tree


def numbers_of(path: str) -> dict[str, int]:
    """The lines `name: number ...` of a file of /proc."""
    numbers = {}
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            numbers[name] = int(words[0])
    return numbers


def usage_of(pid: int) -> Usage:
    """What the process tree uses now; a process that ends meanwhile counts as nothing."""
    rss = peak = fileless = write_calls = dirtied = 0
    for process in process_tree(pid):
        try:
            status = numbers_of(f"/proc/{process}/status")
            counters = numbers_of(f"/proc/{process}/io")
        except OSError:
            continue
        rss += status.get("VmRSS", 0) * 1024
        peak += status.get("VmHWM", 0) * 1024
        fileless += (status.get("RssAnon", 0) + status.get("RssShmem", 0)) * 1024
        write_calls += counters["wchar"]
        dirtied += counters["write_bytes"]
    return Usage(rss, peak, fileless, write_calls, dirtied)


def reset_peaks(pid: int) -> None:
    """Makes the present memory of each process of the tree its VmHWM."""
    for process in process_tree(pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")


class PeakSampler(threading.Thread):
    """Keeps the highest memory use of a process tree that it sees, from start to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.rss_bytes = 0
        self.fileless_rss_bytes = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            usage = usage_of(self.pid)
            self.rss_bytes = max(self.rss_bytes, usage.rss_bytes)
            self.fileless_rss_bytes = max(self.fileless_rss_bytes, usage.fileless_rss_bytes)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@dataclass(frozen=True)
class Server:
    pid: int
    port: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(
    gunicorn: Path, app: str, project: Path, directory: Path, preload: Path | None = None
) -> Iterator[Server]:
    """The server on a new working directory in the given one; what fails gets the log's end.

    *preload* is a library that the dynamic linker loads into its processes first.
    """
    port, log = free_port(), directory / "server.log"
    root = directory / "root"
    root.mkdir()
    environment = {
        **os.environ,
        "FILESERVER_WORKING_DIRECTORY": str(root),
        "XDG_RUNTIME_DIR": str(directory),  # for gunicorn's control socket, shared otherwise
    }
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    command = [str(gunicorn), "-w", "2", "-k", "fileserver.web.worker.PatientWorker", "--threads", "8"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-b", f"127.0.0.1:{port}", app],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_listening(process, port)
        yield Server(process.pid, port)
    except (MeasurementError, OSError, http.client.HTTPException) as error:
        tail = log.read_text(errors="replace")[-2000:]
        raise MeasurementError(f"{type(error).__name__}: {error}\nThe log of the server ends with:\n{tail}") from error
    finally:
        _stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise MeasurementError("the server did not start")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its session is its own
        process.wait()
