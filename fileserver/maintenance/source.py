"""The resources of a working directory as a backup reads them, while they are served and replaced."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fileserver.core.digests import DeclaredDigests
from fileserver.core.errors import IncompleteBody, InvalidName, NotFound
from fileserver.core.incoming import Incoming
from fileserver.core.names import Sha1
from fileserver.maintenance.entries import entries_below
from fileserver.maintenance.pace import Pace
from fileserver.services import Services
from fileserver.storage.interface import StoredFile
from fileserver.storage.staging import COPY_BYTES

Report = Callable[[str, str], None]
"""Told of each path that is left out or does not belong, and why."""

NO_RESOURCE = "it is not what is stored there"


@dataclass(frozen=True)
class SourceFile:
    """One version of a file, open for reading, and the path of its copy in a snapshot."""

    path: str
    stored: StoredFile
    sha1: str | None = None
    """What the name of a task file tells of its bytes."""

    def incoming(self, pace: Pace) -> Incoming:
        """Its bytes, which must have the digests that are known of them.

        They raise IncompleteBody where they cannot be read, or change while they are read.
        """
        declared = [("sha256", self.stored.sha256)] if self.stored.sha256 else []
        declared += [("sha1", bytes.fromhex(self.sha1))] if self.sha1 else []
        return Incoming(
            read_chunks(self.stored, pace),
            DeclaredDigests(tuple(declared)),
            self.stored.size_bytes,
            mtime_ns=self.stored.mtime_ns,
        )


def read_chunks(stored: StoredFile, pace: Pace) -> Iterator[bytes]:
    """The bytes of *stored*. Raises IncompleteBody if the disk fails, or if they are being changed in place."""
    try:
        while chunk := stored.file.read(COPY_BYTES):
            pace.spend(len(chunk))
            yield chunk
        info = os.fstat(stored.file.fileno())
    except OSError as error:
        raise IncompleteBody(f"it cannot be read: {error.strerror}") from error
    if (info.st_size, info.st_mtime_ns) != (stored.size_bytes, stored.mtime_ns):
        raise IncompleteBody("it was changed while it was read")


class Source:
    """What there is to back up. *report* is told of what lies there and is no resource."""

    def __init__(self, services: Services, report: Report) -> None:
        self._services = services
        self._report = report

    def keys(self) -> Iterator[str]:
        """The keys of all units, in the order of a manifest."""
        buckets, folders = self._services.buckets, self._services.folders
        yield from self._units("results", buckets["results"].root)
        yield from self._units("submissions", folders.root, of_folders=True)
        yield from self._units("attachments", buckets["attachments"].root)
        roots = [buckets[name].root for name in ("tasks", "exercises")]
        for first in self._names("tasks", *roots, of_folders=True):
            for name in self._names(f"tasks/{first}", *(root / first for root in roots)):
                if name.startswith(first):
                    yield f"tasks/{first}/{name}"
                else:
                    self._report(f"tasks/{first}/{name}", NO_RESOURCE)

    def _units(self, prefix: str, *roots: Path, of_folders: bool = False) -> Iterator[str]:
        return (f"{prefix}/{name}" for name in self._names(prefix, *roots, of_folders=of_folders))

    def _names(self, prefix: str, *roots: Path, of_folders: bool = False) -> list[str]:
        """The names of the files, or of the folders, in *roots*, sorted."""
        found: dict[str, bool] = {}
        # Twice: some file systems may leave out a name that is replaced while they list, and a task file may just be
        # moving from one folder to the other.
        for root in (*roots, *roots):
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root) as entries:
                for entry in entries:
                    is_wanted = entry.is_dir if of_folders else entry.is_file
                    found[entry.name] = _is_text(entry.name) and is_wanted(follow_symlinks=False)
        for name in sorted(name for name, belongs in found.items() if not belongs):
            self._report(f"{prefix}/{_as_text(name)}", NO_RESOURCE)
        return sorted(name for name, belongs in found.items() if belongs)

    def open(self, key: str) -> Iterator[SourceFile]:
        """The copies of a result, an attachment or a task file, best first; each is closed when the next is asked for.

        There is none if it was deleted meanwhile. Raises IncompleteBody if it cannot be opened.
        """
        folder, _, rest = key.partition("/")
        name, sha1 = rest, None
        if folder == "tasks":
            name = rest.partition("/")[2]
            with suppress(NotFound, InvalidName):
                sha1 = Sha1(name)
        # The first once more: an upload moves a task file from the second to the first.
        for bucket in ("tasks", "exercises", "tasks") if folder == "tasks" else (folder,):
            try:
                stored = self._services.buckets[bucket].open(name, unnoticed=True)
            except NotFound:
                continue
            except OSError as error:
                raise IncompleteBody(f"it cannot be read: {error.strerror}") from error
            with stored:
                yield SourceFile(key, stored, sha1)

    def version(self, key: str) -> int:
        """The version of the submission *key*. Raises NotFound."""
        return self._services.folders.version(key.partition("/")[2])

    def strays(self, key: str) -> Iterator[str]:
        """What lies in the folder of the submission *key* and is no file of it, as `open_all` leaves it out."""
        for path, entry in entries_below(self._services.folders.root / key.partition("/")[2]):
            if not _is_text(path) or not entry.is_file(follow_symlinks=False):
                yield f"{key}/{_as_text(path)}"

    def open_all(self, key: str, version: int) -> Iterator[SourceFile]:
        """The files of this *version* of the submission *key*; each is closed when the next is asked for.

        Raises NotFound if it is not, or no longer, of that version, and IncompleteBody if it cannot be read.
        """
        name = key.partition("/")[2]
        try:
            for path, stored in self._services.folders.open_all(name, unnoticed=True):
                yield SourceFile(f"{key}/{path}", stored)
        except OSError as error:
            raise IncompleteBody(f"it cannot be read: {error.strerror}") from error
        if self._services.folders.version(name) != version:
            raise NotFound(f"{key} was replaced meanwhile")


def _as_text(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
