"""The roles of users, from a group file."""

import logging
from pathlib import Path

from fileserver.accounts.reloading import ReloadedFile
from fileserver.core.names import quoted
from fileserver.core.roles import ALL_ROLES, Groups, Roles, parse_groups

log = logging.getLogger(__name__)


class RolesOfUsers:
    """Who has which roles; without a group file all have all. Raises SettingsError if the file cannot be used."""

    def __init__(self, path: Path | None) -> None:
        self._groups = ReloadedFile("group_file", path, _parse) if path else None

    def of(self, user: str) -> Roles:
        """The roles that *user* has now."""
        return self._groups.value().of(user) if self._groups else ALL_ROLES


def _parse(content: bytes) -> Groups:
    groups = parse_groups(content.decode())
    if groups.others:
        log.warning("group_file: not a role here, and ignored: %s", ", ".join(map(quoted, groups.others)))
    return groups
