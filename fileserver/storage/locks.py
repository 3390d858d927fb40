"""Locks on keys that hold between threads and between processes on one working directory."""

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STRIPES = 256


class KeyLocks:
    """Exclusive locks by namespace and key, on flock(2): the kernel frees them when their process dies.

    Keys share 256 files a namespace, so two keys may wait for each other; nobody may hold two keys of one namespace
    at once. Locks of different namespaces are nested in one order only: submissions before submission_archives.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, namespace: str, key: str) -> Iterator[None]:
        """Hold the lock of *key* for the duration of the block; waits for it."""
        stripe = zlib.crc32(os.fsencode(key)) % _STRIPES
        fd = os.open(self._folder / f"{namespace}-{stripe:02x}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
