"""Malformed framing: refused, nothing stored, and never two readings of one request."""

import socket
from contextlib import suppress

import pytest

from tests.support.clients import CutResponse, RawClient
from tests.support.messages import Response, fresh_id
from tests.support.targets import HttpServer, Server

LENGTHS = ["abc", "-1", "+5", "5x", "0x5", "5, 6", "1e3", "5.0", "\u0665"]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("path", ["/results/{}.zip", "/attachments/{}"])
def test_content_length_is_a_number(server: Server, path: str, length: str):
    path = path.format(fresh_id())
    value = length.encode().decode("latin-1")
    assert server.request("PUT", path, b"01234", {"Content-Length": value}).status == 400
    assert server.get(path).status == 404


def send_raw(server: HttpServer, path: str, headers: list[tuple[str, str]], body: bytes) -> int:
    """Return the status, 0 if the server closes without an answer."""
    with RawClient(server.address) as client:
        client.send(client.head("PUT", path, headers) + body)
        client.socket.shutdown(socket.SHUT_WR)
        try:
            response: Response = client.read_final("PUT")
        except (CutResponse, ConnectionResetError):
            return 0
        return response.status


def assert_last(server: HttpServer, headers: list[tuple[str, str]], body: bytes) -> None:
    """PUT a new result: whatever becomes of it, what follows it on the connection is nobody's request."""
    hidden = f"/results/{fresh_id()}.zip"
    with RawClient(server.address) as client:
        client.send(client.head("PUT", f"/results/{fresh_id()}.zip", headers) + body)
        client.send(client.head("PUT", hidden, {"Content-Length": "1"}) + b"1")
        client.read_final("PUT")
        with suppress(ConnectionResetError):
            assert not client.has_more()
    assert server.get(hidden).status == 404


def assert_not_stored(real_server: HttpServer, headers: list[tuple[str, str]], body: bytes) -> None:
    """PUT a new result: it is refused, or the connection is closed, and nothing is stored."""
    path = f"/results/{fresh_id()}.zip"
    status = send_raw(real_server, path, headers, body)
    assert status == 0 or 400 <= status < 500
    assert real_server.get(path).status == 404


LENIENT = [b"x\r\n01234\r\n0\r\n\r\n", b"0x5\r\n01234\r\n0\r\n\r\n"]
"""Chunks whose sizes uWSGI reads as C does, as 0 and 5; no request can follow on its connections."""


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n01234\r\n0\r\n\r\n",
        b"-5\r\n01234\r\n0\r\n\r\n",
        b"+5\r\n01234\r\n0\r\n\r\n",
        b"0x5\r\n01234\r\n0\r\n\r\n",
        b"5\r\n0123456789\r\n0\r\n\r\n",
        b"\r\n01234\r\n0\r\n\r\n",
        b"fffffffffffffffffffff\r\n01234\r\n0\r\n\r\n",
    ],
)
def test_malformed_chunks(real_server: HttpServer, body: bytes):
    if real_server.target == "uwsgi" and body in LENIENT:
        assert_last(real_server, [("Transfer-Encoding", "chunked")], body)
    else:
        assert_not_stored(real_server, [("Transfer-Encoding", "chunked"), ("Connection", "close")], body)


def test_two_framings_at_once(real_server: HttpServer):
    headers, body = [("Content-Length", "3"), ("Transfer-Encoding", "chunked")], b"5\r\n01234\r\n0\r\n\r\n"
    if real_server.target == "apache":  # It goes by the chunks and closes, as RFC 9112, 6.3 allows.
        assert_last(real_server, headers, body)
    else:
        assert_not_stored(real_server, headers, body)


def test_two_lengths(real_server: HttpServer):
    assert_not_stored(real_server, [("Content-Length", "3"), ("Content-Length", "5")], b"01234")


@pytest.mark.parametrize("coding", ["gzip", "xchunked", "chunked, gzip", "identity, x"])
def test_other_transfer_codings(real_server: HttpServer, coding: str):
    path = f"/results/{fresh_id()}.zip"
    headers = [("Transfer-Encoding", coding), ("Connection", "close")]
    status = send_raw(real_server, path, headers, b"5\r\n01234\r\n0\r\n\r\n")
    assert status == 0 or 400 <= status <= 501
    assert real_server.get(path).status == 404


def test_chunk_extensions_and_trailers_are_ignored(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    body = b"5;ext=1\r\n01234\r\nA\r\n0123456789\r\n0\r\n\r\n"
    headers = [("Transfer-Encoding", "chunked"), ("Connection", "close")]
    if real_server.target == "uwsgi":
        assert send_raw(real_server, path, headers, body) == 400, (
            "uWSGI knows no extensions: it refuses, and loses nothing"
        )
        return
    assert send_raw(real_server, path, headers, body) == 200
    assert real_server.get(path).body == b"012340123456789"


def test_pipelined_requests(gunicorn: HttpServer):
    one, two = f"/results/{fresh_id()}.zip", f"/results/{fresh_id()}.zip"
    with RawClient(gunicorn.address) as client:
        first = client.head("PUT", one, {"Content-Length": "3"}) + b"one"
        client.send(first + client.head("PUT", two, {"Content-Length": "3"}) + b"two")
        assert client.read_final("PUT").status == 200
        assert client.read_final("PUT").status == 200
    assert (gunicorn.get(one).body, gunicorn.get(two).body) == (b"one", b"two")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_body_where_none_is_expected(real_server: HttpServer, method: str):
    path = f"/results/{fresh_id()}.zip"
    real_server.put(path, b"1")
    response = real_server.request(method, path, b"unexpected")
    assert response.status in (200, 204)


def test_nothing_follows_a_request_of_unclear_length(gunicorn: HttpServer):
    """Where the server and a proxy may see different ends, what is behind it is nobody's request."""
    hidden = f"/results/{fresh_id()}.zip"
    with RawClient(gunicorn.address) as client:
        client.send(client.head("PUT", f"/results/{fresh_id()}.zip", {"Transfer-Encoding": "identity, chunked"}))
        client.send(b"0\r\n\r\n" + client.head("PUT", hidden, {"Content-Length": "1"}) + b"1")
        assert client.read_final("PUT").status == 400
        with suppress(ConnectionResetError):
            assert not client.has_more()
    assert gunicorn.get(hidden).status == 404
