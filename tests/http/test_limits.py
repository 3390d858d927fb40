"""What the server takes, what it refuses when a quota is used up, and what it tells of both."""

import pytest

from tests.support.checks import assert_problem
from tests.support.messages import Response, fresh_bytes
from tests.support.pool import MakeServer
from tests.support.resources import store_as_the_original
from tests.support.targets import FlaskServer, Server

CONTENT = b"0123456789"


def write_submission(server: FlaskServer, name: str) -> Response:
    return server.submit(name, {"a": CONTENT})


def write_result(server: FlaskServer, name: str) -> Response:
    return server.put(f"/results/{name}.zip", CONTENT)


def write_attachment(server: FlaskServer, name: str) -> Response:
    return server.put(f"/attachments/{name}", CONTENT)


def write_task_file(server: FlaskServer, name: str) -> Response:
    return server.post_form("/tasks", {"a": name.encode().ljust(10)})


WRITES = {
    "submissions": write_submission,
    "results": write_result,
    "attachments": write_attachment,
    "task_files": write_task_file,
}


@pytest.mark.parametrize("resource", WRITES)
@pytest.mark.parametrize("suffix", ["", "_bytes"])
def test_a_quota_refuses_what_is_more_and_names_itself(make_server: MakeServer, resource: str, suffix: str):
    setting, write = f"max_{resource}{suffix}", WRITES[resource]
    server = make_server(quotas={setting: 29 if suffix else 2})
    assert [write(server, name).status for name in ("a", "b")] == [200, 200]
    refused = write(server, "c")
    assert_problem(refused, "quota-exceeded", server)
    assert refused.json()["setting"] == setting
    assert setting in refused.json()["detail"]
    assert server.get("/limits").json()["quotas"][setting] == {
        "limit": 29 if suffix else 2,
        "used": 20 if suffix else 2,
    }
    assert write(server, "a").status == 200


def test_what_is_deleted_makes_room(make_server: MakeServer):
    server = make_server(quotas={"max_results": 1})
    assert write_result(server, "a").status == 200
    assert write_result(server, "b").status == 507
    assert server.delete("/results/a.zip").status == 204
    assert write_result(server, "b").status == 200


def test_a_form_of_task_files_that_exceeds_the_quota_stores_none(make_server: MakeServer):
    server = make_server(quotas={"max_task_files": 2})
    files = {str(number): fresh_bytes(10) for number in range(3)}
    assert_problem(server.post_form("/tasks", files), "quota-exceeded", server)
    assert server.get("/limits").json()["quotas"]["max_task_files"]["used"] == 0
    files.popitem()
    assert server.post_form("/tasks", files).status == 200
    assert server.post_form("/tasks", files).status == 200


def test_a_task_file_of_the_original_server_can_be_sent_again_whatever_the_quota(make_server: MakeServer):
    server = make_server(quotas={"max_task_files": 1})
    path = store_as_the_original(server.directory, CONTENT)
    server = make_server(quotas={"max_task_files": 1})
    assert server.post_form("/tasks", {"a": CONTENT}).status == 200
    assert not path.exists()


def test_a_quota_that_is_used_up_leaves_the_old_submission_and_its_archive(make_server: MakeServer):
    server = make_server(quotas={"max_submissions_bytes": 15})
    assert server.submit("a", {"a": CONTENT}).status == 200
    archive = server.get("/submission_archives/a.zip").body
    assert server.submit("a", {"a": CONTENT, "b": CONTENT}).status == 507
    assert server.get("/submission_archives/a.zip").body == archive


def test_limits_are_told_by_the_names_of_their_settings(make_server: MakeServer):
    server = make_server(limits={"max_parts": 7, "min_free_bytes": 1000}, quotas={"max_results": 5})
    told = server.get("/limits").json()
    assert told["limits"]["max_parts"] == 7
    assert told["limits"]["min_free_bytes"] == 1000
    assert told["quotas"]["max_results"] == {"limit": 5, "used": 0}
    assert told["quotas"]["max_attachments"] == {"limit": None, "used": 0}
    space = told["space"]
    assert space["bytes_free"] == space["bytes_free_for_uploads"] + 1000 == space["bytes_free_for_results"] + 100


@pytest.mark.parametrize("path", ["/submissions/a", "/results/a.zip", "/tasks", "/attachments/a"])
def test_options_of_what_can_be_written_tell_the_limits(server: Server, path: str):
    response = server.request("OPTIONS", path)
    assert response.status == 200
    assert response.headers["Allow"]
    assert response.json()["limits"] == server.get("/limits").json()["limits"]


def test_a_limit_and_the_reserve_name_their_settings(make_server: MakeServer):
    server = make_server(limits={"max_file_bytes": 5})
    assert server.put("/results/a.zip", CONTENT).json()["setting"] == "max_file_bytes"
    server = make_server(limits={"min_free_bytes": 1 << 60})
    assert server.put("/attachments/a", CONTENT).json()["setting"] == "min_free_bytes"


def test_the_reserve_is_kept_for_results(make_server: MakeServer):
    free = make_server().get("/limits").json()["space"]["bytes_free"]
    server = make_server(limits={"min_free_bytes": 2 * free})
    assert [write(server, "a").status for write in WRITES.values()] == [507, 200, 507, 507]
    server = make_server(limits={"min_free_bytes": 20 * free})
    assert write_result(server, "a").status == 507
