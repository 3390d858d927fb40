"""Folders of the working directory that are replaced as a whole: the submissions."""

import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fileserver.core.errors import NotFound
from fileserver.core.names import quoted
from fileserver.storage.filesystem import exchange, fsync_directory, fsync_tree, later_second, open_below
from fileserver.storage.interface import StoredFile
from fileserver.storage.local import stored_file
from fileserver.storage.locks import Lock
from fileserver.storage.usage import NOTHING, Usage, UsageLedger, folder_bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderEntry:
    """Something in a folder: its path relative to the folder, and whether it is a folder itself."""

    path: str
    is_folder: bool


class LocalFolders:
    """Folders by key (one component) in one root folder. A key's folder changes in one atomic step or not at all.

    The *version* of a folder is its modification time in nanoseconds; `seal` makes it unique. What changes
    a folder is done under the lock of its key, which the caller holds.
    """

    def __init__(self, name: str, root: Path, ledger: UsageLedger) -> None:
        self.name = name
        self.root = root
        self._ledger = ledger

    def seal(self, staged: Path, version: int | None = None) -> int:
        """Make the staged folder durable and give it a version, by default a new one, which is returned."""
        version = version or time.time_ns()
        os.utime(staged, ns=(version, version))
        fsync_tree(staged)
        return staged.stat().st_mtime_ns

    def reseal(self, staged: Path, version: int) -> None:
        """Give the sealed folder *staged* another version."""
        os.utime(staged, ns=(version, version))
        fsync_directory(staged)

    def later_version(self, key: str, version: int) -> int:
        """*version*, or one of a later second, so that it is later by a second than that of *key* now."""
        try:
            return later_second(version, self.version(key))
        except NotFound:
            return version

    def require_room(self, key: str, size_bytes: int) -> None:
        """Raise QuotaExceeded if *size_bytes* under *key* would be too much, as far as it is known beforehand."""
        if self._ledger.has_quota(self.name):
            self._ledger.require(self.name, Usage(1, size_bytes) - self._usage(key))

    def publish(self, lock: Lock, key: str, staged: Path, version: int, size_bytes: int) -> None:
        """Put the sealed folder *staged* in the place of *key*, durably; what was there lies at *staged* afterwards.

        *lock* is that of the key. Raises QuotaExceeded, and then nothing has changed.
        """
        final = self.root / key
        more = Usage(1, size_bytes) - self._usage(key)
        with self._ledger.change(lock, more, final, staged.stat().st_ino):
            try:
                exchange(staged, final)
            except FileNotFoundError:
                os.rename(staged, final)
            if self.version(key) != version:
                # XFS takes the exchange for a modification of both folders.
                os.utime(final, ns=(version, version))
                fsync_directory(final)
            fsync_directory(self.root)

    def take_away(self, lock: Lock, key: str, target: Path) -> None:
        """Move the folder of *key*, whose *lock* is held, to the path *target*, durably. Raises NotFound."""
        final = self.root / key
        with self._ledger.change(lock, NOTHING - self._usage(key), final, None):
            try:
                os.rename(final, target)
            except FileNotFoundError:
                raise self._not_found(key) from None
            fsync_directory(target.parent)
            fsync_directory(self.root)

    def make_names_durable(self) -> None:
        """Make durable which keys there are, also those that are gone."""
        fsync_directory(self.root)

    def put_back(self, lock: Lock, key: str, source: Path) -> bool:
        """Move the folder *source* of the same file system to *key*, durably; tells whether that was free.

        The folder must be durable already; *lock* is that of the key. Raises QuotaExceeded.
        """
        final = self.root / key
        if os.path.lexists(final):
            return False
        with self._ledger.change(lock, Usage(1, folder_bytes(source)), final, source.stat().st_ino):
            os.rename(source, final)
            fsync_directory(self.root)
        return True

    def _usage(self, key: str) -> Usage:
        try:
            self.version(key)
        except NotFound:
            return NOTHING
        return Usage(1, folder_bytes(self.root / key))

    def version(self, key: str) -> int:
        """The version of the folder of *key*. Raises NotFound."""
        try:
            info = os.lstat(self.root / key)
        except FileNotFoundError:
            raise self._not_found(key) from None
        if not stat.S_ISDIR(info.st_mode):
            raise self._not_found(key)
        return info.st_mtime_ns

    def open(self, key: str, path: str, *, unnoticed: bool = False) -> StoredFile:
        """Open the file *path* in the folder of *key*, for *unnoticed* see `open_below`. Raises NotFound."""
        try:
            return stored_file(open_below(self.root, f"{key}/{path}", unnoticed=unnoticed))
        except FileNotFoundError:
            raise NotFound(f"{quoted(path)} is not in {self.name}/{quoted(key)}") from None

    def open_all(self, key: str, *, unnoticed: bool = False) -> Iterator[tuple[str, StoredFile]]:
        """Each file of one version of the folder, in order; it is closed when the next one is asked for.

        For *unnoticed* see `open_below`. Raises NotFound if there is no folder, or if it is replaced or deleted while
        it is read.
        """
        before = self.version(key)
        try:
            for entry in walk(self.root / key):
                if not entry.is_folder:
                    with self.open(key, entry.path, unnoticed=unnoticed) as file:
                        yield entry.path, file
        except FileNotFoundError:
            raise self._not_found(key) from None
        if self.version(key) != before:
            raise NotFound(f"{quoted(key)} was replaced meanwhile")

    def _not_found(self, key: str) -> NotFound:
        return NotFound(f"{quoted(key)} is not in {self.name}")


def walk(root: Path) -> Iterator[FolderEntry]:
    """All files and folders below *root*: of each folder first its folders, then its files, then what is in them.

    Sorted by name, so the order depends on the content only. What did not come through this server is left out:
    symbolic links, special files, and names that are not UTF-8.
    """
    todo = [""]
    while todo:
        prefix = todo.pop(0)
        with os.scandir(root / prefix) as entries:
            listed = sorted(filter(_has_readable_name, entries), key=lambda entry: entry.name)
        folders = [prefix + entry.name for entry in listed if entry.is_dir(follow_symlinks=False)]
        files = [prefix + entry.name for entry in listed if entry.is_file(follow_symlinks=False)]
        yield from (FolderEntry(path, True) for path in folders)
        yield from (FolderEntry(path, False) for path in files)
        todo[:0] = [f"{path}/" for path in folders]


def _has_readable_name(entry: "os.DirEntry[str]") -> bool:
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError:
        log.warning("a name that is not UTF-8 is left out: %r", entry.path)
        return False
    return True
