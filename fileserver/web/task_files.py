"""/exercises and /tasks: two names of one resource."""

import json

from flask import Blueprint, Response, jsonify, url_for

from fileserver.core.errors import InvalidRequest, NotFound
from fileserver.core.names import Sha1
from fileserver.web.bodies import request_body, small_body
from fileserver.web.context import services
from fileserver.web.delivery import deliver
from fileserver.web.forms import form_files

blueprint = Blueprint("task_files", __name__)

_MAX_QUESTION_BYTES = 4 * 1024 * 1024
"""About 90,000 hashes in one question to /tasks/missing."""


@blueprint.post("/exercises")
@blueprint.post("/tasks")
def store_task_files() -> Response:
    """Store the files of a form; tell the path of each by its name."""
    stored = services().task_files.store(form_files(), request_body().announced_bytes or 0)
    return jsonify(result="OK", files={name: task_file_path(sha1) for name, sha1 in stored.items()})


@blueprint.get("/exercises")
@blueprint.get("/tasks")
def list_no_task_files() -> Response:
    """What the original server answers: task files are not listed."""
    return jsonify(result="OK", files={})


@blueprint.post("/tasks/missing")
def find_missing() -> Response:
    """Which of the hashes asked about the server lacks."""
    return jsonify(missing=services().task_files.missing(_asked_hashes()))


# The rule next to the function is the one that paths are built by: clients always get /exercises/<sha1>.
@blueprint.get("/tasks/<sha1>")
@blueprint.get("/exercises/<sha1>")
def read_task_file(sha1: str) -> Response:
    """A task file."""
    return deliver_task_file(sha1)


@blueprint.delete("/exercises/<sha1>")
@blueprint.delete("/tasks/<sha1>")
def delete_task_file(sha1: str) -> tuple[str, int]:
    """Remove a task file."""
    services().task_files.delete(Sha1(sha1))
    return "", 204


def deliver_task_file(sha1: str) -> Response:
    """Answer with the task file *sha1*."""
    name = Sha1(sha1)
    return deliver(services().task_files.open(name), name, etag=name, immutable=True)


def task_file_path(sha1: Sha1) -> str:
    """The path of a task file, as clients keep it."""
    return url_for("task_files.read_task_file", sha1=sha1)


def _asked_hashes() -> list[Sha1]:
    question = small_body(_MAX_QUESTION_BYTES)
    try:
        hashes = json.loads(question)["hashes"]
        if isinstance(hashes, list):
            return [Sha1(text) for text in hashes]
    except (ValueError, LookupError, TypeError, RecursionError, NotFound):
        pass
    raise InvalidRequest('the body must be JSON: {"hashes": ["<sha1>", ...]}, in lower-case hex')
