"""The home page, and what load balancers and service managers ask."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from fileserver._version import __version__
from fileserver.core.errors import FileserverError, NotReady
from fileserver.maintenance.scrub import read_result
from fileserver.web.context import services

blueprint = Blueprint("home", __name__)

_TITLES = {
    "results": "Results",
    "submission_archives": "Submission archives",
    "submissions": "Submissions",
    "attachments": "Attachments",
    "task_files": "Exercise files",
}
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


@blueprint.get("/")
def show_home() -> Response:
    """Version, counters, space and uptime: a page, or JSON for those who prefer it."""
    usage = services().ledger.read()
    started_at_seconds = services().ledger.started_at_seconds()
    started_at = datetime.fromtimestamp(int(started_at_seconds), UTC)
    uptime = datetime.now(UTC) - started_at
    bytes_used = sum(used.size_bytes for used in usage.values())
    bytes_free = services().staging.space.free_bytes()
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], "text/html")
    if best == "application/json":
        answer = jsonify(
            version=__version__,
            started_at=_utc(started_at_seconds),
            uptime_seconds=int(uptime.total_seconds()),
            bytes_used=bytes_used,
            bytes_free=bytes_free,
            counters={name: used.files for name, used in usage.items()},
        )
    else:
        rows = [(title, usage[name].files, _human(usage[name].size_bytes)) for name, title in _TITLES.items()]
        page = render_template(
            "home.html",
            version=__version__,
            rows=rows,
            used=_human(bytes_used),
            free=_human(bytes_free),
            started_at=started_at,
            uptime=str(uptime).partition(".")[0],
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
        "finished_at": _utc(result.finished_at),
        "slice": f"{result.slice}/{result.slices}",
        "files": result.files,
        "bytes_read": result.bytes_read,
        "damaged": result.damaged,
        "seconds": result.seconds,
    }


def _utc(seconds: float) -> str:
    """A time in seconds since the epoch, as text to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def _human(size_bytes: int) -> str:
    """*size_bytes* in the largest unit that leaves a whole part."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size_bytes} {_UNITS[0]}"
