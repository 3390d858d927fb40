"""Task files: exercise data named by the SHA-1 of its bytes.

A name is only ever computed from received bytes. A stored copy is served only if its bytes were seen to have their
name's SHA-1: when they were received, which the record of the file tells, or by reading them once.
"""

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from fileserver.core.errors import Collision, NotFound
from fileserver.core.incoming import IncomingFile
from fileserver.core.names import Sha1, check_text, quoted
from fileserver.storage.interface import StagedFile, StoredFile
from fileserver.storage.last_use import is_recent, last_used_ns, note_use
from fileserver.storage.local import LocalBucket, version_of
from fileserver.storage.locks import KeyLocks
from fileserver.storage.records import write_record
from fileserver.storage.staging import Staging, hash_descriptor

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_Version = tuple[str, int, int, int]


class TaskFiles:
    """Store and read task files. *legacy* is where the original server kept them: read and deleted, never written."""

    def __init__(
        self, bucket: LocalBucket, legacy: LocalBucket, staging: Staging, locks: KeyLocks, max_key_bytes: int
    ) -> None:
        self._buckets = (bucket, legacy)
        self._staging = staging
        self._locks = locks
        self._max_key_bytes = max_key_bytes
        # What was read and found whole or damaged, for file systems that keep no records.
        self._seen: OrderedDict[_Version, bool] = OrderedDict()

    def store(self, files: Iterable[IncomingFile], expected_bytes: int = 0) -> dict[str, Sha1]:
        """Publish all *files* once all have arrived; return the hash of each by its name.

        Of several files with one name the first wins. Publishing what is there already heals a damaged copy. Raises
        InvalidName, Collision, LimitExceeded, InsufficientStorage, QuotaExceeded, and what the source raises; then
        nothing is published.
        """
        hashes: dict[str, Sha1] = {}
        unique: dict[Sha1, StagedFile] = {}
        with self._staging.transaction(expected_bytes) as transaction:
            for file in files:
                check_text(file.name, "the name of the task file", self._max_key_bytes, "max_path_bytes")
                if file.name in hashes:
                    continue
                staged = transaction.receive(transaction.path / str(len(hashes)), file.content, ("sha1",))
                sha1 = hashes[file.name] = Sha1(staged.digests["sha1"].hex())
                if unique.setdefault(sha1, staged).sha256 != staged.sha256:
                    raise _collision(sha1)
            for sha1, staged in unique.items():
                self._refuse_collision(sha1, staged)
            bucket, legacy = self._buckets
            sizes = {sha1: staged.size_bytes for sha1, staged in unique.items()}
            bucket.require_room({sha1: size for sha1, size in sizes.items() if not legacy.usage(sha1).files})
            for sha1, staged in unique.items():
                self._publish(sha1, staged)
        return hashes

    def _publish(self, sha1: Sha1, staged: StagedFile) -> None:
        bucket, legacy = self._buckets
        with self._locks.hold("task_files", sha1):
            self._refuse_collision(sha1, staged)
            # Also over an equal copy: the bytes at hand are known to be whole, those on the disk may have rotted.
            bucket.put(sha1, staged, legacy.usage(sha1))
            try:
                legacy.delete(sha1)
            except NotFound:
                pass

    def _refuse_collision(self, sha1: Sha1, staged: StagedFile) -> None:
        for bucket in self._buckets:
            try:
                stored = bucket.open(sha1)
            except NotFound:
                continue
            with stored:
                if stored.record and stored.record.has_sha1(sha1):
                    known = stored.record.sha256
                else:
                    digests = hash_descriptor(stored.file.fileno(), ("sha1", "sha256"))
                    if digests["sha1"].hex() != sha1:
                        log.warning("task file %s is damaged; a new upload replaces it", sha1)
                        continue
                    known = digests["sha256"]
            if known != staged.sha256:
                raise _collision(sha1)

    def open(self, sha1: Sha1) -> StoredFile:
        """Open a task file whose bytes have its name's SHA-1. Raises NotFound, also for a damaged one.

        That is noted as its use, so that nothing that was found here is taken away within the next day.
        """
        state = "not stored"
        # The first once more: an upload moves a file from the second to the first.
        for bucket in (*self._buckets, self._buckets[0]):
            try:
                stored = bucket.open(sha1)
            except NotFound:
                continue
            if not self._is_whole(stored, sha1):
                state = "damaged; upload it again"
            elif is_recent(stored.last_used_ns) or self._note_use(bucket, sha1, stored):
                return stored
            stored.close()
        raise NotFound(f"task file {sha1} is {state}")

    def _note_use(self, bucket: LocalBucket, sha1: Sha1, stored: StoredFile) -> bool:
        """Note that *stored* is used; False if it was taken away or replaced meanwhile."""
        with self._locks.hold("task_files", sha1):
            info = bucket.info(sha1)
            if info is None or version_of(info) != (stored.inode, stored.mtime_ns):
                return False
            note_use(stored.file.fileno())
        return True

    def take_away(self, bucket_name: str, sha1: Sha1, target: Path, unused_since_ns: int) -> bool:
        """Move the copy in that bucket to the path *target*, durably, if it was neither stored nor used since then.

        Tells whether it was moved.
        """
        bucket = next(bucket for bucket in self._buckets if bucket.name == bucket_name)
        with self._locks.hold("task_files", sha1):
            info = bucket.info(sha1)
            if info is None or last_used_ns(info) >= unused_since_ns:
                return False
            return bucket.move_out(sha1, target, version_of(info))

    def _is_whole(self, stored: StoredFile, sha1: Sha1) -> bool:
        if stored.record and stored.record.has_sha1(sha1):
            return True
        version = (sha1, stored.inode, stored.size_bytes, stored.mtime_ns)
        whole = self._seen.get(version)
        if whole is None:
            digests = hash_descriptor(stored.file.fileno(), ("sha1", "sha256"))
            whole = self._seen[version] = digests["sha1"].hex() == sha1
            if whole:
                _adopt(stored, digests)
            else:
                log.error("task file %s is damaged: its bytes have the SHA-1 %s", sha1, digests["sha1"].hex())
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return whole

    def missing(self, hashes: Iterable[Sha1]) -> list[Sha1]:
        """Those of *hashes* that are not stored, or not whole, in the order given; the use of the others is noted."""
        missing = []
        for sha1 in hashes:
            try:
                self.open(sha1).close()
            except NotFound:
                missing.append(sha1)
        return missing

    def is_stored_twice(self, sha1: Sha1) -> bool:
        """Whether both buckets hold the file; an upload leaves it in one of them."""
        with self._locks.hold("task_files", sha1):
            return all(bucket.usage(sha1).files for bucket in self._buckets)

    def delete(self, sha1: Sha1) -> None:
        """Remove a task file from wherever it is, durably. Raises NotFound."""
        found = False
        with self._locks.hold("task_files", sha1):
            for bucket in self._buckets:
                try:
                    bucket.delete(sha1)
                    found = True
                except NotFound:
                    continue
        if not found:
            raise NotFound(f"task file {quoted(sha1)} is not stored")


def _collision(sha1: Sha1) -> Collision:
    log.error("SHA-1 collision: an upload has the SHA-1 %s of other bytes", sha1)
    return Collision(f"other bytes have the same SHA-1, {sha1}")


def _adopt(stored: StoredFile, digests: dict[str, bytes]) -> None:
    """Record what was read, so that the file need not be read again; unless it changed while it was read."""
    info = os.fstat(stored.file.fileno())
    if info.st_mtime_ns != stored.mtime_ns:
        return
    try:
        write_record(stored.file.fileno(), digests, info)
    except OSError as error:
        log.warning("the digest of a task file cannot be recorded: %s", error)
