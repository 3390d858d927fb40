"""Slow clients hold nothing up: they are cut off in the head, the body and the answer; who is not that slow is not."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.conftest import Tally
from tests.crash.drips import (
    BODIES,
    HEADS,
    begun,
    drip_until,
    ended,
    paced,
    sip_until,
    tiny_readers,
    unread_body,
    was_reset,
)
from tests.support.checks import assert_problem
from tests.support.clients import CutResponse, RawClient
from tests.support.hammer import together
from tests.support.memory import processes
from tests.support.messages import fresh_bytes, fresh_id, part
from tests.support.servers import gunicorn_server, wait_until
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

THREADS = 4
ALLOWANCE_SECONDS = 1
MIN_BYTES_PER_SECOND = 5_000
ALLOWED_BYTES_PER_SECOND = 4 * MIN_BYTES_PER_SECOND

BOUND_SECONDS = 6 * ALLOWANCE_SECONDS
"""For two slow clients after each other on every thread: three times what they may take, for a busy machine."""

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """One process with THREADS threads."""
    env = {
        "FILESERVER_MAX_IDLE_SECONDS": str(ALLOWANCE_SECONDS),
        "FILESERVER_MIN_BYTES_PER_SECOND": str(MIN_BYTES_PER_SECOND),
    }
    directory = tmp_path_factory.mktemp("impatient") / "work"
    with gunicorn_server(directory, env=env, flags=["-w", "1", "--threads", str(THREADS)]) as server:
        yield server
        assert wait_until(lambda: not server.transactions())


@pytest.fixture(scope="module")
def large(impatient: HttpServer) -> str:
    """The path of a result of 50 MiB."""
    path = f"/results/{fresh_id()}.zip"
    assert impatient.put(path, fresh_bytes(50 * MIB)).status == 200
    return path


def seconds_to_serve(server: HttpServer, meanwhile: Callable[[Callable[[], bool]], bool]) -> float:
    """How long a quick client waits for its answer while *meanwhile* keeps the slow ones going."""
    start = time.monotonic()
    with RawClient(server.address) as asking:
        asking.send(asking.head("GET", "/healthz"))
        assert meanwhile(lambda: asking.answers_within(0)), "a quick client was not served"
        assert asking.read_final("GET").status == 200
    return time.monotonic() - start


def test_a_slow_body_is_cut_off_with_a_reason(impatient: HttpServer, tally: Tally):
    with begun(impatient, [begin for begin in BODIES for _ in range(2)]) as clients:
        seconds_to_serve(impatient, lambda done: drip_until(clients, done, BOUND_SECONDS))
        assert drip_until(clients, lambda: all(map(ended, clients)), BOUND_SECONDS)
        for client in clients:
            problem = assert_problem(client.read_final("PUT"), "body-timeout", impatient)
            assert "max_idle_seconds" in problem["detail"]
            assert "min_bytes_per_second" in problem["detail"]
    tally.add("slow clients cut off", len(clients))


def test_a_slow_head_is_cut_off(impatient: HttpServer, tally: Tally):
    with begun(impatient, [begin for begin in HEADS for _ in range(4)]) as clients:
        seconds_to_serve(impatient, lambda done: drip_until(clients, done, BOUND_SECONDS))
        assert drip_until(clients, lambda: all(map(ended, clients)), BOUND_SECONDS)
        for client in clients:
            with pytest.raises((CutResponse, ConnectionResetError)):
                client.read_final("GET")
    tally.add("slow clients cut off", len(clients))


def test_a_head_has_less_time_than_a_body(tmp_path: Path):
    """It costs its sender nothing; so it may not cost the server a thread for all of max_idle_seconds."""
    with gunicorn_server(tmp_path / "work") as server, RawClient(server.address, timeout=40) as client:
        client.send(b"G")
        with pytest.raises((CutResponse, ConnectionResetError)):
            client.read_final("GET")


def test_a_slow_reader_is_cut_off(impatient: HttpServer, tally: Tally, large: str):
    with tiny_readers(impatient, large, 2 * THREADS) as clients:
        seconds_to_serve(impatient, lambda done: sip_until(clients, done, BOUND_SECONDS))
        assert sip_until(clients, lambda: all(map(was_reset, clients)), BOUND_SECONDS)
    assert impatient.log.read_text().count("min_bytes_per_second") >= len(clients)
    tally.add("slow clients cut off", len(clients))


def test_a_slow_body_that_nobody_reads_holds_no_thread(impatient: HttpServer):
    with begun(impatient, [unread_body] * 2 * THREADS) as clients:
        seconds_to_serve(impatient, lambda done: drip_until(clients, done, BOUND_SECONDS))


def put_slowly(server: HttpServer, path: str, content: bytes, chunked: bool) -> None:
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(content))}
    with RawClient(server.address) as client:
        client.send(client.head("PUT", path, framing) + (b"%x\r\n" % len(content) if chunked else b""))
        rest = memoryview(content)

        def send(size: int) -> int:
            nonlocal rest
            assert client.send(rest[:size])
            rest = rest[size:]
            return size

        paced(len(content), ALLOWED_BYTES_PER_SECOND, send)
        client.send(b"\r\n0\r\n\r\n" if chunked else b"")
        assert client.read_final("PUT").status == 200


def test_a_body_that_is_not_slower_than_allowed_arrives(impatient: HttpServer):
    paths = [f"/results/{fresh_id()}.zip" for _ in range(2)]
    content = fresh_bytes(3 * ALLOWANCE_SECONDS * ALLOWED_BYTES_PER_SECOND)
    together(
        lambda: put_slowly(impatient, paths[0], content, chunked=False),
        lambda: put_slowly(impatient, paths[1], content, chunked=True),
    )
    for path in paths:
        assert impatient.get(path).body == content


def test_a_reader_that_is_not_slower_than_allowed_gets_all(impatient: HttpServer, large: str):
    content = impatient.get(large).body
    received = bytearray()
    with tiny_readers(impatient, large, 1) as [client]:

        def take(size: int) -> int:
            data = client.socket.recv(size)
            assert data, "the server has closed"
            received.extend(data)
            return len(data)

        paced(3 * ALLOWANCE_SECONDS * ALLOWED_BYTES_PER_SECOND, ALLOWED_BYTES_PER_SECOND, take)
        while not received.endswith(content[-1000:]):
            take(MIB)
    assert received.endswith(content)


def test_the_time_of_the_server_does_not_count(impatient: HttpServer):
    """Longer than the allowance, the server compresses and is waited for."""
    files = {str(number): os.urandom(8 * MIB).hex().encode() for number in range(3)}
    name = fresh_id()
    start = time.monotonic()
    assert impatient.submit(name, files).status == 200
    assert time.monotonic() - start > ALLOWANCE_SECONDS, "the work must take longer, or this shows nothing"


def test_connections_that_send_nothing_hold_no_thread(impatient: HttpServer):
    with begun(impatient, [lambda client: b""] * 2 * THREADS):
        assert seconds_to_serve(impatient, lambda done: wait_until(done)) < ALLOWANCE_SECONDS


def test_clients_that_keep_an_answered_connection_open_hold_up_nobody(impatient: HttpServer):
    def ask(client: RawClient) -> bytes:
        return client.head("GET", "/healthz", {"Connection": "close"})

    with begun(impatient, [ask] * 2 * THREADS) as clients:
        assert wait_until(lambda: all(map(ended, clients)))
        assert seconds_to_serve(impatient, lambda done: wait_until(done)) < ALLOWANCE_SECONDS


def test_a_worker_without_descriptors_goes_on(tmp_path: Path):
    with gunicorn_server(tmp_path / "work", flags=["-w", "1"]) as server:
        worker = processes(server.pid)[1]
        limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{worker}/fd"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (highest + 4, limits[1]))
        with begun(server, [lambda client: b""] * 10):
            assert wait_until(lambda: "no connection can be accepted" in server.log.read_text())
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
        assert server.get("/healthz").status == 200
        assert processes(server.pid)[1] == worker


def test_other_worker_classes_still_bound_the_silence(tmp_path: Path):
    env = {"FILESERVER_MAX_IDLE_SECONDS": "1"}
    with gunicorn_server(tmp_path / "work", env=env, flags=["-k", "gthread"]) as server:
        assert server.submit("job", {"a": b"1"}).status == 200
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "1000"}
        with RawClient(server.address) as client:
            client.send(client.head("POST", "/submissions/job", headers) + b"--b\r\n" + part("a"))
            assert_problem(client.read_final("POST"), "body-timeout", server)
