"""The three ways to reach the application, behind one small interface."""

import io
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.support.clients import Address, RawClient
from tests.support.messages import (
    Files,
    HeaderPairs,
    Response,
    chunked,
    file_parts,
    form,
    header_map,
    header_pairs,
)


class Server(ABC):
    """A running application with the working directory *directory*."""

    target = "flask"
    """The way to reach the application, as in `starters.STARTERS`, for what web servers do in their own way."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stored: dict[str, Any] = {}  # what tests that only read share, see resources.py

    @abstractmethod
    def request(self, method: str, path: str, body: bytes = b"", headers: HeaderPairs = ()) -> Response:
        """Send one request. *path* goes out as it is; the caller quotes."""

    def get(self, path: str, headers: HeaderPairs = ()) -> Response:
        return self.request("GET", path, headers=headers)

    def head(self, path: str, headers: HeaderPairs = ()) -> Response:
        return self.request("HEAD", path, headers=headers)

    def delete(self, path: str) -> Response:
        return self.request("DELETE", path)

    def put(self, path: str, body: bytes, headers: HeaderPairs = ()) -> Response:
        return self.request("PUT", path, body, headers)

    def put_chunked(self, path: str, body: bytes, headers: HeaderPairs = ()) -> Response:
        """PUT *body* in the chunked transfer coding, with no length announced."""
        pairs = [*header_pairs(headers), ("Transfer-Encoding", "chunked")]
        return self.request("PUT", path, chunked(body), pairs)

    def post_parts(self, path: str, parts: Iterable[bytes], headers: HeaderPairs = ()) -> Response:
        form_headers, body = form(parts)
        return self.request("POST", path, body, [*form_headers.items(), *header_pairs(headers)])

    def post_form(self, path: str, files: Files, headers: HeaderPairs = ()) -> Response:
        return self.post_parts(path, file_parts(files), headers)

    def submit(self, submission_id: str, files: Files) -> Response:
        return self.post_form(f"/submissions/{submission_id}", files)

    def transactions(self) -> list[str]:
        """Return what lies in staging; entries with a leading dot are permanent."""
        staging = self.directory / "staging"
        names = [entry.name for entry in staging.iterdir()] if staging.is_dir() else []
        return [name for name in names if not name.startswith(".")]


class FlaskServer(Server):
    """The application called as a WSGI function, in this process."""

    def __init__(self, app: Any, directory: Path) -> None:
        super().__init__(directory)
        self.app = app

    def request(self, method: str, path: str, body: bytes = b"", headers: HeaderPairs = ()) -> Response:
        environ = wsgi_environ(method, path, body, header_pairs(headers))
        started: list[Any] = []

        def start_response(status: str, pairs: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, pairs]

        result = self.app(environ, start_response)
        try:
            content = b"".join(result)
        finally:
            getattr(result, "close", lambda: None)()
        status, pairs = started
        return Response(int(status[:3]), header_map(pairs), content)


class HttpServer(Server):
    """A server process on a port; every request is a connection of its own."""

    def __init__(self, directory: Path, address: Address, pid: int, log: Path) -> None:
        super().__init__(directory)
        self.address = address
        self.pid = pid
        self.log = log
        self.behind: list[HttpServer] = []
        """The servers that a web server passes requests on to."""

    def request(self, method: str, path: str, body: bytes = b"", headers: HeaderPairs = ()) -> Response:
        with RawClient(self.address) as client:
            return client.request(method, path, body, headers)


def wsgi_environ(method: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the environ that a server makes of a request, undecodable bytes included."""
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": path,
        "REQUEST_URI": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        value = value.encode().decode("latin-1")
        environ[key] = f"{environ[key]}, {value}" if key in environ else value
    add_body(environ, method, body)
    return environ


def add_body(environ: dict[str, Any], method: str, body: bytes) -> None:
    if environ.get("HTTP_TRANSFER_ENCODING") == "chunked":
        environ["wsgi.input_terminated"] = True
        body = unchunked(body)
    elif "CONTENT_LENGTH" not in environ and (body or method in ("PUT", "POST")):
        environ["CONTENT_LENGTH"] = str(len(body))
    environ["wsgi.input"] = io.BytesIO(body)


def unchunked(body: bytes) -> bytes:
    """Decode the chunked coding, as a server does before it calls the application."""
    reader, chunks = io.BytesIO(body), []
    while size := int(reader.readline(), 16):
        chunks.append(reader.read(size))
        reader.readline()
    return b"".join(chunks)
