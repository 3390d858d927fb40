"""Signatures that stand for one request: a method, a path and the time until which they hold.

The signed text begins with what it is, and the path, which alone may contain anything, stands at its end. So no two
requests have the same text, and no other use of the keys can yield one.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

MIN_KEY_BYTES = 32
MAX_KEYS = 2

_CONTEXT = b"recodex-fileserver signed URL v1"
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")


def sign(key: bytes, method: str, path: bytes, expires: int) -> str:
    """The signature, in base64url without padding. *path* is decoded, *expires* in seconds since 1970."""
    text = b"\n".join((_CONTEXT, method.encode("ascii"), str(expires).encode("ascii"), path))
    return base64.urlsafe_b64encode(hmac.digest(key, text, hashlib.sha256)).rstrip(b"=").decode("ascii")


def is_signed(keys: Sequence[bytes], method: str, path: bytes, expires: int, signature: str) -> bool:
    """Whether *signature* was made by one of *keys* for exactly this."""
    given = signature.encode("utf-8", "surrogateescape")
    return any(hmac.compare_digest(sign(key, method, path, expires).encode("ascii"), given) for key in keys)


def parse_expires(text: str) -> int | None:
    """The time in *text*; None unless it is written in the one way in which `sign` writes it."""
    return int(text) if _EXPIRES.fullmatch(text) else None


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Read keys, one a line, in hex or base64: the first signs, all verify. Raises ValueError, which tells no key."""
    keys = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            keys.append(_parse_key(line, number))
    if not 1 <= len(keys) <= MAX_KEYS:
        raise ValueError(f"there are {len(keys)} keys; one signs, and a second one is for rotation")
    return tuple(keys)


def _parse_key(text: str, number: int) -> bytes:
    try:
        key = bytes.fromhex(text) if re.fullmatch("[0-9a-fA-F]+", text) else _decode_base64(text)
    except ValueError:
        raise ValueError(f"line {number} is neither hex nor base64") from None
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the key in line {number} has less than {MIN_KEY_BYTES} bytes")
    return key


def _decode_base64(text: str) -> bytes:
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
