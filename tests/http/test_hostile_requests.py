"""Requests that no real client sends: each is refused, or does no harm."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.checks import assert_problem
from tests.support.clients import RawClient
from tests.support.messages import digest_field, fresh_id, part
from tests.support.pool import MakeServer
from tests.support.servers import wait_until
from tests.support.targets import FlaskServer, HttpServer, Server

SHA1 = b"a" * 40


def test_a_put_without_any_length_does_not_empty_a_result(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    real_server.put(path, b"good")
    with RawClient(real_server.address) as client:
        client.send(client.head("PUT", path))
        assert_problem(client.read_final("PUT"), "length-required", real_server)
    assert real_server.get(path).body == b"good"


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "identity"])
def test_a_transfer_coding_other_than_chunked_is_refused(server: Server, coding: str):
    path = f"/results/{fresh_id()}.zip"
    response = server.request("PUT", path, b"1\r\nx\r\n0\r\n\r\n", {"Transfer-Encoding": coding})
    assert response.status in (400, 501)
    assert server.get(path).status == 404


@pytest.mark.parametrize("condition", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_conditional_write_is_not_done_without_looking_at_its_condition(server: Server, method: str, condition: str):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"old")
    value = "Fri, 20 Nov 2020 10:00:00 GMT" if condition.endswith("Since") else '"x"'
    assert_problem(server.request(method, path, b"", {condition: value}), "invalid-request", server)
    assert server.get(path).body == b"old"


@pytest.mark.parametrize("path", ["//results/x.zip", "///", "//submissions/x"])
def test_slashes_in_front_are_not_dropped(server: Server, path: str):
    assert_problem(server.get(path), "invalid-name", server)


def test_every_digest_field_of_a_part_is_verified(server: Server):
    name = fresh_id()
    fields = [("Content-Digest", digest_field(b"x")), ("Content-Digest", digest_field(b"y", "sha-512"))]
    response = server.post_parts(f"/submissions/{name}", [part("a", b"x", headers=fields)])
    assert_problem(response, "digest-mismatch", server)


@pytest.mark.parametrize(
    "question", [b'{"hashes": {"%s": 1}}' % (b"a" * 40), b"{", b"[]", b'{"hashes": "' + b"a" * 40 + b'"}']
)
def test_a_question_for_missing_files_has_one_form(server: Server, question: bytes):
    assert_problem(server.request("POST", "/tasks/missing", question), "invalid-request", server)


def test_a_file_larger_than_allowed_is_refused_before_it_is_sent(make_server: MakeServer):
    server: FlaskServer = make_server(limits={"max_file_bytes": 10})
    response = server.request("PUT", "/results/a.zip", b"", {"Content-Length": "11"})
    assert "max_file_bytes" in assert_problem(response, "limit-exceeded", server)["detail"]


def test_refused_clients_that_send_nothing_hold_no_threads(gunicorn: HttpServer):
    """More of them than the server has threads; all are gone before the next request would be late."""
    with ExitStack() as stack:
        for _ in range(24):
            client = stack.enter_context(RawClient(gunicorn.address))
            client.send(client.head("PUT", "/nosuch", {"Content-Length": "10"}))
        with RawClient(gunicorn.address, timeout=15) as client:
            assert client.request("GET", "/healthz").status == 200


def test_a_date_in_if_range_joins_no_two_versions(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"old bytes")
    date = server.get(path).headers["Last-Modified"]
    server.put(path, b"new bytes")
    assert server.get(path, {"Range": "bytes=4-", "If-Range": date}).body == b"new bytes"


def test_a_date_in_if_range_holds_for_an_old_file(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"old bytes")
    os.utime(server.directory / path.lstrip("/"), (1_600_000_000, 1_600_000_000))
    date = server.get(path).headers["Last-Modified"]
    assert server.get(path, {"Range": "bytes=4-", "If-Range": date}).body == b"bytes"


def test_the_server_goes_on_when_somebody_clears_staging(make_server: MakeServer):
    server: FlaskServer = make_server()
    shutil.rmtree(server.directory / "staging")
    for path in ("/", "/readyz"):
        assert server.get(path).status == 200
    assert server.put("/results/a.zip", b"1").status == 200
    assert server.submit("a", {"b": b"1"}).status == 200


def test_an_archive_is_rebuilt_when_the_reserve_is_used_up(make_server: MakeServer):
    server: FlaskServer = make_server()
    server.submit("job", {"a": b"1"})
    (server.directory / "submission_archives" / "job.zip").unlink()
    server = make_server(limits={"min_free_bytes": 1 << 60})
    assert server.get("/submission_archives/job.zip").status == 200


def test_a_download_of_a_file_that_is_cut_meanwhile_ends_the_connection(gunicorn: HttpServer):
    """Otherwise the next answer on the connection would fill the file up."""
    path, size = f"/results/{fresh_id()}.zip", 64 * 1024 * 1024
    gunicorn.put(path, bytes(size))
    stored: Path = gunicorn.directory / path.lstrip("/")
    with RawClient(gunicorn.address) as client:
        client.send(client.head("GET", path) + client.head("GET", "/healthz"))
        client.answers_within(5)
        os.truncate(stored, 1000)
        received = b""
        while data := client.socket.recv(1 << 20):
            received += data
    assert b'"status":"ok"' not in received


def test_a_cut_file_in_several_ranges_ends_the_connection(gunicorn: HttpServer):
    path, size = f"/results/{fresh_id()}.zip", 64 * 1024 * 1024
    gunicorn.put(path, bytes(size))
    with RawClient(gunicorn.address) as client:
        ranges = {"Range": "bytes=0-30000000,40000000-60000000"}
        client.send(client.head("GET", path, ranges) + client.head("GET", "/healthz"))
        client.answers_within(5)
        os.truncate(gunicorn.directory / path.lstrip("/"), 1000)
        received = b""
        while data := client.socket.recv(1 << 20):
            received += data
    assert b'"status":"ok"' not in received


def test_refused_clients_that_trickle_hold_no_threads(gunicorn: HttpServer):
    """Each sends a byte now and then, so that it is never silent; all are dropped after a few seconds."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(gunicorn.address)) for _ in range(16)]
        for client in clients:
            client.send(client.head("PUT", "/nosuch", {"Content-Length": "1000000"}))
        asking = stack.enter_context(RawClient(gunicorn.address, timeout=20))
        asking.send(asking.head("GET", "/healthz"))

        def trickle_and_look() -> bool:
            for client in clients:
                client.send(b"x")
            return asking.answers_within(0.2)

        assert wait_until(trickle_and_look, 15)


