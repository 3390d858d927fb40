"""What the templates of Apache and uWSGI say beyond the options: both run the application in their own processes."""

import os
from pathlib import Path
from typing import Any

from fileserver.configuration import SETTINGS_FILE
from fileserver.core.errors import SettingsError
from fileserver.deploy.deployment import Deployment
from fileserver.deploy.values import Address

READERS = {
    "tasks": ("api", "worker", "author", "admin"),
    "submission_archives": ("api", "worker", "admin"),
    "results": ("api", "admin"),
}
"""The folders that Apache sends files from, and the roles that may read them."""

_PACKAGE = Path(__file__).resolve().parents[1]
_SCRIPT = "mod_wsgi.py"
_DEFAULT_PORT = 9999
_MIN_PROCESSES = 2
_MAX_PROCESSES = 8


def in_apache(deployment: Deployment) -> dict[str, Any]:
    """What apache.conf.j2 needs besides *deployment*. Raises SettingsError."""
    return {"readers": READERS, "script": _script(deployment.virtualenv), **_common()}


def in_uwsgi(deployment: Deployment) -> dict[str, Any]:
    """What uwsgi.ini.j2 needs besides *deployment*. Raises SettingsError."""
    port = deployment.port or _DEFAULT_PORT
    return {"addresses": [Address(host, port).authority for host in deployment.addresses or ("",)], **_common()}


def _common() -> dict[str, Any]:
    processes = min(max(_MIN_PROCESSES, len(os.sched_getaffinity(0))), _MAX_PROCESSES)
    file = os.environ.get(SETTINGS_FILE)
    return {"processes": processes, "settings_file": Path(file).absolute() if file else None}


def _script(virtualenv: Path) -> Path:
    """The script for mod_wsgi in *virtualenv*; that of this installation if there is none, as where it is editable."""
    installed = sorted(virtualenv.glob(f"lib/python3*/site-packages/fileserver/{_SCRIPT}"))
    script = installed[-1] if installed else _PACKAGE / _SCRIPT
    if not (virtualenv / "pyvenv.cfg").is_file():
        raise SettingsError(f"--virtualenv: {virtualenv} is not an environment made by `python3 -m venv`")
    return script
