"""Who can reach the server: beyond this machine only with credentials."""

import ipaddress
import socket
from collections.abc import Iterable

from fileserver.core.errors import SettingsError
from fileserver.core.settings import Settings


def require_credentials(listeners: Iterable[socket.socket], settings: Settings) -> None:
    """Raise SettingsError if one of *listeners* can be reached from elsewhere, and no credentials are asked for."""
    if settings.auth.htpasswd_file is not None or settings.auth.insecure_no_auth:
        return
    for listener in listeners:
        if listener.family != socket.AF_UNIX and not _is_loopback(host := listener.getsockname()[0]):
            raise SettingsError(
                f"{host} can be reached from other machines: set htpasswd_file, or say --insecure-no-auth"
            )


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
