"""Locks on keys that hold between threads and between processes on one working directory."""

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fileserver.storage.filesystem import open_state_file

STRIPES = 256
RECORD_BYTES = 512

_COUNTS = STRIPES
# struct flock of fcntl(2): type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")


def stripe_of(key: str) -> int:
    """The number of the lock that guards *key*, and others."""
    return zlib.crc32(os.fsencode(key)) % STRIPES


@dataclass(frozen=True)
class Lock:
    """A lock that is held, and the record of up to RECORD_BYTES that goes with it, for whoever holds it."""

    bucket: str
    stripe: int
    fd: int

    @property
    def _offset(self) -> int:
        return self.stripe * RECORD_BYTES

    def read_record(self) -> bytes:
        """The record; it begins as zeros."""
        return os.pread(self.fd, RECORD_BYTES, self._offset).ljust(RECORD_BYTES, b"\0")

    def write_record(self, data: bytes) -> None:
        """Change the beginning of the record, in one step even if this process is killed."""
        if len(data) > RECORD_BYTES:
            raise ValueError(f"{len(data)} bytes do not fit into a record")
        os.pwrite(self.fd, data, self._offset)


class KeyLocks:
    """Exclusive locks by bucket and key, which the kernel frees when their process dies.

    A bucket has one file of 256 records; a lock is an open file description lock (fcntl(2)) on one of them. So two keys
    may wait for each other, and nobody may hold two keys of one bucket at once. Locks of different buckets are nested
    in one order only: submissions before submission_archives, task_files before tasks and exercises.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, bucket: str, key: str) -> Iterator[Lock]:
        """Hold the lock of *key* for the duration of the block; waits for it."""
        stripe = stripe_of(key)
        fd = self._lock(bucket, stripe, fcntl.F_OFD_SETLKW)
        try:
            yield Lock(bucket, stripe, fd)
        finally:
            os.close(fd)

    @contextmanager
    def hold_if_free(self, bucket: str, stripe: int) -> Iterator[Lock | None]:
        """Hold one lock by its number, or, without waiting, get None if somebody has it."""
        try:
            fd = self._lock(bucket, stripe, fcntl.F_OFD_SETLK)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            yield None
            return
        try:
            yield Lock(bucket, stripe, fd)
        finally:
            os.close(fd)

    @contextmanager
    def hold_counts(self, bucket: str) -> Iterator[None]:
        """Let nobody else decide by the sums of *bucket*; taken last, while any key may be held."""
        fd = self._lock(bucket, _COUNTS, fcntl.F_OFD_SETLKW)
        try:
            yield
        finally:
            os.close(fd)

    def read_records(self, bucket: str) -> bytes:
        """All records of *bucket*, without a lock."""
        fd = open_state_file(self._folder / bucket)
        try:
            return os.pread(fd, STRIPES * RECORD_BYTES, 0).ljust(STRIPES * RECORD_BYTES, b"\0")
        finally:
            os.close(fd)

    def write_records(self, bucket: str, data: bytes) -> None:
        """Write all records of *bucket*; only while no other process uses the directory."""
        fd = open_state_file(self._folder / bucket)
        try:
            os.pwrite(fd, data, 0)
        finally:
            os.close(fd)

    def _lock(self, bucket: str, number: int, command: int) -> int:
        path = self._folder / bucket
        while True:
            fd = open_state_file(path)
            try:
                fcntl.fcntl(fd, command, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, number * RECORD_BYTES, 1, 0))
                if os.fstat(fd).st_nlink:
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # Somebody removed the file meanwhile; others lock the new one.
