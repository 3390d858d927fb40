"""The check: looks at everything in a working directory, beside a running server.

What is replaced or removed meanwhile is no finding: each thing that seems wrong is looked at again before it is told.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fileserver.core.errors import NotFound
from fileserver.core.names import ARCHIVE_SUFFIX, ArchiveName, AttachmentId, ResultName, Sha1, SubmissionId
from fileserver.maintenance import archives, submissions
from fileserver.maintenance.entries import Entry, entries, valid_name
from fileserver.maintenance.files import FileCheck
from fileserver.maintenance.findings import EVERYTHING, Counts, Finding, Findings, Kind, Subset
from fileserver.maintenance.reading import Reader
from fileserver.maintenance.submissions import SubmissionCheck
from fileserver.services import SHARDED_BUCKETS, Services


class Check:
    """One run over a working directory: quick, by names, sizes and times, or with a *reader* over every byte."""

    def __init__(self, services: Services, reader: Reader | None = None, subset: Subset = EVERYTHING) -> None:
        self.counts = Counts()
        self._services = services
        self._subset = subset
        self._files = FileCheck(self.counts, reader)
        self._submissions = SubmissionCheck(services, self._files)

    def run(self) -> Iterator[Findings]:
        """Look at one key after the other; what is found may be repaired before the next one is asked for."""
        for bucket, name in (("results", ResultName), ("attachments", AttachmentId)):
            yield from _listed(bucket, "", self._named_files(bucket, name))
        for bucket in SHARDED_BUCKETS:
            yield from _listed(bucket, "", self._task_files(bucket))
        yield from _listed(submissions.BUCKET, "", self._all_submissions())
        yield from _listed(archives.BUCKET, "", self._archives_alone())

    def expected_keys(self) -> int:
        """About how many keys `run` will look at."""
        return sum(used.files for used in self._services.ledger.read().values()) // self._subset.slices

    def _mine(self, bucket: str, listing: Iterator[Entry]) -> Iterator[Entry]:
        return (entry for entry in listing if self._subset.holds(bucket, entry.name))

    def _named_files(self, bucket: str, name: Callable[[str], str]) -> Iterator[Findings]:
        for entry in self._mine(bucket, entries(self._services.buckets[bucket].root)):
            yield _looked_at(bucket, entry.name, partial(self._named_file, bucket, name, entry))

    def _named_file(self, bucket: str, name: Callable[[str], str], entry: Entry) -> Findings:
        key, reason = valid_name(name, entry.name, entry)
        return _foreign(bucket, entry.name, reason) if key is None else self._file(bucket, key)

    def _task_files(self, bucket: str) -> Iterator[Findings]:
        for folder in entries(self._services.buckets[bucket].root):
            digit, reason = valid_name(_digit, folder.name, folder, folder=True)
            if digit is None:
                yield _foreign(bucket, folder.name, reason) if self._subset.holds(bucket, folder.name) else []
                continue
            yield from _listed(bucket, digit, self._task_files_in(bucket, digit, Path(folder.path)))

    def _task_files_in(self, bucket: str, digit: str, folder: Path) -> Iterator[Findings]:
        for entry in self._mine(bucket, entries(folder)):
            yield _looked_at(bucket, f"{digit}/{entry.name}", partial(self._task_file, bucket, digit, entry))

    def _task_file(self, bucket: str, digit: str, entry: Entry) -> Findings:
        sha1, reason = valid_name(partial(_sha1_in, digit), entry.name, entry)
        if sha1 is None:
            return _foreign(bucket, f"{digit}/{entry.name}", reason)
        found = self._file(bucket, sha1, sha1)
        task_files, twin = self._services.task_files, self._services.buckets["tasks"]
        if bucket == "exercises" and twin.usage(sha1).files and task_files.is_stored_twice(sha1):
            found.append(Finding(Kind.DUPLICATE, bucket, sha1, "it lies in tasks, too"))
        return found

    def _file(self, bucket: str, key: str, sha1: str | None = None) -> Findings:
        open_file = partial(self._services.buckets[bucket].open, key, unnoticed=True)
        look = self._files.look(open_file, sha1)
        if look is None:
            return []
        self._files.settle(open_file, look, sha1)
        if look.kind is None:
            return []
        return [Finding(look.kind, bucket, key, look.detail, look.version)]

    def _all_submissions(self) -> Iterator[Findings]:
        bucket = submissions.BUCKET
        for entry in self._mine(bucket, entries(self._services.folders.root)):
            yield _looked_at(bucket, entry.name, partial(self._submission, entry))

    def _submission(self, entry: Entry) -> Findings:
        key, reason = valid_name(SubmissionId, entry.name, entry, folder=True)
        if key is None:
            return _foreign(submissions.BUCKET, entry.name, reason)
        look = self._submissions.look(key)
        if look is None:
            return []
        self._submissions.settle(look)
        return list(look.findings())

    def _archives_alone(self) -> Iterator[Findings]:
        """Archives without a submission; the others were looked at with theirs, and are in the slice of theirs."""
        for entry in entries(self._services.buckets[archives.BUCKET].root):
            if self._subset.holds(submissions.BUCKET, entry.name.removesuffix(ARCHIVE_SUFFIX)):
                yield _looked_at(archives.BUCKET, entry.name, partial(self._archive_alone, entry))

    def _archive_alone(self, entry: Entry) -> Findings:
        key, reason = valid_name(ArchiveName, entry.name, entry)
        if key is None:
            return _foreign(archives.BUCKET, entry.name, reason)
        if (self._services.folders.root / key.submission_id).is_dir():
            return []
        orphan = self._submissions.archives.unfit(key)
        self.counts.files += 1
        return [orphan] if orphan and orphan.kind is Kind.ORPHAN else []


def _looked_at(bucket: str, key: str, look: Callable[[], Findings]) -> Findings:
    """What *look* finds; that it cannot look, if so."""
    try:
        return look()
    except OSError as error:
        return _unreadable(bucket, key, error)


def _listed(bucket: str, key: str, listing: Iterator[Findings]) -> Iterator[Findings]:
    """What is found in *listing*, and at last that the folder *key* could not be listed to its end, if so."""
    try:
        yield from listing
    except OSError as error:
        yield _unreadable(bucket, key, error)


def _unreadable(bucket: str, key: str, error: OSError) -> Findings:
    return [Finding(Kind.UNREADABLE, bucket, key, f"it cannot be looked at: {error.strerror or error}")]


def _foreign(bucket: str, key: str, reason: str) -> Findings:
    return [Finding(Kind.FOREIGN, bucket, key, reason)] if reason else []


def _digit(text: str) -> str:
    """The name of a folder of task files. Raises NotFound."""
    if len(text) != 1 or text not in "0123456789abcdef":
        raise NotFound("it is not the folder of a hexadecimal digit")
    return text


def _sha1_in(digit: str, text: str) -> Sha1:
    """The name of a task file in the folder *digit*. Raises NotFound."""
    sha1 = Sha1(text)
    if sha1[0] != digit:
        raise NotFound("it lies in the folder of another digit")
    return sha1
