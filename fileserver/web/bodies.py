"""Request bodies as streams: limits, silence, early ends, and what is left over after an error."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, cast

from flask import Flask, Response, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import LengthRequired, UnsupportedMediaType

from fileserver.core.digests import DeclaredDigests, Hasher, parse_digest_fields
from fileserver.core.errors import BodyTimeout, IncompleteBody, InvalidRequest, LimitExceeded
from fileserver.core.incoming import Incoming
from fileserver.core.sections import MIB, LimitSettings
from fileserver.web.context import client_connection, services
from fileserver.web.exchange import current_exchange

log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
_LINGER_BYTES = 64 * MIB
_LINGER_SECONDS = 5
_LINGER_IDLE_SECONDS = 0.5


class RequestBody:
    """The body of one request, read once, in order; usable after the request's context is gone."""

    def __init__(
        self, stream: IO[bytes], announced_bytes: int | None, limits: LimitSettings, connection: socket.socket | None
    ) -> None:
        self.announced_bytes = announced_bytes
        self.read_bytes = 0
        self._stream = stream
        self._connection = connection
        self._limits = limits
        self._ended = announced_bytes == 0

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most READ_BYTES.

        Raises LimitExceeded, IncompleteBody and BodyTimeout.
        """
        while chunk := self._read():
            self._check_limit(self.read_bytes)
            yield chunk
        if self.announced_bytes not in (None, self.read_bytes):
            raise IncompleteBody(f"{self.read_bytes} bytes arrived of {self.announced_bytes} announced")

    def check_announced(self) -> None:
        """Raise LimitExceeded if the body is announced to be too large, before any of it is read."""
        self._check_limit(self.announced_bytes or 0)

    def _check_limit(self, size_bytes: int) -> None:
        limit_bytes = self._limits.max_request_bytes
        if size_bytes > limit_bytes:
            raise LimitExceeded("max_request_bytes", f"the body has more than {limit_bytes} bytes")

    def _read(self) -> bytes:
        """The next piece; empty at the end. What ends the body, be it an error, ends it for good."""
        if self._ended:
            return b""
        self._ended = True
        try:
            chunk = self._stream.read(READ_BYTES)
        except TimeoutError:
            raise BodyTimeout(
                f"max_idle_seconds, min_bytes_per_second: the body does not come, or slower than "
                f"{self._limits.min_bytes_per_second} bytes a second for {self._limits.max_idle_seconds} seconds"
            ) from None
        except Exception as error:
            # Web servers have exceptions of their own for broken framing, some directly below Exception.
            log.info("a body cannot be read: %r", error)
            raise IncompleteBody("the body ended early, or its framing is broken") from error
        self._ended = not chunk
        self.read_bytes += len(chunk)
        return chunk

    def linger(self) -> None:
        """Read and drop what is left, for a while, so that a client that still sends gets to read the answer.

        One that sends nothing, or too little at a time, is not waited for.
        """
        if self._ended or not self._connection:
            return
        self._connection.settimeout(_LINGER_IDLE_SECONDS)
        # A read returns when all of it is there, so that the deadline must come from outside.
        deadline = threading.Timer(_LINGER_SECONDS, _stop_reading, (self._connection,))
        deadline.start()
        left_bytes = _LINGER_BYTES
        try:
            while left_bytes > 0 and (chunk := self._read()):
                left_bytes -= len(chunk)
        except (IncompleteBody, BodyTimeout):
            pass
        finally:
            deadline.cancel()


def _stop_reading(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)


def request_body() -> RequestBody:
    """The body of the current request; always the same object."""
    return cast(RequestBody, g.body)


def raw_body() -> Incoming:
    """The whole request body as one piece of content, whatever its type.

    Raises InvalidRequest, LengthRequired, UnsupportedMediaType, LimitExceeded.
    """
    if "Content-Range" in request.headers:
        raise InvalidRequest("Content-Range: a part of a file cannot be stored as the whole")
    if not request.environ.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" not in request.environ:
        raise LengthRequired("without Content-Length or chunks a lost body looks like an empty one")
    refuse_encodings()
    body = request_body()
    body.check_announced()
    return Incoming(body.chunks(), declared_digests(request.headers), body.announced_bytes, "the body")


def small_body(max_bytes: int) -> bytes:
    """The whole request body, verified, where it is a question and no content. Raises as `raw_body` does."""
    body, content = raw_body(), b""
    for chunk in verified(body.chunks, body.declared):
        content += chunk
        if len(content) > max_bytes:
            raise InvalidRequest(f"the question has more than {max_bytes} bytes; ask in several")
    return content


def declared_digests(headers: Headers) -> DeclaredDigests:
    """What *headers*, of a request or of a part, declare. Raises InvalidRequest."""
    return parse_digest_fields(lambda name: ", ".join(headers.getlist(name)))


def refuse_encodings() -> None:
    """Raise UnsupportedMediaType for a body that would have to be decoded to be stored."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("Content-Encoding: the body must be sent as it is to be stored")


def verified(chunks: Iterator[bytes], declared: DeclaredDigests) -> Iterator[bytes]:
    """Pass *chunks* through; at their end raise DigestMismatch unless they have the *declared* digests."""
    if not declared.declared:
        yield from chunks
        return
    hasher = Hasher(declared.algorithms)
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    declared.verify(hasher.digests(), "the body")


def parse_length(value: str) -> int | None:
    """The number of bytes that a Content-Length tells; None if it is no number that could be one."""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


def _announced_bytes() -> int | None:
    """What Content-Length says; None where it says nothing or nonsense, which `refuse_unclear_framing` refuses."""
    if "HTTP_TRANSFER_ENCODING" in request.environ:
        return None
    return parse_length(request.environ.get("CONTENT_LENGTH") or "0")


def refuse_unclear_framing() -> None:
    """Raise InvalidRequest for a body whose end or encoding is in doubt; some web servers let that pass."""
    coding = request.environ.get("HTTP_TRANSFER_ENCODING")
    if coding is None and request_body().announced_bytes is None:
        raise InvalidRequest("Content-Length is not a number")
    if coding is not None and coding.strip().lower() != "chunked":
        raise InvalidRequest("Transfer-Encoding must be chunked")
    if coding is not None and request.environ.get("CONTENT_LENGTH"):
        raise InvalidRequest("Content-Length and Transfer-Encoding tell two ends of the body")


def refuse_conditional_write() -> None:
    """Raise InvalidRequest for a write that asks for a condition, rather than to write without looking at it."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    for name in ("If-Match", "If-None-Match", "If-Unmodified-Since"):
        if name in request.headers:
            raise InvalidRequest(f"{name}: conditional writes are not supported")


def register_bodies(app: Flask) -> None:
    """Let *app* bound the silence of its clients, and keep refusals readable for clients that push their body."""

    @app.before_request
    def open_body() -> None:
        limits = services().settings.limits
        # Other web servers than gunicorn have timeouts of their own for bodies.
        connection = client_connection()
        if connection:
            connection.settimeout(limits.max_idle_seconds)
        g.body = current_exchange().body = RequestBody(request.stream, _announced_bytes(), limits, connection)

    @app.after_request
    def linger_after_refusal(response: Response) -> Response:
        if response.status_code >= 400 and "body" in g:
            response.call_on_close(request_body().linger)
        return response
