"""Archives: whether each is whole, belongs to its submission, and holds what that holds."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from fileserver.core.errors import NotFound
from fileserver.core.names import ArchiveName
from fileserver.grading.archives import layout_comment
from fileserver.maintenance.files import FileCheck, Look, version_of, why_rotten
from fileserver.maintenance.findings import Finding, Kind
from fileserver.maintenance.reading import Reader
from fileserver.services import Services
from fileserver.storage.interface import StoredFile
from fileserver.storage.local import Version
from fileserver.storage.staging import COPY_BYTES

BUCKET = "submission_archives"
NOT_A_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile raises for bytes that are no sound archive."""


@dataclass(frozen=True)
class ArchiveLook:
    """What a look at an archive has shown."""

    version: Version
    file: Look | None = None
    """None if it does not belong to its submission, or is not whole."""
    finding: Finding | None = None
    members: Mapping[str, zipfile.ZipInfo] | None = None
    """Its files by their path in the submission; None if nobody looked, or they cannot be listed."""
    is_whole: bool = False
    """Whether all of it that was read is whole, be it that of its submission or not."""


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
        """Look at an archive whose submission has the *folder_version*; None if there is none, or it is replaced.

        One that does not belong to its submission is always looked into: it may be the only one to have a file.
        """
        unfit = None
        try:
            try:
                if not self._belongs(name, folder_version):
                    unfit = self.unfit(name)
                    if unfit is None or unfit.kind is Kind.ORPHAN:
                        return ArchiveLook(unfit.version, finding=unfit) if unfit else None
                return self._look(name, unfit)
            except (OSError, *NOT_A_ZIP) as error:
                detail = why_rotten(error) if isinstance(error, OSError) else f"it is no sound ZIP: {error}"
                return self._broken(name, version_of(partial(self.open, name)), detail, unfit)
        except NotFound:
            return None

    def _belongs(self, name: ArchiveName, folder_version: int) -> bool:
        with self.open(name) as archive:
            return self._services.submissions.belongs(archive, folder_version)

    def _look(self, name: ArchiveName, unfit: Finding | None) -> ArchiveLook | None:
        file = self._files.look(partial(self.open, name))
        if file is None or (unfit and unfit.version != file.version):
            return None
        if file.kind:
            return self._broken(name, file.version, file.detail, unfit, is_rot=file.kind is Kind.DAMAGED)
        if self._files.reader and not file.is_recorded:
            self._read_inside(name, file.version, self._files.reader)
        members = self._members(name, file.version) if self._files.reader or unfit else None
        return ArchiveLook(file.version, None if unfit else file, unfit, members, is_whole=True)

    def _broken(
        self, name: ArchiveName, version: Version, detail: str, unfit: Finding | None, *, is_rot: bool = True
    ) -> ArchiveLook:
        """What is told of an archive with other bytes than it had; it may still tell what it holds."""
        try:
            members = self._members(name, version)
        except (OSError, *NOT_A_ZIP):
            members = None
        kind = Kind.DAMAGED if is_rot and not unfit else Kind.STALE
        return ArchiveLook(version, finding=archive_finding(name, kind, detail, version), members=members)

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

    @contextmanager
    def open_zip(self, name: ArchiveName, version: Version) -> Iterator[zipfile.ZipFile]:
        """Open the archive of this *version* as a ZIP. Raises NotFound, and one of NOT_A_ZIP."""
        with self.open(name) as archive:
            if (archive.inode, archive.mtime_ns) != version:
                raise NotFound("the archive was replaced meanwhile")
            with zipfile.ZipFile(archive.file) as contents:
                yield contents

    def _read_inside(self, name: ArchiveName, version: Version, reader: Reader) -> None:
        with self.open_zip(name, version) as contents:
            _read_members(contents, reader)

    def _members(self, name: ArchiveName, version: Version) -> dict[str, zipfile.ZipInfo]:
        """Its files by their path in the submission. Raises NotFound, and one of NOT_A_ZIP."""
        with self.open_zip(name, version) as contents:
            members = [member for member in contents.infolist() if not member.is_dir()]
            prefix = f"{name.submission_id}/"
            # The original server writes no comment, and always the prefix.
            nested = contents.comment != layout_comment("flat")
            if not nested or not all(member.filename.startswith(prefix) for member in members):
                prefix = ""
            return {member.filename.removeprefix(prefix): member for member in members}


def _read_members(contents: zipfile.ZipFile, reader: Reader) -> None:
    """Read all members, whose CRC-32 is verified on the way. Raises one of NOT_A_ZIP."""
    for member in contents.infolist():
        with contents.open(member) as file:
            while chunk := file.read(COPY_BYTES):
                reader.account(len(chunk))
