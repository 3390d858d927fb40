"""/results."""

from flask import Blueprint, Response, jsonify

from fileserver.core.names import ResultName
from fileserver.web.bodies import raw_body
from fileserver.web.context import services
from fileserver.web.delivery import deliver

blueprint = Blueprint("results", __name__)


@blueprint.put("/results/<name>")
def write_result(name: str) -> Response:
    """Store what a worker sends back."""
    return store_result(name)


@blueprint.get("/results/<name>")
def read_result(name: str) -> Response:
    """A result, once it is there."""
    result_name = ResultName(name)
    return deliver(services().results.open(result_name), result_name)


@blueprint.delete("/results/<name>")
def delete_result(name: str) -> tuple[str, int]:
    """Remove a result."""
    services().results.delete(ResultName(name))
    return "", 204


def store_result(name: str) -> Response:
    """Store the request's body as the result *name*, `<id>.<ext>`."""
    services().results.store(ResultName(name), raw_body())
    return jsonify(result="OK")
