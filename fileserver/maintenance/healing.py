"""Submissions and archives: damaged files are taken from the archive where that is whole, archives are rebuilt."""

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from fileserver.core.digests import DeclaredDigests
from fileserver.core.errors import DigestMismatch, NotFound
from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.names import SubmissionId
from fileserver.maintenance import archives, submissions
from fileserver.maintenance.archives import NOT_A_ZIP, ArchiveLook
from fileserver.maintenance.files import LOOKS, FileCheck, Look, record_digests, why_rotten
from fileserver.maintenance.findings import Finding, Findings, Kind, accepted, gone
from fileserver.maintenance.submissions import SubmissionCheck, SubmissionLook
from fileserver.services import Services
from fileserver.storage.filesystem import fsync_directory, fsync_file, fsync_tree
from fileserver.storage.staging import COPY_BYTES


class Healing:
    """Mends submissions. *files* must read, so that nothing is built of bytes that nobody has verified."""

    def __init__(self, services: Services, files: FileCheck) -> None:
        self._services = services
        self._files = files
        self._check = SubmissionCheck(services, files)

    def mend(self, submission_id: SubmissionId) -> Findings:
        """Mend a submission and its archive; returns what was wrong, with what was done: nothing if all is well."""
        for _ in range(LOOKS):
            # It may just be replaced: then the next look finds the new version.
            with suppress(NotFound):
                look = self._check.look(submission_id)
                return self._mend(look) if look else []
        return []

    def _mend(self, look: SubmissionLook) -> Findings:
        if not look.lost:
            return [self._mend_sound(look, finding) for finding in look.findings()]
        if look.foreign:
            action = "left as it is, because what is foreign in the submission would be lost: take that away first"
            return [replace(finding, action=action) for finding in look.findings()]
        healed = self._heal(look)
        action = healed or self._quarantine(look)
        return [replace(finding, action=action, mended=bool(healed)) for finding in look.findings()]

    def _mend_sound(self, look: SubmissionLook, finding: Finding) -> Finding:
        if finding.bucket == archives.BUCKET:
            return self._rebuild(look, finding)
        if finding.kind is Kind.CHANGED:
            open_file = partial(self._check.open, look.submission_id, finding.path)
            return accepted(finding, record_digests(open_file, look.files[finding.path], self._files.counts))
        return finding

    def _rebuild(self, look: SubmissionLook, finding: Finding) -> Finding:
        """Replace the archive; what only it has, or may have, is kept."""
        name, bucket, action = look.submission_id.archive_name, self._services.buckets[archives.BUCKET], "rebuilt"
        if look.archive and (look.only_archived or look.archive.members is None):
            move = partial(bucket.move_out, name, version=finding.version)
            kept = self._services.quarantine.take(archives.BUCKET, name, finding.detail, move)
            if kept is None:
                return gone(finding)
            action = f"rebuilt; what it was is in quarantine/{kept}"
        else:
            bucket.discard(name, finding.version)
        self._services.submissions.open_archive(name).close()
        return replace(finding, action=action, mended=True)

    def _heal(self, look: SubmissionLook) -> str:
        """Store the submission anew with the archive's bytes of what is damaged; tell so, or "" if it cannot be."""
        archive = look.archive
        if archive is None or not archive.is_whole or not look.lost <= (archive.members or {}).keys():
            return ""
        if not look.archive_decides and not all(look.files[path].is_recorded for path in look.lost):
            return ""
        kept: list[str] = []
        try:
            self._keep(look, archive, kept)
            self._store(look, archive)
        except BaseException as error:
            for name in kept:
                self._services.quarantine.remove(name)
            if isinstance(error, (DigestMismatch, *NOT_A_ZIP)):
                return ""
            raise
        return "healed from its archive; what it was is in " + " and ".join(f"quarantine/{name}" for name in kept)

    def _keep(self, look: SubmissionLook, archive: ArchiveLook, kept: list[str]) -> None:
        """Copy to the quarantine what healing replaces; the names there are added to *kept*."""
        reason = "damaged; this is what it was before it was healed from its archive"
        self._keep_copy(submissions.BUCKET, look.submission_id, reason, partial(self._copy_folder, look), kept)
        if archive.file is None or look.only_archived - look.lost:
            name, reason = look.submission_id.archive_name, "its submission was healed from it"
            self._keep_copy(archives.BUCKET, name, reason, partial(self._copy_archive, look, archive), kept)

    def _keep_copy(self, bucket: str, key: str, reason: str, copy: Callable[[Path], None], kept: list[str]) -> None:
        def move(target: Path) -> bool:
            # No links to what is in use, which somebody might edit here; and nothing half copied if this process dies.
            with self._services.staging.transaction(None) as transaction:
                copy(transaction.path / "copy")
                os.rename(transaction.path / "copy", target)
                fsync_directory(target.parent)
            return True

        name = self._services.quarantine.take(bucket, key, reason, move)
        assert name is not None
        kept.append(name)

    def _copy_folder(self, look: SubmissionLook, target: Path) -> None:
        """Copy all that the submission has; its damaged bytes need not be readable."""
        folders = self._services.folders
        shutil.copytree(folders.root / look.submission_id, target, symlinks=True, copy_function=_copy_or_link)
        if folders.version(look.submission_id) != look.version:
            raise NotFound("it was replaced meanwhile")
        fsync_tree(target)

    def _copy_archive(self, look: SubmissionLook, archive: ArchiveLook, target: Path) -> None:
        name, bucket = look.submission_id.archive_name, self._services.buckets[archives.BUCKET]
        shutil.copy2(bucket.path(name), target)
        info = bucket.info(name)
        if info is None or (info.st_ino, info.st_mtime_ns) != archive.version:
            raise NotFound("the archive was replaced meanwhile")
        fsync_file(target)

    def _store(self, look: SubmissionLook, archive: ArchiveLook) -> None:
        """Store the submission with the help of its *archive*."""
        with self._check.archives.open_zip(look.submission_id.archive_name, archive.version) as contents:
            files = self._whole_files(look, archive.members or {}, contents)
            self._services.submissions.without_limits().store(look.submission_id, files, over=look.version)

    def _whole_files(
        self, look: SubmissionLook, members: submissions.Members, contents: zipfile.ZipFile
    ) -> Iterator[IncomingFile]:
        """Each file from the folder, or, where it is damaged, from the archive; all that is known of it is verified."""
        for path in sorted({*look.files, *look.missing}):
            lost = path in look.lost
            source = contents.open(members[path]) if lost else self._check.open(look.submission_id, path).file
            with source:
                yield IncomingFile(path, _incoming(source, look.files.get(path)))

    def _quarantine(self, look: SubmissionLook) -> str:
        """Take the submission out of its bucket, and first what there is of its archive; tell so."""
        reason, area = "damaged, and its archive cannot heal it", self._services.quarantine
        name = look.submission_id.archive_name
        if look.archive:
            move_archive = partial(self._services.buckets[archives.BUCKET].move_out, name, version=look.archive.version)
            area.take(archives.BUCKET, name, reason, move_archive)
        held = area.take(submissions.BUCKET, look.submission_id, reason, partial(self._move, look))
        if held is None:
            raise NotFound("it was replaced meanwhile")
        return f"moved to quarantine/{held}"

    def _move(self, look: SubmissionLook, target: Path) -> bool:
        with suppress(NotFound):
            self._services.submissions.take_away(look.submission_id, target, look.version)
            return True
        return False


def _copy_or_link(source: str, target: str) -> None:
    """Copy a file with its time and its record; link one that the disk does not give any more."""
    try:
        shutil.copy2(source, target)
    except OSError as error:
        why_rotten(error)
        Path(target).unlink(missing_ok=True)
        os.link(source, target)


def _incoming(source: IO[bytes], file: Look | None) -> Incoming:
    """The bytes of *source*, which must be those that the *file* had when it was stored, if that is known."""
    chunks = iter(partial(source.read, COPY_BYTES), b"")
    if file is None:
        return Incoming(chunks)
    sha256 = file.stored_sha256
    declared = DeclaredDigests((("sha256", sha256),) if sha256 else ())
    return Incoming(chunks, declared, mtime_ns=file.mtime_ns)
