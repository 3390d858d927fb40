"""Rules for names of users and for passwords, whoever makes them."""

import re

from fileserver.core.errors import InvalidName
from fileserver.core.names import check_text, quoted

MAX_USER_BYTES = 255
"""What Apache reads."""

MAX_PASSWORD_BYTES = 256
"""The time that a hash takes grows with the password: longer ones would tell by it which users there are."""

BCRYPT_BYTES = 72
"""More of a password bcrypt does not use; Apache cuts it off."""

KNOWN_PAIRS = (
    ("re", "codex"),  # The original server's package ships it.
    ("recodex", "codex"),
    ("admin", "admin"),
    ("admin", "password"),
    ("root", "root"),
    ("test", "test"),
    ("user", "user"),
    ("guest", "guest"),
)
"""Credentials that anybody may know. They are few, because each costs a slow hash at start if there is such a user."""

_OUTSIDE = re.compile(r"""[\s:"'\\]""")


def is_known(user: str, password: str) -> bool:
    """Whether anybody may know or guess that *user* has *password*: the same as the name, or a shipped one."""
    return password.casefold() == user.casefold() or (user, password) in KNOWN_PAIRS


def check_user_name(user: str) -> str:
    """Return *user* if both a password file and a group file can hold it in every web server. Raises InvalidName."""
    if not user:
        raise InvalidName("the name of a user must not be empty")
    check_text(user, "the name of a user", MAX_USER_BYTES)
    if _OUTSIDE.search(user) or user.startswith("#"):
        raise InvalidName(
            f"the name of a user {quoted(user)} must not have blanks, colons, quotes or backslashes, or begin with #"
        )
    return user


def check_password(user: str, password: str, is_bcrypt: bool) -> str:
    """Return *password* if *user* may have it. Raises InvalidName, which does not tell it."""
    if not password:
        raise InvalidName("the password must not be empty")
    if any(ord(char) < 32 or ord(char) == 127 for char in password):
        raise InvalidName("the password must be one line without control characters")
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise InvalidName(f"the password must not be longer than {MAX_PASSWORD_BYTES} bytes")
    if is_bcrypt and len(password.encode()) > BCRYPT_BYTES:
        raise InvalidName(f"bcrypt uses {BCRYPT_BYTES} bytes of a password: it must not be longer")
    if is_known(user, password):
        raise InvalidName("everybody would guess this password; choose another one")
    return password
