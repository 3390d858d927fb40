"""How many files each bucket holds, and how many bytes, without walking over them; and the quotas on them.

The numbers are kept for each lock of a bucket, in the lock's record, and are changed by whoever holds it. A change is
noted before it is made, with what tells whether it was made; so when a process dies in between, the next one to look
finds out. The first process to start on a directory counts anew, which mends what an admin who deletes files made
wrong.
"""

import errno
import fcntl
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fileserver.core.errors import QuotaExceeded
from fileserver.core.sections import Quota
from fileserver.storage.filesystem import open_state_file
from fileserver.storage.locks import RECORD_BYTES, STRIPES, KeyLocks, Lock, stripe_of

log = logging.getLogger(__name__)

_NUMBERS = struct.Struct(">qq")
# Files and bytes; whether a change is in progress, and if so: files and bytes without it, the inode that will lie at
# the path (0 for nothing), and the length of that path, which follows.
_CHANGE = struct.Struct(">qq?qqQH")
_SETTLED = struct.Struct(">qq?")
_RECORD = struct.Struct(f">qq?{RECORD_BYTES - _SETTLED.size}x")
_TIME = struct.Struct(">q")


@dataclass(frozen=True)
class Usage:
    """What is held: so many files (of submissions: so many submissions) and bytes."""

    files: int
    size_bytes: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.files + other.files, self.size_bytes + other.size_bytes)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.files - other.files, self.size_bytes - other.size_bytes)


NOTHING = Usage(0, 0)


@dataclass(frozen=True)
class Account:
    """One or more buckets that are counted together, and the quota on them."""

    buckets: tuple[str, ...]
    quota: Quota = field(default_factory=Quota)


Counter = Callable[[], Iterable[tuple[str, Usage]]]
"""Counts a bucket from scratch: what is held under each key. A key may come more than once."""


class UsageLedger:
    """The numbers of all buckets below *root*; *counters* says how each bucket is counted from scratch."""

    def __init__(
        self, root: Path, locks: KeyLocks, accounts: Mapping[str, Account], counters: Mapping[str, Counter]
    ) -> None:
        self.accounts = accounts
        self._root = root
        self._locks = locks
        self._accounts = {bucket: name for name, account in accounts.items() for bucket in account.buckets}
        # Held shared for the life of the process, and by its forks: who gets it exclusively is alone, and counts.
        self._alive = open_state_file(root / "staging" / ".alive")
        self.was_alone = True
        """Whether no other process worked on the directory when this one began."""
        try:
            fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.was_alone = False
        else:
            for bucket, counter in counters.items():
                locks.write_records(bucket, _count(counter))
            os.pwrite(self._alive, _TIME.pack(time.time_ns()), 0)
        fcntl.flock(self._alive, fcntl.LOCK_SH)

    def close(self) -> None:
        """Let another process be the first one again; for tests and short-lived commands."""
        os.close(self._alive)

    @contextmanager
    def change(self, lock: Lock, more: Usage, path: Path, inode: int | None, freed: Usage = NOTHING) -> Iterator[None]:
        """Count what the block does to the bucket of *lock*: *more* files and bytes (or less).

        The block does it in one atomic step, after which *path* has the *inode*, or is gone if that is None; whether
        this happened decides what is counted, not how the block ends. *freed* is what the caller will then remove from
        the same account, so that the quota allows it. Raises QuotaExceeded, and then nothing is done.
        """
        self._settle(lock)
        self._begin(lock, more, path, inode, freed)
        try:
            yield
        finally:
            try:
                self._settle(lock)
            except OSError as error:  # The note stays, and whoever looks next finds it.
                log.warning("a change of %s is not counted yet: %s", lock.bucket, error)

    def _begin(self, lock: Lock, more: Usage, path: Path, inode: int | None, freed: Usage) -> None:
        before = Usage(*_NUMBERS.unpack_from(lock.read_record()))
        after = before + more
        name = os.fsencode(path.relative_to(self._root))
        note = _CHANGE.pack(after.files, after.size_bytes, True, before.files, before.size_bytes, inode or 0, len(name))
        if not self.has_quota(lock.bucket):
            lock.write_record(note + name)
            return
        with self._locks.hold_counts(self.accounts[self._accounts[lock.bucket]].buckets[0]):
            self.require(lock.bucket, more - freed)
            lock.write_record(note + name)

    def _settle(self, lock: Lock) -> None:
        """Find out whether a change that was begun under *lock* was made, if any was."""
        record = lock.read_record()
        *after, unsettled, files, size_bytes, inode, length = _CHANGE.unpack_from(record)
        if not unsettled:
            return
        name = os.fsdecode(record[_CHANGE.size : _CHANGE.size + length])
        made = _inode(self._root / name) == inode
        lock.write_record(_SETTLED.pack(*(after if made else (files, size_bytes)), False))

    def has_quota(self, bucket: str) -> bool:
        """Whether there is a quota on *bucket*."""
        return self.accounts[self._accounts[bucket]].quota.is_set

    def require(self, bucket: str, more: Usage) -> None:
        """Raise QuotaExceeded if *more* in *bucket* would be too much for the quota of its account."""
        if not self.has_quota(bucket):
            return
        account = self._accounts[bucket]
        quota = self.accounts[account].quota
        used = self._read(account)
        for setting, limit, has, wants in (
            (quota.files_setting, quota.max_files, used.files, more.files),
            (quota.bytes_setting, quota.max_bytes, used.size_bytes, more.size_bytes),
        ):
            # What makes it no larger is let through, so that too much can become less.
            if limit and wants > 0 and has + wants > limit:
                raise QuotaExceeded(setting, f"{wants} more would exceed the quota of {limit}, of which {has} are used")

    def read(self) -> dict[str, Usage]:
        """What each account holds now."""
        return {account: self._read(account) for account in self.accounts}

    def _read(self, account: str) -> Usage:
        files = size_bytes = 0
        for bucket in self.accounts[account].buckets:
            records = self._locks.read_records(bucket)
            for stripe, (more_files, more_bytes, unsettled) in enumerate(_RECORD.iter_unpack(records)):
                if unsettled:
                    more_files, more_bytes = self._settled(bucket, stripe, more_files, more_bytes)
                files += more_files
                size_bytes += more_bytes
        return Usage(files, size_bytes)

    def _settled(self, bucket: str, stripe: int, files: int, size_bytes: int) -> tuple[int, int]:
        """The numbers under a lock where a change was begun: those expected, unless who began it has died."""
        with self._locks.hold_if_free(bucket, stripe) as lock:
            if lock is None:
                return files, size_bytes
            self._settle(lock)
            files, size_bytes = _NUMBERS.unpack_from(lock.read_record())
            return files, size_bytes

    def started_at_seconds(self) -> float:
        """When the first process of those that run now started, in seconds since the epoch."""
        (started_ns,) = _TIME.unpack(os.pread(self._alive, _TIME.size, 0).ljust(_TIME.size, b"\0"))
        return float(started_ns / 1e9)


