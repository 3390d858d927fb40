"""The way out of the trash and the quarantine: back to where things were, or for good."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fileserver.core.errors import FileserverError, NotFound
from fileserver.core.names import AttachmentId, ResultName, Sha1, SubmissionId, quoted
from fileserver.maintenance.files import FileCheck, Look
from fileserver.maintenance.findings import Counts, Kind
from fileserver.maintenance.reading import Reader
from fileserver.maintenance.removals import Removal, perform
from fileserver.maintenance.retention import AgeRule
from fileserver.services import SHARDED_BUCKETS, Services
from fileserver.storage.filesystem import fsync_directory, open_below
from fileserver.storage.folders import walk
from fileserver.storage.holding import Held, HoldingArea
from fileserver.storage.interface import StoredFile
from fileserver.storage.local import stored_file
from fileserver.storage.records import write_record

_NAMES: dict[str, Callable[[str], str]] = {
    "results": ResultName,
    "attachments": AttachmentId,
    **dict.fromkeys(SHARDED_BUCKETS, Sha1),
}
"""What the keys of those buckets must be to which files are put back."""


class Occupied(FileserverError):
    """Something newer lies where a thing is to be put back."""

    code = "occupied"
    title = "Something newer is stored there"


class Unfit(FileserverError):
    """What is held, or its note, is nothing that the server has stored there."""

    code = "unfit"
    title = "It cannot be put back"


@dataclass(frozen=True)
class Restored:
    """What was put back, and what is wrong with it, or cannot be known: damage stays damage, for `check` to find."""

    held: Held
    flaws: list[str]


def restore(services: Services, area: HoldingArea, name: str) -> Restored:
    """Put back what *area* holds as *name*; all of it is read. For retention, what is not damaged is stored anew.

    Raises NotFound, InvalidName, QuotaExceeded, Unfit, and Occupied if something newer lies in its place.
    """
    held, is_suspect = area.get(name), area is services.quarantine
    try:
        put_back = _way_back(services, held)
        looks = _renew_folder(held.path) if held.path.is_dir() else {"": _renew_file(held)}
        if not put_back(held.path):
            raise Occupied(f"something newer lies at {held.note.bucket}/{quoted(held.note.key)}")
    except FileNotFoundError:
        raise NotFound(f"{quoted(name)} is not in {area.root.name} any more") from None
    area.remove(name)
    flaws = {path: _flaw(look, is_suspect and held.note.bucket not in SHARDED_BUCKETS) for path, look in looks.items()}
    return Restored(held, [f"{path}: {flaw}".removeprefix(": ") for path, flaw in flaws.items() if flaw])


def _flaw(look: Look, needs_record: bool) -> str:
    """What is wrong with a file, or, where it *needs_record*, that nobody can know; empty if all is well."""
    if needs_record and look.record is None:
        return "nothing is recorded of it that would tell whether it is whole"
    return look.detail


def _way_back(services: Services, held: Held) -> Callable[[Path], bool]:
    """What puts *held* in its place, if it is of the kind, and has a name, that belongs there."""
    bucket, key, mode = held.note.bucket, held.note.key, held.path.lstat().st_mode
    if bucket == services.folders.name:
        if not stat.S_ISDIR(mode):
            raise Unfit("it is not a folder, as a submission is")
        return partial(services.submissions.put_back, SubmissionId(key))
    if bucket == "submission_archives":
        raise Unfit("an archive is not put back: it is rebuilt when it is asked for")
    if bucket not in _NAMES:
        raise NotFound(f"there is no bucket {quoted(bucket)}")
    if not stat.S_ISREG(mode):
        raise Unfit("it is not a regular file")
    return partial(services.buckets[bucket].put_back, _NAMES[bucket](key))


def _renew_folder(root: Path) -> dict[str, Look]:
    """Give the folder of a submission the time of now, durably; returns what its files look like."""
    os.utime(root)
    fsync_directory(root)
    return {entry.path: _look(partial(_open, root, entry.path)) for entry in walk(root) if not entry.is_folder}


def _renew_file(held: Held) -> Look:
    """Give the file the time of now, durably, unless it is damaged, which its time tells."""
    open_file = partial(_open, held.path.parent, held.path.name)
    look = _look(open_file, held.note.key if held.note.bucket in SHARDED_BUCKETS else None)
    if look.kind is not Kind.DAMAGED:
        with open_file() as stored:
            fd = stored.file.fileno()
            os.utime(fd)
            if look.record and look.read and look.kind is None:
                write_record(fd, {"sha1": look.record.sha1_start, **look.read.digests})
            os.fsync(fd)
    return look


def _open(folder: Path, path: str) -> StoredFile:
    return stored_file(open_below(folder, path, unnoticed=True))


def _look(open_file: Callable[[], StoredFile], sha1: str | None = None) -> Look:
    look = FileCheck(Counts(), Reader()).look(open_file, sha1)
    if look is None:
        raise Unfit("somebody changes it")
    return look


def empty(area: HoldingArea, rule: AgeRule, *, dry_run: bool = False) -> Iterator[Removal]:
    """Delete for good what *rule* lets go by the time when it was taken in, and what crashes left; yield it.

    What cannot be told is yielded, too, as what could not be removed.
    """
    yield from remove_hollow(area, dry_run=dry_run)
    for held in area.held():
        if reason := rule(int(held.note.taken_at * 1e9)):
            removal = _removal(area, held.name, held.size_bytes(), f"{held.note.bucket}/{held.note.key}, {reason}")
            yield from perform(removal, partial(area.remove, held.name), dry_run=dry_run)
    for unreadable in area.unreadable():
        reason = "nobody can tell what it is; `trash empty` deletes it if it is given its name"
        yield replace(_removal(area, unreadable.name, 0, reason), error=str(unreadable))


def remove(area: HoldingArea, names: Iterable[str]) -> Iterator[Removal]:
    """Delete for good what is held under these *names*, readable or not; yield it."""
    for name in names:
        removal = _removal(area, name, area.size_bytes(name), "by its name")
        if not (done := list(perform(removal, partial(area.remove, name), dry_run=False))):
            done = [replace(removal, error=f"it is not in {area.root.name}")]
        yield from done


def remove_hollow(area: HoldingArea, *, dry_run: bool = False) -> Iterator[Removal]:
    """Remove the entries that crashes left without content, and yield them."""
    for name in area.hollow():
        removal = _removal(area, name, 0, "left without content by a crash")
        yield from perform(removal, partial(area.remove_hollow, name), dry_run=dry_run)


def _removal(area: HoldingArea, name: str, size_bytes: int, reason: str) -> Removal:
    return Removal(area.root.name, name, size_bytes, reason, to_trash=False)
