"""A real server whose one worker is made to fail: gunicorn with one worker of one thread.

With one thread the calls of a request come in one order. When the worker dies, gunicorn's master starts the next one,
which recovers the working directory.
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

from tests.crash.operations import Operation
from tests.crash.tracing import Call, calls_in, traced
from tests.support.clients import CutResponse
from tests.support.memory import children
from tests.support.servers import gunicorn_server, wait_until
from tests.support.targets import HttpServer

# Imported by the master, so that a new worker is there in no time.
CONFIGURATION = "import fileserver.app\n"
# Else the C library opens a file of /proc when it gives memory back, which may be at any time.
ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}


class Victim:
    """A server, and strace on the thread that answers its requests."""

    def __init__(self, server: HttpServer, log: Path) -> None:
        self.server = server
        self._log = log
        self._numbers = count(1)

    def fresh_key(self) -> str:
        """A name that was not used yet. All are equally long, so that they need the same calls."""
        return f"job-{next(self._numbers):06}"

    @property
    def worker(self) -> int:
        """The process id of the worker."""
        (worker,) = children(self.server.pid)
        return worker

    def answering_thread(self) -> int:
        """The id of the thread that answers requests; it is there once a request was answered."""
        assert self.server.get("/healthz").status == 200
        worker = self.worker
        threads: list[int] = []

        def is_known() -> bool:
            threads[:] = [int(name) for name in os.listdir(f"/proc/{worker}/task") if int(name) != worker]
            return len(threads) == 1

        assert wait_until(is_known), f"one thread was expected besides the first: {threads}"
        return threads[0]

    def open_files(self) -> list[str]:
        """What the worker has open in the working directory."""
        found = []
        for descriptor in Path(f"/proc/{self.worker}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(os.readlink(descriptor))
        return sorted(path for path in found if path.startswith(f"{self.server.directory}/"))

    @contextmanager
    def traced(self, inject: str = "") -> Iterator[list[Call]]:
        """Trace the answering thread for the duration of the block; its calls are in the list after it."""
        calls: list[Call] = []
        with traced(self.answering_thread(), self._log, inject):
            yield calls
        calls += calls_in(self._log)

    @contextmanager
    def failing_at(self, call: Call, error: str) -> Iterator[None]:
        """In this block the server is told *error* when it does *call*, which is not done."""
        with self.traced(f"{call.name}:error={error}:when={call.number}") as calls:
            yield
        (failed,) = [done for done in calls if done.text.endswith("(INJECTED)")]
        assert failed.is_like(call), f"the calls come in another order: {failed} instead of {call}"

    @contextmanager
    def dying_at(self, call: Call) -> Iterator[None]:
        """The server dies in this block right before it does *call*, and is up again after it."""
        worker = self.worker
        with self.traced(f"{call.name}:signal=KILL:when={call.number}") as calls:
            with pytest.raises((CutResponse, ConnectionError)):
                yield
        assert calls[-1].is_like(call), f"the calls come in another order: {calls[-1]} instead of {call}"
        self._wait_for_successor(worker)

    @contextmanager
    def in_company(self) -> Iterator[None]:
        """In this block, the worker seems not to be alone on the working directory, so that none counts it anew."""
        with (self.server.directory / "staging" / ".alive").open("rb") as alive:
            fcntl.flock(alive, fcntl.LOCK_SH)
            yield

    def kill(self) -> None:
        """Kill the worker, and wait for the next one."""
        worker = self.worker
        os.kill(worker, signal.SIGKILL)
        self._wait_for_successor(worker)

    def _wait_for_successor(self, dead: int) -> None:
        assert wait_until(lambda: children(self.server.pid) not in ([], [dead]))
        # The socket is the master's: the next worker answers, and not before it has recovered the directory.
        assert self.server.get("/healthz").status == 200


@contextmanager
def running_victim(folder: Path) -> Iterator[Victim]:
    """Run a server on the working directory *folder*/work."""
    for digit in "0123456789abcdef":
        # Of the original server; made at once, so that the way to a task file is always equally long.
        (folder / "work" / "exercises" / digit).mkdir(parents=True)
    configuration = folder / "gunicorn.conf.py"
    configuration.write_text(CONFIGURATION)
    flags = ["-w", "1", "--threads", "1", "-c", str(configuration)]
    with gunicorn_server(folder / "work", env=ONE_ARENA, flags=flags) as server:
        yield Victim(server, folder / "strace.log")


def calls_of(victim: Victim, operation: Operation) -> list[Call]:
    """The calls of *operation* on the working directory, in order, and the first one that sends the answer."""
    key = victim.fresh_key()
    operation.prepare(victim.server, key)
    with victim.traced() as calls:
        assert operation.request(victim.server, key).status < 300
    answering = next(index for index, call in enumerate(calls) if call.answers)
    concerned = [call for call in calls[:answering] if call.concerns(victim.server.directory)]
    return [*concerned, calls[answering]]


@contextmanager
def blamed_on(cause: object) -> Iterator[None]:
    """Name *cause* in whatever fails in this block."""
    try:
        yield
    except Exception as error:
        error.add_note(f"This was at {cause}")
        raise
