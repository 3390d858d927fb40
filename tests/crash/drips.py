"""Clients that send, or take, a byte now and then, so that they are never silent."""

import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from tests.support.clients import RawClient
from tests.support.messages import fresh_id
from tests.support.targets import HttpServer

DRIP_SECONDS = 0.1
MANY_BYTES = 1_000_000
TINY_BUFFER = 4096

Beginning = Callable[[RawClient], bytes]


def raw_body(client: RawClient) -> bytes:
    return client.head("PUT", f"/results/{fresh_id()}.zip", {"Content-Length": str(MANY_BYTES)})


def chunked_body(client: RawClient) -> bytes:
    head = client.head("PUT", f"/attachments/{fresh_id()}", {"Transfer-Encoding": "chunked"})
    return head + b"%x\r\n" % MANY_BYTES


def form_body(client: RawClient) -> bytes:
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(MANY_BYTES)}
    head = client.head("POST", f"/submissions/{fresh_id()}", headers)
    return head + b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'


def question_body(client: RawClient) -> bytes:
    return client.head("POST", "/tasks/missing", {"Content-Length": str(MANY_BYTES)}) + b'{"hashes": ['


def head(client: RawClient) -> bytes:
    return client.head("GET", "/healthz").removesuffix(b"\r\n\r\n")


def target(client: RawClient) -> bytes:
    return b"GET /"


def unread_body(client: RawClient) -> bytes:
    """A body that the server does not want, so that it answers at once."""
    return client.head("GET", "/healthz", {"Content-Length": str(MANY_BYTES)})


BODIES: list[Beginning] = [raw_body, chunked_body, form_body, question_body]
HEADS: list[Beginning] = [head, target]


@contextmanager
def begun(server: HttpServer, beginnings: Iterable[Beginning]) -> Iterator[list[RawClient]]:
    """Clients that have begun a request, one for each of *beginnings*."""
    with ExitStack() as stack:
        clients = []
        for begin in beginnings:
            client = stack.enter_context(RawClient(server.address))
            client.send(begin(client))
            clients.append(client)
        yield clients


def drip_until(clients: list[RawClient], done: Callable[[], bool], seconds: float) -> bool:
    """Let every other of *clients* send a byte now and then; whether *done* holds before *seconds* have passed."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        for client in clients[::2]:
            client.send(b"1")
        time.sleep(DRIP_SECONDS)
    return True


def ended(client: RawClient) -> bool:
    """Whether the server has answered, or ended the connection."""
    return client.answers_within(0)


@contextmanager
def tiny_readers(server: HttpServer, path: str, count: int) -> Iterator[list[RawClient]]:
    """Clients that have asked for *path* and can take only little at a time."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(RawClient(server.address, receive_buffer=TINY_BUFFER))
            client.send(client.head("GET", path))
            clients.append(client)
        yield clients


def sip_until(clients: list[RawClient], done: Callable[[], bool], seconds: float) -> bool:
    """As `drip_until`, but every other client takes a byte of its answer, if it can."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        for client in clients[::2]:
            if client.answers_within(0) and not was_reset(client):
                client.socket.recv(1)
        time.sleep(DRIP_SECONDS)
    return True


def was_reset(client: RawClient) -> bool:
    """Whether the server has given the connection up; what had arrived before can still be read."""
    poll = select.poll()
    poll.register(client.socket, 0)
    return bool(poll.poll(0))


def paced(total_bytes: int, bytes_per_second: float, step: Callable[[int], int]) -> None:
    """Call *step* with the number of bytes that are due, until it has moved *total_bytes*."""
    start, moved_bytes = time.monotonic(), 0
    while moved_bytes < total_bytes:
        due_bytes = int((time.monotonic() - start) * bytes_per_second) - moved_bytes
        if due_bytes > 0:
            moved_bytes += step(min(due_bytes, total_bytes - moved_bytes))
        time.sleep(DRIP_SECONDS / 4)
