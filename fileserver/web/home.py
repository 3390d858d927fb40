"""The home page, and what load balancers and service managers ask."""

from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from fileserver._version import __version__
from fileserver.core.errors import FileserverError, NotReady
from fileserver.maintenance.scrub import read_result
from fileserver.maintenance.statistics import TITLES, human_size, overview
from fileserver.web.context import services

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def show_home() -> Response:
    """Version, counters, space and uptime: a page, or JSON for those who prefer it."""
    now = overview(services())
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], "text/html")
    if best == "application/json":
        answer = jsonify(
            version=__version__,
            started_at=now.started_at_text,
            uptime_seconds=int(now.uptime.total_seconds()),
            bytes_used=now.bytes_used,
            bytes_free=now.bytes_free,
            counters={name: used.files for name, used in now.usage.items()},
        )
    else:
        held = [(title, now.usage[name]) for name, title in TITLES.items()]
        page = render_template(
            "home.html",
            version=__version__,
            rows=[(title, usage.files, human_size(usage.size_bytes)) for title, usage in held],
            used=human_size(now.bytes_used),
            free=human_size(now.bytes_free),
            started_at=now.started_at,
            uptime=str(now.uptime).partition(".")[0],
        )
        answer = Response(page)
        answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'self'"
        answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Vary"] = "Accept"
    answer.headers["Cache-Control"] = "no-cache"
    return answer


@blueprint.get("/healthz")
def tell_health() -> Response:
    """The process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def tell_readiness() -> Response:
    """A durable write works now; with it, what the last scrub has found. Raises NotReady, which says why not."""
    try:
        services().staging.probe()
    except OSError as error:
        raise NotReady(f"a file cannot be written to staging: {error.strerror}") from error
    except FileserverError as error:
        raise NotReady(str(error)) from error
    if not services().settings.maintenance.scrub_every_hours:
        return jsonify(status="ready")
    return jsonify(status="ready", scrub=_scrub_members())


def _scrub_members() -> dict[str, Any] | None:
    """What the last scrub has found; None before the first."""
    result = read_result(services().staging.root)
    if result is None:
        return None
    return {
        "finished_at": result.finished_at_text,
        "slice": f"{result.slice}/{result.slices}",
        "files": result.files,
        "bytes_read": result.bytes_read,
        "damaged": result.damaged,
        "unreadable": result.unreadable,
        "seconds": result.seconds,
    }
