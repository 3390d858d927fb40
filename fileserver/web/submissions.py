"""/submissions and /submission_archives."""

from flask import Blueprint, Response, jsonify, url_for

from fileserver.core.names import ArchiveName, FilePath, SubmissionId
from fileserver.web.bodies import request_body
from fileserver.web.context import services
from fileserver.web.delivery import deliver
from fileserver.web.forms import form_files

blueprint = Blueprint("submissions", __name__)


@blueprint.post("/submissions/<id>")
def store_submission(id: str) -> Response:
    """Replace a submission by the files of a form; tell where its archive is and its result will be."""
    submission_id = SubmissionId(id)
    services().submissions.store(submission_id, form_files(), request_body().announced_bytes or 0)
    return jsonify(
        archive_path=_archive_path(submission_id),
        result_path=url_for("results.read_result", name=f"{submission_id}.zip"),
    )


@blueprint.get("/submissions/<id>")
def list_submission(id: str) -> Response:
    """The files of a submission."""
    submission_id = SubmissionId(id)
    files = [
        {
            "name": file.path,
            "size": file.size_bytes,
            "sha256": file.sha256.hex() if file.sha256 else None,
            "url": url_for(".read_submitted_file", id=submission_id, path=file.path),
        }
        for file in services().submissions.files(submission_id)
    ]
    return jsonify(id=submission_id, archive_path=_archive_path(submission_id), files=files)


@blueprint.delete("/submissions/<id>")
def delete_submission(id: str) -> tuple[str, int]:
    """Remove a submission and its archive."""
    services().submissions.delete(SubmissionId(id))
    return "", 204


@blueprint.get("/submissions/<id>/<path:path>")
def read_submitted_file(id: str, path: str) -> Response:
    """One file of a submission."""
    stored = services().submissions.open_file(SubmissionId(id), FilePath(path, services().settings.limits.names))
    # Of two versions of a submission, one file may have the same size and second.
    return deliver(stored, path.rpartition("/")[2], etag=stored.version)


@blueprint.get("/submission_archives/<name>")
def read_archive(name: str) -> Response:
    """The archive of a submission, for workers."""
    return deliver_archive(name)


def deliver_archive(name: str) -> Response:
    """Answer with the archive called *name*, `<submission id>.zip`."""
    archive_name = ArchiveName(name)
    return deliver(services().submissions.open_archive(archive_name), archive_name)


def _archive_path(submission_id: SubmissionId) -> str:
    return url_for(".read_archive", name=submission_id.archive_name)
