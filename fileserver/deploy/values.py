"""What a value must look like before any template may see it. Every function raises ValueError with the reason."""

import ipaddress
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAX_HOST_CHARACTERS = 253
_MAX_SOCKET_BYTES = 107
"""What fits into sockaddr_un."""

_BREAKING = ("Cc", "Cf", "Zl", "Zp", "Cs")
"""Categories of characters that end lines somewhere, cannot be seen, or are no text at all."""


@dataclass(frozen=True)
class Address:
    """Where a server listens: *host* and *port*, or the unix socket at *socket*."""

    host: str = ""
    port: int = 0
    socket: Path | None = None

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine gets there."""
        return self.socket is not None or self.host == "localhost" or _is_loopback(self.host)


@dataclass(frozen=True)
class PublicUrl:
    """How clients reach the server: *scheme*, and *authority*, which is the *host* with or without a port."""

    scheme: str
    authority: str
    host: str

    @property
    def text(self) -> str:
        """The whole of it."""
        return f"{self.scheme}://{self.authority}"


def text(value: str) -> str:
    """*value* if it is one line of visible text."""
    if not value:
        raise ValueError("it is empty; an unset shell variable?")
    for character in value:
        if unicodedata.category(character) in _BREAKING:
            raise ValueError(f"it contains the character {character!a}")
    return value


def path(value: str | os.PathLike[str]) -> Path:
    """*value* as an absolute path."""
    return Path(os.path.abspath(text(os.fspath(value))))


def socket_path(value: str | os.PathLike[str]) -> Path:
    """The absolute path of a unix socket."""
    absolute = path(value)
    if len(os.fsencode(absolute)) > _MAX_SOCKET_BYTES:
        raise ValueError(f"the path of a socket can have {_MAX_SOCKET_BYTES} bytes at most")
    return absolute


def port(value: int | str) -> int:
    """A TCP port."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(f"{value!r} is not a port, a number from 1 to 65535")
    if not 1 <= (number := int(value)) <= 65535:
        raise ValueError(f"{number} is not a port, a number from 1 to 65535")
    return number


def user(value: str) -> str:
    """The name of a user of the system."""
    if not _USER.fullmatch(value):
        raise ValueError(f"{value!r} is not a user name")
    return value


def host(value: str) -> str:
    """The name of one host, or its IPv4 address; no pattern."""
    if len(value) > _MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, value.split("."))):
        raise ValueError(f"{value!r} is not the name of a host")
    return value.lower()


def ip_address(value: str) -> str:
    """An IPv4 or IPv6 address, without brackets."""
    try:
        return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def upstream(value: str) -> Address:
    """Where another server listens: `<host>:<port>`, or `unix:<path>`."""
    if value.startswith("unix:"):
        socket = socket_path(value.removeprefix("unix:"))
        if ":" in str(socket):
            raise ValueError("the path of the socket contains a colon")
        return Address(socket=socket)
    name, separator, number = value.rpartition(":")
    if not separator:
        raise ValueError(f"{value!r} is neither <host>:<port> nor unix:<path>")
    return Address(ip_address(name) if name.startswith("[") else host(name), port(number))


def public_url(value: str) -> PublicUrl:
    """`http://` or `https://` with a host, and a port or none."""
    parts = urlsplit(text(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{value!r} is not http://<host> or https://<host>, with or without a port")
    if parts.path not in ("", "/") or "?" in value or "#" in value:
        raise ValueError("it has a path, but the server's paths begin at the root of its host")
    literal = parts.netloc.startswith("[")
    name = ip_address(parts.hostname) if literal else host(parts.hostname)
    number = _url_port(parts.netloc)
    shown = f"[{name}]" if literal else name
    return PublicUrl(parts.scheme, shown if number is None else f"{shown}:{number}", name)


def _url_port(netloc: str) -> int | None:
    after = netloc.rpartition("]")[2]
    return port(after.partition(":")[2]) if ":" in after else None
