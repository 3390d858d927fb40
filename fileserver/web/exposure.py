"""Who can reach the server: beyond this machine only with credentials."""

import socket
from collections.abc import Iterable

from flask import request

from fileserver.core.access_sections import AuthSettings
from fileserver.core.addresses import is_local
from fileserver.core.errors import Exposed, SettingsError
from fileserver.core.settings import Settings
from fileserver.web.proxies import peer_address


def require_credentials(listeners: Iterable[socket.socket], settings: Settings) -> None:
    """Raise SettingsError if one of *listeners* can be reached from elsewhere, and no credentials are asked for."""
    if settings.auth.htpasswd_file is not None or settings.auth.insecure_no_auth:
        return
    for listener in listeners:
        if listener.family != socket.AF_UNIX and not is_local(host := listener.getsockname()[0]):
            raise SettingsError(
                f"{host} can be reached from other machines: set htpasswd_file, or say --insecure-no-auth"
            )


def refuse_other_machines(settings: AuthSettings) -> None:
    """Raise Exposed for a request from another machine, where no credentials are asked for.

    Not every web server lets the application know where it listens; all tell who is connected.
    """
    if not settings.insecure_no_auth and not is_local(peer_address(request.environ)):
        raise Exposed("htpasswd_file is not set: this server answers to its own machine only")
