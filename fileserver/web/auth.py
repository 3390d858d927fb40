"""HTTP Basic authentication (RFC 7617) from an htpasswd file, on every path.

The file is read anew when it changes. A wrong user costs the same as a wrong password. What was verified is
remembered for a short time, as a keyed digest only, so that a slow password hash is not computed for each request.
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

log = logging.getLogger(__name__)

_REALM = "fileserver"
_REMEMBER_SECONDS = 60
_MAX_REMEMBERED = 1000
_STRONG_SCHEMES = ("apr_md5_crypt", "sha256_crypt", "sha512_crypt", "bcrypt")
"""In the order of what it costs to check a password."""

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
        """Read the file. Raises SettingsError if it cannot be read, or holds what is not safe."""
        self._changed = _signature(self._path)
        try:
            users = HtpasswdFile(str(self._path))
        except (OSError, ValueError) as error:
            raise SettingsError(f"htpasswd_file {self._path} cannot be read: {error}") from None
        hashes = {user: cast(str, users.get_hash(cast(str, user))) for user in users.users()}
        for user, password_hash in hashes.items():
            if users.context.identify(password_hash) not in _STRONG_SCHEMES:
                raise SettingsError(f"htpasswd_file: user {user!r} has no bcrypt, apr1 or SHA-crypt hash")
        for user, password in _SHIPPED:
            if users.check_password(user, password):
                raise SettingsError(f"htpasswd_file: user {user!r} has the password that everybody knows")
        self._users = users
        self._verified.clear()
        self._costliest = max(hashes.values(), key=self._cost, default=None)

    def _cost(self, password_hash: str | bytes) -> tuple[int, int]:
        """Something that grows with the time that it takes to check a password."""
        context = self._users.context
        scheme = cast(str, context.identify(cast(str, password_hash)))
        parsed = context.handler(scheme).from_string(password_hash)
        return _STRONG_SCHEMES.index(scheme), getattr(parsed, "rounds", 0)

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
        if not self._check(users, user, password):
            return False
        with self._lock:
            if users is self._users:  # It was not read anew meanwhile.
                if len(self._verified) >= _MAX_REMEMBERED:
                    self._verified.clear()
                self._verified[ticket] = time.monotonic() + _REMEMBER_SECONDS
        return True

    def _check(self, users: HtpasswdFile, user: str, password: str) -> bool:
        """Check the password, and whoever is refused waits for a check of the costliest hash."""
        try:
            known = cast("str | None", users.get_hash(user))
            if known and users.context.verify(password, known):
                return True
            if self._costliest and (not known or self._cost(known) < self._cost(self._costliest)):
                users.context.verify(password, self._costliest)
        except ValueError:
            pass  # A name or a password that no htpasswd file can hold, such as one with a colon or a NUL.
        return False


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
            return
        raise Unauthorized("credentials are needed: HTTP Basic", www_authenticate=_Challenge("basic"))
