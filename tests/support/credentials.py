"""Password files as an administrator makes them."""

import subprocess
from pathlib import Path

import bcrypt

PEOPLE = {"worker": "secret", "api": "other secret: ä"}


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
