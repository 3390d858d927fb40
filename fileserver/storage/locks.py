"""Locks on keys that hold between threads and between processes on one working directory."""

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fileserver.storage.filesystem import open_state_file

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
        fd = _lock(self._folder / f"{namespace}-{stripe:02x}")
        try:
            yield
        finally:
            os.close(fd)


def _lock(path: Path) -> int:
    while True:
        fd = open_state_file(path)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)  # Somebody removed the file meanwhile; others lock the new one.
