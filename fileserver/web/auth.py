"""Authentication on every path: by HTTP Basic (RFC 7617), or by the signature of a link.

Failed logins are logged and throttled, before a hash is computed for them.
"""

import logging

from flask import Flask, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized

from fileserver.accounts.groups import RolesOfUsers
from fileserver.accounts.passwords import Passwords
from fileserver.accounts.throttle import LoginThrottle
from fileserver.core.access_sections import AuthSettings
from fileserver.core.names import quoted
from fileserver.core.roles import ALL_ROLES
from fileserver.web.access import Caller, require_role
from fileserver.web.exchange import current_exchange
from fileserver.web.exposure import refuse_other_machines
from fileserver.web.signed_urls import is_link, link_roles

log = logging.getLogger(__name__)

_REALM = "fileserver"


class _Challenge(WWWAuthenticate):
    """The challenge with its parameters quoted, as RFC 9110, 11.5 wants the realm to be."""

    def to_header(self) -> str:
        return f'Basic realm="{_REALM}", charset="UTF-8"'


class Logins:
    """Who may log in, and how often somebody may try. Raises SettingsError if the files cannot be used."""

    def __init__(self, passwords: Passwords, roles: RolesOfUsers, throttle: LoginThrottle) -> None:
        self._passwords = passwords
        self._roles = roles
        self._throttle = throttle

    def caller(self) -> Caller:
        """The user that makes the current request. Raises Unauthorized, TooManyRequests."""
        given = request.authorization
        if not given or given.type != "basic":
            raise _unauthorized()
        user, password = given.username or "", given.password or ""
        if not self._passwords.remembers(user, password):
            self._log_in(user, password, request.remote_addr or "")
        current_exchange().user = user
        return Caller(user, self._roles.of(user))

    def _log_in(self, user: str, password: str, address: str) -> None:
        if wait_seconds := self._throttle.wait_seconds(address, user):
            detail = "max_failed_logins, max_failed_logins_of_address: too many failed logins"
            raise TooManyRequests(f"{detail}; wait {wait_seconds} seconds", retry_after=wait_seconds)
        if self._passwords.accepts(user, password):
            self._throttle.succeeded(address, user)
            return
        current_exchange().login_failed = True
        is_blocked = self._throttle.failed(address, user)
        whence = address or "a unix socket"
        log.warning("failed login of %s from %s%s", quoted(user), whence, "; no more for a while" * is_blocked)
        raise _unauthorized()


def _unauthorized() -> Unauthorized:
    return Unauthorized("credentials are needed: HTTP Basic", www_authenticate=_Challenge("basic"))


def register_authentication(app: Flask, settings: AuthSettings) -> None:
    """Let *app* answer only to those who may ask, as *settings* say. Raises SettingsError."""
    logins: Logins | None = None
    if settings.htpasswd_file:
        limits = settings.max_failed_logins, settings.max_failed_logins_of_address, settings.failed_logins_seconds
        logins = Logins(Passwords(settings.htpasswd_file), RolesOfUsers(settings.group_file), LoginThrottle(*limits))

    @app.before_request
    def authenticate() -> None:
        if is_link():
            require_role(Caller(None, link_roles()))
        elif logins:
            require_role(logins.caller())
        else:
            refuse_other_machines(settings)
            require_role(Caller(None, ALL_ROLES))
