"""Buckets in folders of the working directory: plain files that admins, backups and web servers can read."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

from fileserver.core.errors import NotFound
from fileserver.core.names import quoted
from fileserver.storage.filesystem import Modes, fsync_directory, make_directory, open_below, raise_error
from fileserver.storage.interface import Bucket, StagedFile, StoredFile
from fileserver.storage.locks import KeyLocks
from fileserver.storage.records import read_record
from fileserver.storage.usage import UsageLedger


def stored_file(fd: int) -> StoredFile:
    """A StoredFile of the open descriptor *fd*, which it takes over."""
    info = os.fstat(fd)
    return StoredFile(io.FileIO(fd), info.st_size, info.st_mtime_ns, info.st_ino, read_record(fd, info))


class LocalBucket(Bucket):
    """Files in one folder, published by rename(2) from staging, which must lie on the same file system.

    A *sharded* bucket keeps a key in `<first character>/<key>`, as the original server does with task files.
    *account* is the bucket of the ledger that the files count for, this one by default.
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
        account: str | None = None,
    ) -> None:
        self.name = name
        self.root = root
        self._locks = locks
        self._ledger = ledger
        self._modes = modes
        self._sharded = sharded
        self._account = account or name

    def _place(self, key: str) -> str:
        return f"{key[0]}/{key}" if self._sharded else key

    def put(self, key: str, staged: StagedFile) -> None:
        final = self.root / self._place(key)
        with self._locks.hold(self.name, key):
            old_bytes = _size_or_none(final)
            try:
                os.rename(staged.path, final)
            except FileNotFoundError:
                make_directory(final.parent, self._modes.directory)
                fsync_directory(final.parent.parent)
                os.rename(staged.path, final)
            fsync_directory(final.parent)
            self._ledger.add(self._account, old_bytes is None, staged.size_bytes - (old_bytes or 0))

    def open(self, key: str) -> StoredFile:
        try:
            return stored_file(open_below(self.root, self._place(key)))
        except FileNotFoundError:
            raise NotFound(f"{quoted(key)} is not in {self.name}") from None

    def delete(self, key: str) -> None:
        if not self.discard(key):
            raise NotFound(f"{quoted(key)} is not in {self.name}")
        fsync_directory((self.root / self._place(key)).parent)

    def discard(self, key: str) -> bool:
        """Remove *key* if it is there, not yet durably; tell whether it was."""
        path = self.root / self._place(key)
        with self._locks.hold(self.name, key):
            old_bytes = _size_or_none(path)
            if old_bytes is None:
                return False
            try:
                path.unlink()
            except FileNotFoundError:
                return False  # An admin was faster.
            self._ledger.add(self._account, -1, -old_bytes)
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


def _size_or_none(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
