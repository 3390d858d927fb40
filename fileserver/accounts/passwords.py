"""Passwords from an htpasswd file, as Apache reads it.

A wrong user is refused after the same time as a wrong password. What was verified is remembered, as a keyed digest
only, so that a slow hash is not computed for each request.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from passlib.apache import HtpasswdFile

from fileserver.accounts.reloading import ReloadedFile, load
from fileserver.core.names import quoted
from fileserver.core.passwords import BCRYPT_BYTES, KNOWN_PAIRS, MAX_PASSWORD_BYTES, is_known

log = logging.getLogger(__name__)

_REMEMBER_SECONDS = 300
_MAX_REMEMBERED = 1000
_MAX_ROUNDS = {"bcrypt": 16, "sha256_crypt": 5_000_000, "sha512_crypt": 5_000_000}
"""Some seconds on a slow machine."""

STRONG_SCHEMES = ("bcrypt", "apr_md5_crypt", "sha256_crypt", "sha512_crypt")
"""What may be in the file, by the names that passlib gives. Everything else can be read or found out by trying."""


@dataclass(frozen=True)
class Users:
    """The content of one password file."""

    file: HtpasswdFile
    refusal_seconds: float
    """How long it takes to be refused."""


class Passwords:
    """The users of one htpasswd file and their passwords. Raises SettingsError if it cannot be used or is not safe."""

    def __init__(self, path: Path) -> None:
        self._users = ReloadedFile("htpasswd_file", path, _parse)
        self._remembered = _Remembered()

    def remembers(self, user: str, password: str) -> bool:
        """Whether the pair was verified not long ago, in the file as it is now; costs nothing."""
        return self._remembered.has(self._users.value(), user, password)

    def accepts(self, user: str, password: str) -> bool:
        """Whether *user* has *password*; if not, the answer takes the same time for whatever reason."""
        users = self._users.value()
        refuse_at = time.monotonic() + users.refusal_seconds
        if not _check(users.file, user, password):
            time.sleep(max(0.0, refuse_at - time.monotonic()))
            return False
        if is_known(user, password):
            log.error("user %s is refused: everybody would guess the password; give another one", quoted(user))
            return False
        self._remembered.add(users, user, password)
        return True


class _Remembered:
    """The pairs that were verified last, forgotten when they are not used, and when the file changes."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._users: Users | None = None
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def _ticket(self, user: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{len(user)}:{user}{password}".encode(), hashlib.sha256)

    def has(self, users: Users, user: str, password: str) -> bool:
        ticket, now = self._ticket(user, password), time.monotonic()
        with self._lock:
            if users is not self._users or self._until.get(ticket, 0) <= now:
                return False
            self._until[ticket] = now + _REMEMBER_SECONDS
            self._until.move_to_end(ticket)
            return True

    def add(self, users: Users, user: str, password: str) -> None:
        with self._lock:
            if users is not self._users:
                self._users = users
                self._until.clear()
            self._until[self._ticket(user, password)] = time.monotonic() + _REMEMBER_SECONDS
            if len(self._until) > _MAX_REMEMBERED:
                self._until.popitem(last=False)


def _parse(content: bytes) -> Users:
    """Read the file. Raises ValueError if it is malformed, or a password is not hashed well or known to everybody."""
    file = HtpasswdFile.from_string(content)
    hashes = hashes_of(file)
    for user, password_hash in hashes.items():
        if scheme_of(file, password_hash) not in STRONG_SCHEMES:
            raise ValueError(f"the password of {quoted(user)} is not hashed by bcrypt, apr1 or SHA-crypt")
    kinds = {_kind(file, password_hash): password_hash for password_hash in hashes.values()}
    slowest_seconds = max((_seconds_to_verify(file, example) for example in kinds.values()), default=0.0)
    for user, password in KNOWN_PAIRS:
        if user in hashes and _check(file, user, password):
            raise ValueError(f"user {quoted(user)} has the password that everybody knows")
    # Twice, so that a busy processor does not tell who exists.
    return Users(file, 2 * slowest_seconds)


def read_users(path: Path) -> dict[str, str]:
    """The users in the file *path*, each with the scheme of its hash. Raises SettingsError."""

    def parse(content: bytes) -> dict[str, str]:
        file = HtpasswdFile.from_string(content)
        return {user: scheme_of(file, password_hash) for user, password_hash in hashes_of(file).items()}

    return load("htpasswd_file", path, parse)


def hashes_of(file: HtpasswdFile) -> dict[str, str]:
    """The hash of each user. Raises ValueError for what is not UTF-8."""
    users = cast("list[str]", file.users())
    return {user: (file.get_hash(user) or b"").decode() for user in users}


def scheme_of(file: HtpasswdFile, password_hash: str) -> str:
    """How a password is hashed, by the name that passlib gives."""
    # What Apache takes for bcrypt, but is not the repaired one.
    return "bcrypt_x" if password_hash.startswith("$2x$") else str(file.context.identify(password_hash))


def _kind(file: HtpasswdFile, password_hash: str) -> tuple[str, int]:
    """What the time depends on that it takes to check a password.

    Raises ValueError if the hash is malformed, or takes so long that nobody could log in.
    """
    scheme = scheme_of(file, password_hash)
    rounds = getattr(file.context.handler(scheme).from_string(password_hash), "rounds", 0)
    if rounds > _MAX_ROUNDS.get(scheme, rounds):
        raise ValueError(f"a password is hashed by {scheme} with {rounds} rounds, more than {_MAX_ROUNDS[scheme]}")
    return scheme, rounds


def _seconds_to_verify(file: HtpasswdFile, password_hash: str) -> float:
    start = time.monotonic()
    file.context.verify("not the password", password_hash)
    return time.monotonic() - start


def _check(file: HtpasswdFile, user: str, password: str) -> bool:
    try:
        known = file.get_hash(user)
        if known is None or len(password.encode()) > MAX_PASSWORD_BYTES:
            return False
        is_bcrypt = file.context.identify(known) == "bcrypt"
        return bool(file.context.verify(password.encode()[:BCRYPT_BYTES] if is_bcrypt else password, known))
    except ValueError:
        return False  # A name or a password that no htpasswd file can hold, such as one with a colon or a NUL.
