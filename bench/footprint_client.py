"""The client of footprint.py: streams bodies that are never in memory as a whole."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from footprint_server import MeasurementError

CHUNK_BYTES = 1 << 20
SMALL_BODY_BYTES = 16 << 10
TIMEOUT_SECONDS = 600
WARM_UP_ROUNDS = 8
WARM_UP_AT_ONCE = 8
BOUNDARY = "footprint-7f3b61c09d"
FORM_HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="data"; filename="data"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()
FORM_TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
RANDOM_CHUNK = os.urandom(CHUNK_BYTES)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Transferred:
    """A finished transfer: the bytes of its body, and the path of the stored content."""

    body_bytes: int
    path: str


def content_chunks(size_bytes: int) -> Iterator[memoryview]:
    """Content unlike that of any other call; a chunk is valid until the next one is asked for."""
    chunk = bytearray(RANDOM_CHUNK)
    chunk[:16] = os.urandom(16)
    for offset in range(0, size_bytes, CHUNK_BYTES):
        chunk[16:24] = offset.to_bytes(8, "little")
        yield memoryview(chunk)[: size_bytes - offset]


def form_chunks(size_bytes: int) -> Iterator[bytes | memoryview]:
    """A form with one file."""
    yield FORM_HEAD
    yield from content_chunks(size_bytes)
    yield FORM_TAIL


@dataclass(frozen=True)
class Client:
    """Requests to the server on a port of loopback, each on a connection of its own."""

    port: int

    def put_result(self, name: str, size_bytes: int) -> Transferred:
        path = f"/results/{name}"
        self._request("PUT", path, content_chunks(size_bytes), {"Content-Length": str(size_bytes)})
        return Transferred(size_bytes, path)

    def post_task_file(self, size_bytes: int) -> Transferred:
        body_bytes = len(FORM_HEAD) + size_bytes + len(FORM_TAIL)
        media_type = f"multipart/form-data; boundary={BOUNDARY}"
        headers = {"Content-Length": str(body_bytes), "Content-Type": media_type}
        _, answer = self._request("POST", "/exercises", form_chunks(size_bytes), headers)
        return Transferred(body_bytes, str(json.loads(answer)["files"]["data"]))

    def get(self, path: str, size_bytes: int) -> Transferred:
        received_bytes, _ = self._request("GET", path)
        if received_bytes != size_bytes:
            raise MeasurementError(f"GET {path}: {received_bytes} bytes instead of {size_bytes}")
        return Transferred(received_bytes, path)

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def _request(
        self,
        method: str,
        path: str,
        body: Iterable[bytes | memoryview] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """The length of the answer's body, and its beginning."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        sent = False
        try:
            connection.connect()
            with suppress(ConnectionError):  # a refusal may come before the end of the body
                connection.request(method, path, body, headers or {})
                sent = True
            response = connection.getresponse()
            beginning = response.read(1024)
            if not sent or not 200 <= response.status < 300:
                raise MeasurementError(f"{method} {path}: {response.status} {beginning!r}")
            total_bytes, buffer = len(beginning), bytearray(CHUNK_BYTES)
            while count := response.readinto(buffer):
                total_bytes += count
            return total_bytes, beginning
        finally:
            connection.close()


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Makes all calls at the same time; their results in the same order."""
    pool = ThreadPoolExecutor(max(1, len(calls)))
    try:
        return [future.result() for future in [pool.submit(call) for call in calls]]
    finally:
        pool.shutdown(wait=False)  # after a failure, the others end with the server


def warm_up(client: Client) -> None:
    """Small requests of each kind, enough of them at once that every worker gets some."""
    size = SMALL_BODY_BYTES
    for _ in range(WARM_UP_ROUNDS):
        names = [f"warm-{n}.zip" for n in range(WARM_UP_AT_ONCE)]
        stored = at_once([partial(client.put_result, name, size) for name in names])
        stored += at_once([partial(client.post_task_file, size)] * WARM_UP_AT_ONCE)
        at_once([partial(client.get, each.path, size) for each in stored])
        at_once([partial(client.delete, each.path) for each in stored])
