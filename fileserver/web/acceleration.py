"""Files that nginx sends for the application: X-Accel-Redirect, where `accel_redirect_prefix` is set.

The application decides who gets what, and nginx opens the file by its path. Between the two the file may be replaced,
or be gone for a moment: so the answer carries nothing that belongs to one version, and nginx asks again, with
X-Accel-Redirect-Failed, for what it does not find. Entity tags are then made as nginx makes them, so that it does not
matter who has sent a file: no two versions of a name share their size and the second of their modification.
"""

import os
from pathlib import Path
from urllib.parse import quote

from flask import request

from fileserver.storage.interface import StoredFile
from fileserver.web.context import services

_SECOND_NS = 10**9

_FAILED = "X-Accel-Redirect-Failed"
_JUDGED_HERE = ("Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", _FAILED)


def redirect_target(stored: StoredFile) -> str | None:
    """The internal location at which nginx finds *stored*; None where the application must answer itself.

    It does where there are ranges or conditions: nginx would evaluate them once more, perhaps against another version.
    """
    prefix = services().settings.delivery.accel_redirect_prefix
    if prefix is None or request.method != "GET" or any(name in request.headers for name in _JUDGED_HERE):
        return None
    path = _path_of(stored)
    return f"{prefix}/{quote(path)}" if path else None


def _path_of(stored: StoredFile) -> str | None:
    """The path of the open file in the working directory; None if it has lost its name, or never had one there."""
    try:
        path = os.readlink(f"/proc/self/fd/{stored.file.fileno()}")
        if os.lstat(path).st_ino != stored.inode:
            return None
        root = services().staging.root.parent.resolve()
        return str(Path(path).relative_to(root))
    except (OSError, ValueError):
        return None


def entity_tag(stored: StoredFile) -> str:
    """The entity tag of a file under a name whose versions differ in size or second, without quotes."""
    if "mod_wsgi.version" in request.environ:  # Apache sends such files, too, and tags them so.
        return f"{stored.size_bytes:x}-{stored.mtime_ns // 1000:x}"
    if services().settings.delivery.accel_redirect_prefix is None:
        return stored.version
    return f"{stored.mtime_ns // _SECOND_NS:x}-{stored.size_bytes:x}"
