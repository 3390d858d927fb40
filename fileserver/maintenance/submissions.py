"""Submissions: their files, one by one, and against what their archives hold."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from fileserver.core.errors import NotFound
from fileserver.core.names import ArchiveName, FilePath, SubmissionId
from fileserver.core.settings import WIDEST_LIMITS
from fileserver.maintenance.archives import ArchiveCheck, ArchiveLook, archive_finding
from fileserver.maintenance.entries import entries_below, valid_name
from fileserver.maintenance.files import LOOKS, FileCheck, Look
from fileserver.maintenance.findings import Finding, Kind
from fileserver.services import Services
from fileserver.storage.interface import StoredFile

BUCKET = "submissions"


@dataclass
class SubmissionLook:
    """What a look at one version of a submission has shown."""

    submission_id: SubmissionId
    version: int
    files: dict[str, Look] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    """Paths of what is no file of a submission, and why."""
    missing: list[str] = field(default_factory=list)
    """Paths of files that only the archive has."""
    archive: ArchiveLook | None = None
    """None if there is none."""

    def findings(self) -> Iterator[Finding]:
        finding = partial(Finding, bucket=BUCKET, key=self.submission_id, version=(0, self.version))
        for path, file in self.files.items():
            if file.kind:
                yield finding(file.kind, path=path, detail=file.detail)
        for path in self.missing:
            yield finding(Kind.MISSING, path=path, detail="only the archive has it")
        for path, reason in self.foreign.items():
            yield finding(Kind.FOREIGN, path=path, detail=reason)
        if self.archive and self.archive.finding:
            yield self.archive.finding

    @property
    def lost(self) -> set[str]:
        """Paths of the files whose bytes the folder does not have any more."""
        return {*self.missing, *(path for path, file in self.files.items() if file.kind is Kind.DAMAGED)}


class SubmissionCheck:
    """Looks at submissions; with the reader of *files*, at every byte of them and of their archives."""

    def __init__(self, services: Services, files: FileCheck) -> None:
        self._services = services
        self._folders = services.folders
        self._files = files
        self.archives = ArchiveCheck(services, files)

    def open(self, submission_id: SubmissionId, path: str) -> StoredFile:
        """Open a file of a submission. Raises NotFound."""
        return self._folders.open(submission_id, path, unnoticed=True)

    def look(self, submission_id: SubmissionId) -> SubmissionLook | None:
        """Look at one version of a submission and its archive; None if it is gone, or replaced all the time."""
        try:
            for _ in range(LOOKS):
                look = self._look(submission_id, self._folders.version(submission_id))
                if self._folders.version(submission_id) == look.version:
                    return look
        except NotFound:
            pass
        return None

    def _look(self, submission_id: SubmissionId, version: int) -> SubmissionLook:
        look = SubmissionLook(submission_id, version)
        for path, entry in entries_below(self._folders.root / submission_id):
            name, reason = valid_name(partial(FilePath, limits=WIDEST_LIMITS.names), path, entry)
            if name is None:
                look.foreign |= {path: reason} if reason else {}
            elif file := self._files.look(partial(self.open, submission_id, name)):
                look.files[name] = file
        look.archive = self.archives.look(submission_id.archive_name, version)
        if look.archive and look.archive.file and self._files.reader:
            self._compare(look, look.archive)
        return look

    def _compare(self, look: SubmissionLook, archive: ArchiveLook) -> None:
        """Hold the files and the archive against each other, and note in *look* who of them is wrong."""
        members, unfit = archive.members, None
        look.missing = [path for path in members if not self._is_there(look.submission_id, path)]
        for path, file in look.files.items():
            member = members.get(path)
            if member is None:
                unfit = Kind.STALE, f"it lacks {path}"
            elif file.read is None or (member.file_size, member.CRC) == (file.read.size_bytes, file.read.crc32):
                continue
            elif file.kind is Kind.CHANGED or file.mtime_ns > look.version:
                unfit = Kind.STALE, f"it holds {path} as it was before somebody changed it"
            elif file.kind is None and file.record:
                unfit = Kind.DAMAGED, f"it holds other bytes of {path}"
            elif file.kind is None:
                detail = "its bytes are not those in the archive"
                look.files[path] = replace(file, kind=Kind.DAMAGED, detail=detail)
        if unfit and archive.file:
            finding = archive_finding(look.submission_id.archive_name, *unfit, archive.file.version)
            look.archive = replace(archive, finding=finding)

    def _is_there(self, submission_id: SubmissionId, path: str) -> bool:
        return os.path.lexists(self._folders.root / submission_id / path)

    def settle(self, look: SubmissionLook) -> None:
        """Count what was looked at, and record the digests of what is sound and has no record."""
        for path, file in look.files.items():
            self._files.settle(partial(self.open, look.submission_id, path), file)
        if look.archive:
            self._settle_archive(look.submission_id.archive_name, look.archive)

    def _settle_archive(self, name: ArchiveName, archive: ArchiveLook) -> None:
        if archive.file and not archive.finding:
            self._files.settle(partial(self.archives.open, name), archive.file)
        else:
            self._files.counts.files += 1
