"""The spans of requests, made and sent by the SDK of OpenTelemetry: a queue and a thread in each process.

A span begins before the application sees its request, and ends when the exchange does, so that it lasts until the last
byte has left. An answer is not wrapped for it: the web server would no longer send it as a file.
"""

import atexit
import logging
import os
import threading
import time
from typing import cast

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fileserver._version import __version__
from fileserver.web.exchange import Environ, Exchange, trace_id
from fileserver.web.logs import encoded_path

log = logging.getLogger(__name__)

_SERVICE = "recodex-fileserver"
_KEY = "fileserver.span"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_MAX_PATH_CHARACTERS = 2048
_STOP_SECONDS = 3.0
_QUIET_SECONDS = 60.0


class Spans:
    """The spans of one application, sent to *endpoint*.

    Raises ValueError if one of the variables OTEL_* makes no sense.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._senders: dict[int, _Sender | None] = {}
        self._lock = threading.Lock()
        _check(endpoint)

    def begin(self, environ: Environ) -> None:
        """Begin the span of a request, in the trace that its client has told."""
        try:
            if (sender := self._sender()) is None:
                return
            parent = _PROPAGATOR.extract(environ, getter=_HEADERS)
            span = sender.tracer.start_span(_method(environ), parent, SpanKind.SERVER)
        except Exception:
            log.exception("a span cannot be begun")
            return
        environ[_KEY] = span
        if (context := span.get_span_context()).is_valid:
            trace_id.set(format_trace_id(context.trace_id))

    def end(self, exchange: Exchange) -> None:
        """End the span of *exchange*."""
        span = cast(Span | None, exchange.environ.get(_KEY))
        if span is None:
            return
        if span.is_recording():
            _describe(span, exchange)
        span.end()

    def _sender(self) -> "_Sender | None":
        """That of this process, made with its first request: threads do not survive the fork of an application."""
        process = os.getpid()
        if process not in self._senders:
            with self._lock:
                if process not in self._senders:
                    self._senders[process] = self._start()
        return self._senders[process]

    def _start(self) -> "_Sender | None":
        try:
            sender = _Sender(self._endpoint)
        except Exception:
            log.exception("this process sends no spans")
            return None
        atexit.register(sender.stop)
        return sender


class _Sender:
    """What sends spans in one process; `stop` sends what is left, if that is soon done."""

    def __init__(self, endpoint: str) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self.tracer: Tracer = self._provider.get_tracer(__name__, __version__)
        # The SDK would wait for a collector that hangs for half a minute. Nor can a thread be started at exit.
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._shut_down_when_told, name="spans", daemon=True)
        self._thread.start()

    def _shut_down_when_told(self) -> None:
        self._stopping.wait()
        self._provider.shutdown()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)


def _resource() -> Resource:
    """Who sends spans: what the variables OTEL_* say, and our name and version where they are silent."""
    told = Resource.create()
    whole = Resource({SERVICE_VERSION: __version__}).merge(told)
    is_named = not str(told.attributes[SERVICE_NAME]).startswith("unknown_service")
    return whole if is_named else whole.merge(Resource({SERVICE_NAME: _SERVICE}))


def _describe(span: Span, exchange: Exchange) -> None:
    """Tell what the exchange was. There is no query in it: links carry their signature there."""
    environ, method = exchange.environ, _method(exchange.environ)
    attributes: dict[str, str | int] = {
        "http.request.method": "_OTHER" if method == "HTTP" else method,
        "url.scheme": environ["wsgi.url_scheme"],
        "url.path": encoded_path(environ)[:_MAX_PATH_CHARACTERS],
        "http.request.body.size": exchange.received_bytes,
        "http.response.body.size": exchange.sent_bytes,
        "request_id": exchange.request_id,
    }
    if exchange.route:
        attributes["http.route"] = exchange.route
        span.update_name(f"{method} {exchange.route}")
    if exchange.status:
        attributes["http.response.status_code"] = exchange.status
    if not 0 < exchange.status < 500:
        attributes["error.type"] = str(exchange.status or "_OTHER")
        span.set_status(StatusCode.ERROR)
    span.set_attributes(attributes)


def _method(environ: Environ) -> str:
    """The method for the name of a span: of these a client must not make many."""
    method = cast(str, environ["REQUEST_METHOD"])
    return method if method in _METHODS else "HTTP"


class _Headers(Getter[Environ]):
    """The headers of a request, for a propagator."""

    def get(self, carrier: Environ, key: str) -> list[str] | None:
        value = carrier.get(f"HTTP_{key.upper().replace('-', '_')}")
        return None if value is None else [value]

    def keys(self, carrier: Environ) -> list[str]:
        return [name.removeprefix("HTTP_") for name in carrier if name.startswith("HTTP_")]


_PROPAGATOR = TraceContextTextMapPropagator()
_HEADERS = _Headers()


class _Messages(logging.Handler):
    """Takes the warnings of OpenTelemetry, and lets one in a minute pass, of each of its modules."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] | None = None
        """Where this is a list, they are only kept there."""
        self._passed: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        # A header for the collector may be its password.
        text = record.msg.removesuffix(": %s") if record.name == "opentelemetry.util.re" else record.getMessage()
        now = time.monotonic()
        if self.heard is not None:
            self.heard.append(text)
        elif record.name.startswith("opentelemetry.trace."):
            pass  # It is about a header of a request: any client could fill the log.
        elif now - self._passed.get(record.name, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._passed[record.name] = now
            log.log(record.levelno, "tracing: %s", text)


def _messages() -> _Messages:
    """The one handler of all messages of OpenTelemetry."""
    logger = logging.getLogger("opentelemetry")
    for handler in logger.handlers:
        if isinstance(handler, _Messages):
            return handler
    logger.addHandler(made := _Messages())
    logger.propagate = False
    return made


def _check(endpoint: str) -> None:
    """Make a sender in vain, as the SDK only warns of variables that it does not understand. Raises ValueError."""
    messages = _messages()
    messages.heard = heard = []
    try:
        _Sender(endpoint).stop()
    except Exception as error:
        heard.append(str(error))
    finally:
        messages.heard = None
    if heard:
        raise ValueError(heard[0])
