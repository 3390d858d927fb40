"""Clients that write raw bytes to a socket, and imitations of the two clients in the field."""

import posixpath
import select
import socket
from collections.abc import Iterable, Mapping
from http.client import parse_headers
from types import TracebackType
from typing import Self

from tests.support.messages import (
    HeaderPairs,
    Response,
    basic_auth,
    has_header,
    header_pairs,
    join_parts,
    new_boundary,
)


class Address(tuple[str, int]):
    """Host and port of a server, and the credentials that it is sent by those who give no others."""

    credentials: tuple[str, str] | None = None

    @classmethod
    def of(cls, port: int, credentials: tuple[str, str] | None = None) -> Self:
        """That of a *port* of this machine."""
        address = cls(("127.0.0.1", port))
        address.credentials = credentials
        return address


CREDENTIALS = ("worker", "secret")
ONE_MIB = 1024 * 1024
H2C_UPGRADE = [
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
]


class CutResponse(ConnectionError):
    """The connection ended before the answer did."""


class RawClient:
    """One connection; what is sent is what the caller writes, and answers are read strictly.

    :param receive_buffer: how many bytes the kernel may keep for this client, if not as many as usual
    """

    def __init__(self, address: Address, timeout: float = 20, receive_buffer: int | None = None) -> None:
        self.address = address
        self.reusable = True
        self.send_error: OSError | None = None
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send *data*; False if the server no longer reads (its answer may be waiting)."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            self.send_error = error
            return False
        return True

    def head(self, method: str, path: str, headers: HeaderPairs = ()) -> bytes:
        pairs = header_pairs(headers)
        if not has_header(pairs, "Host"):
            pairs.insert(0, ("Host", "{}:{}".format(*self.address)))
        if self.address.credentials and not has_header(pairs, "Authorization"):
            pairs.append(("Authorization", basic_auth(*self.address.credentials)))
        lines = [f"{method} {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in pairs]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def request(self, method: str, path: str, body: bytes = b"", headers: HeaderPairs = ()) -> Response:
        """Send a request with a Content-Length (unless the headers frame it) and read the answer."""
        pairs = header_pairs(headers)
        framed = has_header(pairs, "Content-Length") or has_header(pairs, "Transfer-Encoding")
        if not framed and (body or method in ("PUT", "POST")):
            pairs.append(("Content-Length", str(len(body))))
        self.send(self.head(method, path, pairs) + body)
        return self.read_final(method)

    def answers_within(self, seconds: float) -> bool:
        """Whether the server sends something, or closes, within *seconds*."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def has_more(self) -> bool:
        """Whether anything comes before the server closes; waits for it."""
        return bool(self._reader.peek(1))

    def read_final(self, method: str) -> Response:
        """Read answers until one that is not interim."""
        while True:
            response = self.read_response(method)
            if response.status >= 200:
                return response

    def read_response(self, method: str) -> Response:
        line = self._reader.readline().decode("latin-1")
        if not line.endswith("\r\n"):
            raise CutResponse(f"no status line, got {line!r}")
        version, status, *_ = line.split()
        headers = parse_headers(self._reader)
        tokens = headers.get("Connection", "").lower()
        self.reusable = "close" not in tokens if version == "HTTP/1.1" else "keep-alive" in tokens
        return Response(int(status), headers, self._read_body(method, int(status), headers))

    def _read_body(self, method: str, status: int, headers: Mapping[str, str]) -> bytes:
        if method == "HEAD" or status < 200 or status in (204, 304):
            return b""
        if headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._read_chunks())
        if "Content-Length" in headers:
            return self._read_exactly(int(headers["Content-Length"]))
        self.reusable = False
        return self._reader.read()

    def _read_chunks(self) -> Iterable[bytes]:
        while size := int(self._reader.readline().split(b";")[0], 16):
            yield self._read_exactly(size)
            self._read_exactly(2)
        self._read_exactly(2)

    def _read_exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) != size:
            raise CutResponse(f"the body ends after {len(data)} of {size} bytes")
        return data


def put_blocks(address: Address, path: str, block: bytes, count: int) -> Response:
    """PUT *block* repeated *count* times, without holding all of it."""
    with RawClient(address) as client:
        client.send(client.head("PUT", path, {"Content-Length": str(len(block) * count)}))
        for _ in range(count):
            client.send(block)
        return client.read_final("PUT")


class WorkerClient:
    """The C++ worker: every request is a new connection, with its credentials at once.

    :param upgrade: behave as libcurl from 8.13 (offers h2c, sends the body in the packet of the
        head) instead of libcurl before 8.7 (expects 100-continue for every body)
    """

    def __init__(self, address: Address, *, upgrade: bool, credentials: tuple[str, str] = CREDENTIALS) -> None:
        self.address = address
        self.upgrade = upgrade
        self.credentials = credentials
        self.waited = False  # whether the last PUT gave up waiting for 100 Continue
        self.body_sent = False  # whether the last PUT sent its body

    def get(self, path: str) -> Response:
        with RawClient(self.address) as client:
            client.send(client.head("GET", path, self._headers()))
            return client.read_final("GET")

    def put(self, path: str, body: bytes) -> Response:
        headers = [*self._headers(), ("Content-Length", str(len(body)))]
        with RawClient(self.address) as client:
            if self.upgrade or not body:
                client.send(client.head("PUT", path, headers) + body)
                self.body_sent = True
                return client.read_final("PUT")
            return self._put_expecting(client, path, headers, body)

    def _put_expecting(self, client: RawClient, path: str, headers: list[tuple[str, str]], body: bytes) -> Response:
        headers = [*headers, ("Expect", "100-continue")]
        client.send(client.head("PUT", path, headers))
        self.body_sent = False
        self.waited = not client.answers_within(1.0)
        if not self.waited:
            response = client.read_response("PUT")
            if response.status != 100:
                return response  # libcurl drops the body, and the connection with it
        self.body_sent = True
        client.send(body)
        return client.read_final("PUT")

    def _headers(self) -> list[tuple[str, str]]:
        headers = [("Authorization", basic_auth(*self.credentials)), ("Accept", "*/*")]
        return headers + (H2C_UPGRADE if self.upgrade else [])


MEDIA_TYPES = {".c": "text/x-c", ".yml": "text/yaml", ".txt": "text/plain", ".zip": "application/zip"}


class ApiClient:
    """The API server's client (PHP, Guzzle): one connection is reused while the server allows."""

    def __init__(self, address: Address, credentials: tuple[str, str] = CREDENTIALS) -> None:
        self.address = address
        self.credentials = credentials
        self.reused = 0
        self.waited = False  # whether it gave up waiting for 100 Continue
        self._connection: RawClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._drop()

    def send_files(self, submission_id: str, files: Mapping[str, bytes], config: bytes = b"tasks: []\n") -> Response:
        """Send a submission; the job's configuration is always the last part."""
        everything = dict(files) | {"job-config.yml": config}
        return self._post(f"/submissions/{submission_id}", everything)

    def send_task_files(self, files: Mapping[str, bytes]) -> Response:
        return self._post("/exercises", files)

    def get(self, path: str) -> Response:
        return self._request("GET", path, [], b"")

    def _post(self, path: str, files: Mapping[str, bytes]) -> Response:
        boundary = new_boundary()
        body = join_parts([guzzle_part(*item) for item in files.items()], boundary)
        headers = [
            ("Content-Type", f"multipart/form-data; boundary={boundary}"),
            ("Content-Length", str(len(body))),
        ]
        if len(body) > ONE_MIB:
            headers.append(("Expect", "100-Continue"))
        return self._request("POST", path, headers, body)

    def _request(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Response:
        common = [
            ("User-Agent", "GuzzleHttp/6.3.3 curl/7.88.1 PHP/8.2"),
            ("Authorization", basic_auth(*self.credentials)),
        ]
        connection = self._connect()
        connection.send(connection.head(method, path, common + headers))
        interim = self._wait_for_permission(connection, method) if has_expect(headers) else None
        if interim is None or interim.status == 100:
            connection.send(body)
            interim = connection.read_final(method)
        else:
            connection.reusable = False
        if not connection.reusable:
            self._drop()
        return interim

    def _wait_for_permission(self, connection: RawClient, method: str) -> Response | None:
        self.waited = not connection.answers_within(1.0)
        return None if self.waited else connection.read_response(method)

    def _connect(self) -> RawClient:
        """Return the open connection if the server has not closed it, else a new one."""
        if self._connection and self._connection.answers_within(0):
            self._drop()
        if self._connection:
            self.reused += 1
        else:
            self._connection = RawClient(self.address)
        return self._connection

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def has_expect(headers: list[tuple[str, str]]) -> bool:
    return has_header(headers, "Expect")


def guzzle_part(name: str, content: bytes) -> bytes:
    """Return a part as Guzzle writes it: nothing is escaped, the file name is the base name."""
    filename = "phpA1b2C3" if name == "0" else posixpath.basename(name)
    lines = [f'Content-Disposition: form-data; name="{name}"; filename="{filename}"']
    if content:
        lines.append(f"Content-Length: {len(content)}")
    media_type = MEDIA_TYPES.get(posixpath.splitext(filename)[1])
    if media_type:
        lines.append(f"Content-Type: {media_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
