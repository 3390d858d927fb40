"""The paths under which later workers ask the API server itself."""

import pytest

from tests.support.checks import archive_files, assert_problem, stored_names
from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.targets import Server

BASE = "/v1/worker-files"
TYPES = ["student", "reference"]


@pytest.mark.parametrize("kind", TYPES)
def test_archive(server: Server, kind: str):
    name = fresh_id()
    server.submit(f"{kind}_{name}", {"a.c": b"1", "job-config.yml": b"2"})
    response = server.get(f"{BASE}/submission-archive/{kind}/{name}")
    same = server.get(f"/submission_archives/{kind}_{name}.zip")
    assert (response.status, response.body) == (200, same.body)
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["ETag"] == same.headers["ETag"]
    assert archive_files(server, f"{kind}_{name}") == {"a.c": b"1", "job-config.yml": b"2"}


@pytest.mark.parametrize("kind", TYPES)
def test_result(server: Server, kind: str):
    name, content = fresh_id(), fresh_bytes(50_000)
    response = server.put(f"{BASE}/result/{kind}/{name}", content)
    assert (response.status, response.json()) == (200, {"result": "OK"})
    stored = server.get(f"/results/{kind}_{name}.zip")
    assert (stored.status, stored.body) == (200, content)
    assert server.put(f"{BASE}/result/{kind}/{name}", b"again").status == 200
    assert server.get(f"/results/{kind}_{name}.zip").body == b"again"


def test_exercise_file(server: Server):
    content = fresh_bytes()
    server.post_form("/exercises", {"a": content})
    response = server.get(f"{BASE}/exercise-file/{sha1(content)}")
    assert (response.status, response.body) == (200, content)
    assert response.headers["ETag"] == server.get(f"/tasks/{sha1(content)}").headers["ETag"]


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_not_there(server: Server, kind: str):
    path = f"{BASE}/submission-archive/{kind}/{fresh_id()}"
    assert_problem(server.get(path), "not-found", server)
    assert_problem(server.get(f"{BASE}/exercise-file/{'0' * 40}"), "not-found", server)


@pytest.mark.parametrize("kind", ["teacher", "Student", "", "..", "%2e%2e", "student_"])
def test_other_types(server: Server, kind: str):
    name = fresh_id()
    server.submit(f"{kind}_{name}".replace("/", "x"), {"a": b"1"})
    before = stored_names(server.directory)
    assert server.get(f"{BASE}/submission-archive/{kind}/{name}").status in (400, 404)
    assert server.put(f"{BASE}/result/{kind}/{name}", b"1").status in (400, 404)
    assert stored_names(server.directory) == before


@pytest.mark.parametrize("name", ["a%00b", "a%5cb", "%ff", "x" * 300, "a%2fb"])
def test_bad_ids(server: Server, name: str):
    before = stored_names(server.directory)
    assert 400 <= server.put(f"{BASE}/result/student/{name}", b"1").status < 500
    assert 400 <= server.get(f"{BASE}/submission-archive/student/{name}").status < 500
    assert stored_names(server.directory) == before
