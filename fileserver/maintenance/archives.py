"""Archives: whether each is whole, belongs to its submission, and holds what that holds."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from fileserver.core.errors import NotFound
from fileserver.core.names import ArchiveName
from fileserver.maintenance.files import FileCheck, Look, version_of, why_rotten
from fileserver.maintenance.findings import Finding, Kind, Version
from fileserver.maintenance.reading import Reader
from fileserver.services import Services
from fileserver.storage.interface import StoredFile
from fileserver.storage.staging import COPY_BYTES

BUCKET = "submission_archives"
NOT_A_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile raises for bytes that are no sound archive."""


@dataclass(frozen=True)
class ArchiveLook:
    """What a look at an archive has shown; *file* is None if it does not belong to its submission, or is not whole."""

    version: Version
    file: Look | None = None
    finding: Finding | None = None
    members: Mapping[str, zipfile.ZipInfo] = field(default_factory=dict)
    """Its files by their path in the submission, if it was read."""


def archive_finding(name: ArchiveName, kind: Kind, detail: str, version: Version) -> Finding:
    """What is wrong with an archive."""
    return Finding(kind, BUCKET, name, detail, version)


class ArchiveCheck:
    """Looks at archives; with the reader of *files*, at every byte of them."""

    def __init__(self, services: Services, files: FileCheck) -> None:
        self._services = services
        self._bucket = services.buckets[BUCKET]
        self._files = files

    def open(self, name: ArchiveName) -> StoredFile:
        """Open an archive as it lies there. Raises NotFound."""
        return self._bucket.open(name, unnoticed=True)

    def look(self, name: ArchiveName, folder_version: int) -> ArchiveLook | None:
        """Look at an archive whose submission has the *folder_version*; None if there is none, or it is replaced."""
        try:
            try:
                return self._look(name, folder_version)
            except (OSError, *NOT_A_ZIP) as error:
                detail = why_rotten(error) if isinstance(error, OSError) else f"it is no sound ZIP: {error}"
                version = version_of(partial(self.open, name))
                return ArchiveLook(version, finding=archive_finding(name, Kind.DAMAGED, detail, version))
        except NotFound:
            return None

    def _look(self, name: ArchiveName, folder_version: int) -> ArchiveLook | None:
        with self.open(name) as archive:
            belongs = self._services.submissions.belongs(archive, folder_version)
        if not belongs:
            unfit = self.unfit(name)
            return ArchiveLook(unfit.version, finding=unfit) if unfit else None
        file = self._files.look(partial(self.open, name))
        if file is None:
            return None
        if file.kind:
            kind = Kind.DAMAGED if file.kind is Kind.DAMAGED else Kind.STALE
            return ArchiveLook(file.version, finding=archive_finding(name, kind, file.detail, file.version))
        members = self._read_inside(name, file, self._files.reader) if self._files.reader else {}
        return ArchiveLook(file.version, file, members=members)

    def unfit(self, name: ArchiveName) -> Finding | None:
        """What is wrong with an archive that does not belong to its submission, or has none; None if it does."""
        with suppress(NotFound), self._services.submissions.hold(name.submission_id), self.open(name) as archive:
            version = (archive.inode, archive.mtime_ns)
            try:
                folder_version = self._services.folders.version(name.submission_id)
            except NotFound:
                return archive_finding(name, Kind.ORPHAN, "there is no such submission", version)
            if not self._services.submissions.belongs(archive, folder_version):
                detail = "it is of another version of the submission, or in another layout"
                return archive_finding(name, Kind.STALE, detail, version)
        return None

    def _read_inside(self, name: ArchiveName, file: Look, reader: Reader) -> dict[str, zipfile.ZipInfo]:
        """The members of the archive, whose bytes are verified. Raises NotFound, and one of NOT_A_ZIP."""
        with self.open(name) as archive, zipfile.ZipFile(archive.file) as contents:
            if (archive.inode, archive.mtime_ns) != file.version:
                raise NotFound("the archive was replaced meanwhile")
            if not file.is_recorded:
                _read_members(contents, reader)
            return dict(self._members(name, contents))

    def _members(self, name: ArchiveName, contents: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        nested = self._services.settings.grading.archive_layout == "nested"
        prefix = f"{name.submission_id}/" if nested else ""
        for member in contents.infolist():
            if not member.is_dir():
                yield member.filename.removeprefix(prefix), member


def _read_members(contents: zipfile.ZipFile, reader: Reader) -> None:
    """Read all members, whose CRC-32 is verified on the way. Raises one of NOT_A_ZIP."""
    for member in contents.infolist():
        with contents.open(member) as file:
            while chunk := file.read(COPY_BYTES):
                reader.account(len(chunk))
