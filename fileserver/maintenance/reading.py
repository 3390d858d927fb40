"""Reading whole files beside a busy server: no faster than allowed, without counting as a use of them, and without
filling the page cache.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fileserver.core.digests import Hasher
from fileserver.maintenance.pace import Pace
from fileserver.storage.staging import COPY_BYTES


@dataclass(frozen=True)
class ReadBytes:
    """What reading the whole of a file has shown; the digests are raw."""

    size_bytes: int
    crc32: int
    digests: dict[str, bytes]
    """By hashlib's name; always `sha256`, and `sha1` if it was asked for."""


class Reader:
    """Reads at the *pace*, and counts what it reads."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.bytes_read = 0
        self._pace = pace or Pace()

    def read(self, fd: int, algorithms: tuple[str, ...] = ()) -> ReadBytes:
        """Hash the whole file *fd*, whose reading position stays where it is."""
        hasher, crc32, offset = Hasher({"sha256", *algorithms}), 0, 0
        for chunk in self._chunks(fd):
            hasher.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            offset += len(chunk)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return ReadBytes(offset, crc32, hasher.digests())

    def _chunks(self, fd: int) -> Iterator[bytes]:
        offset = 0
        while chunk := os.pread(fd, COPY_BYTES, offset):
            offset += len(chunk)
            yield chunk
            self.account(len(chunk))

    def account(self, size_bytes: int) -> None:
        """Count *size_bytes* that were read, and wait until more may be."""
        self.bytes_read += size_bytes
        self._pace.spend(size_bytes)
