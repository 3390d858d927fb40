"""Submissions: their files, one by one, and against what their archives hold."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from zipfile import ZipInfo

from fileserver.core.errors import NotFound
from fileserver.core.names import ArchiveName, FilePath, SubmissionId
from fileserver.core.sections import WIDEST_LIMITS
from fileserver.maintenance.archives import ArchiveCheck, ArchiveLook, archive_finding
from fileserver.maintenance.entries import entries_below, valid_name
from fileserver.maintenance.files import LOOKS, FileCheck, Look
from fileserver.maintenance.findings import Finding, Kind
from fileserver.services import Services
from fileserver.storage.interface import StoredFile

BUCKET = "submissions"

Members = Mapping[str, ZipInfo]


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
    only_archived: set[str] = field(default_factory=set)
    """Paths of files that only the archive has, or of which it has other bytes."""
    disputed: set[str] = field(default_factory=set)
    """Paths of files without a record of which the archive has other bytes."""

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

    @property
    def archive_decides(self) -> bool:
        """Whether the archive is one of these files: then those without a record must be as they are in it.

        One that does not belong to the folder is, if no file was written after it: it is the folder that was changed.
        """
        archive = self.archive
        if archive is None or not archive.is_whole:
            return False
        return bool(archive.file) or all(file.mtime_ns <= archive.version[1] for file in self.files.values())


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
        if look.archive and look.archive.members is not None:
            self._compare(look, look.archive, look.archive.members)
        return look

    def _compare(self, look: SubmissionLook, archive: ArchiveLook, members: Members) -> None:
        """Hold the files and the archive against each other, and note in *look* who of them is wrong."""
        decides = look.archive_decides
        wrong: list[tuple[Kind, str]] = []
        look.only_archived.update(members.keys() - look.files.keys())
        gone = sorted(path for path in look.only_archived if not self._is_there(look.submission_id, path))
        if decides:
            look.missing = gone
        else:
            wrong += [(Kind.STALE, f"the folder does not have {path}") for path in gone]
        for path, file in look.files.items():
            if path not in members:
                wrong.append((Kind.STALE, f"it lacks {path}"))
            elif not _agree(file, members[path]):
                look.only_archived.add(path)
                wrong += self._disagree(look, path, file, archive, decides)
        if wrong and archive.is_whole:
            kind, detail = min(wrong, key=lambda item: item[0] is not Kind.DAMAGED)
            finding = archive_finding(look.submission_id.archive_name, kind, detail, archive.version)
            look.archive = replace(archive, finding=_joined(archive.finding, finding))

    def _disagree(
        self, look: SubmissionLook, path: str, file: Look, archive: ArchiveLook, decides: bool
    ) -> list[tuple[Kind, str]]:
        """Note in *look*, or return, who is wrong of a *file* and an archive with other bytes of it."""
        is_old = file.kind is Kind.CHANGED or file.mtime_ns > archive.version[1]
        if file.kind is None and not file.record:
            look.disputed.add(path)
            if decides and not is_old:
                look.files[path] = replace(file, kind=Kind.DAMAGED, detail="its bytes are not those in the archive")
                return []
        if is_old:
            return [(Kind.STALE, f"it holds {path} as it was before somebody changed it")]
        if file.kind is None:
            return [(Kind.DAMAGED, f"it holds other bytes of {path}")]
        return []

    def _is_there(self, submission_id: SubmissionId, path: str) -> bool:
        return os.path.lexists(self._folders.root / submission_id / path)

    def settle(self, look: SubmissionLook) -> None:
        """Count what was looked at, and record the digests of what is sound and has no record."""
        for path, file in look.files.items():
            # What the archive contradicts must not be recorded as if it were what was stored.
            known = replace(file, read=None) if path in look.disputed else file
            self._files.settle(partial(self.open, look.submission_id, path), known)
        if look.archive:
            self._settle_archive(look.submission_id.archive_name, look.archive)

    def _settle_archive(self, name: ArchiveName, archive: ArchiveLook) -> None:
        if archive.file and not archive.finding:
            self._files.settle(partial(self.archives.open, name), archive.file)
        else:
            self._files.counts.files += 1


def _agree(file: Look, member: ZipInfo) -> bool:
    """Whether the archive has the bytes of *file*, as far as they were read."""
    if file.read is None:
        return member.file_size == file.size_bytes
    return (member.file_size, member.CRC) == (file.read.size_bytes, file.read.crc32)


def _joined(unfit: Finding | None, finding: Finding) -> Finding:
    """What is told of an archive that may also be *unfit* for its submission."""
    return replace(unfit, detail=f"{unfit.detail}; {finding.detail}") if unfit else finding
