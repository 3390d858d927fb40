"""Submissions and archives: damaged files are taken from the archive where that is whole, archives are rebuilt."""

import os
import shutil
import zipfile
from collections.abc import Iterator
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
from fileserver.maintenance.archives import NOT_A_ZIP
from fileserver.maintenance.files import LOOKS, FileCheck, Look, record_digests
from fileserver.maintenance.findings import Finding, Findings, Kind, accepted
from fileserver.maintenance.submissions import SubmissionCheck, SubmissionLook
from fileserver.services import Services
from fileserver.storage.filesystem import fsync_directory
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
            return self._rebuild(look.submission_id, finding)
        if finding.kind is Kind.CHANGED:
            open_file = partial(self._check.open, look.submission_id, finding.path)
            return accepted(finding, record_digests(open_file, look.files[finding.path], self._files.counts))
        return finding

    def _rebuild(self, submission_id: SubmissionId, finding: Finding) -> Finding:
        self._services.buckets[archives.BUCKET].discard(submission_id.archive_name)
        self._services.submissions.open_archive(submission_id.archive_name).close()
        return replace(finding, action="rebuilt", mended=True)

    def _heal(self, look: SubmissionLook) -> str:
        """Store the submission anew with the archive's bytes of what is damaged; tell so, or "" if it cannot be."""
        whole = look.archive.file if look.archive and look.lost <= set(look.archive.members) else None
        if whole is None:
            return ""
        reason = "damaged; this is what it was before it was healed from its archive"
        quarantine = self._services.quarantine
        kept = quarantine.take(submissions.BUCKET, look.submission_id, reason, partial(self._copy, look))
        assert kept is not None
        try:
            self._store(look, whole)
        except BaseException as error:
            quarantine.remove(kept)
            if isinstance(error, (DigestMismatch, *NOT_A_ZIP)):
                return ""
            raise
        return f"healed from its archive; what it was is in quarantine/{kept}"

    def _copy(self, look: SubmissionLook, target: Path) -> bool:
        """Make hard links at *target* to all that the submission has; its damaged bytes need not be readable."""
        folders = self._services.folders
        try:
            shutil.copytree(folders.root / look.submission_id, target, symlinks=True, copy_function=os.link)
            if folders.version(look.submission_id) != look.version:
                raise NotFound("it was replaced meanwhile")
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        for path, _, _ in os.walk(target):
            fsync_directory(Path(path))
        return True

    def _store(self, look: SubmissionLook, whole: Look) -> None:
        """Store the submission with the help of its *whole* archive."""
        with self._check.archives.open(look.submission_id.archive_name) as archive:
            if (archive.inode, archive.mtime_ns) != whole.version:
                raise NotFound("the archive was replaced meanwhile")
            with zipfile.ZipFile(archive.file) as contents:
                files = self._whole_files(look, contents)
                self._services.submissions.without_limits().store(look.submission_id, files, over=look.version)

    def _whole_files(self, look: SubmissionLook, contents: zipfile.ZipFile) -> Iterator[IncomingFile]:
        """Each file from the folder, or, where it is damaged, from the archive; all that is known of it is verified."""
        members = look.archive.members if look.archive else {}
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


def _incoming(source: IO[bytes], file: Look | None) -> Incoming:
    """The bytes of *source*, which must be those that the *file* had when it was stored, if that is known."""
    chunks = iter(partial(source.read, COPY_BYTES), b"")
    if file is None:
        return Incoming(chunks)
    sha256 = file.stored_sha256
    declared = DeclaredDigests((("sha256", sha256),) if sha256 else ())
    return Incoming(chunks, declared, mtime_ns=file.mtime_ns)
