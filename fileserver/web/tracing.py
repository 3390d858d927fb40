"""Tracing, where `trace_endpoint` is set: each request is a span of a trace.

Nothing here imports OpenTelemetry, which is an extra, before it is wanted; `fileserver.web.spans` does.
"""

from collections.abc import Iterable

from flask import Flask

from fileserver.core.errors import SettingsError
from fileserver.core.sections import TracingSettings
from fileserver.web.exchange import Environ, Observer, StartResponse


def trace_requests(app: Flask, settings: TracingSettings) -> list[Observer]:
    """Let *app* begin a span with each request; returns what ends it, for `observe`, which must come after this.

    Raises SettingsError.
    """
    if settings.trace_endpoint is None:
        return []
    try:
        from fileserver.web.spans import Spans
    except ImportError as error:
        raise SettingsError(f"trace_endpoint: install the extra, recodex-fileserver[tracing]: {error}") from None
    spans = Spans(settings.trace_endpoint)
    inner = app.wsgi_app

    def outer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        spans.begin(environ)
        return inner(environ, start_response)

    app.wsgi_app = outer  # type: ignore[method-assign]
    return [spans.end]
