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
_STRONG_SCHEMES = ("bcrypt", "apr_md5_crypt", "sha256_crypt", "sha512_crypt")
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
        try:
            self._changed = _signature(self._path)
            users = HtpasswdFile(str(self._path))
        except (OSError, ValueError) as error:
            raise SettingsError(f"htpasswd_file {self._path} cannot be read: {error}") from None
        schemes = {user: _scheme(users, user) for user in users.users()}
        for user, scheme in schemes.items():
            if scheme not in _STRONG_SCHEMES:
                raise SettingsError(
                    f"htpasswd_file: the password of {user!r} is not hashed by bcrypt, apr1 or SHA-crypt"
                )
        for user, password in _SHIPPED:
            if users.check_password(user, password):
                raise SettingsError(f"htpasswd_file: user {user!r} has the password that everybody knows")
        self._users = users
        self._verified.clear()
        # An unknown user is checked against this, in the scheme of the first user, to take as long.
        scheme = next(iter(schemes.values()), _STRONG_SCHEMES[0])
        self._decoy: str = users.context.handler(scheme).hash(secrets.token_hex(16))

    def _refresh(self) -> None:
        """Read the file anew if it changed; one that cannot be used leaves the users as they were."""
        try:
            if self._changed != _signature(self._path):
                self._load()
        except (OSError, SettingsError) as error:
            log.error("htpasswd_file is not read anew: %s", error)

    def accepts(self, user: str, password: str) -> bool:
        """Whether *user* has *password*."""
        ticket = hmac.digest(self._key, f"{len(user)}:{user}{password}".encode(), hashlib.sha256)
        with self._lock:
            self._refresh()
            if self._verified.get(ticket, 0) > time.monotonic():
                return True
        if not self._check(user, password):
            return False
        with self._lock:
            if len(self._verified) >= _MAX_REMEMBERED:
                self._verified.clear()
            self._verified[ticket] = time.monotonic() + _REMEMBER_SECONDS
        return True

    def _check(self, user: str, password: str) -> bool:
        try:
            known = cast("str | bytes | None", self._users.get_hash(user))
            right = bool(self._users.context.verify(password, known or self._decoy))
        except ValueError:
            # A name or a password that no htpasswd file can hold, such as one with a colon or a NUL.
            return False
        return right and known is not None


def _scheme(users: HtpasswdFile, user: str | bytes) -> str | None:
    """The name of the hash of *user*'s password."""
    found: str | None = users.context.identify(cast(str, users.get_hash(cast(str, user))))
    return found


def _signature(path: Path) -> tuple[int, int, int]:
    info = os.stat(path)
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
        challenge = WWWAuthenticate("basic", {"realm": _REALM, "charset": "UTF-8"})
        raise Unauthorized("credentials are needed: HTTP Basic", www_authenticate=challenge)
