"""What uWSGI leaves to the application when it speaks HTTP: chunked bodies, 100 Continue, and the end of a connection.

Behind a web server, by uWSGI's own protocol, that one has done it all, and bodies have a length.
"""

import importlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from flask import Flask

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_Headers = list[tuple[str, str]]


class _Body:
    """`wsgi.input` by *read*, a function of a size; it asks the client for the body, with *invite*, when it is read."""

    def __init__(self, read: Callable[[int], bytes], invite: Callable[[], None]) -> None:
        self._read = read
        self._invite: Callable[[], None] | None = invite

    def read(self, size: int = -1) -> bytes:
        """At most *size* bytes, all for -1; b"" at the end. Raises OSError, TimeoutError for a silent client."""
        if self._invite:
            self._invite()
            self._invite = None
        try:
            return self._read(size)
        except OSError as error:
            if "timeout" in str(error):
                raise TimeoutError(str(error)) from None
            raise


class _Chunks:
    """A chunked body, from *next_chunk*, which returns b"" at the end."""

    def __init__(self, next_chunk: Callable[[], bytes]) -> None:
        self._next_chunk = next_chunk
        self._rest = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most *size* bytes, all for -1. Raises OSError where the framing is broken."""
        pieces: list[bytes] = []
        while size and not self._ended:
            self._rest = self._rest or self._next_chunk()
            self._ended = not self._rest
            pieces.append(self._rest if size < 0 else self._rest[:size])
            self._rest = self._rest[len(pieces[-1]) :]
            size = max(size - len(pieces[-1]), 0) if size > 0 else size
        return b"".join(pieces)


def speak_http_by_uwsgi(app: Flask) -> None:
    """Let *app* do what uWSGI does not, if it runs in uWSGI."""
    try:
        uwsgi = importlib.import_module("uwsgi")
    except ImportError:
        return
    inner = app.wsgi_app

    def behind(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop("HTTP_TRANSFER_ENCODING", None)  # It was that of the client's connection.
        return inner(environ, start_response)

    def in_front(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # uWSGI closes the connection after each answer, without a word.
        def closing(status: str, headers: _Headers, *error: Any) -> Any:
            return start_response(status, [*headers, ("Connection", "close")], *error)

        if "REQUEST_URI" not in environ:  # The line of the request was not one of HTTP/1.
            closing("400 Bad Request", [("Content-Length", "0")])
            return []
        _complete(environ, uwsgi)
        return inner(environ, closing)

    app.wsgi_app = in_front if "http-socket" in uwsgi.opt else behind  # type: ignore[method-assign]


def _complete(environ: dict[str, Any], uwsgi: Any) -> None:
    """Give *environ* the body that the request has, and its path where the whole URL was sent."""
    if not environ["REQUEST_URI"].startswith(("/", "*")):
        path = urlsplit(environ["REQUEST_URI"]).path
        environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    expected = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
    connection = uwsgi.connection_fd()

    def invite() -> None:
        if expected:
            with suppress(OSError):  # The body will not come, and that is told.
                os.write(connection, _CONTINUE)

    if environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower() == "chunked":
        read = _Chunks(uwsgi.chunked_read).read
    else:
        read = environ["wsgi.input"].read
    environ["wsgi.input"] = _Body(read, invite)
    environ["wsgi.input_terminated"] = True
