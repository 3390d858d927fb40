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
        # Some of the variables OTEL_* are read, and refused, by the import.
        from fileserver.web.spans import Spans

        spans = Spans(settings.trace_endpoint)
    except ImportError as error:
        raise SettingsError(f"trace_endpoint needs the extra recodex-fileserver[tracing]: {error}") from None
    except ValueError as error:
        raise SettingsError(f"trace_endpoint: a variable OTEL_... makes no sense: {error}") from None
    inner = app.wsgi_app

    def outer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        spans.begin(environ)
        return inner(environ, start_response)

    app.wsgi_app = outer  # type: ignore[method-assign]
    return [spans.end]
