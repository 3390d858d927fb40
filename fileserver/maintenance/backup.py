"""Backing up a working directory while it is served.

A snapshot is one transaction in the staging of its destination: it is written and made durable there, and becomes a
snapshot by one rename. Results are read first and task files last, so that what a submission refers to, which was
stored before it, is in the snapshot, too.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fileserver.core.errors import DigestMismatch, FileserverError, IncompleteBody, NotFound
from fileserver.core.incoming import Incoming
from fileserver.maintenance import manifest
from fileserver.maintenance.manifest import Entry, PreviousUnits, Unit, manifest_lines
from fileserver.maintenance.pace import Pace
from fileserver.maintenance.snapshots import Snapshots, refuse_overlap
from fileserver.maintenance.source import NO_RESOURCE, Report, Source, SourceFile
from fileserver.services import Services
from fileserver.storage.filesystem import Modes, fsync_directory, fsync_file, make_directory
from fileserver.storage.interface import StoredFile
from fileserver.storage.staging import FreeSpace, Transaction
from fileserver.storage.usage import NOTHING, Usage

_TRIES_WITHOUT_LOCK = 3
_FLAWS = (DigestMismatch, IncompleteBody)
"""What is wrong with a source file, not with the backup."""


@dataclass
class BackupResult:
    """A snapshot that was made: its path, what was copied, and what is shared with the one before."""

    snapshot: Path
    copied: Usage = NOTHING
    linked: Usage = NOTHING


def back_up(services: Services, destination: Path, report: Report, pace: Pace) -> BackupResult:
    """Make a snapshot of the working directory in the folder *destination*.

    *report* is told of each path that is not in the snapshot as it should be, and why. Raises SettingsError for a
    destination that cannot be one, NotReady if another backup into it is running, StorageFailed, InsufficientStorage,
    OSError.
    """
    settings = services.settings.storage
    refuse_overlap(services.staging.root.parent, destination)
    modes = Modes(settings.file_mode, settings.directory_mode)
    snapshots = Snapshots(destination.absolute(), modes)
    with snapshots.alone(), snapshots.staging.transaction() as transaction:
        began_at = datetime.now(UTC)
        folder, previous = transaction.folder("snapshot"), _whole_snapshot(snapshots.newest(), report)
        with closing(PreviousUnits(previous / manifest.NAME if previous else None)) as units:
            space = snapshots.staging.space
            result = _Copier(services, transaction, folder, space, previous or folder, units, report, pace).run()
        _make_durable(folder)
        result.snapshot = snapshots.publish(folder, began_at)
    return result


def _whole_snapshot(snapshot: Path | None, report: Report) -> Path | None:
    """*snapshot*, if there is one and its manifest can be trusted."""
    if snapshot is None or manifest.is_whole(snapshot / manifest.NAME):
        return snapshot
    report(f"snapshots/{snapshot.name}/{manifest.NAME}", "it is damaged; everything is copied anew")
    return None


def _make_durable(root: Path) -> None:
    """Make all that is new below *root* durable, leaves first; at the end, because one by one takes much longer."""
    todo = [(root, False)]
    while todo:
        folder, is_walked = todo.pop()
        if is_walked:
            fsync_directory(folder)
            continue
        todo.append((folder, True))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append((Path(entry.path), False))
                elif entry.stat(follow_symlinks=False).st_nlink == 1:  # Others belong to a snapshot before.
                    fsync_file(Path(entry.path))


def _is_unchanged(old: Entry, stored: StoredFile) -> bool:
    is_known_as = stored.sha256.hex() if stored.sha256 else old.sha256
    return (old.size_bytes, old.mtime_ns, old.sha256) == (stored.size_bytes, stored.mtime_ns, is_known_as)


class _Copier:
    """Fills the folder of one snapshot; what is unchanged since the *previous* one, with these *units*, is linked."""

    def __init__(
        self,
        services: Services,
        transaction: Transaction,
        folder: Path,
        space: FreeSpace,
        previous: Path,
        units: PreviousUnits,
        report: Report,
        pace: Pace,
    ) -> None:
        self._services = services
        self._transaction = transaction
        self._folder = folder
        self._space = space
        self._mode = services.settings.storage.directory_mode
        self._report = report
        self._pace = pace
        self._result = BackupResult(folder)
        self._source = Source(services, report)
        self._previous = previous
        self._previous_units = units

    def run(self) -> BackupResult:
        # The manifest is what is received; its lines come as the units are copied.
        lines = Incoming(manifest_lines(self._units()))
        self._transaction.receive(self._folder / manifest.NAME, lines)
        return self._result

    def _units(self) -> Iterator[Unit]:
        for name in manifest.FOLDERS:
            make_directory(self._folder / name, self._mode)
        for key in self._source.keys():
            self._space.require(0)  # Folders and links take space, too.
            copy = self._submission if key.startswith("submissions/") else self._file
            try:
                unit = copy(key)
            except _FLAWS as error:
                self._report(key, str(error))
                continue
            if unit is not None:
                yield unit

    def _file(self, key: str) -> Unit | None:
        """Copy a unit of one file; None if it was deleted meanwhile. Raises what is wrong with the last candidate."""
        flaw: FileserverError | None = None
        for source in self._source.open(key):
            try:
                return Unit(key, None, {key: self._copy(source)})
            except _FLAWS as error:
                flaw = error
        if flaw:
            raise flaw
        return None

    def _submission(self, key: str) -> Unit | None:
        """Copy one version of a submission; None if it was deleted meanwhile."""
        for _ in range(_TRIES_WITHOUT_LOCK):
            with suppress(NotFound):
                return self._version(key)
        with self._services.submissions.hold(key.partition("/")[2]), suppress(NotFound):
            return self._version(key)
        return None

    def _version(self, key: str) -> Unit:
        """Copy what is now the version of a submission. Raises NotFound if it is gone before all of it is copied."""
        version = self._source.version(key)
        folder, before = self._folder / key, (self._result.copied, self._result.linked)
        make_directory(folder, self._mode)
        files, flaws = {}, {}
        try:
            strays = dict.fromkeys(self._source.strays(key), NO_RESOURCE)
            for source in self._source.open_all(key, version):
                try:
                    files[source.path] = self._copy(source)
                except _FLAWS as error:
                    flaws[source.path] = str(error)
        except BaseException:
            shutil.rmtree(folder)
            self._result.copied, self._result.linked = before
            raise
        for path, reason in (flaws | strays).items():
            self._report(path, reason)
        os.utime(folder, ns=(version, version))
        return Unit(key, Entry(f"{key}/", version, files=len(files) + len(flaws)), files)

    def _copy(self, source: SourceFile) -> Entry:
        """Put *source* into the snapshot. Raises DigestMismatch or IncompleteBody if it is damaged."""
        stored, target = source.stored, self._folder / source.path
        old = self._previous_units.find(manifest.unit_key(source.path)).files.get(source.path)
        known = stored.sha256.hex() if stored.sha256 else None
        if old and _is_unchanged(old, stored) and self._link(old, target):
            return old
        self._space.require(stored.size_bytes)
        try:
            staged = self._transaction.receive(target, source.incoming(self._pace), durable=False)
        except _FLAWS:
            target.unlink(missing_ok=True)
            # The bytes of a task file are told by its name, so that any older copy will do.
            if old and (known == old.sha256 or source.sha1) and self._link(old, target):
                self._report(source.path, "it is damaged; the copy of an older snapshot is kept")
                return old
            raise
        self._result.copied += Usage(1, staged.size_bytes)
        return Entry(source.path, stored.mtime_ns, staged.size_bytes, staged.sha256.hex())

    def _link(self, old: Entry, target: Path) -> bool:
        """Share the file of the previous snapshot, if that still is what its manifest says; tells whether it was."""
        path = self._previous / old.path
        try:
            info = path.lstat()
            if (info.st_size, info.st_mtime_ns) != (old.size_bytes, old.mtime_ns):
                return False
            make_directory(target.parent, self._mode)
            os.link(path, target, follow_symlinks=False)
        except OSError:  # It may be gone, or have as many links as the file system allows: then it is copied.
            return False
        self._result.linked += Usage(1, old.size_bytes)
        return True
