"""Who may read what a web server sends from the disk, without the application."""

from pathlib import Path
from typing import Any

from fileserver.core.errors import SettingsError
from fileserver.core.roles import Role, parse_groups
from fileserver.deploy.deployment import Deployment

READERS = {
    "tasks": (Role.API, Role.WORKER, Role.AUTHOR, Role.ADMIN),
    "submission_archives": (Role.API, Role.WORKER, Role.ADMIN),
    "results": (Role.API, Role.ADMIN),
}
"""The folders that web servers send files from, and the roles that may read them."""


def in_nginx(deployment: Deployment) -> dict[str, Any]:
    """What nginx.conf.j2 needs besides *deployment*: nginx knows users only. Raises SettingsError."""
    return {"readers": _readers(deployment.group_file) if deployment.group_file else None}


def _readers(group_file: Path) -> dict[str, list[str]]:
    """By folder the users who may read in it, as the group file is now."""
    try:
        groups = parse_groups(group_file.read_bytes().decode())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"--group-file: {group_file} cannot be used: {reason}") from None
    return {
        folder: sorted(user for user, has in groups.roles.items() if has & frozenset(roles))
        for folder, roles in READERS.items()
    }
