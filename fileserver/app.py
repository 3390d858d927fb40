"""The composition root: settings in, application out."""

import os
from typing import cast

from flask import Flask, request

from fileserver.configuration import load_settings
from fileserver.core.addresses import parse_peers
from fileserver.core.errors import InvalidName, SettingsError
from fileserver.core.sections import LogSettings
from fileserver.core.settings import Settings
from fileserver.maintenance.layout import remove_other_layouts
from fileserver.maintenance.scrub import ScrubThread
from fileserver.services import build_services
from fileserver.web import (
    attachments,
    home,
    limits,
    metrics,
    results,
    signed_urls,
    submissions,
    task_files,
    worker_files,
)
from fileserver.web.access import require_rules
from fileserver.web.auth import register_authentication
from fileserver.web.bodies import refuse_conditional_write, refuse_unclear_framing, register_bodies
from fileserver.web.context import attach_services
from fileserver.web.exchange import Observer, observe
from fileserver.web.limits import register_options
from fileserver.web.logs import access_log, log_messages
from fileserver.web.metrics import count_requests
from fileserver.web.origins import refuse_cross_site
from fileserver.web.problems import register_errors
from fileserver.web.proxies import TrustedProxies
from fileserver.web.rules import exact
from fileserver.web.signed_urls import register_signed_urls
from fileserver.web.tracing import trace_requests
from fileserver.web.uwsgi_http import speak_http_by_uwsgi

_MODULES = (home, limits, metrics, submissions, results, task_files, attachments, worker_files, signed_urls)


def create_app(source: Settings | str | os.PathLike[str] | None = None) -> Flask:
    """Make the WSGI application of one working directory.

    *source* is the Settings, or the working directory (all else from the environment), or None for the environment
    alone. Raises SettingsError.
    """
    if not isinstance(source, Settings):
        source = load_settings(flags={"working_directory": source if source is None else os.fspath(source)})
    app = Flask(__name__, static_folder="web/static", template_folder="web/templates")
    exact(app.url_map)
    speak_http_by_uwsgi(app)
    services = build_services(source)
    remove_other_layouts(services)
    attach_services(app, services)
    log_messages(source.log)
    traces = trace_requests(app, source.tracing)
    observe(app, [*traces, count_requests(app, services), *_observers(source.log)])
    register_errors(app)
    if source.maintenance.scrub_every_hours:
        # With the first request, not now: a thread does not survive the fork of a preloaded application.
        app.before_request(ScrubThread(services).start)
    # In this order: the body is opened first, so that a refusal can read it to its end; then nobody without
    # credentials learns more than that.
    register_bodies(app)
    register_signed_urls(app, source)
    register_authentication(app, source.auth)
    app.before_request(refuse_cross_site)
    app.before_request(refuse_unclear_path)
    app.before_request(refuse_unclear_framing)
    app.before_request(refuse_conditional_write)
    register_options(app)
    for module in _MODULES:
        app.register_blueprint(module.blueprint)
    require_rules(app)
    # Outermost, so that the log, too, knows who the client is.
    trusted = parse_peers(source.proxy.trusted_proxies)
    app.wsgi_app = TrustedProxies(app.wsgi_app, trusted)  # type: ignore[method-assign]
    return app


def _observers(settings: LogSettings) -> list[Observer]:
    try:
        write = access_log(settings)
    except OSError as error:
        raise SettingsError(f"access_log_file {settings.access_log_file} cannot be used: {error.strerror}") from None
    return [write] if write else []


def refuse_unclear_path() -> None:
    """Raise InvalidName for a path that would be changed by decoding it.

    Replaced characters would make different names equal, and of several slashes in front all but one would be
    dropped, so that the path is not the one that a proxy's rules have seen.
    """
    path = cast(str, request.environ["PATH_INFO"])
    try:
        path.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise InvalidName("the path is not UTF-8") from None
    if path.startswith("//"):
        raise InvalidName("the path begins with two slashes")
