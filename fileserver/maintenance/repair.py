"""Repairs: what a check has found is mended, or taken out of its bucket to the quarantine; nothing is deleted unseen.

Everything is looked at again before it is touched, and is left alone if it was replaced meanwhile.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fileserver.core.errors import FileserverError
from fileserver.core.names import ArchiveName, Sha1, SubmissionId
from fileserver.maintenance import archives, submissions
from fileserver.maintenance.files import FileCheck, record_digests
from fileserver.maintenance.findings import Counts, Finding, Findings, Kind, accepted, gone
from fileserver.maintenance.healing import Healing
from fileserver.maintenance.reading import Reader
from fileserver.services import SHARDED_BUCKETS, Services
from fileserver.storage.interface import StoredFile


class Repair:
    """Mends what a check of the same working directory has found."""

    def __init__(self, services: Services, reader: Reader) -> None:
        self._services = services
        self._files = FileCheck(Counts(), reader)
        self._healing = Healing(services, self._files)
        self._actions: dict[Kind, Callable[[Finding], Finding]] = {
            Kind.DAMAGED: self._quarantine,
            Kind.ORPHAN: self._quarantine,
            Kind.CHANGED: self._accept,
            Kind.DUPLICATE: self._part_with_twin,
        }

    def mend(self, found: Findings) -> Findings:
        """Mend all that is wrong with one key; returns what was found, with what was done."""
        try:
            if submission_id := _submission_of(found):
                return self._healing.mend(submission_id) or [gone(finding) for finding in found]
            return [self._actions.get(finding.kind, _leave)(finding) for finding in found]
        except (OSError, FileserverError) as error:
            return [replace(finding, action=f"cannot be repaired: {error}") for finding in found]

    def _open(self, finding: Finding) -> StoredFile:
        return self._services.buckets[finding.bucket].open(finding.key, unnoticed=True)

    def _quarantine(self, finding: Finding) -> Finding:
        bucket = self._services.buckets[finding.bucket]
        move = partial(bucket.move_out, finding.key, version=finding.version)
        name = self._services.quarantine.take(finding.bucket, finding.key, finding.detail, move)
        if name is None:
            return gone(finding)
        action = f"moved to quarantine/{name}"
        if finding.bucket in SHARDED_BUCKETS and not self._services.task_files.missing([Sha1(finding.key)]):
            return replace(finding, action=f"{action}; its other copy is whole", mended=True)
        return replace(finding, action=action, mended=finding.kind is Kind.ORPHAN)

    def _accept(self, finding: Finding) -> Finding:
        """Take a file that somebody has changed for right, unless it is a task file with another SHA-1."""
        sha1 = finding.key if finding.bucket in SHARDED_BUCKETS else None
        open_file = partial(self._open, finding)
        look = self._files.look(open_file, sha1)
        if look is None:
            return gone(finding)
        if look.kind is Kind.DAMAGED:
            return self._quarantine(replace(finding, kind=look.kind, detail=look.detail, version=look.version))
        return accepted(finding, record_digests(open_file, look, self._files.counts))

    def _part_with_twin(self, finding: Finding) -> Finding:
        twin = self._services.buckets["tasks"]
        look = self._files.look(partial(twin.open, finding.key, unnoticed=True), finding.key)
        if look is None or look.kind:
            return replace(finding, action="kept, because the copy in tasks is not whole")
        with self._open(finding) as stored:
            version = (stored.inode, stored.mtime_ns)
        return replace(self._quarantine(replace(finding, version=version)), mended=True)


def _leave(finding: Finding) -> Finding:
    return finding


def _submission_of(found: Findings) -> SubmissionId | None:
    """The submission that is concerned, itself or its archive, if any is."""
    for finding in found:
        if finding.bucket == submissions.BUCKET and finding.path:
            return SubmissionId(finding.key)
        if finding.bucket == archives.BUCKET and finding.kind in (Kind.DAMAGED, Kind.STALE):
            return ArchiveName(finding.key).submission_id
    return None
