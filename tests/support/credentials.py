"""Password files as an administrator makes them."""

import subprocess
from pathlib import Path

import bcrypt

from fileserver.core.roles import Role
from tests.support.messages import basic_auth

PEOPLE = {"worker": "secret", "api": "other secret: ä"}
PASSWORD = "a secret"
"""That of all whom `write_roles` knows."""

GROUPS = "# roles\n" + "".join(f"{role}: {role}\n" for role in Role) + "worker: both\nauthor: both\nother: nobody\n"
WITHOUT_ROLE = ("nobody", "API", "Admin")
"""Users who may do nothing; neither may those whose names only look like those of others."""


def bcrypt_line(user: str, password: str) -> str:
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    return f"{user}:{digest.replace('$2b$', '$2y$')}\n"  # as htpasswd -B writes it


def apr1_line(user: str, password: str) -> str:
    command = ["openssl", "passwd", "-apr1", password]
    return f"{user}:{subprocess.run(command, capture_output=True, check=True, text=True).stdout}"


def write_htpasswd(path: Path) -> Path:
    """Write a file with one user of each scheme."""
    path.write_text(bcrypt_line("worker", PEOPLE["worker"]) + apr1_line("api", PEOPLE["api"]))
    return path


def credentials(user: str) -> dict[str, str]:
    """What one of `write_roles` logs in with."""
    return {"Authorization": basic_auth(user, PASSWORD)}


def write_roles(folder: Path, groups: str = GROUPS) -> dict[str, str]:
    """Write users, one for each role, and their *groups* into *folder*; return the settings for them."""
    folder.mkdir(exist_ok=True)
    users = [*Role, "both", *WITHOUT_ROLE]
    (folder / "htpasswd").write_text("".join(bcrypt_line(user, PASSWORD) for user in users))
    (folder / "groups").write_text(groups)
    return {"htpasswd_file": str(folder / "htpasswd"), "group_file": str(folder / "groups")}


def write_keys(path: Path, *keys: str) -> Path:
    """Write a file of keys that sign links."""
    path.touch(0o600)
    path.write_text("".join(f"{key}\n" for key in keys or ("11" * 32,)))
    return path
