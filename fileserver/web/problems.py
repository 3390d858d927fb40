"""Errors on the wire: every one is `application/problem+json` (RFC 9457) with a stable type.

The one table from errors to statuses. Messages of FileserverError are meant for clients. What the operating system
says when a disk is full or fails goes to the log, in one line: no traceback could say more. All other exceptions
are defects: a 500 without details, and a traceback in the log.
"""

import errno
import json
import logging
from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from fileserver.core import errors
from fileserver.core.names import quoted

log = logging.getLogger(__name__)

TYPE_PREFIX = "urn:recodex-fileserver:problem:"

STATUSES: dict[type[errors.FileserverError], int] = {
    errors.InvalidName: 400,
    errors.InvalidRequest: 400,
    errors.DigestMismatch: 400,
    errors.IncompleteBody: 400,
    errors.RoleMissing: 403,
    errors.InvalidSignature: 403,
    errors.LinkExpired: 403,
    errors.CrossSite: 403,
    errors.Exposed: 403,
    errors.NotFound: 404,
    errors.BodyTimeout: 408,
    errors.Collision: 409,
    errors.Obstructed: 409,
    errors.LimitExceeded: 413,
    errors.FileserverError: 500,
    errors.SettingsError: 500,
    errors.StorageFailed: 500,
    errors.NotReady: 503,
    errors.InsufficientStorage: 507,
    errors.QuotaExceeded: 507,
}

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_STORAGE_FAILED = (
    errno.EIO,
    errno.EROFS,
    errno.EUCLEAN,
    errno.ENXIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOLCK,
    errno.ENOMEM,
)


def problem(status: int, code: str, title: str, detail: str, retryable: bool, setting: str | None = None) -> Response:
    """The answer that tells of one problem."""
    body = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "retryable": retryable,
    }
    if setting:
        body["setting"] = setting
    return Response(json.dumps(body) + "\n", status, mimetype="application/problem+json")


def register_errors(app: Flask) -> None:
    """Let *app* answer every exception with a problem."""
    app.register_error_handler(errors.FileserverError, _from_fileserver_error)
    app.register_error_handler(HTTPException, _from_http_exception)
    app.register_error_handler(OSError, _from_os_error)
    app.register_error_handler(Exception, _from_defect)


def _from_fileserver_error(error: errors.FileserverError) -> Response:
    status = next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
    return problem(status, error.code, error.title, str(error), error.retryable, error.setting)


def _from_http_exception(error: HTTPException) -> Response:
    """Werkzeug's and Flask's own: routes, methods, credentials, guesses, preconditions, ranges, media types."""
    status = HTTPStatus(error.code or 500)
    code = "range-not-satisfiable" if status == 416 else status.phrase.lower().replace(" ", "-")
    title = "There is no such resource" if status == 404 else status.phrase
    answer = problem(status, code, title, error.description or status.description, status >= 500 or status == 429)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers.add(name, value)
    return answer


def _from_os_error(error: OSError) -> Response:
    if error.errno in _DISK_FULL:
        answer: errors.FileserverError = errors.InsufficientStorage("the disk is full")
    elif error.errno in _STORAGE_FAILED:
        answer = errors.StorageFailed("the server cannot read or write its files; its log says why")
    else:
        return _from_defect(error)
    log.error("%s %s: %s: %s", request.method, quoted(request.path), answer.title.lower(), error)
    return _from_fileserver_error(answer)


def _from_defect(error: Exception) -> Response:
    log.error("request failed", exc_info=error)
    detail = "the server failed; its log says why"
    return problem(500, errors.FileserverError.code, errors.FileserverError.title, detail, True)
