"""Processes are killed at random instants while clients mix all writes and reads; nothing acknowledged is lost."""

import os
import random
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from tests.crash.conftest import Tally
from tests.crash.journal import Journal
from tests.crash.loads import report, run_until_killed
from tests.crash.versioned import PutFile, content
from tests.crash.workload import CLIENTS, Workload, check
from tests.support.clients import RawClient
from tests.support.hammer import together
from tests.support.memory import processes
from tests.support.servers import gunicorn_server, kill, kill_a_worker, wait_until
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

WORKERS = 2


def test_killed_servers_have_lost_nothing(tmp_path: Path, full: bool, tally: Tally):
    workload = Workload()
    for _ in range(250 if full else 6):
        with gunicorn_server(tmp_path / "work") as server:
            check(server, workload.journal)
            run_until_killed(server, workload, random.uniform(0.02, 0.3))
        tally.add("kill -9 cycles")
    with gunicorn_server(tmp_path / "work") as server:
        check(server, workload.journal)
    report(workload, tally)


def test_killed_starts_have_lost_nothing(tmp_path: Path, full: bool, tally: Tally):
    """Servers are killed while they start: on no directory, on a new one, and when there is something to recover."""
    workload = Workload()
    for _ in range(10 if full else 1):
        for _ in range(4):
            kill_while_it_starts(tmp_path / "work", random.uniform(0, 0.5))
            tally.add("kill -9 cycles")
        with gunicorn_server(tmp_path / "work") as server:
            check(server, workload.journal)
            run_until_killed(server, workload, 0.1)
        tally.add("kill -9 cycles")
    with gunicorn_server(tmp_path / "work") as server:
        check(server, workload.journal)
    report(workload, tally)


def kill_while_it_starts(directory: Path, seconds: float) -> None:
    with gunicorn_server(directory, await_ready=False) as server:
        Event().wait(seconds)
        kill(server)


def test_killed_workers_have_lost_nothing(tmp_path: Path, full: bool, tally: Tally):
    """One of two worker processes is killed, and the other one goes on; nothing is started anew but that worker."""
    workload = Workload()
    with gunicorn_server(tmp_path / "work") as server:
        for _ in range(60 if full else 3):
            run_while_a_worker_is_killed(server, workload, random.uniform(0.02, 0.2))
            check(server, workload.journal)
            tally.add("kill -9 cycles of one worker")
    report(workload, tally)


def run_while_a_worker_is_killed(server: HttpServer, workload: Workload, seconds: float) -> None:
    """Let the clients work, kill a worker after *seconds*, and go on for as long after there is another one."""
    enough = Event()

    def kill_and_wait() -> None:
        enough.wait(seconds)
        workload.cut.set()
        kill_a_worker(server, random.choice(processes(server.pid)[1:]))
        enough.wait(seconds)
        enough.set()

    workload.cut.clear()
    together(kill_and_wait, *[lambda: workload.run(server, enough)] * CLIENTS)


def test_recovery_leaves_what_lives(tmp_path: Path):
    """While uploads are under way, a worker is killed; its successor removes what is dead, and nothing else."""
    journal, dead = Journal(), tmp_path / "work" / "staging" / ("f" * 32)
    with gunicorn_server(tmp_path / "work") as server:
        assert wait_until(lambda: len(processes(server.pid)) == 1 + WORKERS)
        uploads = [SlowUpload(server, journal, f"slow-{number}.zip") for number in range(8)]
        assert wait_until(lambda: len(server.transactions()) == 8)
        dead.mkdir()
        kill_a_worker(server, min(processes(server.pid)[1:], key=staged_files))
        alive = [upload for upload in uploads if not upload.is_cut()]
        assert wait_until(lambda: not dead.exists(), 10)  # The last one in the order of names.
        # The new worker probes the file system once more.
        assert wait_until(lambda: len(server.transactions()) == len(alive))
        assert len(alive) >= 4
        for upload in alive:
            upload.finish()
        check(server, journal)


def staged_files(process: int) -> int:
    """How many files in transactions the process holds open."""
    folder, found = Path(f"/proc/{process}/fd"), 0
    for fd in folder.iterdir():
        with suppress(FileNotFoundError):
            found += "/staging/" in os.readlink(fd) and not os.readlink(fd).endswith("/.alive")
    return found


class SlowUpload:
    """A result of which one half has been sent."""

    def __init__(self, server: HttpServer, journal: Journal, name: str) -> None:
        self._journal = journal
        self._resource = PutFile("results", name)
        self._write = journal.begin(self._resource, 1)
        self._client = RawClient(server.address)
        data = content(self._resource.path, 1)
        half = len(data) // 2
        head = self._client.head("PUT", self._resource.path, {"Content-Length": str(len(data))})
        self._client.send(head + data[:half])
        self._rest = data[half:]

    def is_cut(self) -> bool:
        """Whether the server has closed the connection; then it is closed here, too."""
        cut = self._client.answers_within(0)
        if cut:
            self._client.close()
        return cut

    def finish(self) -> None:
        with self._client:
            self._client.send(self._rest)
            assert self._client.read_final("PUT").status == 200
        self._journal.acknowledge(self._write)
