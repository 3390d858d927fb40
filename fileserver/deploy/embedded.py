"""What the templates of Apache and uWSGI say beyond the options: both run the application in their own processes."""

from pathlib import Path
from typing import Any

from fileserver.core.errors import SettingsError
from fileserver.deploy.deployment import Deployment
from fileserver.deploy.processes import DEFAULT_PORT, of_processes
from fileserver.deploy.readers import READERS
from fileserver.deploy.values import Address

_PACKAGE = Path(__file__).resolve().parents[1]
_SCRIPT = "mod_wsgi.py"


def in_apache(deployment: Deployment) -> dict[str, Any]:
    """What apache.conf.j2 needs besides *deployment*. Raises SettingsError."""
    return {"readers": READERS, "script": _script(deployment.virtualenv), **of_processes(deployment)}


def in_uwsgi(deployment: Deployment) -> dict[str, Any]:
    """What uwsgi.ini.j2 needs besides *deployment*. Raises SettingsError."""
    port = deployment.port or DEFAULT_PORT
    return {
        "addresses": [Address(host, port).authority for host in deployment.addresses or ("",)],
        **of_processes(deployment),
    }


def _script(virtualenv: Path) -> Path:
    """The script for mod_wsgi in *virtualenv*; that of this installation if there is none, as where it is editable."""
    installed = sorted(virtualenv.glob(f"lib/python3*/site-packages/fileserver/{_SCRIPT}"))
    script = installed[-1] if installed else _PACKAGE / _SCRIPT
    if not (virtualenv / "pyvenv.cfg").is_file():
        raise SettingsError(f"--virtualenv: {virtualenv} is not an environment made by `python3 -m venv`")
    return script
