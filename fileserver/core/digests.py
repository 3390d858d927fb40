"""Digests: computed while bytes pass, declared by senders, told to readers.

Sources: RFC 9530 (Content-Digest, Repr-Digest), RFC 1864 (Content-MD5), RFC 8941 (structured fields).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import http_sf

from fileserver.core.errors import DigestMismatch, InvalidRequest

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
"""The names of RFC 9530 that are verified, and hashlib's; others are ignored, as the RFC says."""


class Hasher:
    """Several digests of one stream of bytes."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}

    def update(self, data: bytes) -> None:
        for digest in self._hashes.values():
            digest.update(data)

    def digests(self) -> dict[str, bytes]:
        """The raw digests so far, by hashlib's name of the algorithm."""
        return {name: digest.digest() for name, digest in self._hashes.items()}


@dataclass(frozen=True)
class DeclaredDigests:
    """What a sender says of its bytes: pairs of hashlib's algorithm name and raw digest."""

    declared: tuple[tuple[str, bytes], ...] = field(default=())

    @property
    def algorithms(self) -> set[str]:
        return {algorithm for algorithm, _ in self.declared}

    def verify(self, digests: Mapping[str, bytes], what: str) -> None:
        """Raise DigestMismatch unless every declared digest equals the one in *digests*."""
        for algorithm, expected in self.declared:
            if not hmac.compare_digest(digests[algorithm], expected):
                raise DigestMismatch(f"{what} does not have the declared {algorithm} digest")


def parse_digest_fields(get: Callable[[str], str | None]) -> DeclaredDigests:
    """Read Content-Digest, Repr-Digest and Content-MD5 from header fields; *get* gives the value of one, or None.

    Raises InvalidRequest where one is malformed or has the wrong length for its algorithm.
    """
    declared: list[tuple[str, bytes]] = []
    for name in ("Content-Digest", "Repr-Digest"):
        if value := get(name):
            declared += _parse_digest_field(name, value)
    if value := get("Content-MD5"):
        try:
            declared.append(("md5", base64.b64decode(value, validate=True)))
        except (binascii.Error, ValueError):
            raise InvalidRequest("Content-MD5 is not base64") from None
    for algorithm, digest in declared:
        if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
            raise InvalidRequest(f"a declared {algorithm} digest has {len(digest)} bytes")
    return DeclaredDigests(tuple(declared))


def _parse_digest_field(name: str, value: str) -> list[tuple[str, bytes]]:
    try:
        members = cast("dict[str, Any]", http_sf.parse(value.encode("latin-1"), tltype="dictionary"))
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        raise InvalidRequest(f"{name} is not a dictionary of RFC 8941") from None
    found = []
    for key, algorithm in _ALGORITHMS.items():
        if key not in members:
            continue
        digest = members[key][0]
        if not isinstance(digest, bytes):
            raise InvalidRequest(f"{name}: the value of {key} is not a byte sequence, :base64:")
        found.append((algorithm, digest))
    return found


def format_repr_digest(sha256: bytes) -> str:
    """The value of a Repr-Digest field that tells *sha256* (32 raw bytes)."""
    return f"sha-256=:{base64.b64encode(sha256).decode('ascii')}:"
