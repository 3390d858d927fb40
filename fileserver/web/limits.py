"""What the server takes, and how much of it is used: /limits, and OPTIONS of whatever can be written to."""

import dataclasses

from flask import Blueprint, Flask, Response, json, jsonify, request

from fileserver.services import RESULTS_RESERVE_SHARE
from fileserver.web.context import services

blueprint = Blueprint("limits", __name__)

_WRITES = {"POST", "PUT"}


@blueprint.get("/limits")
def tell_limits() -> Response:
    """Every limit and quota by the name of its setting, and what is used of the quotas and of the disk."""
    answer = jsonify(_limits())
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def _limits() -> dict[str, object]:
    space = services().staging.space
    limits = dataclasses.asdict(services().settings.limits)
    limits["min_free_bytes"] = reserve_bytes = space.reserve_bytes()
    return {
        "limits": limits,
        "quotas": _quotas(),
        "space": {
            "bytes_free": space.free_bytes(),
            "bytes_free_for_uploads": max(0, space.free_bytes() - reserve_bytes),
            "bytes_free_for_results": max(0, space.free_bytes() - int(reserve_bytes * RESULTS_RESERVE_SHARE)),
        },
    }


def _quotas() -> dict[str, dict[str, int | None]]:
    """Each quota with what is used of it; the limit is None where none is set."""
    ledger, quotas = services().ledger, {}
    for resource, used in ledger.read().items():
        quota = services().settings.quotas.of(resource)
        if resource != "submission_archives":  # They are derived, not sent.
            quotas[quota.files_setting] = {"limit": quota.max_files or None, "used": used.files}
            quotas[quota.bytes_setting] = {"limit": quota.max_bytes or None, "used": used.size_bytes}
    return quotas


def register_options(app: Flask) -> None:
    """Let *app* answer OPTIONS of whatever can be written to with the limits, not only with the methods."""

    @app.after_request
    def add_limits(response: Response) -> Response:
        rule = request.url_rule
        if request.method == "OPTIONS" and response.status_code == 200 and rule and _WRITES & (rule.methods or set()):
            response.set_data(json.dumps(_limits()) + "\n")
            response.mimetype = "application/json"
        return response
