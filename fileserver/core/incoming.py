"""What arrives: bytes that nobody has checked yet, as the services take them from any source."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fileserver.core.digests import DeclaredDigests


@dataclass(frozen=True)
class Incoming:
    """Bytes on their way in.

    *chunks* yields them in order, in pieces of bounded size, and raises IncompleteBody, BodyTimeout or LimitExceeded
    where the source fails. It can be consumed once. *size_bytes* is what the sender announced, or None.
    *what* it is, for messages. *mtime_ns* is the modification time that it is stored with, by default that of storing.
    """

    chunks: Iterator[bytes]
    declared: DeclaredDigests = field(default_factory=DeclaredDigests)
    size_bytes: int | None = None
    what: str = "the content"
    mtime_ns: int | None = None


@dataclass(frozen=True)
class IncomingFile:
    """One named file of several that arrive one after the other; the next begins when this one's bytes are consumed."""

    name: str
    content: Incoming
