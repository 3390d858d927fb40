"""HTTP Basic authentication (RFC 7617) from an htpasswd file, on every path.

The file is read anew when it changes. A wrong user is refused after the same time as a wrong password. What was
verified is remembered for a short time, as a keyed digest only, so that a slow hash is not computed for each request.
"""

import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import cast

from flask import Flask, request
from passlib.apache import HtpasswdFile
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from fileserver.core.errors import SettingsError
from fileserver.web.exchange import current_exchange

log = logging.getLogger(__name__)

_REALM = "fileserver"
_REMEMBER_SECONDS = 60
_MAX_REMEMBERED = 1000
_STRONG_SCHEMES = ("bcrypt", "apr_md5_crypt", "sha256_crypt", "sha512_crypt")
_BCRYPT_BYTES = 72
"""More of a password bcrypt does not use; Apache cuts it off."""

_SHIPPED = (("re", "codex"),)
"""Credentials that the original server's package ships; anybody may know them."""


class PasswordFile:
    """The users of one htpasswd file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, float] = {}
        self._load()

    def _load(self) -> None:
        """Read the file. Raises SettingsError if it cannot be used or is not safe; then the users stay as they were."""
        self._changed = _signature(self._path)
        try:
            users = HtpasswdFile(str(self._path))
            hashes = {user: cast(str, users.get_hash(cast(str, user))) for user in users.users()}
            kinds = {_kind(users, password_hash): password_hash for password_hash in hashes.values()}
            slowest_seconds = max((_seconds_to_verify(users, example) for example in kinds.values()), default=0.0)
            shipped = [user for user, password in _SHIPPED if users.check_password(user, password)]
        except (OSError, ValueError) as error:
            raise SettingsError(f"htpasswd_file {self._path} cannot be used: {error}") from None
        if shipped:
            raise SettingsError(f"htpasswd_file: user {shipped[0]!r} has the password that everybody knows")
        self._users = users
        # Twice, so that a busy processor does not tell who exists.
        self._refusal_seconds = 2 * slowest_seconds
        self._verified.clear()

    def _refresh(self) -> None:
        """Read the file anew if it changed; one that cannot be used leaves the users as they were."""
        if self._changed != _signature(self._path):
            try:
                self._load()
            except SettingsError as error:
                log.error("htpasswd_file is not read anew: %s", error)

    def accepts(self, user: str, password: str) -> bool:
        """Whether *user* has *password*."""
        ticket = hmac.digest(self._key, f"{len(user)}:{user}{password}".encode(), hashlib.sha256)
        with self._lock:
            self._refresh()
            users = self._users
            if self._verified.get(ticket, 0) > time.monotonic():
                return True
        refuse_at = time.monotonic() + self._refusal_seconds
        if not _check(users, user, password):
            time.sleep(max(0.0, refuse_at - time.monotonic()))
            return False
        with self._lock:
            if users is self._users:  # It was not read anew meanwhile.
                if len(self._verified) >= _MAX_REMEMBERED:
                    self._verified.clear()
                self._verified[ticket] = time.monotonic() + _REMEMBER_SECONDS
        return True


def _kind(users: HtpasswdFile, password_hash: str) -> tuple[str, int]:
    """What the time depends on that it takes to check a password. Raises ValueError if the hash is not strong."""
    scheme = users.context.identify(password_hash)
    if scheme not in _STRONG_SCHEMES:
        raise ValueError("a password is not hashed by bcrypt, apr1 or SHA-crypt")
    return scheme, getattr(users.context.handler(scheme).from_string(password_hash), "rounds", 0)


def _seconds_to_verify(users: HtpasswdFile, password_hash: str) -> float:
    start = time.monotonic()
    users.context.verify("not the password", password_hash)
    return time.monotonic() - start


def _check(users: HtpasswdFile, user: str, password: str) -> bool:
    try:
        known = cast("str | None", users.get_hash(user))
        if known is None:
            return False
        is_bcrypt = users.context.identify(known) == "bcrypt"
        return bool(users.context.verify(password.encode()[:_BCRYPT_BYTES] if is_bcrypt else password, known))
    except ValueError:
        return False  # A name or a password that no htpasswd file can hold, such as one with a colon or a NUL.


class _Challenge(WWWAuthenticate):
    """The challenge with its parameters quoted, as RFC 9110, 11.5 wants the realm to be."""

    def to_header(self) -> str:
        return f'Basic realm="{_REALM}", charset="UTF-8"'


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None if there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns


def register_authentication(app: Flask, htpasswd_file: Path | None) -> None:
    """Let *app* answer only to the users of *htpasswd_file*, if there is one. Raises SettingsError."""
    if htpasswd_file is None:
        return
    passwords = PasswordFile(htpasswd_file)

    @app.before_request
    def authenticate() -> None:
        given = request.authorization
        if given and given.type == "basic" and passwords.accepts(given.username or "", given.password or ""):
            current_exchange().user = given.username
            return
        raise Unauthorized("credentials are needed: HTTP Basic", www_authenticate=_Challenge("basic"))
