"""Every limit: what is just allowed, what is refused, and that the detail names the setting."""

import pytest

from tests.support.checks import assert_problem, stored_names, submission_files
from tests.support.messages import fresh_bytes, part, sha1
from tests.support.pool import MakeServer
from tests.support.targets import Server


def assert_limit(response, server: Server, setting: str, kind: str = "limit-exceeded") -> None:
    assert setting in assert_problem(response, kind, server)["detail"]


def test_max_parts(make_server: MakeServer):
    server = make_server(limits={"max_parts": 10})
    files = {str(number): b"x" for number in range(10)}
    assert server.submit("job", files).status == 200
    before = stored_names(server.directory)
    response = server.submit("job", files | {"10": b"x"})
    assert_limit(response, server, "max_parts")
    assert_limit(server.post_form("/tasks", files | {"10": b"x"}), server, "max_parts")
    assert stored_names(server.directory) == before
    assert submission_files(server, "job") == files


def test_dropped_parts_count_as_parts(make_server: MakeServer):
    server = make_server(limits={"max_parts": 10})
    assert server.submit("job", [("a", b"x")] * 10).status == 200
    assert_limit(server.submit("job", [("a", b"x")] * 11), server, "max_parts")


@pytest.mark.parametrize("path", ["/results/a.zip", "/attachments/a"])
def test_max_file_bytes_of_a_raw_upload(make_server: MakeServer, path: str):
    server = make_server(limits={"max_file_bytes": 1000})
    content = fresh_bytes(1000)
    assert server.put(path, content).status == 200
    assert_limit(server.put(path, fresh_bytes(1001)), server, "max_file_bytes")
    assert_limit(server.put_chunked(path, fresh_bytes(1001)), server, "max_file_bytes")
    assert server.get(path).body == content
    assert not server.transactions()


def test_max_file_bytes_of_a_part(make_server: MakeServer):
    server = make_server(limits={"max_file_bytes": 1000})
    content = fresh_bytes(1001)
    assert server.submit("job", {"a": content[:1000], "b": content[:1000]}).status == 200
    assert_limit(server.submit("job", {"a": b"", "b": content}), server, "max_file_bytes")
    assert_limit(server.post_form("/tasks", {"a": content}), server, "max_file_bytes")
    assert submission_files(server, "job") == {"a": content[:1000], "b": content[:1000]}
    assert server.get(f"/tasks/{sha1(content)}").status == 404
    assert not server.transactions()


def test_max_request_bytes(make_server: MakeServer):
    server = make_server(limits={"max_request_bytes": 5000})
    assert server.put("/results/a.zip", bytes(5000)).status == 200
    assert_limit(server.put("/results/a.zip", bytes(5001)), server, "max_request_bytes")
    assert_limit(server.put_chunked("/results/a.zip", bytes(5001)), server, "max_request_bytes")
    assert_limit(server.submit("job", {"a": bytes(5000)}), server, "max_request_bytes")
    assert_limit(server.submit("job", {"a": bytes(3000), "b": bytes(3000)}), server, "max_request")
    assert_limit(server.post_form("/tasks", {"a": bytes(5000)}), server, "max_request_bytes")
    assert server.get("/results/a.zip").body == bytes(5000)
    assert submission_files(server, "job") is None


def test_max_request_bytes_is_checked_before_the_body_is_read(make_server: MakeServer):
    server = make_server(limits={"max_request_bytes": 5000})
    headers = {"Content-Length": "1000000000000"}
    response = server.request("PUT", "/results/a.zip", b"", headers)
    assert_limit(response, server, "max_request_bytes")


def test_max_request_bytes_holds_for_questions_too(make_server: MakeServer):
    server = make_server(limits={"max_request_bytes": 5000})
    body = b'{"hashes": [%s]}' % b",".join([b'"%s"' % (b"a" * 40)] * 200)
    headers = {"Content-Type": "application/json"}
    response = server.request("POST", "/tasks/missing", body, headers)
    assert_limit(response, server, "max_request_bytes")


@pytest.mark.parametrize(
    ("setting", "value", "good", "bad"),
    [
        ("max_name_bytes", 10, "a/" + "x" * 10, "a/" + "x" * 11),
        ("max_name_bytes", 10, "ä" * 5, "ä" * 5 + "x"),
        ("max_path_bytes", 10, "aaaa/bbbbb", "aaaa/bbbbbb"),
        ("max_path_bytes", 10, "ä" * 5, "ä" * 5 + "x"),
        ("max_path_depth", 3, "a/b/c", "a/b/c/d"),
    ],
)
def test_limits_of_names(make_server: MakeServer, setting: str, value: int, good: str, bad: str):
    server = make_server(limits={setting: value})
    assert server.submit("job", {good: b"1"}).status == 200
    response = server.submit("job", {good: b"2", bad: b"2"})
    assert_limit(response, server, setting, "invalid-name")
    assert submission_files(server, "job") == {good: b"1"}


def test_max_path_bytes_of_a_key(make_server: MakeServer):
    server = make_server(limits={"max_path_bytes": 10})
    assert server.post_form("/tasks", {"x" * 10: b"1"}).status == 200
    response = server.post_form("/tasks", {"x" * 11: b"2"})
    assert_limit(response, server, "max_path_bytes", "invalid-name")


def test_min_free_bytes(make_server: MakeServer):
    server = make_server(limits={"min_free_bytes": 1 << 60})
    before = stored_names(server.directory)
    kind = "insufficient-storage"
    for response in (
        server.put("/results/a.zip", b"1"),
        server.put_chunked("/results/a.zip", b"1" * 100_000),
        server.put("/attachments/a", b"1"),
        server.submit("job", {"a": b"1"}),
        server.post_form("/tasks", {"a": b"1"}),
        server.put("/v1/worker-files/result/student/a", b"1"),
    ):
        assert_limit(response, server, "min_free_bytes", kind)
    assert stored_names(server.directory) == before


def test_what_is_stored_can_be_read_and_deleted_on_a_full_disk(make_server: MakeServer):
    make_server().put("/results/a.zip", b"1")
    make_server().submit("job", {"a": b"1"})
    server = make_server(limits={"min_free_bytes": 1 << 60})
    assert server.get("/results/a.zip").body == b"1"
    assert server.get("/submission_archives/job.zip").status == 200
    assert server.delete("/results/a.zip").status == 204
    assert server.delete("/submissions/job").status == 204


def test_headers_of_a_part_are_limited(server: Server):
    many = {f"X-{number}": "x" * 100 for number in range(20_000)}
    response = server.post_parts("/submissions/many-headers", [part("a", headers=many)])
    assert response.status in (400, 413)
    assert server.get("/submissions/many-headers").status == 404
