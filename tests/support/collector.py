"""A collector of spans: OTLP over HTTP on a port of this machine, as it is, refusing, or silent."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.servers import wait_until

Attributes = dict[str, Any]


class TakenSpan(NamedTuple):
    """One span, with ids in hex and times in nanoseconds since 1970; *resource* tells who has sent it."""

    name: str
    kind: int
    trace_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    status: int
    attributes: Attributes
    resource: Attributes

    @property
    def request_id(self) -> str:
        return str(self.attributes["request_id"])


class Collector:
    """What was sent to *endpoint*.

    :param status: of its answers
    :param silent: do not answer before `close`
    """

    def __init__(self, status: int = 200, silent: bool = False) -> None:
        self.status = status
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._released = Event()
        if not silent:
            self._released.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.bodies.append(body)
                collector._released.wait()
                try:
                    self.send_response(collector.status if self.path == "/v1/traces" else 404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except ConnectionError:  # The sender has not waited.
                    self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler

    def spans(self) -> list[TakenSpan]:
        """All spans so far."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            _taken(span, resource_spans.resource)
            for request in requests
            for resource_spans in request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]

    def awaited(self, count: int, path: str = "/") -> list[TakenSpan]:
        """The spans of requests below *path*, in the order of their beginning; waits until there are *count*."""

        def found() -> list[TakenSpan]:
            return [span for span in self.spans() if span.attributes["url.path"].startswith(path)]

        wait_until(lambda: len(found()) >= count, 10)
        spans = sorted(found(), key=lambda span: span.began_ns)
        assert len(spans) == count, [span.name for span in spans]
        return spans

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def collecting(status: int = 200, silent: bool = False) -> Iterator[Collector]:
    collector = Collector(status, silent)
    try:
        yield collector
    finally:
        collector.close()


def _taken(span: Any, resource: Any) -> TakenSpan:
    ids = span.trace_id.hex(), span.parent_span_id.hex()
    times = span.start_time_unix_nano, span.end_time_unix_nano
    attributes = _plain(span.attributes), _plain(resource.attributes)
    return TakenSpan(span.name, span.kind, *ids, *times, span.status.code, *attributes)


def _plain(attributes: Any) -> Attributes:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
