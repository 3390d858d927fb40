"""Changing the password file and the group file, beside a running server and other admins.

Each change is made under a lock that all admins take, on a copy that then takes the place of the file, durably.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from passlib.apache import HtpasswdFile

from fileserver.core.roles import Role, format_group_line, parse_group_line
from fileserver.storage.filesystem import create_file, fsync_directory
from fileserver.storage.staging import write_all

NEW_FILE_MODE = 0o640


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let nobody else change *path*, or another file of its folder, for the duration of the block."""
    fd = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def change(path: Path, edit: Callable[[str], str]) -> None:
    """Replace the text of *path*, which may not exist yet, by what *edit* makes of it; owner and mode stay.

    The caller holds the lock. Raises OSError, and UnicodeDecodeError for what is not UTF-8.
    """
    target = path.resolve()
    try:
        info = target.stat()
        text = target.read_bytes().decode()
    except FileNotFoundError:
        info, text = None, ""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    fd = create_file(temporary, stat.S_IMODE(info.st_mode) if info else NEW_FILE_MODE)
    try:
        if info:
            os.fchown(fd, info.st_uid, info.st_gid)
        write_all(fd, edit(text).encode())
        os.fsync(fd)
        os.rename(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    fsync_directory(target.parent)


def with_password(user: str, password_hash: str) -> Callable[[str], str]:
    """An edit of a password file that gives *user* this hash."""

    def edit(text: str) -> str:
        file = HtpasswdFile.from_string(text.encode())
        file.set_hash(user, password_hash)
        return file.to_string().decode()

    return edit


def without_user(user: str) -> Callable[[str], str]:
    """An edit of a password file that removes *user*, however often it is there."""

    def edit(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if line.partition(":")[0] != user)

    return edit


def with_roles(user: str, roles: frozenset[Role]) -> Callable[[str], str]:
    """An edit of a group file that gives *user* exactly these roles; other groups stay as they are."""

    def edit(text: str) -> str:
        lines, missing = [], set(roles)
        for number, line in enumerate(text.splitlines(), 1):
            parsed = parse_group_line(line, number)
            if parsed and parsed[0] in frozenset(Role):
                group, users = parsed
                kept = [name for name in users if name != user]
                if group in missing:
                    kept.append(user)
                    missing.discard(Role(group))
                line = format_group_line(group, kept) if kept != users else line
            lines.append(line)
        lines += [format_group_line(role, [user]) for role in Role if role in missing]
        return "".join(f"{line}\n" for line in lines)

    return edit
