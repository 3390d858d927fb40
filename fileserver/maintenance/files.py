"""One file: whether its bytes are those that were stored."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from fileserver.core.errors import NotFound
from fileserver.maintenance.findings import Counts, Kind
from fileserver.maintenance.reading import ReadBytes, Reader
from fileserver.storage.interface import StoredFile
from fileserver.storage.local import Version
from fileserver.storage.records import Record, read_last_record, write_record

LOOKS = 5
"""How often a thing is looked at that is replaced while one looks; what writes that often has just checked it."""

_ROTTEN = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
_OpenFile = Callable[[], StoredFile]


@dataclass(frozen=True)
class Look:
    """What a look at one version of a file has shown. *kind* is what is wrong with it, None being nothing."""

    version: Version
    size_bytes: int
    record: Record | None
    """The last one, be it void or not."""
    read: ReadBytes | None
    """None where the file was not read, or could not be."""
    kind: Kind | None
    detail: str

    @property
    def mtime_ns(self) -> int:
        return self.version[1]

    @property
    def is_recorded(self) -> bool:
        """Whether the record is one of this version."""
        return self.record is not None and self.record.mtime_ns == self.mtime_ns

    @property
    def stored_sha256(self) -> bytes | None:
        """The SHA-256 of the bytes that were stored; of those that are there now if they are not known to be others."""
        if self.is_recorded and self.record:
            return self.record.sha256
        return self.read.digests["sha256"] if self.read and self.kind is not Kind.DAMAGED else None


class FileCheck:
    """Looks at files; with a *reader*, at every byte of them."""

    def __init__(self, counts: Counts, reader: Reader | None) -> None:
        self.reader = reader
        self.counts = counts

    def look(self, open_file: _OpenFile, sha1: str | None = None) -> Look | None:
        """Look at the file that *open_file* opens, whose name may be its *sha1*; None if it is gone.

        What seems wrong is only told if the file is still that version afterwards; otherwise it is looked at again.
        """
        for _ in range(LOOKS):
            try:
                with open_file() as stored:
                    look = self._look(stored, sha1)
                if look.kind is None or version_of(open_file) == look.version:
                    return look
            except NotFound:
                return None
        return None

    def _look(self, stored: StoredFile, sha1: str | None) -> Look:
        record, read = read_last_record(stored.file.fileno()), None
        try:
            if self.reader:
                read = self.reader.read(stored.file.fileno(), ("sha1",) if sha1 else ())
            kind, detail = judge(stored, record, read, sha1)
        except OSError as error:
            kind, detail = Kind.DAMAGED, why_rotten(error)
        return Look((stored.inode, stored.mtime_ns), stored.size_bytes, record, read, kind, detail)

    def settle(self, open_file: _OpenFile, look: Look, sha1: str | None = None) -> None:
        """Count a file that was looked at, and record the digests of a sound one that has no record."""
        self.counts.files += 1
        if look.kind or (look.is_recorded and (not sha1 or (look.record and look.record.knows_sha1))):
            return
        if look.read and record_digests(open_file, look, self.counts):
            self.counts.recorded += 1
        elif not (look.read and sha1):
            self.counts.unverified += 1


def why_rotten(error: OSError) -> str:
    """What an error of reading tells of the bytes on the disk; one that does not tell of them is raised again."""
    if error.errno not in _ROTTEN:
        raise error
    return f"it cannot be read: {os.strerror(error.errno)}"


def judge(
    stored: StoredFile, record: Record | None, read: ReadBytes | None, sha1: str | None
) -> tuple[Kind | None, str]:
    """What is wrong with a file, by its record, its name's *sha1*, and its bytes if they were *read*."""
    sha256 = read and read.digests["sha256"]
    if read and sha1 and read.digests["sha1"].hex() != sha1:
        return Kind.DAMAGED, f"its bytes have the SHA-1 {read.digests['sha1'].hex()}"
    if record is None:
        return None, ""
    if record.mtime_ns != stored.mtime_ns:
        if read and (sha1 or sha256 == record.sha256):
            return None, ""
        bytes_too = "and its bytes " if read else ""
        return Kind.CHANGED, f"its time {bytes_too}changed since it was stored: somebody has edited or copied it"
    if record.size_bytes != stored.size_bytes:
        return Kind.DAMAGED, f"it has {stored.size_bytes} bytes of {record.size_bytes} that were stored"
    if sha1 and record.knows_sha1 and not record.has_sha1(sha1):
        return Kind.DAMAGED, "it was stored as another task file"
    if read and sha256 != record.sha256:
        return Kind.DAMAGED, "its bytes are not those that were stored"
    return None, ""


def record_digests(open_file: _OpenFile, look: Look, counts: Counts) -> bool:
    """Record what was read of a file, if it is still the version of *look*; tell whether it is recorded now."""
    if look.read is None:
        return False
    try:
        with open_file() as stored:
            info = os.fstat(stored.file.fileno())
            if (info.st_ino, info.st_mtime_ns) != look.version:
                return False
            write_record(stored.file.fileno(), look.read.digests, info)
            recorded = read_last_record(stored.file.fileno())
            if recorded is None or recorded.mtime_ns != info.st_mtime_ns:
                counts.unrecordable = "the file system keeps no extended attributes"
                return False
    except NotFound:
        return False
    except OSError as error:
        counts.unrecordable = os.strerror(error.errno or 0)
        return False
    return True


def version_of(open_file: _OpenFile) -> Version:
    """The version of the file that *open_file* opens. Raises NotFound."""
    with open_file() as stored:
        return stored.inode, stored.mtime_ns
