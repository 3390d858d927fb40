"""Submissions and their archives.

A submission is replaced as a whole. Its folder's atomic exchange is the commit mark: before it, all is as it was; after
it, the new version is the truth, with or without its archive, because an archive is only served if it belongs to the
folder's version (same modification time) and layout, and is rebuilt otherwise. So recovery has nothing to finish.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fileserver.core.errors import NotFound
from fileserver.core.incoming import IncomingFile
from fileserver.core.names import ArchiveName, FilePath, FileTree, NameLimits, SubmissionId, quoted
from fileserver.core.sections import WIDEST_LIMITS
from fileserver.grading.archives import COMMENT_BYTES, archive_writer, layout_comment
from fileserver.storage.filesystem import open_below
from fileserver.storage.folders import LocalFolders
from fileserver.storage.interface import StagedFile, StoredFile
from fileserver.storage.last_use import is_recent, note_use
from fileserver.storage.local import LocalBucket, stored_file
from fileserver.storage.locks import KeyLocks
from fileserver.storage.records import retime
from fileserver.storage.staging import Staging, Transaction

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class SubmittedFile:
    """A file of a submission; *sha256* is None where it is not known without reading."""

    path: str
    size_bytes: int
    sha256: bytes | None


class Submissions:
    """Store, list, read and delete submissions, and hand out their archives."""

    def __init__(
        self,
        folders: LocalFolders,
        archives: LocalBucket,
        staging: Staging,
        locks: KeyLocks,
        names: NameLimits,
        layout: str,
    ) -> None:
        self._folders = folders
        self._archives = archives
        self._staging = staging
        self._locks = locks
        self._names = names
        self._layout = layout

    def without_limits(self) -> "Submissions":
        """The same for what was stored before, perhaps under wider limits than those of today."""
        staging = self._staging.without_limits()
        return Submissions(self._folders, self._archives, staging, self._locks, WIDEST_LIMITS.names, self._layout)

    def store(
        self,
        submission_id: SubmissionId,
        files: Iterable[IncomingFile],
        expected_bytes: int = 0,
        version: int | None = None,
        over: int | None = None,
    ) -> None:
        """Replace the submission by *files*; on return folder and archive are durable.

        Of several files with one name the first wins. *version* is that of a submission which is restored. Raises
        InvalidName, LimitExceeded, InsufficientStorage, QuotaExceeded, what the source raises, and NotFound if the
        submission is no longer of the version *over*, if that is given; then nothing has changed. An OSError while
        publishing may leave the new version.
        """
        self._folders.require_room(submission_id, 0)
        with self._staging.transaction(expected_bytes) as transaction:
            folder = transaction.folder(f"{self._folders.name}/{submission_id}")
            size_bytes = self._receive(transaction, folder, files)
            self._folders.require_room(submission_id, size_bytes)
            sealed = self._folders.seal(folder, version)
            archive = self._build(transaction, submission_id, folder, sealed, size_bytes)
            with self._locks.hold(self._folders.name, submission_id) as lock:
                self._require_version(submission_id, over)
                if version is None:
                    sealed = self._later(submission_id, folder, archive, sealed)
                # Gone before the folder changes, so that not even a web server that serves archives from
                # disk pairs the old archive with the new folder, whenever this process dies.
                self._archives.discard(submission_id.archive_name)
                self._folders.publish(lock, submission_id, folder, sealed, size_bytes)
                self._archives.put(submission_id.archive_name, archive)

    def _later(self, submission_id: SubmissionId, folder: Path, archive: StagedFile, version: int) -> int:
        """Let *folder* and *archive* be of a later second than the version that they replace; return their version."""
        later = self._folders.later_version(submission_id, version)
        if later != version:
            self._folders.reseal(folder, later)
            retime(archive.path, archive.digests, later)
        return later

    def _receive(self, transaction: Transaction, folder: Path, files: Iterable[IncomingFile]) -> int:
        tree, size_bytes = FileTree(), 0
        for file in files:
            path = FilePath(file.name, self._names)
            if tree.add(path):
                size_bytes += transaction.receive(folder / path, file.content, durable=False).size_bytes
        return size_bytes

    def _build(
        self,
        transaction: Transaction,
        submission_id: SubmissionId,
        folder: Path,
        version: int,
        expected_bytes: int | None,
    ) -> StagedFile:
        def open_file(path: str) -> StoredFile:
            return stored_file(open_below(folder, path))

        target = transaction.folder(self._archives.name) / submission_id.archive_name
        write = archive_writer(folder, open_file, submission_id, self._layout)
        return transaction.build(target, write, expected_bytes=expected_bytes, mtime_ns=version)

    def files(self, submission_id: SubmissionId) -> list[SubmittedFile]:
        """The files of one version of the submission, sorted by path. Raises NotFound."""
        return self._read(submission_id, lambda: self._list(submission_id))

    def _list(self, submission_id: SubmissionId) -> list[SubmittedFile]:
        found = self._folders.open_all(submission_id)
        return sorted(
            (SubmittedFile(path, file.size_bytes, file.sha256) for path, file in found), key=lambda file: file.path
        )

    def open_file(self, submission_id: SubmissionId, path: FilePath) -> StoredFile:
        """Open one file. Raises NotFound."""
        return self._read(submission_id, lambda: self._folders.open(submission_id, path))

    def _read(self, submission_id: SubmissionId, read: Callable[[], _Read]) -> _Read:
        """The result of *read*, which is repeated if it finds nothing because the folder is replaced meanwhile."""
        while True:
            version = self._folders.version(submission_id)
            try:
                return read()
            except NotFound:
                if self._folders.version(submission_id) == version:
                    raise

    @contextmanager
    def hold(self, submission_id: str) -> Iterator[None]:
        """Let nobody publish or remove the submission or its archive for the duration of the block."""
        with self._locks.hold(self._folders.name, submission_id):
            yield

    def delete(self, submission_id: SubmissionId) -> None:
        """Remove the submission and its archive, durably. Raises NotFound."""
        with self._staging.grave() as grave:
            try:
                self.take_away(submission_id, grave)
            except NotFound:
                # What removed it may have failed before it came to this.
                self._folders.make_names_durable()
                raise

    def take_away(self, submission_id: SubmissionId, target: Path, version: int | None = None) -> None:
        """Move the submission's folder to the path *target* and remove its archive, durably.

        Raises NotFound, also if the folder is no longer of the *version* given.
        """
        with self._locks.hold(self._folders.name, submission_id) as lock:
            self._require_version(submission_id, version)
            with suppress(NotFound):
                self._archives.delete(submission_id.archive_name)
            self._folders.take_away(lock, submission_id, target)

    def _require_version(self, submission_id: SubmissionId, version: int | None) -> None:
        if version is not None and version != self._folders.version(submission_id):
            raise NotFound(f"{quoted(submission_id)} was replaced meanwhile")

    def put_back(self, submission_id: SubmissionId, source: Path) -> bool:
        """Move the folder *source*, which was taken away, to its place again; tells whether that was free.

        Its archive is built when it is asked for. Raises QuotaExceeded.
        """
        with self._locks.hold(self._folders.name, submission_id) as lock:
            return self._folders.put_back(lock, submission_id, source)

    def open_archive(self, name: ArchiveName) -> StoredFile:
        """Open the archive of the submission as it is now, building it if it is missing or does not belong to it.

        Many who ask at once wait for one build, which may use up the reserve of free space. Raises NotFound, and
        OSError where the disk has no room left for it.
        """
        if (archive := self._current_archive(name)) is not None:
            return archive
        with self._staging.transaction(None) as transaction, self._locks.hold(self._folders.name, name.submission_id):
            if (archive := self._current_archive(name)) is not None:
                return archive
            version = self._folders.version(name.submission_id)
            folder = self._folders.root / name.submission_id
            self._archives.put(name, self._build(transaction, name.submission_id, folder, version, None))
            return self._archives.open(name)

    def _current_archive(self, name: ArchiveName) -> StoredFile | None:
        version = self._folders.version(name.submission_id)
        try:
            archive = self._archives.open(name)
        except NotFound:
            return None
        if self.belongs(archive, version):
            if not is_recent(archive.last_used_ns):
                note_use(archive.file.fileno())
            return archive
        archive.close()
        return None

    def belongs(self, archive: StoredFile, version: int) -> bool:
        """Whether *archive* is that of a folder of this *version*, in the layout of the settings."""
        return archive.mtime_ns == version and archive.read_tail(COMMENT_BYTES) == layout_comment(self._layout)
