"""Roles: what a user may be, and how a group file in the format of Apache's AuthGroupFile gives them.

A line is `group: user user ...`; a user whose name has blanks stands in quotes. Several lines of one group add up,
lines that begin with `#` are comments.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a user is to this server; docs/security.md tells what each may do."""

    API = "api"
    WORKER = "worker"
    AUTHOR = "author"
    MONITOR = "monitor"
    ADMIN = "admin"


Roles = frozenset[Role]

ALL_ROLES: Roles = frozenset(Role)
NO_ROLES: Roles = frozenset()

_WORD = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([^\s"']\S*))(?=\s|$)""")
_ESCAPES = {quote: re.compile(rf"\\([\\{quote}])") for quote in ("", '"', "'")}
"""What a backslash stands before, by the quotes around the name; elsewhere it is itself."""


@dataclass(frozen=True)
class Groups:
    """The roles of each user, and the groups of the file that are no roles here, in the order of the file."""

    roles: Mapping[str, Roles] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    def of(self, user: str) -> Roles:
        """The roles of *user*, which may be none."""
        return self.roles.get(user, NO_ROLES)


def parse_groups(text: str) -> Groups:
    """Read a group file. Raises ValueError, which tells the line."""
    roles: dict[str, Roles] = {}
    others: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        parsed = parse_group_line(line, number)
        if parsed is None:
            continue
        group, users = parsed
        if group not in ALL_ROLES and group.lower() in ALL_ROLES:
            raise ValueError(f"line {number}: Apache would take the group {group} for the role {group.lower()}")
        if group not in ALL_ROLES:
            others[group] = None
            continue
        for user in users:
            roles[user] = roles.get(user, NO_ROLES) | {Role(group)}
    return Groups(roles, tuple(others))


def parse_group_line(line: str, number: int) -> tuple[str, list[str]] | None:
    """The group and the users of one line; None for a comment or an empty line. Raises ValueError."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    group, colon, rest = line.partition(":")
    # Apache takes what follows such a line for a part of it.
    if not colon or not group.strip() or line.endswith("\\"):
        raise ValueError(f"line {number} is not `group: user user ...`")
    users, position = [], 0
    rest = rest.strip()
    while position < len(rest):
        word = _WORD.match(rest, position)
        if not word:
            raise ValueError(f"line {number} has a quote that is not closed, or within a name")
        for quote, name in zip(('"', "'", ""), word.groups(), strict=True):
            if name is not None:
                users.append(_ESCAPES[quote].sub(r"\1", name))
        position = word.end()
    return group.strip(), users


def format_group_line(group: str, users: list[str]) -> str:
    """The line that `parse_group_line` reads as this."""
    return f"{group}: {' '.join(map(_format_user, users))}".rstrip()


def _format_user(user: str) -> str:
    if re.fullmatch(r"""[^\s"'\\]+""", user):
        return user
    escaped = user.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
