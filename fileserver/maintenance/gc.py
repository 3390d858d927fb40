"""Taking away what the rules of retention let go, beside a running server.

Archives are derived data, and are deleted; all else goes to the trash, and from there for good when its time is over.
What is decided here is judged once more under the lock of the thing, so nothing goes that was replaced or used
meanwhile.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from os import geteuid
from pathlib import Path

from fileserver.core.errors import NotFound
from fileserver.core.names import AttachmentId, ResultName, Sha1, SubmissionId
from fileserver.maintenance.keep_list import KeepList
from fileserver.maintenance.listing import Listed, files_in, rebuildable_archives, submissions_in
from fileserver.maintenance.removals import Removal, perform
from fileserver.maintenance.retention import AgeRule, TaskFileRule, age_rule, task_file_rule
from fileserver.maintenance.trash import empty, remove_hollow
from fileserver.services import SHARDED_BUCKETS, Services
from fileserver.storage.usage import folder_bytes

ARCHIVES_AT_ONCE = 10_000
"""How many archives are held in memory, about 500 bytes each, to remove the longest unused first."""


def stored_task_files(services: Services) -> Iterator[str]:
    """The names of all task files."""
    for name in SHARDED_BUCKETS:
        yield from (listed.key for listed in files_in(services.buckets[name], Sha1))


class Collector:
    """One run of the retention of *services*, at *now_ns*, nanoseconds since the epoch.

    A dry run yields the same, and changes nothing. *keep* must have been held against what is stored.
    """

    def __init__(self, services: Services, now_ns: int, keep: KeepList | None = None, *, dry_run: bool = False) -> None:
        self._services = services
        self._settings = services.settings.retention
        self._now_ns = now_ns
        self._keep = keep
        self._dry_run = dry_run
        self._archives = services.buckets["submission_archives"]
        self._freed_bytes = 0

    def collect(self, min_free_bytes: int = 0) -> Iterator[Removal]:
        """Take away what is due, and yield it.

        If less than *min_free_bytes* are free on the disk, further archives go, the longest unused first.
        """
        for removal in self._removals(min_free_bytes):
            self._freed_bytes += removal.freed_bytes
            yield removal

    def _removals(self, min_free_bytes: int) -> Iterator[Removal]:
        short_bytes = min_free_bytes - self._services.staging.space.free_bytes()
        yield from empty(self._services.trash, self._rule("put there", "trash_days"), dry_run=self._dry_run)
        yield from remove_hollow(self._services.quarantine, dry_run=self._dry_run)
        # What goes anyway goes first, so that no other archive goes needlessly.
        yield from self._unused_archives(self._rule("last used", "archive_days"))
        yield from self._further_archives(short_bytes, f"to have {min_free_bytes} bytes free")
        yield from self._old_submissions(self._rule("stored", "submission_days"))
        yield from self._old_files("results", ResultName, self._rule("stored", "result_days"))
        yield from self._old_files("attachments", AttachmentId, self._rule("stored", "attachment_days"))
        if rule := task_file_rule(self._settings, self._now_ns, self._keep):
            for name in SHARDED_BUCKETS:
                yield from self._unused_task_files(name, rule)

    def free_bytes(self) -> int:
        """The bytes that are free on the disk, in a dry run those that would be."""
        return self._services.staging.space.free_bytes() + (self._freed_bytes if self._dry_run else 0)

    def _rule(self, event: str, setting: str) -> AgeRule:
        return age_rule(event, setting, getattr(self._settings, setting), self._now_ns)

    def _take(self, removal: Removal, move: Callable[..., bool]) -> Iterator[Removal]:
        def take() -> str | None:
            return self._services.trash.take(removal.bucket, removal.key, removal.reason, move)

        return perform(removal, take, dry_run=self._dry_run)

    def _unused_archives(self, rule: AgeRule) -> Iterator[Removal]:
        for listed in self._rebuildable_archives():
            if reason := rule(listed.used_ns):
                yield from self._delete_archive(listed, reason)

    def _further_archives(self, short_bytes: int, reason: str) -> Iterator[Removal]:
        archives = longest_unused_first(self._rebuildable_archives)
        rule = self._rule("last used", "archive_days")
        while self._freed_bytes < short_bytes and (listed := next(archives, None)):
            if not rule(listed.used_ns):
                yield from self._delete_archive(listed, reason)

    def _rebuildable_archives(self) -> Iterator[Listed]:
        return rebuildable_archives(self._services)

    def _delete_archive(self, listed: Listed, reason: str) -> Iterator[Removal]:
        removal = Removal(self._archives.name, listed.key, listed.info.st_size, reason, to_trash=False)
        discard = partial(self._archives.discard, listed.key, listed.version)
        return perform(removal, discard, dry_run=self._dry_run)

    def _old_submissions(self, rule: AgeRule) -> Iterator[Removal]:
        folders = self._services.folders
        for listed in submissions_in(folders):
            if reason := rule(listed.stored_ns):
                removal = Removal(folders.name, listed.key, 0, reason, to_trash=True)
                try:
                    removal = replace(removal, size_bytes=folder_bytes(folders.root / listed.key))
                except OSError as error:
                    yield replace(removal, error=error.strerror or str(error))
                else:
                    yield from self._take(removal, partial(self._move_submission, listed))

    def _move_submission(self, listed: Listed, target: Path) -> bool:
        try:
            self._services.submissions.take_away(SubmissionId(listed.key), target, listed.stored_ns)
        except NotFound:
            return False
        return True

    def _old_files(self, name: str, parse: Callable[[str], str], rule: AgeRule) -> Iterator[Removal]:
        bucket = self._services.buckets[name]
        for listed in files_in(bucket, parse):
            if reason := rule(listed.stored_ns):
                removal = Removal(name, listed.key, listed.info.st_size, reason, to_trash=True)
                yield from self._take(removal, partial(bucket.move_out, listed.key, version=listed.version))

    def _unused_task_files(self, name: str, rule: TaskFileRule) -> Iterator[Removal]:
        take_away = self._services.task_files.take_away
        for listed in files_in(self._services.buckets[name], Sha1):
            if not (reason := rule.reason(listed.key, listed.used_ns)):
                continue
            removal = Removal(name, listed.key, listed.info.st_size, reason, to_trash=True)
            if listed.info.st_uid == geteuid():
                move = partial(take_away, name, Sha1(listed.key), unused_since_ns=rule.unused_since_ns)
                yield from self._take(removal, move)
            else:
                yield replace(removal, error="it belongs to another user, so that no use of it can be noted")


def longest_unused_first(scan: Callable[[], Iterator[Listed]]) -> Iterator[Listed]:
    """What *scan* finds, in the order of its last use; it is scanned anew for each ARCHIVES_AT_ONCE of it."""
    last: tuple[int, str] = (-1 << 63, "")
    while batch := heapq.nsmallest(ARCHIVES_AT_ONCE, (found for found in scan() if _order(found) > last), key=_order):
        yield from batch
        last = _order(batch[-1])


def _order(listed: Listed) -> tuple[int, str]:
    return listed.used_ns, listed.key
