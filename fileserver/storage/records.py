"""The SHA-256 of a stored file, kept with the file itself.

It lies in the extended attribute `user.sha256`, so it appears and disappears with the file in the same rename, and
ordinary tools still see plain files. It names the size and the modification time that it was taken at: after any
later change it is void. A file system without extended attributes, or a copy made without them, has no record; then
the digest is simply not known.

Format: 32 bytes SHA-256, then size in bytes (unsigned 64 bit) and modification time in nanoseconds (signed 64 bit), big
endian: 48 bytes, which fit into an ext4 inode and so cost no block.
"""

import errno
import os
import struct

_NAME = "user.sha256"
_FORMAT = struct.Struct(">32sQq")
_UNSUPPORTED = (errno.ENOTSUP, errno.EPERM, errno.ENOSYS)


def write_record(fd: int, sha256: bytes) -> None:
    """Record that the file *fd*, as it is now, has the digest *sha256* (32 raw bytes)."""
    info = os.fstat(fd)
    try:
        os.setxattr(fd, _NAME, _FORMAT.pack(sha256, info.st_size, info.st_mtime_ns))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def read_record(fd: int, info: os.stat_result) -> bytes | None:
    """The recorded SHA-256 of the file *fd* whose status is *info*; None where there is none, or it is void."""
    try:
        value = os.getxattr(fd, _NAME)
    except OSError:
        return None
    if len(value) != _FORMAT.size:
        return None
    sha256, size_bytes, mtime_ns = _FORMAT.unpack(value)
    return sha256 if (size_bytes, mtime_ns) == (info.st_size, info.st_mtime_ns) else None
