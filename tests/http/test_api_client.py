"""What the API server's client (PHP, Guzzle) sends and relies on."""

from collections.abc import Iterator

import pytest

from tests.support.checks import archive_entries, submission_files
from tests.support.clients import ApiClient
from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.targets import HttpServer

CONFIG = b"tasks: []\n"


@pytest.fixture
def api(real_server: HttpServer) -> Iterator[ApiClient]:
    with ApiClient(real_server.address) as client:
        yield client


def test_api_sends_a_submission(real_server: HttpServer, api: ApiClient):
    name = fresh_id()
    files = {"main.c": b"int main;", "dir/inner.c": b"x", "empty": b"", "0": b"zero"}
    response = api.send_files(name, files, CONFIG)
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    paths = response.json()
    assert paths["archive_path"].startswith("/")
    assert paths["result_path"].startswith("/")
    assert submission_files(real_server, name) == files | {"job-config.yml": CONFIG}
    entries = archive_entries(api.get(paths["archive_path"]))
    assert entries[f"{name}/job-config.yml"] == CONFIG


def test_api_waits_for_the_result(real_server: HttpServer, api: ApiClient):
    path = api.send_files(fresh_id(), {"a.c": b"1"}).json()["result_path"]
    assert 400 <= api.get(path).status < 500
    real_server.put(path, b"PK result")
    response = api.get(path)
    assert (response.status, response.body) == (200, b"PK result")
    assert response.headers["Content-Type"] == "application/zip"


def test_api_sends_task_files(api: ApiClient):
    files = {"1.in": fresh_bytes(), "dir/2.in": fresh_bytes(), "empty": b"", "0": b"zero"}
    response = api.send_task_files(files)
    assert response.status == 200
    stored = response.json()["files"]
    assert stored == {name: f"/exercises/{sha1(content)}" for name, content in files.items()}
    for name, path in stored.items():
        assert api.get(path).body == files[name]


def test_api_sends_no_task_files(api: ApiClient):
    response = api.send_task_files({})
    assert response.status == 200
    assert response.body == b'{"files":{},"result":"OK"}\n'


@pytest.mark.parametrize("name", ["a b[1]!.c", "ž/ů.c", 'q"uote.c', "per%22cent.c", "UPPER (2).C", "-", "x.tar.gz"])
def test_names_are_literal(real_server: HttpServer, api: ApiClient, name: str):
    submission = fresh_id()
    assert api.send_files(submission, {name: b"1"}, CONFIG).status == 200
    assert submission_files(real_server, submission) == {name: b"1", "job-config.yml": CONFIG}


def test_a_backslash_is_refused(real_server: HttpServer, api: ApiClient):
    submission = fresh_id()
    assert api.send_files(submission, {"back\\slash.c": b"1"}).status == 400
    assert submission_files(real_server, submission) is None


@pytest.mark.parametrize("size", [1000, 1_000_000, 3_000_000])
def test_large_forms_wait_for_no_second(real_server: HttpServer, api: ApiClient, size: int):
    name, content = fresh_id(), fresh_bytes(size)
    assert api.send_files(name, {"big": content}, CONFIG).status == 200
    assert not api.waited, "no 100 Continue came within a second"
    assert real_server.get(f"/submissions/{name}/big").body == content


def test_many_requests_on_one_client(api: ApiClient):
    """Whether or not the server keeps the connection, each answer belongs to its request."""
    for number in range(10):
        name, content = fresh_id(), fresh_bytes(number)
        path = api.send_files(name, {"a.c": content}).json()["archive_path"]
        assert archive_entries(api.get(path))[f"{name}/a.c"] == content
        assert api.get(f"/results/{fresh_id()}.zip").status == 404
        assert api.send_files(name, {"../x": content}).status == 400


def test_connection_is_reused(gunicorn: HttpServer):
    with ApiClient(gunicorn.address) as api:
        for _ in range(5):
            assert api.send_files(fresh_id(), {"a.c": b"1"}).status == 200
        assert api.reused == 4


def test_two_hundred_task_files(api: ApiClient):
    files = {f"{number}.in": fresh_bytes(50) for number in range(200)}
    stored = api.send_task_files(files).json()["files"]
    assert stored == {name: f"/exercises/{sha1(content)}" for name, content in files.items()}
