"""PatientSocket: what costs a client patience, what earns it, and that nothing else does."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fileserver.core.sections import LimitSettings
from fileserver.web.patience import PatientSocket, TooSlow

LIMITS = LimitSettings(max_idle_seconds=0.5, min_bytes_per_second=1000)
DEADLINE_SECONDS = 5
SMALL_BUFFER, LARGE_BUFFER = 8192, 4_000_000
Pair = tuple[PatientSocket, socket.socket]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.connect(listener.getsockname())
        return listener.accept()[0], client


@pytest.fixture(params=[tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The server's end and the client's."""
    accepted, client = request.param()
    client.settimeout(10)
    with closing(PatientSocket(accepted, LIMITS)) as server, closing(client):
        # A patience without end fails a test, and does not hang it.
        deadline = threading.Timer(DEADLINE_SECONDS, client.close)
        deadline.start()
        yield server, client
        deadline.cancel()
        deadline.join()


def read_to_the_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1000), b""))


def test_a_client_that_sends_nothing_is_too_slow(pair: Pair):
    server, _ = pair
    start = time.monotonic()
    with pytest.raises(TooSlow):
        server.recv(100)
    assert time.monotonic() - start >= LIMITS.max_idle_seconds


def test_a_client_that_takes_nothing_is_too_slow_and_is_reset(pair: Pair):
    server, client = pair
    with pytest.raises(TooSlow):
        server.sendall(bytes(64_000_000))
    server.close()
    if client.family == socket.AF_INET:
        with pytest.raises(ConnectionResetError):
            read_to_the_end(client)


@pytest.mark.parametrize("pair", [tcp_pair], indirect=True)
def test_who_takes_little_at_a_time_is_not_too_slow(pair: Pair):
    """Of a large buffer much must be taken before the kernel tells that there is room for more."""
    server, client = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGE_BUFFER)

    def take() -> None:
        for _ in range(15):
            time.sleep(0.1)
            client.recv(4000)
        client.close()

    taker = threading.Thread(target=take)
    taker.start()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        server.sendall(bytes(4 * LARGE_BUFFER))
    taker.join()


def test_a_stricter_timeout_holds_for_receiving(pair: Pair):
    server, _ = pair
    server.settimeout(0.05)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        server.recv(100)
    assert time.monotonic() - start < LIMITS.max_idle_seconds
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(100)


def test_bytes_earn_patience(pair: Pair):
    server, client = pair

    def send() -> None:
        for _ in range(10):
            time.sleep(0.1)
            client.sendall(bytes(500))
        client.close()

    sender = threading.Thread(target=send)
    sender.start()
    received = read_to_the_end(server)
    sender.join()
    assert received == bytes(5000)


def test_many_bytes_earn_no_more_than_full_patience(pair: Pair):
    server, client = pair
    sender = threading.Thread(target=client.sendall, args=[bytes(100_000)])
    sender.start()
    start = time.monotonic()
    with pytest.raises(TooSlow):
        read_to_the_end(server)
    sender.join()
    assert time.monotonic() - start < 4 * LIMITS.max_idle_seconds


def test_time_between_calls_costs_nothing(pair: Pair):
    server, client = pair
    time.sleep(LIMITS.max_idle_seconds + 0.1)
    client.sendall(b"late")
    assert server.recv(100) == b"late"
    server.sendall(b"answer")
    assert client.recv(100) == b"answer"


def test_another_request_begins_with_full_patience(pair: Pair):
    server, client = pair
    with pytest.raises(TooSlow):
        server.recv(100)
    server.renew()
    sender = threading.Timer(0.1, client.sendall, [b"again"])
    sender.start()
    assert server.recv(100) == b"again"
    sender.join()


@pytest.mark.parametrize(
    ("offset", "count", "expected"), [(0, None, b"0123456789"), (2, 3, b"234"), (8, 5, b"89"), (0, 0, b"")]
)
def test_sendfile_sends_what_is_asked_for(pair: Pair, tmp_path: Path, offset: int, count: int | None, expected: bytes):
    server, client = pair
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        assert server.sendfile(file, offset, count) == len(expected)
    server.close()
    assert client.recv(100) == expected
