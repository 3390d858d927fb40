"""Restoring a snapshot into an empty working directory, through the write path of uploads."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from fileserver.core.digests import DeclaredDigests
from fileserver.core.errors import Collision, DigestMismatch, IncompleteBody, InvalidName, NotFound, SettingsError
from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.names import AttachmentId, ResultName, Sha1, SubmissionId
from fileserver.core.sections import WIDEST_LIMITS, QuotaSettings
from fileserver.core.settings import Settings
from fileserver.maintenance import manifest
from fileserver.maintenance.manifest import Entry, Unit, read_units
from fileserver.maintenance.pace import Pace
from fileserver.maintenance.snapshots import find_snapshot, refuse_overlap
from fileserver.maintenance.source import Report, read_chunks
from fileserver.services import Services, build_services
from fileserver.storage.filesystem import open_below
from fileserver.storage.local import stored_file
from fileserver.storage.usage import Usage

_FLAWS = (InvalidName, NotFound, DigestMismatch, IncompleteBody, Collision)
"""What is wrong with one unit, not with the restoration."""


@dataclass
class RestoreResult:
    """What was restored from which snapshot, by resource."""

    snapshot: Path
    restored: dict[str, Usage] = field(default_factory=lambda: defaultdict(lambda: Usage(0, 0)))


def restore(settings: Settings, source: Path, report: Report) -> RestoreResult:
    """Put a snapshot into the working directory of *settings*, which must hold nothing, or be missing.

    *source* is the snapshot, or a folder of backups, of which the newest is taken. *report* is told of each path that
    is left out, and why. Raises SettingsError, InsufficientStorage, OSError.
    """
    snapshot = find_snapshot(source)
    root = settings.storage.working_directory
    if root is not None:
        refuse_overlap(root, source)
        _require_new_or_own(root)
    # Neither limits nor quotas of today decide about what was stored before them, and space need not be left.
    limits = dataclasses.replace(WIDEST_LIMITS, min_free_bytes=0)
    with closing(build_services(dataclasses.replace(settings, limits=limits, quotas=QuotaSettings()))) as services:
        if any(usage.files for usage in services.ledger.read().values()):
            raise SettingsError(f"{root} holds something already; restore into an empty directory")
        return _Restorer(services, snapshot, report).run()


def _require_new_or_own(root: Path) -> None:
    """Raise SettingsError if *root* is a folder with other things than a working directory has."""
    try:
        is_empty = {path.name for path in root.iterdir()} <= {"lost+found"}
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(f"the working directory {root} cannot be used: {error}") from None
    if not is_empty and not (root / "staging").is_dir():
        raise SettingsError(f"{root} is neither empty nor a working directory")


class _Restorer:
    def __init__(self, services: Services, snapshot: Path, report: Report) -> None:
        self._services = services
        self._report = report
        self._result = RestoreResult(snapshot)
        self._stores = {
            "results": self._result_file,
            "submissions": self._submission,
            "attachments": self._attachment,
            "tasks": self._task_file,
        }

    def run(self) -> RestoreResult:
        path = self._result.snapshot / manifest.NAME
        if not manifest.is_whole(path):
            self._report(manifest.NAME, "it is damaged; what its damaged lines tell of is left out")
        with closing(read_units(path)) as units:
            for unit in units:
                self._unit(unit)
        return self._result

    def _unit(self, unit: Unit) -> None:
        folder = unit.key.partition("/")[0]
        try:
            if not unit.is_whole:
                raise NotFound("some of its files are not in the snapshot")
            self._stores[folder](unit)
        except _FLAWS as error:
            self._report(unit.key, str(error))
        else:
            self._result.restored[folder] += Usage(1, unit.usage.size_bytes)

    def _result_file(self, unit: Unit) -> None:
        self._services.results.store(ResultName(_name(unit)), self._only(unit))

    def _attachment(self, unit: Unit) -> None:
        self._services.attachments.store(AttachmentId(_name(unit)), self._only(unit))

    def _task_file(self, unit: Unit) -> None:
        sha1 = Sha1(unit.key.rpartition("/")[2])
        file = IncomingFile(sha1, self._only(unit, ("sha1", bytes.fromhex(sha1))))
        self._services.task_files.store([file], unit.usage.size_bytes)

    def _submission(self, unit: Unit) -> None:
        prefix = f"{unit.key}/"
        files = (IncomingFile(path.removeprefix(prefix), self._incoming(entry)) for path, entry in unit.files.items())
        version = unit.folder.mtime_ns if unit.folder else None
        self._services.submissions.store(SubmissionId(_name(unit)), files, unit.usage.size_bytes, version)

    def _only(self, unit: Unit, *declared: tuple[str, bytes]) -> Incoming:
        return self._incoming(unit.files[unit.key], *declared)

    def _incoming(self, entry: Entry, *declared: tuple[str, bytes]) -> Incoming:
        digests = DeclaredDigests((("sha256", _sha256(entry)), *declared))
        return Incoming(self._read(entry.path), digests, entry.size_bytes, entry.path, entry.mtime_ns)

    def _read(self, path: str) -> Iterator[bytes]:
        """The bytes of a file of the snapshot; it is not opened before its name is found to be valid."""
        try:
            stored = stored_file(open_below(self._result.snapshot, path))
        except FileNotFoundError:
            raise NotFound(f"{path} is not in the snapshot") from None
        except OSError as error:
            raise IncompleteBody(f"{path} cannot be read: {error.strerror}") from error
        with stored:
            yield from read_chunks(stored, Pace())


def _name(unit: Unit) -> str:
    return unit.key.partition("/")[2]


def _sha256(entry: Entry) -> bytes:
    try:
        return bytes.fromhex(entry.sha256 or "")
    except ValueError:
        raise DigestMismatch(f"{entry.path} has no digest in the manifest") from None
