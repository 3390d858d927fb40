"""Buckets in folders of the working directory: plain files that admins, backups and web servers can read."""

import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from fileserver.core.errors import NotFound, Obstructed
from fileserver.core.names import quoted
from fileserver.storage.filesystem import (
    Modes,
    fsync_directory,
    later_second,
    make_directory,
    open_below,
    raise_error,
)
from fileserver.storage.interface import Bucket, StagedFile, StoredFile
from fileserver.storage.last_use import last_used_ns
from fileserver.storage.locks import KeyLocks
from fileserver.storage.records import read_record, retime
from fileserver.storage.usage import NOTHING, Usage, UsageLedger

Version = tuple[int, int]
"""What tells the versions of one name apart: the inode, and the modification time in nanoseconds."""


def version_of(info: os.stat_result) -> Version:
    """The version of the file of this status."""
    return info.st_ino, info.st_mtime_ns


def stored_file(fd: int) -> StoredFile:
    """A StoredFile of the open descriptor *fd*, which it takes over."""
    info = os.fstat(fd)
    record = read_record(fd, info)
    return StoredFile(io.FileIO(fd), info.st_size, info.st_mtime_ns, info.st_ino, record, last_used_ns(info))


class LocalBucket(Bucket):
    """Files in one folder, published by rename(2) from staging, which must lie on the same file system.

    A *sharded* bucket keeps a key in `<first character>/<key>`, as the original server does with task files. In a
    *timed* one each version of a key is modified in a later second than the one before it.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        locks: KeyLocks,
        ledger: UsageLedger,
        modes: Modes,
        *,
        sharded: bool = False,
        timed: bool = False,
    ) -> None:
        self.name = name
        self.root = root
        self._locks = locks
        self._ledger = ledger
        self._modes = modes
        self._sharded = sharded
        self._timed = timed

    def _place(self, key: str) -> str:
        return f"{key[0]}/{key}" if self._sharded else key

    def path(self, key: str) -> Path:
        """Where the file of *key* lies, if there is one."""
        return self.root / self._place(key)

    def put(self, key: str, staged: StagedFile, freed: Usage = NOTHING) -> None:
        """As `Bucket.put`; *freed* is what is then removed elsewhere for it, as `UsageLedger.change` has it."""
        final = self.path(key)
        with self._locks.hold(self.name, key) as lock:
            replaced = self.info(key)
            if self._timed and replaced:
                _time_after(staged, replaced)
            more = Usage(1, staged.size_bytes) - _usage_of(replaced)
            with self._ledger.change(lock, more, final, staged.path.stat().st_ino, freed):
                try:
                    os.rename(staged.path, final)
                except FileNotFoundError:
                    make_directory(final.parent, self._modes.directory)
                    fsync_directory(final.parent.parent)
                    os.rename(staged.path, final)
                except IsADirectoryError:
                    raise Obstructed(f"a folder lies in the place of {quoted(key)} in {self.name}") from None
                fsync_directory(final.parent)

    def require_room(self, sizes: Mapping[str, int]) -> None:
        """Raise QuotaExceeded if files of these *sizes* in bytes, by key, would be too much, as far as is known yet."""
        more = sum((Usage(1, size_bytes) - self.usage(key) for key, size_bytes in sizes.items()), NOTHING)
        self._ledger.require(self.name, more)

    def usage(self, key: str) -> Usage:
        """What is held under *key*: one file, or none."""
        return _usage_of(self.info(key))

    def info(self, key: str) -> os.stat_result | None:
        """The status of what lies under *key*; None if there is nothing."""
        try:
            return self.path(key).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, key: str, *, unnoticed: bool = False) -> StoredFile:
        try:
            return stored_file(open_below(self.root, self._place(key), unnoticed=unnoticed))
        except FileNotFoundError:
            raise NotFound(f"{quoted(key)} is not in {self.name}") from None

    def delete(self, key: str) -> None:
        found = self.discard(key)
        # Also where nothing is: what removed it may have failed before it came to this.
        with suppress(FileNotFoundError):
            fsync_directory(self.path(key).parent)
        if not found:
            raise NotFound(f"{quoted(key)} is not in {self.name}")

    def discard(self, key: str, version: Version | None = None) -> bool:
        """Remove *key*, not yet durably, if it is there and of the *version* given; tell whether it was."""
        path = self.path(key)
        with self._locks.hold(self.name, key) as lock:
            info = self.info(key)
            if info is None or stat.S_ISDIR(info.st_mode) or version not in (None, version_of(info)):
                return False
            with self._ledger.change(lock, NOTHING - _usage_of(info), path, None):
                path.unlink(missing_ok=True)  # An admin may be faster.
        return True

    def put_back(self, key: str, source: Path) -> bool:
        """Move the file *source* of the same file system to *key*, durably; tells whether that was free.

        The file must be durable already. Raises QuotaExceeded.
        """
        path = self.path(key)
        with self._locks.hold(self.name, key) as lock:
            if os.path.lexists(path):
                return False
            info = source.lstat()
            with self._ledger.change(lock, Usage(1, info.st_size), path, info.st_ino):
                make_directory(path.parent, self._modes.directory)
                fsync_directory(path.parent.parent)
                os.rename(source, path)
                fsync_directory(path.parent)
        return True

    def move_out(self, key: str, target: Path, version: Version) -> bool:
        """Move *key* to the path *target* on the same file system, durably, if it is still that *version*.

        Tells whether it was moved.
        """
        path = self.path(key)
        with self._locks.hold(self.name, key) as lock:
            info = self.info(key)
            if info is None or version_of(info) != version:
                return False
            with self._ledger.change(lock, NOTHING - _usage_of(info), path, None):
                os.rename(path, target)
                fsync_directory(target.parent)
                fsync_directory(path.parent)
        return True

    def keys(self) -> Iterator[str]:
        found = []
        if not self.root.exists():
            return
        for folder, _, names in os.walk(self.root, onerror=raise_error):
            for name in names:
                relative = os.path.relpath(os.path.join(folder, name), self.root)
                key = name if self._sharded else relative
                if self._place(key) == relative:
                    found.append(key)
        yield from sorted(found)


def _time_after(staged: StagedFile, replaced: os.stat_result) -> None:
    """Let *staged* be modified in a later second than the file that it replaces."""
    mtime_ns = staged.path.stat().st_mtime_ns
    later_ns = later_second(mtime_ns, replaced.st_mtime_ns)
    if later_ns != mtime_ns:
        retime(staged.path, staged.digests, later_ns)


def _usage_of(info: os.stat_result | None) -> Usage:
    """What a file of this status counts for; anything else counts for nothing."""
    return Usage(1, info.st_size) if info and stat.S_ISREG(info.st_mode) else NOTHING