def _inode(path: Path) -> int:
    """The inode that lies at *path*, 0 for nothing, and for what cannot be a path: then the note is damaged."""
    try:
        return os.lstat(path).st_ino
    except ValueError:
        return 0
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return 0
        raise


def _count(counter: Counter) -> bytes:
    """The records of a bucket that is counted from scratch."""
    files, sizes = [0] * STRIPES, [0] * STRIPES
    for key, usage in counter():
        stripe = stripe_of(key)
        files[stripe] += usage.files
        sizes[stripe] += usage.size_bytes
    return b"".join(_RECORD.pack(*numbers, False) for numbers in zip(files, sizes, strict=True))


def regular_files(root: Path, *, strict: bool = False) -> Iterator["os.DirEntry[str]"]:
    """Every regular file below *root*. What cannot be listed is left out, with a warning; *strict*: raises OSError."""
    todo = [root]
    while todo:
        folder = todo.pop()
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if strict:
                raise
            log.warning("%s is not counted: %s", folder, error.strerror)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield entry


def each_file(root: Path, *, strict: bool = False) -> Iterator[tuple[str, Usage]]:
    """Every regular file below *root*, by its name; *strict* as in `regular_files`."""
    for entry in regular_files(root, strict=strict):
        with suppress(FileNotFoundError):  # It may just be removed.
            yield entry.name, Usage(1, entry.stat(follow_symlinks=False).st_size)


def each_folder(root: Path) -> Iterator[tuple[str, Usage]]:
    """Every folder directly in *root* with the bytes of all files in it."""
    for entry in os.scandir(root):
        if entry.is_dir(follow_symlinks=False):
            files = each_file(Path(entry.path))
            yield entry.name, Usage(1, sum(usage.size_bytes for _, usage in files))


def folder_bytes(root: Path) -> int:
    """The bytes of all regular files below *root*. Raises OSError for a folder that cannot be listed."""
    return sum(usage.size_bytes for _, usage in each_file(root, strict=True))
