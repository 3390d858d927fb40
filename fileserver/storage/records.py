"""The digests of a stored file, kept with the file itself.

They lie in the extended attribute `user.sha256`, so they appear and disappear with the file in the same rename, and
ordinary tools still see plain files. The record names the size and the modification time that it was taken at: after
any later change it is void. A file system without extended attributes, or a copy made without them, has no record;
then the digests are simply not known.

Format: 32 bytes SHA-256; the first 12 bytes of the SHA-1, or zeros where it was not computed; size in bytes (unsigned
64 bit); modification time in nanoseconds (signed 64 bit); big endian. These 60 bytes are about as many as fit into an
ext4 inode of the usual size, so that the record costs no block.
"""

import errno
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NAME = "user.sha256"
_FORMAT = struct.Struct(">32s12sQq")
_SHA1_BYTES = 12
_UNSUPPORTED = (errno.ENOTSUP, errno.EPERM, errno.ENOSYS)


@dataclass(frozen=True)
class Record:
    """What is known of the bytes of a file, as it was when it had this size and time."""

    sha256: bytes
    sha1_start: bytes
    size_bytes: int
    mtime_ns: int

    def has_sha1(self, sha1: str) -> bool:
        """Whether the bytes were seen to have this SHA-1, in hexadecimal."""
        return self.sha1_start == bytes.fromhex(sha1)[:_SHA1_BYTES]

    @property
    def knows_sha1(self) -> bool:
        """Whether the SHA-1 of the bytes was computed."""
        return any(self.sha1_start)


def write_record(fd: int, digests: Mapping[str, bytes], info: os.stat_result | None = None) -> None:
    """Record that the file *fd* has these *digests*: `sha256`, and perhaps `sha1`, both raw.

    They are those of the file as it was when it had the status *info*, by default as it is now.
    """
    info = info or os.fstat(fd)
    sha1_start = digests.get("sha1", bytes(_SHA1_BYTES))[:_SHA1_BYTES]
    value = _FORMAT.pack(digests["sha256"], sha1_start, info.st_size, info.st_mtime_ns)
    try:
        os.setxattr(fd, _NAME, value)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def retime(path: Path, digests: Mapping[str, bytes], mtime_ns: int) -> None:
    """Give the file *path*, which has these *digests*, another modification time, durably, and a record of it."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.utime(fd, ns=(time.time_ns(), mtime_ns))
        write_record(fd, digests)
        os.fsync(fd)
    finally:
        os.close(fd)


def read_record(fd: int, info: os.stat_result) -> Record | None:
    """The record of the file *fd* whose status is *info*; None where there is none, or it is void."""
    record = read_last_record(fd)
    return record if record and (record.size_bytes, record.mtime_ns) == (info.st_size, info.st_mtime_ns) else None


def read_last_record(fd: int) -> Record | None:
    """The record that was made last for the file *fd*, be it void or not; None where there is none."""
    try:
        value = os.getxattr(fd, _NAME)
    except OSError:
        return None
    return Record(*_FORMAT.unpack(value)) if len(value) == _FORMAT.size else None
