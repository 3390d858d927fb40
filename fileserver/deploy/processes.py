"""How many processes and threads serve, and how patient they are: the same wherever the application runs."""

import os
from pathlib import Path
from typing import Any

from fileserver.configuration import SETTINGS_FILE
from fileserver.core.errors import SettingsError
from fileserver.deploy import values
from fileserver.deploy.deployment import LOOPBACK, Deployment
from fileserver.deploy.values import Address

DEFAULT_PORT = 9999
"""Of the application itself."""

DEFAULT_USER = "recodex"

THREADS = 16
"""For each process: a transfer holds a thread, but mostly waits."""

KEEPALIVE_SECONDS = 75
"""Longer than the 60 that nginx keeps a connection for, so that it is not closed just when nginx uses it again."""

GRACEFUL_SECONDS = 60

_LOGS = Path("/var/log")

_MIN_PROCESSES = 2
_MAX_PROCESSES = 8


def processes_for_cores() -> int:
    """One for each core that this process may use: they hash and compress. Two at least, for when one dies."""
    return min(max(_MIN_PROCESSES, len(os.sched_getaffinity(0))), _MAX_PROCESSES)


def of_processes(deployment: Deployment) -> dict[str, Any]:
    """What every template needs that runs the application."""
    return {"processes": processes_for_cores(), "settings_file": _settings_file()}


def _settings_file() -> Path | None:
    """The settings file that this command has read, for the application to read it, too. Raises SettingsError."""
    given = os.environ.get(SETTINGS_FILE)
    try:
        return values.path(given) if given else None
    except ValueError as error:
        raise SettingsError(f"{SETTINGS_FILE}: {error}") from None


def of_services(deployment: Deployment) -> dict[str, Any]:
    """What the templates of gunicorn and systemd need; the service listens on this machine if nothing else is said."""
    port = deployment.port or DEFAULT_PORT
    listeners = [Address(host, port).authority for host in deployment.address or (LOOPBACK,)]
    home = Path("/home")
    return {
        "listeners": listeners,
        "user": deployment.user or DEFAULT_USER,
        "logs_directory": _logs_directory(deployment.access_log),
        "needs_home": home in deployment.virtualenv.parents or home in deployment.working_directory.parents,
        "threads": THREADS,
        "keepalive_seconds": KEEPALIVE_SECONDS,
        "graceful_seconds": GRACEFUL_SECONDS,
        **of_processes(deployment),
    }


def _logs_directory(access_log: Path | None) -> str | None:
    """The folder below /var/log that systemd has to make for the log, if it lies in one."""
    if access_log is None or _LOGS not in access_log.parent.parents:
        return None
    return str(access_log.parent.relative_to(_LOGS))


def of_logs(deployment: Deployment) -> dict[str, Any]:
    """What the template of logrotate needs. Raises SettingsError if no log is known."""
    if deployment.access_log is None:
        raise SettingsError("--access-log is missing, and no setting access_log_file names one")
    return {"user": deployment.user or "root"}
