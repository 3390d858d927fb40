"""Reading whole files beside a busy server: no faster than allowed, without counting as a use of them, and without
filling the page cache.
"""

import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fileserver.core.digests import Hasher
from fileserver.storage.staging import COPY_BYTES


@dataclass(frozen=True)
class ReadBytes:
    """What reading the whole of a file has shown; the digests are raw."""

    size_bytes: int
    crc32: int
    digests: dict[str, bytes]
    """By hashlib's name; always `sha256`, and `sha1` if it was asked for."""


class Reader:
    """Reads at most *max_bytes_per_second*, 0 being no limit, and counts what it reads.

    *pause* waits some seconds; what it raises ends the reading.
    """

    def __init__(self, max_bytes_per_second: int = 0, pause: Callable[[float], object] = time.sleep) -> None:
        self.bytes_read = 0
        self._max_bytes_per_second = max_bytes_per_second
        self._pause = pause
        self._free_at = time.monotonic()

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
        if not self._max_bytes_per_second:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size_bytes / self._max_bytes_per_second
        self._pause(self._free_at - now)
