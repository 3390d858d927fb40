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
from fileserver.storage.filesystem import exchange, fsync_directory, fsync_tree, open_below
from fileserver.storage.interface import StoredFile
from fileserver.storage.local import stored_file
from fileserver.storage.usage import UsageLedger, count_files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderEntry:
    """Something in a folder: its path relative to the folder, and whether it is a folder itself."""

    path: str
    is_folder: bool


class LocalFolders:
    """Folders by key (one component) in one root folder. A key's folder changes in one atomic step or not at all.

    The *version* of a folder is its modification time in nanoseconds; `seal` makes it unique. The caller holds the
    lock of the key around `publish` and `take_away`.
    """

    def __init__(self, name: str, root: Path, ledger: UsageLedger) -> None:
        self.name = name
        self.root = root
        self._ledger = ledger

    def seal(self, staged: Path) -> int:
        """Make the staged folder durable and give it a version, which is returned."""
        version = time.time_ns()
        os.utime(staged, ns=(version, version))
        fsync_tree(staged)
        return staged.stat().st_mtime_ns

    def publish(self, key: str, staged: Path, version: int, size_bytes: int) -> None:
        """Put the sealed folder *staged* in the place of *key*, durably; what was there lies at *staged* afterwards."""
        final = self.root / key
        try:
            exchange(staged, final)
        except FileNotFoundError:
            os.rename(staged, final)
            fsync_directory(self.root)
            self._ledger.add(self.name, 1, size_bytes)
        else:
            if self.version(key) != version:
                # XFS takes the exchange for a modification of both folders.
                os.utime(final, ns=(version, version))
                fsync_directory(final)
            fsync_directory(self.root)
            self._ledger.add(self.name, 0, size_bytes - count_files(staged).size_bytes)

    def take_away(self, key: str, staged: Path) -> None:
        """Move the folder of *key* to the path *staged*, durably. Raises NotFound."""
        try:
            os.rename(self.root / key, staged)
        except FileNotFoundError:
            raise self._not_found(key) from None
        fsync_directory(self.root)
        self._ledger.add(self.name, -1, -count_files(staged).size_bytes)

    def version(self, key: str) -> int:
        """The version of the folder of *key*. Raises NotFound."""
        try:
            info = os.lstat(self.root / key)
        except FileNotFoundError:
            raise self._not_found(key) from None
        if not stat.S_ISDIR(info.st_mode):
            raise self._not_found(key)
        return info.st_mtime_ns

    def open(self, key: str, path: str) -> StoredFile:
        """Open the file *path* in the folder of *key*. Raises NotFound."""
        try:
            return stored_file(open_below(self.root, f"{key}/{path}"))
        except FileNotFoundError:
            raise NotFound(f"{quoted(path)} is not in {self.name}/{quoted(key)}") from None

    def open_all(self, key: str) -> Iterator[tuple[str, StoredFile]]:
        """Each file of one version of the folder, in order; it is closed when the next one is asked for.

        Raises NotFound if there is no folder, or if it is replaced or deleted while it is read.
        """
        before = self.version(key)
        try:
            for entry in walk(self.root / key):
                if not entry.is_folder:
                    with self.open(key, entry.path) as file:
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
