"""The home page for people and as JSON, and the two probes."""

import json
import re
import shutil
from datetime import datetime

import pytest

from tests.support.checks import assert_problem
from tests.support.messages import fresh_id
from tests.support.pool import MakeServer
from tests.support.targets import Server

JSON = {"Accept": "application/json"}
COUNTERS = {"results", "submission_archives", "submissions", "attachments", "task_files"}


@pytest.mark.parametrize("accept", [None, "*/*", "text/html,*/*;q=0.8", "application/json;q=0.1,text/html"])
def test_home_page_is_html(server: Server, accept: str | None):
    response = server.get("/", {"Accept": accept} if accept else {})
    assert response.status == 200
    assert response.headers.get_content_type() == "text/html"
    text = response.body.decode()
    assert server.get("/", JSON).json()["version"] in text
    for word in ("results", "submission archives", "submissions", "attachments"):
        assert word in text.lower()
    assert str(server.directory) not in text


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "text/html;q=0.5, application/json",
        "application/json, */*;q=0.1",
    ],
)
def test_home_page_as_json(server: Server, accept: str):
    response = server.get("/", {"Accept": accept})
    assert response.headers["Content-Type"] == "application/json"
    assert response.body.endswith(b"\n")
    page = response.json()
    members = {"version", "started_at", "uptime_seconds", "bytes_free", "bytes_used", "counters"}
    assert page.keys() == members
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", page["version"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", page["started_at"])
    assert datetime.fromisoformat(page["started_at"]).timestamp() > 1_700_000_000
    for number in ("uptime_seconds", "bytes_free", "bytes_used"):
        assert page[number] >= 0
    assert page["counters"].keys() == COUNTERS


def test_answer_depends_on_accept(server: Server):
    for headers in ({}, JSON):
        assert "accept" in (server.get("/", headers).headers["Vary"] or "").lower()


def test_counters_count(make_server: MakeServer):
    server = make_server()
    assert set(server.get("/", JSON).json()["counters"].values()) == {0}
    server.submit("a", {"x": b"1", "y": b"2"})
    server.submit("b", {"x": b"1"})
    server.put("/results/a.zip", bytes(5000))
    server.put("/attachments/a", b"1")
    server.post_form("/tasks", {"1": b"1", "2": b"2", "3": b"3"})
    page = make_server().get("/", JSON).json()
    counters = page["counters"]
    assert counters["submissions"] == counters["submission_archives"] == 2
    assert (counters["results"], counters["attachments"], counters["task_files"]) == (1, 1, 3)
    assert page["bytes_used"] >= 5000


def test_files_of_the_home_page(server: Server):
    page = server.get("/").body.decode()
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        response = server.get(path)
        assert response.status == 200
        assert response.body
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page), "nothing is loaded from elsewhere"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "no-such-file", "..%2f__init__.py"])
def test_static_files_are_those_of_the_home_page_only(server: Server, path: str):
    assert_problem(server.get(f"/static/{path}"), "not-found", server)


def test_healthz(server: Server):
    response = server.get("/healthz")
    assert (response.status, response.json()) == (200, {"status": "ok"})
    assert response.headers["Content-Type"] == "application/json"
    assert response.body.endswith(b"\n")


def test_readyz(server: Server):
    response = server.get("/readyz")
    assert (response.status, response.json()) == (200, {"status": "ready"})
    assert response.headers["Content-Type"] == "application/json"
    assert response.body.endswith(b"\n")


def test_readyz_when_nothing_can_be_written(make_server: MakeServer):
    server = make_server()
    shutil.rmtree(server.directory / "staging")
    (server.directory / "staging").write_bytes(b"in the way")
    assert_problem(server.get("/readyz"), "not-ready", server)
    assert server.get("/healthz").status == 200


def test_readyz_when_the_reserve_is_used_up(make_server: MakeServer):
    server = make_server(limits={"min_free_bytes": 1 << 60})
    problem = assert_problem(server.get("/readyz"), "not-ready", server)
    assert "min_free_bytes" in problem["detail"]


def test_probes_are_not_cached(server: Server):
    for path in ("/healthz", "/readyz"):
        cached = server.get(path).headers["Cache-Control"]
        assert cached is None or re.search("no-store|no-cache", cached)


def test_a_defect_tells_nothing(make_server: MakeServer):
    server = make_server()
    shutil.rmtree(server.directory / "results", ignore_errors=True)
    (server.directory / "results").write_bytes(b"in the way")
    problem = assert_problem(server.put(f"/results/{fresh_id()}.zip", b"1"), "internal", server)
    assert "results" not in json.dumps(problem).replace("/results/", "")
