"""/attachments."""

from flask import Blueprint, Response, jsonify

from fileserver.core.names import AttachmentId
from fileserver.web.bodies import raw_body
from fileserver.web.context import services
from fileserver.web.delivery import deliver

blueprint = Blueprint("attachments", __name__)


@blueprint.put("/attachments/<id>")
def write_attachment(id: str) -> Response:
    """Store an attachment of an exercise's text."""
    services().attachments.store(AttachmentId(id), raw_body())
    return jsonify(result="OK")


@blueprint.get("/attachments/<id>")
def read_attachment(id: str) -> Response:
    """The bytes of an attachment."""
    attachment_id = AttachmentId(id)
    return deliver(services().attachments.open(attachment_id), attachment_id)


@blueprint.delete("/attachments/<id>")
def delete_attachment(id: str) -> tuple[str, int]:
    """Remove an attachment."""
    services().attachments.delete(AttachmentId(id))
    return "", 204
