"""Keep-lists: the API server's word on which task files its exercises need.

One SHA-1 a line; blank lines and lines that begin with # do not count. A list that is wrong costs files, so whatever
looks wrong is refused as a whole.
"""

import os
import stat
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from fileserver.core.errors import FileserverError, NotFound
from fileserver.core.names import Sha1, quoted


class BadKeepList(FileserverError):
    """The keep-list is malformed, or lacks more than it should; nothing was removed."""

    code = "keep-list"
    title = "The keep-list is refused"


@dataclass(frozen=True)
class KeepList(Container[str]):
    """The task files to be kept; about 100 bytes of memory each. *made_at_ns*: what the list cannot know is later."""

    digests: frozenset[bytes]
    made_at_ns: int

    def __contains__(self, sha1: object) -> bool:
        return isinstance(sha1, str) and bytes.fromhex(sha1) in self.digests

    def require_most(self, stored: Iterable[str], max_unlisted_percent: int) -> None:
        """Raise BadKeepList if more than that share of the *stored* task files is not in the list."""
        count = unlisted = 0
        for sha1 in stored:
            count += 1
            unlisted += sha1 not in self
        if unlisted * 100 > count * max_unlisted_percent:
            raise BadKeepList(
                f"the keep-list lacks {unlisted} of {count} task files, more than {max_unlisted_percent} %: "
                "is it complete, and of this server? If so, raise --max-unlisted"
            )


def read_keep_list(source: BinaryIO, now_ns: int) -> KeepList:
    """Read a keep-list; it was made when its file was changed last, if it is one, else at *now_ns*.

    Raises BadKeepList.
    """
    info = os.fstat(source.fileno())
    made_at_ns = min(now_ns, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else now_ns
    return KeepList(frozenset(_digests(source)), made_at_ns)


def _digests(lines: Iterable[bytes]) -> Iterable[bytes]:
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            raise BadKeepList(f"line {number} of the keep-list does not end: it may be cut off")
        text = line.decode("ascii", "backslashreplace").strip()
        if text and not text.startswith("#"):
            try:
                yield bytes.fromhex(Sha1(text))
            except NotFound:
                raise BadKeepList(f"line {number} of the keep-list is no SHA-1: {quoted(text)}") from None
