"""The server runs out of file descriptors, really; nothing acknowledged is lost, and it recovers."""

import os
import random
import resource
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.crash.conftest import Tally
from tests.crash.loads import report
from tests.crash.workload import DISCONNECTED, Connection, Workload, check
from tests.support.checks import assert_problem
from tests.support.hammer import together
from tests.support.memory import processes
from tests.support.servers import gunicorn_server, wait_until
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

CLIENTS = 16
SECONDS = 1.0
SPARE = 6
ONE_WORKER = ("-w", "1")


def test_no_descriptor_left_is_a_clear_answer_and_no_damage(tmp_path: Path, tally: Tally):
    """Workers that cannot even accept a connection end, and are started anew: then connections break, and no more."""
    workload, refused = Workload(), []

    def write(client: Connection, deadline: float) -> None:
        while time.monotonic() < deadline:
            with suppress(*DISCONNECTED):
                response = workload.try_to_write(client, random.choice(workload.resources))
                if response.status != 200:
                    refused.append(assert_problem(response, "storage-failed", client))

    with gunicorn_server(tmp_path / "work", flags=ONE_WORKER, may_fail=True) as server:
        clients = [Connection(server) for _ in range(CLIENTS)]
        assert all(client.get("/healthz").status == 200 for client in clients)
        limit_descriptors(server)
        deadline = time.monotonic() + SECONDS
        together(*[lambda client=client: write(client, deadline) for client in clients])
        for client in clients:
            client.close()
        assert wait_until(lambda: tidied_up_by_a_write(server, workload))
        check(server, workload.journal)
    assert refused
    tally.add("requests refused for want of descriptors", len(refused))
    report(workload, tally)


def tidied_up_by_a_write(server: HttpServer, workload: Workload) -> bool:
    """Whether nothing is left in staging after another write: it looks for what could not be removed, too."""
    workload.write(server, random.choice(workload.resources))
    return not server.transactions()


def limit_descriptors(server: HttpServer) -> None:
    """Leave each worker of *server*, and those to come, only some descriptors more than the busiest one has."""
    family = processes(server.pid)
    limit = max(len(os.listdir(f"/proc/{process}/fd")) for process in family) + SPARE
    for process in family:
        resource.prlimit(process, resource.RLIMIT_NOFILE, (limit, limit))
