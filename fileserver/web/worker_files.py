"""/v1/worker-files: the dialect of workers made after 2020, on the same resources."""

from flask import Blueprint, Response

from fileserver.core.errors import NotFound
from fileserver.core.names import quoted
from fileserver.web.results import store_result
from fileserver.web.submissions import deliver_archive
from fileserver.web.task_files import deliver_task_file

blueprint = Blueprint("worker_files", __name__, url_prefix="/v1/worker-files")

_TYPES = ("student", "reference")


@blueprint.get("/submission-archive/<type>/<id>")
def read_archive(type: str, id: str) -> Response:
    """The archive of submission `<type>_<id>`."""
    return deliver_archive(f"{_submission_id(type, id)}.zip")


@blueprint.put("/result/<type>/<id>")
def write_result(type: str, id: str) -> Response:
    """Store the result of submission `<type>_<id>`."""
    return store_result(f"{_submission_id(type, id)}.zip")


@blueprint.get("/exercise-file/<sha1>")
def read_exercise_file(sha1: str) -> Response:
    """A task file."""
    return deliver_task_file(sha1)


def _submission_id(type: str, id: str) -> str:
    if type not in _TYPES:
        raise NotFound(f"{quoted(type)} is not a type of submission: {', '.join(_TYPES)}")
    return f"{type}_{id}"
