"""Everything a template may say, validated in this one place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fileserver.core.errors import SettingsError
from fileserver.core.sections import LimitSettings
from fileserver.core.settings import Settings
from fileserver.deploy import values
from fileserver.deploy.values import Address, PublicUrl

LOOPBACK = "127.0.0.1"
_DEFAULT_UPSTREAM = Address("127.0.0.1", 9999)


@dataclass(frozen=True)
class Deployment:
    """The values of one deployment; None and the empty tuple stand for what is not given.

    Each field has the name of its option, so that an error can tell it.
    """

    working_directory: Path
    virtualenv: Path
    limits: LimitSettings
    port: int | None = None
    socket: Path | None = None
    address: tuple[str, ...] = ()
    user: str | None = None
    htpasswd: Path | None = None
    group_file: Path | None = None
    server_name: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    public_url: PublicUrl | None = None
    upstream: Address = _DEFAULT_UPSTREAM
    upstream_protocol: str = "http"
    insecure_no_auth: bool = False
    access_log: Path | None = None

    @property
    def site(self) -> str:
        """A word that tells this site from others on the same web server."""
        words = ("fileserver", *self.server_name, str(self.listen_port))
        return re.sub(r"\W", "_", "_".join(words), flags=re.ASCII)

    @property
    def listen_port(self) -> int:
        """The port of a web server."""
        return self.port or (443 if self.tls_certificate else 80)

    @property
    def listeners(self) -> tuple[str, ...]:
        """Where a web server listens: `address:port`, or `port` for all addresses."""
        listeners = tuple(Address(address, self.listen_port).authority for address in self.addresses)
        return listeners or (str(self.listen_port),)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses to listen on: of this machine only where nobody is asked for credentials; none for all."""
        return self.address or (() if self.htpasswd or self.insecure_no_auth else (LOOPBACK,))


def _all(check: Callable[[str], str]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    return lambda given: tuple(map(check, given))


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "working_directory": values.path,
    "virtualenv": values.path,
    "port": values.port,
    "socket": values.socket_path,
    "address": _all(values.ip_address),
    "user": values.user,
    "htpasswd": values.path,
    "group_file": values.path,
    "server_name": _all(values.host),
    "tls_certificate": values.path,
    "tls_key": values.path,
    "public_url": values.public_url,
    "upstream": values.upstream,
    "upstream_protocol": str,
    "insecure_no_auth": bool,
    "access_log": values.path,
}

_NEEDS = (
    ("tls_certificate", "tls_key"),
    ("tls_key", "tls_certificate"),
    ("group_file", "htpasswd"),
)
"""Options that mean nothing without another one."""

_EXCLUDE = (
    ("port", "socket"),
    ("address", "socket"),
    ("insecure_no_auth", "htpasswd"),
)
"""Options that contradict each other."""


def option(name: str) -> str:
    """The option of the field *name*."""
    return "--" + name.replace("_", "-")


def make_deployment(given: Mapping[str, Any], settings: Settings, virtualenv: Path) -> Deployment:
    """Make a Deployment of the options *given*, by their fields; what is None, False or empty is not given.

    The working directory, the password file and the group file are those of *settings*, *virtualenv* the environment,
    if no option names others. Raises SettingsError, which names the option.
    """
    chosen = {name: value for name, value in given.items() if value not in (None, False, ())}
    _refuse_contradictions(chosen)
    defaults = {
        "working_directory": settings.storage.working_directory,
        "virtualenv": virtualenv,
        "access_log": settings.log.access_log_file,
    }
    if not chosen.get("insecure_no_auth"):
        defaults["htpasswd"] = settings.auth.htpasswd_file
        defaults["group_file"] = settings.auth.group_file
    merged = {name: value for name, value in defaults.items() if value is not None} | chosen
    for one, other in _NEEDS:
        if one in merged and other not in merged:
            raise SettingsError(f"{option(one)} needs {option(other)}")
    if "working_directory" not in given:
        merged["working_directory"] = "/"  # The format says nothing of it.
    elif "working_directory" not in merged:
        raise SettingsError("--working-directory is missing, and no setting names one")
    checked = {name: _checked(name, value) for name, value in merged.items()}
    deployment = Deployment(limits=settings.limits, **checked)
    _refuse_exposure(deployment)
    return deployment


def _refuse_exposure(deployment: Deployment) -> None:
    if deployment.htpasswd or deployment.insecure_no_auth:
        return
    for address in deployment.addresses:
        if not Address(address).is_loopback:
            raise SettingsError(
                f"--address {address} can be reached from other machines: give --htpasswd, or say --insecure-no-auth"
            )


def _refuse_contradictions(chosen: Mapping[str, Any]) -> None:
    for one, other in _EXCLUDE:
        if one in chosen and other in chosen:
            raise SettingsError(f"{option(one)} and {option(other)} contradict each other")


def _checked(name: str, value: Any) -> Any:
    try:
        return _CHECKS[name](value)
    except ValueError as error:
        raise SettingsError(f"{option(name)}: {error}") from None
