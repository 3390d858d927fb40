"""Clients that vanish, stall, or push a body that nobody wants."""

import socket
import struct

import pytest

from tests.support.checks import assert_problem
from tests.support.clients import CutResponse, RawClient
from tests.support.messages import form, fresh_bytes, fresh_id, part, sha1
from tests.support.servers import wait_until
from tests.support.targets import HttpServer

MIB = 1024 * 1024


def start_put(client: RawClient, path: str, announced: int, sent: bytes) -> None:
    head = client.head("PUT", path, {"Content-Length": str(announced)})
    client.send(head + sent)


def vanish(client: RawClient, reset: bool) -> None:
    """Close the connection; with *reset* as a killed machine's peer sees it."""
    if reset:
        linger = struct.pack("ii", 1, 0)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_worker_that_dies_leaves_the_old_result(real_server: HttpServer, reset: bool):
    path = f"/results/{fresh_id()}.zip"
    real_server.put(path, b"good")
    client = RawClient(real_server.address)
    start_put(client, path, MIB, bytes(300_000))
    assert wait_until(lambda: bool(real_server.transactions())), "the body is being received"
    vanish(client, reset)
    assert wait_until(lambda: not real_server.transactions())
    assert real_server.get(path).body == b"good"


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_form_leaves_nothing(real_server: HttpServer, reset: bool):
    name = fresh_id()
    headers, body = form([part("a", b"1"), part("b", bytes(300_000))])
    headers["Content-Length"] = str(len(body))
    client = RawClient(real_server.address)
    client.send(client.head("POST", f"/submissions/{name}", headers) + body[:200_000])
    assert wait_until(lambda: bool(real_server.transactions()))
    vanish(client, reset)
    assert wait_until(lambda: not real_server.transactions())
    assert real_server.get(f"/submissions/{name}").status == 404


def test_a_half_closed_connection_is_told_what_is_wrong(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    with RawClient(real_server.address) as client:
        start_put(client, path, 1000, b"only this")
        client.socket.shutdown(socket.SHUT_WR)
        try:
            response = client.read_final("PUT")
            if real_server.target == "apache":
                assert response.status == 500, "it is Apache that misses the rest, and has one answer to that"
            else:
                assert_problem(response, "incomplete-body", real_server)
        except (CutResponse, ConnectionResetError):
            pass  # closed without an answer, which a dead client does not miss
    assert real_server.get(path).status == 404


def test_a_cut_chunked_body_stores_nothing(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    with RawClient(real_server.address) as client:
        head = client.head("PUT", path, {"Transfer-Encoding": "chunked"})
        client.send(head + b"5\r\n01234\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        try:
            assert client.read_final("PUT").status >= 400
        except (CutResponse, ConnectionResetError):
            pass
    assert real_server.get(path).status == 404


def test_a_reader_that_vanishes_disturbs_nobody(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    content = fresh_bytes(4 * MIB)
    real_server.put(path, content)
    for _ in range(4):
        client = RawClient(real_server.address)
        client.send(client.head("GET", path))
        assert client.answers_within(5)
        vanish(client, reset=True)
    assert real_server.get(path).body == content


@pytest.mark.parametrize("size", [5 * MIB, 8 * MIB])
def test_a_body_over_the_limit_is_told_so_while_it_is_pushed(strict_server: HttpServer, size: int):
    path = f"/results/{fresh_id()}.zip"
    for _ in range(3):
        with RawClient(strict_server.address) as client:
            start_put(client, path, size, bytes(size))
            problem = assert_problem(client.read_final("PUT"), "limit-exceeded", strict_server)
        assert "max_request_bytes" in problem["detail"]
    assert strict_server.get(path).status == 404


def test_a_form_over_the_limit_is_told_so_while_it_is_pushed(strict_server: HttpServer):
    name = fresh_id()
    headers, body = form([part("a", bytes(8 * MIB))])
    response = strict_server.request("POST", f"/submissions/{name}", body, headers)
    assert_problem(response, "limit-exceeded", strict_server)
    assert strict_server.get(f"/submissions/{name}").status == 404


def test_a_chunked_body_over_the_limit(strict_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    response = strict_server.put_chunked(path, bytes(8 * MIB))
    assert_problem(response, "limit-exceeded", strict_server)
    assert strict_server.get(path).status == 404


def test_an_endless_body_is_not_read_for_ever(unaided_strict_server: HttpServer):
    """Reading on, so that the answer arrives, has an end; that of nginx is told in seconds."""
    strict_server = unaided_strict_server
    with RawClient(strict_server.address) as client:
        client.send(client.head("PUT", "/results/endless.zip", {"Content-Length": str(1 << 40)}))
        block = bytes(MIB)
        sent = 0
        while sent < 256 * MIB and client.send(block):
            sent += MIB
        assert sent < 256 * MIB
    assert strict_server.get("/results/endless.zip").status == 404


def test_refused_requests_with_a_body_keep_the_connection_in_step(real_server: HttpServer):
    """What is left of a refused body is never taken for the next request."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with RawClient(real_server.address) as client:
        response = client.request("PUT", f"/{fresh_id()}", smuggled)
        assert response.status == 404
        assert not client.reusable or not client.answers_within(0.05)


def test_a_stalled_body_times_out(strict_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    with RawClient(strict_server.address) as client:
        start_put(client, path, 1000, b"start")
        try:
            assert_problem(client.read_final("PUT"), "body-timeout", strict_server)
        except (CutResponse, ConnectionResetError):
            pass  # or it is closed
    assert wait_until(lambda: not strict_server.transactions())
    assert strict_server.get(path).status == 404
    assert strict_server.put(path, b"again").status == 200


def test_a_stalled_form_times_out(strict_server: HttpServer):
    headers, body = form([part("a", fresh_bytes(1000))])
    headers["Content-Length"] = str(len(body))
    with RawClient(strict_server.address) as client:
        client.send(client.head("POST", "/submissions/stalled", headers) + body[:700])
        try:
            assert_problem(client.read_final("POST"), "body-timeout", strict_server)
        except (CutResponse, ConnectionResetError):
            pass
    assert wait_until(lambda: not strict_server.transactions())
    assert strict_server.get("/submissions/stalled").status == 404


def test_a_slow_body_is_no_stalled_one(strict_server: HttpServer):
    """The time runs from byte to byte: a body may take longer than max_idle_seconds."""
    path = f"/results/{fresh_id()}.zip"
    with RawClient(strict_server.address) as client:
        start_put(client, path, 5, b"a")
        for byte in (b"b", b"c", b"d", b"e"):
            assert not client.answers_within(0.4)
            client.send(byte)
        assert client.read_final("PUT").status == 200
    assert strict_server.get(path).body == b"abcde"


def test_a_vanished_upload_of_a_task_file_can_be_repeated(real_server: HttpServer):
    content = fresh_bytes(200_000)
    headers, body = form([part("a", content)])
    headers["Content-Length"] = str(len(body))
    client = RawClient(real_server.address)
    client.send(client.head("POST", "/exercises", headers) + body[:100_000])
    client.close()
    assert real_server.get(f"/exercises/{sha1(content)}").status == 404
    assert real_server.post_form("/exercises", {"a": content}).status == 200
    assert real_server.get(f"/exercises/{sha1(content)}").body == content
