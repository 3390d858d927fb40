"""The script of Apache's mod_wsgi: `WSGIScriptAlias / <this file>`.

mod_wsgi gives its processes no environment variables, but each request those that `SetEnv` sets. So the application is
made with the first request, once in a process, by the settings that come with it.
"""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask

from fileserver.app import create_app
from fileserver.configuration import PREFIX, load_settings

_lock = threading.Lock()
_apps: list[Flask] = []


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request, by WSGI. Raises SettingsError: mod_wsgi logs it, answers 500, and it is tried anew."""
    with _lock:
        if not _apps:
            _apps.append(_make(environ))
    uri = environ.get("REQUEST_URI", "")
    if uri.startswith("/"):
        # Apache drops double slashes and dots from PATH_INFO; the application refuses them, as behind other servers.
        environ["PATH_INFO"] = unquote_to_bytes(uri.partition("?")[0]).decode("latin-1")
    return _apps[0](environ, start_response)


def _make(environ: dict[str, Any]) -> Flask:
    """The application by the settings in *environ*, else those of the process."""
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    return create_app(load_settings({**os.environ, **given}))
