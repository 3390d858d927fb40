"""Runs of the workload that end with the death of the server."""

from threading import Event

from tests.crash.conftest import Tally
from tests.crash.workload import CLIENTS, Workload
from tests.support.hammer import together
from tests.support.servers import kill
from tests.support.targets import HttpServer


def run_until_killed(server: HttpServer, workload: Workload, seconds: float) -> None:
    """Let the clients work, and kill all processes of the server after *seconds*."""
    killed = Event()

    def kill_later() -> None:
        killed.wait(seconds)
        workload.cut.set()
        kill(server)
        killed.set()

    workload.cut.clear()
    together(kill_later, *[lambda: workload.run(server, killed)] * CLIENTS)


def report(workload: Workload, tally: Tally) -> None:
    """Count what the workload has proven."""
    tally.add("acknowledged writes checked", workload.journal.writes_checked)
    tally.add("reads checked", workload.journal.reads_checked)
