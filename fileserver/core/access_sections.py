"""The sections of the settings on who may ask, and how that is known; see `fileserver.core.sections` for their form."""

import re
from dataclasses import dataclass
from pathlib import Path

from fileserver.core.addresses import parse_peers
from fileserver.core.sections import Section, setting


@dataclass(frozen=True)
class AuthSettings(Section):
    """Who may use the server."""

    htpasswd_file: Path | None = setting(
        None, "the users (bcrypt, apr1, SHA-crypt); without it there is no authentication"
    )
    group_file: Path | None = setting(
        None, "the roles of the users, as an `AuthGroupFile` of Apache; without it every user has all"
    )
    signing_key_file: Path | None = setting(
        None, "the keys that sign links, one a line, of 32 bytes or more in hex or base64: the first signs, two verify"
    )
    max_signed_seconds: int = setting(7 * 86_400, "seconds that a signed link may hold")
    max_failed_logins: int = setting(
        10, "failed logins of one user from one address within `failed_logins_seconds`, after which 429 is answered"
    )
    max_failed_logins_of_address: int = setting(
        100, "failed logins of all users from one address; it does not hold for those who logged in from there lately"
    )
    failed_logins_seconds: int = setting(300, "seconds after which failed logins are forgotten")
    insecure_no_auth: bool = setting(
        False, "without `htpasswd_file`, serve nevertheless where other machines can connect; for trusted networks only"
    )

    def problem(self) -> str | None:
        for name in (
            "max_signed_seconds",
            "max_failed_logins",
            "max_failed_logins_of_address",
            "failed_logins_seconds",
        ):
            if getattr(self, name) < 1:
                return f"{name} must be at least 1"
        if self.max_signed_seconds > 366 * 86_400:
            return "max_signed_seconds must not exceed 31622400, a year"
        if self.group_file and not self.htpasswd_file:
            return "group_file needs htpasswd_file: roles are those of users"
        return None


@dataclass(frozen=True)
class ProxySettings(Section):
    """The proxies in front."""

    trusted_proxies: tuple[str, ...] = setting(
        (),
        "addresses and networks of the proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed; `unix` is "
        "for whoever comes through a unix socket",
    )
    public_url: str | None = setting(
        None, "where clients reach this server, such as `https://files.example.org`; signed links begin with it"
    )

    def problem(self) -> str | None:
        try:
            parse_peers(self.trusted_proxies)
        except ValueError as error:
            return f"trusted_proxies: {error}"
        if self.public_url is not None and not re.fullmatch(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", self.public_url):
            return "public_url must be like https://files.example.org, without user, query or fragment"
        return None
