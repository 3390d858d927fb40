"""Hostile requests of every shape: nothing falls over, nothing is stored that was not acknowledged."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings

from tests.crash.conftest import Tally
from tests.crash.hostile_heads import CONTENT, READABLE, Case
from tests.crash.hostile_requests import KINDS
from tests.support.clients import RawClient
from tests.support.memory import peak_bytes
from tests.support.messages import Response
from tests.support.servers import gunicorn_server, wait_until
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

SHORT_CASES, FULL_CASES = 400, 6_000
GROWTH_BYTES = 16 * 1024 * 1024
"""How much the peak memory of a process may grow over all cases: buffers of a few requests at once."""

BY_DESIGN = {501, 503, 507}
"""Other answers of the 500s are defects."""


class Fuzzed:
    """A server in a folder of its own, and what lies in that folder."""

    def __init__(self, root: Path, server: HttpServer) -> None:
        self.root = root
        self.server = server
        self.cases: Counter[str] = Counter()
        for path in READABLE[:2]:
            assert server.put(path, CONTENT).status == 200
        assert server.submit("stored", {"dir/a.txt": CONTENT}).status == 200
        assert server.post_form("/tasks", {"a": CONTENT}).status == 200
        self.before = self.files()

    def files(self) -> dict[str, tuple[int, int]]:
        """All in the folder, but for the log and the server's own state, with the inode and the time of change."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            if Path(folder) == self.server.directory:
                folders.remove("staging")  # What is removed there may vanish while it is looked at.
            for path in (Path(folder, name) for name in [*folders, *files]):
                name, info = str(path.relative_to(self.root)), path.lstat()
                if name != "work.log":
                    found[name] = (info.st_ino, 0 if path.is_dir() else info.st_mtime_ns)
        return found

    def check(self, case: Case) -> None:
        """Send *case*, and see that it does no harm; what it has stored is removed."""
        self.cases[case.kind] += 1
        try:
            self._check(case)
        finally:
            for path in self.resources():
                self.server.delete(path)
        assert self.files() == self.before
        assert self.server.get(READABLE[0]).body == CONTENT
        assert "Traceback" not in self.server.log.read_text(errors="replace")

    def _check(self, case: Case) -> None:
        answers = self.answers_to(case)
        assert all(answer.status < 500 or answer.status in BY_DESIGN for answer in answers), answers
        assert not case.unclear or len(answers) <= 1, answers
        assert wait_until(lambda: not self.server.transactions()), self.server.transactions()
        acknowledged = [answer for answer in answers if answer.status == 200]
        stored = self.resources()
        assert stored <= allowed(case, acknowledged), (stored, acknowledged)

    def answers_to(self, case: Case) -> list[Response]:
        """All final answers until the server closes; fails where what it sends is no answer."""
        answers: list[Response] = []
        with RawClient(self.server.address) as client, suppress(ConnectionResetError):
            if client.send(case.data):
                with suppress(OSError):  # It may be closed already.
                    client.socket.shutdown(socket.SHUT_WR)
            while client.has_more():
                answers.append(client.read_final("GET" if answers else case.method))
                if case.method == "HEAD" and not client.reusable:
                    break  # What gunicorn itself refuses it answers with a page, even then.
        return answers

    def resources(self) -> set[str]:
        """The paths of what was stored since the beginning. A submission's archive belongs to the submission."""
        new = self.files().keys() - self.before.keys()
        return {resource(name) for name in new if not name.startswith("work/submission_archives/")}


def resource(name: str) -> str:
    """The path under which the server answers for the file *name*."""
    work, bucket, *rest = name.split("/")
    assert work == "work", f"{name} lies outside of the working directory"
    key = rest[1] if bucket == "tasks" else rest[0]
    return f"/{bucket}/{quote(key, safe='')}"


def allowed(case: Case, acknowledged: list[Response]) -> set[str]:
    """The paths that may be there after *case*, going by what the server has acknowledged."""
    if not acknowledged:
        return set()
    if case.target in (b"/tasks", b"/exercises"):
        files = acknowledged[0].json()["files"]
        return {path.replace("/exercises/", "/tasks/") for path in files.values()}
    path = unquote_to_bytes(urlsplit(case.target.decode("latin-1")).path.encode("latin-1")).decode()
    path = path.replace("/v1/worker-files/result/student/", "/results/student_")
    bucket, key = path.lstrip("/").split("/", 1)
    suffix = ".zip" if key.startswith("student_") else ""
    return {f"/{bucket}/{quote(key + suffix, safe='')}"}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    # A name like ../../../x of a file in a submission still ends up in the folder.
    root = tmp_path_factory.mktemp("fuzzed")
    with gunicorn_server(root / "work") as server:
        yield Fuzzed(root, server)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_no_request_does_harm(fuzzed: Fuzzed, full: bool, tally: Tally):
    cases_of_a_kind = (FULL_CASES if full else SHORT_CASES) // len(KINDS)
    warming_up = cases_of_a_kind // 4
    fuzz(fuzzed, warming_up, seeded=not full)
    before = peak_bytes(fuzzed.server.pid)
    fuzz(fuzzed, cases_of_a_kind - warming_up, seeded=not full)
    growth = {pid: peak - before[pid] for pid, peak in peak_bytes(fuzzed.server.pid).items()}
    assert max(growth.values()) < GROWTH_BYTES, growth
    tally.add("fuzz cases", fuzzed.cases.total())


def fuzz(fuzzed: Fuzzed, number: int, seeded: bool) -> None:
    """Check *number* cases of each kind; the same ones each time if *seeded*."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    profile = settings(max_examples=number, derandomize=seeded, database=None, suppress_health_check=checks)
    for kind in KINDS:

        @profile
        @given(kind)
        def check(case: Case) -> None:
            fuzzed.check(case)

        check()