def test_the_length_of_a_part_is_verified(server: Server):
    name = fresh_id()
    response = server.post_parts(f"/submissions/{name}", [part("a", b"1", headers={"Content-Length": "5"})])
    assert_problem(response, "incomplete-body", server)
    assert server.get(f"/submissions/{name}").status == 404


@pytest.mark.parametrize("size", [261_797, 261_798, 261_960, 261_961, 261_962, 262_100])
def test_a_form_is_stored_as_sent_wherever_a_read_ends(server: Server, size: int):
    name = fresh_id()
    files = {"big.bin": b"z" * size, "job-config.yml": b"submission: x\n"}
    assert server.submit(name, files).status == 200
    for path, content in files.items():
        assert server.get(f"/submissions/{name}/{path}").body == content


def test_a_length_of_thousands_of_digits_is_refused(server: Server):
    path = f"/results/{fresh_id()}.zip"
    assert server.request("PUT", path, b"", {"Content-Length": "1" * 5000}).status == 400
    response = server.post_parts(f"/submissions/{fresh_id()}", [part("a", headers={"Content-Length": "1" * 5000})])
    assert_problem(response, "invalid-request", server)


@pytest.mark.parametrize("header", ["SCRIPT_NAME", "PATH_INFO"])
def test_no_header_chooses_which_part_of_the_path_counts(real_server: HttpServer, header: str):
    """Otherwise the path is not the one that a proxy's rules have seen."""
    name = fresh_id()
    for value in ("/results", "/elsewhere"):
        response = real_server.request("PUT", f"/results/results/{name}.zip", b"1", {header: value})
        assert_problem(response, "not-found", real_server)
    assert real_server.get(f"/results/{name}.zip").status == 404
