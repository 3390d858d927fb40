"""The way out of the trash and the quarantine: back to where things were, or for good."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fileserver.core.errors import FileserverError, NotFound
from fileserver.core.names import FilePath, SubmissionId, quoted
from fileserver.maintenance.removals import Removal, perform
from fileserver.maintenance.retention import AgeRule
from fileserver.services import Services
from fileserver.storage.filesystem import fsync_directory
from fileserver.storage.holding import Held, HoldingArea
from fileserver.storage.records import read_record, write_record


class Occupied(FileserverError):
    """Something newer lies where a thing is to be put back."""

    code = "occupied"
    title = "Something newer is stored there"


def restore(services: Services, area: HoldingArea, name: str) -> Held:
    """Put back what *area* holds as *name*, and return what it was. For retention it counts as stored anew.

    Raises NotFound, InvalidName, QuotaExceeded, and Occupied if something newer lies in its place.
    """
    held = area.get(name)
    try:
        _renew(held.path)
        if not _put_back(services, held):
            raise Occupied(f"something newer lies at {held.note.bucket}/{quoted(held.note.key)}")
    except FileNotFoundError:
        raise NotFound(f"{quoted(name)} is not in {area.root.name} any more") from None
    area.remove(name)
    return held


def _put_back(services: Services, held: Held) -> bool:
    bucket, key = held.note.bucket, held.note.key
    if bucket == services.folders.name:
        return services.submissions.put_back(SubmissionId(key), held.path)
    if bucket not in services.buckets:
        raise NotFound(f"there is no bucket {quoted(bucket)}")
    return services.buckets[bucket].put_back(FilePath(key), held.path)


def _renew(path: Path) -> None:
    """Give the file or folder the time of now, durably; what is known of a file's bytes stays known."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        os.utime(path)
        fsync_directory(path)
    elif stat.S_ISREG(mode):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            record = read_record(fd, os.fstat(fd))
            os.utime(fd)
            if record:
                write_record(fd, {"sha256": record.sha256, "sha1": record.sha1_start})
            os.fsync(fd)
        finally:
            os.close(fd)


def empty(area: HoldingArea, rule: AgeRule, *, dry_run: bool = False) -> Iterator[Removal]:
    """Delete for good what *rule* lets go by the time when it was taken in, and what crashes left; yield it."""
    yield from remove_hollow(area, dry_run=dry_run)
    for held in area.held():
        if reason := rule(int(held.note.taken_at * 1e9)):
            removal = _removal(area, held.name, held.size_bytes(), f"{held.note.bucket}/{held.note.key}, {reason}")
            yield from perform(removal, partial(area.remove, held.name), dry_run=dry_run)


def remove_hollow(area: HoldingArea, *, dry_run: bool = False) -> Iterator[Removal]:
    """Remove the entries that crashes left without content, and yield them."""
    for name in area.hollow():
        removal = _removal(area, name, 0, "left without content by a crash")
        yield from perform(removal, partial(area.remove_hollow, name), dry_run=dry_run)


def _removal(area: HoldingArea, name: str, size_bytes: int, reason: str) -> Removal:
    return Removal(area.root.name, name, size_bytes, reason, to_trash=False)
