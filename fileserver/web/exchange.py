"""One request and its answer as a whole, told to observers when the last byte has left: for the log and the numbers.

It is a layer around the application, so that it is the same behind all web servers. An answer that the web server
sends as a file must reach it untouched; then the file tells how much of it was sent.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from flask import Flask, request

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
_KEY = "fileserver.exchange"
_SANE_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that the current thread works on, until its answer has left."""

trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The id of the trace that this request belongs to; None without tracing."""


class _Body(Protocol):
    read_bytes: int


@dataclass(eq=False)
class Exchange:
    """What there is to tell of one request. Bytes are those of bodies; seconds count from the end of its head."""

    environ: Environ
    request_id: str
    observers: Sequence["Observer"] = ()
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    """0 as long as there is no answer."""
    user: str | None = None
    """Who has proved to be that."""
    login_failed: bool = False
    route: str | None = None
    """The rule that the path follows, with names of variables in place of their values."""
    body: _Body | None = None
    sent_bytes: int = 0
    seconds: float = 0.0
    file: object = None
    """The answer, where the web server itself sends a file; whoever closes that calls `end`."""

    @property
    def received_bytes(self) -> int:
        return self.body.read_bytes if self.body else 0

    def end(self, sent_bytes: int) -> None:
        """Tell the observers, after so many bytes of the answer."""
        self.sent_bytes = sent_bytes
        self.seconds = time.perf_counter() - self.began
        for observe in self.observers:
            try:
                observe(self)
            except Exception:
                log.exception("an exchange cannot be told of")
        request_id.set(None)
        trace_id.set(None)


Observer = Callable[[Exchange], None]


def current_exchange() -> Exchange:
    """That of the current request."""
    return cast(Exchange, request.environ[_KEY])


class _Watched:
    """An answer whose bytes are counted as they leave; the last piece counts when the server asks for more."""

    def __init__(self, answer: Iterable[bytes], exchange: Exchange) -> None:
        self._answer = answer
        self._exchange = exchange
        self._sent_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._answer:
            yield piece
            self._sent_bytes += len(piece)

    def close(self) -> None:
        try:
            if close := getattr(self._answer, "close", None):
                close()
        finally:
            self._exchange.end(self._sent_bytes)


def observe(app: Flask, observers: Sequence[Observer]) -> None:
    """Give each exchange with *app* an id, and tell *observers* of it when it has ended."""
    inner = app.wsgi_app

    def outer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        exchange = Exchange(environ, given if _SANE_ID.fullmatch(given) else secrets.token_hex(16), observers)
        environ[_KEY] = exchange
        request_id.set(exchange.request_id)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            exchange.status = int(status[:3])
            return start_response(status, [*headers, (HEADER, exchange.request_id)], *rest)

        try:
            answer = inner(environ, start)
        except BaseException:
            exchange.end(0)
            raise
        return answer if answer is exchange.file else _Watched(answer, exchange)

    app.wsgi_app = outer  # type: ignore[method-assign]
    app.before_request(_note_route)


def _note_route() -> None:
    if request.url_rule is not None:
        current_exchange().route = request.url_rule.rule
