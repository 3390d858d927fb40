"""DELETE: 204 the first time, 404 from then on, and nothing is left."""

from collections.abc import Callable

import pytest

from tests.support.checks import assert_problem
from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.resources import store_as_the_original
from tests.support.targets import Server


def a_submission(server: Server) -> str:
    name = fresh_id()
    server.submit(name, {"dir/a": b"1"})
    return f"/submissions/{name}"


def a_result(server: Server) -> str:
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"1")
    return path


def an_attachment(server: Server) -> str:
    path = f"/attachments/{fresh_id()}"
    server.put(path, b"1")
    return path


def a_task_file(server: Server) -> str:
    content = fresh_bytes()
    server.post_form("/tasks", {"a": content})
    return f"/tasks/{sha1(content)}"


def an_exercise_file(server: Server) -> str:
    return a_task_file(server).replace("/tasks/", "/exercises/")


RESOURCES = [a_submission, a_result, an_attachment, a_task_file, an_exercise_file]


@pytest.mark.parametrize("make", RESOURCES)
def test_delete(server: Server, make: Callable[[Server], str]):
    path = make(server)
    assert server.get(path).status == 200
    response = server.delete(path)
    assert (response.status, response.body) == (204, b"")
    assert_problem(server.get(path), "not-found", server)
    assert_problem(server.delete(path), "not-found", server)


def test_the_archive_goes_with_its_submission(server: Server):
    path = a_submission(server)
    archive = path.replace("/submissions/", "/submission_archives/") + ".zip"
    assert server.get(archive).status == 200
    server.delete(path)
    assert_problem(server.get(archive), "not-found", server)
    assert not (server.directory / path[1:]).exists()
    assert not (server.directory / archive[1:]).exists()
    assert server.get(f"{path}/dir/a").status == 404


def test_a_deleted_submission_can_be_stored_again(server: Server):
    path = a_submission(server)
    server.delete(path)
    assert server.post_form(path, {"b": b"2"}).status == 200
    names = [file["name"] for file in server.get(path).json()["files"]]
    assert names == ["b"]


def test_both_addresses_of_a_task_file_are_one(server: Server):
    path = a_task_file(server)
    assert server.delete(path).status == 204
    assert server.get(path.replace("/tasks/", "/exercises/")).status == 404


def test_a_task_file_of_the_original_server_can_be_deleted(server: Server):
    content = fresh_bytes()
    old = store_as_the_original(server.directory, content)
    name = old.name
    server.post_form("/tasks", {"a": content})
    assert server.delete(f"/tasks/{name}").status == 204
    assert server.get(f"/tasks/{name}").status == 404
    assert not old.exists()


@pytest.mark.parametrize("path", ["/submissions/%2e%2e", "/results/%2e%2e", "/attachments/%2e", "/tasks/..%2fresults"])
def test_nothing_outside_is_deleted(server: Server, path: str):
    assert 400 <= server.delete(path).status < 500
    assert (server.directory / "staging").is_dir()
    assert (server.directory / "submissions").is_dir()
