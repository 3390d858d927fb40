"""Staging: the one place where bytes lie while they are received and checked.

Every reception is a transaction: a folder `staging/<32 hex digits>/` under a lock of its own. Whatever happens in the
block, the folder is gone at its end; what was published has been renamed out of it before. When a process dies its lock
is freed, and `recover` of any other process finds what it left.
"""

import dataclasses
import errno
import fcntl
import io
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from fileserver.core.digests import Hasher
from fileserver.core.errors import IncompleteBody, LimitExceeded, ReserveReached
from fileserver.core.incoming import Incoming
from fileserver.core.sections import AUTOMATIC, GIB, MIB, WIDEST_LIMITS, LimitSettings
from fileserver.storage.filesystem import Modes, create_file, free_and_total_bytes, fsync_directory, make_directory
from fileserver.storage.interface import StagedFile
from fileserver.storage.records import write_record

log = logging.getLogger(__name__)

COPY_BYTES = 256 * 1024
WHOLE_RESERVE = 1.0
_SPACE_CHECK_BYTES = MIB
_SWEEP_SECONDS = 600
_TRANSACTION = re.compile(r"[0-9a-f]{32}")


class FreeSpace:
    """The reserve of free bytes that receptions must leave on the file system."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def free_bytes(self) -> int:
        return free_and_total_bytes(self._folder)[0]

    def reserve_bytes(self) -> int:
        """What min_free_bytes comes to on this file system."""
        return self._reserve_bytes(free_and_total_bytes(self._folder)[1])

    def _reserve_bytes(self, total_bytes: int) -> int:
        return min(GIB, total_bytes // 50) if self._min_free_bytes == AUTOMATIC else self._min_free_bytes

    def require(self, more_bytes: int, share: float = WHOLE_RESERVE) -> None:
        """Raise ReserveReached if *more_bytes* would leave less than this *share* of the reserve."""
        free_bytes, total_bytes = free_and_total_bytes(self._folder)
        floor_bytes = int(self._reserve_bytes(total_bytes) * share)
        if free_bytes - more_bytes < floor_bytes:
            raise ReserveReached(
                "min_free_bytes", f"{more_bytes} bytes more would leave less than {floor_bytes} bytes free on the disk"
            )


class Transaction:
    """One reception in progress; made by `Staging.transaction`."""

    def __init__(self, path: Path, modes: Modes, limits: LimitSettings, require_space: Callable[[int], None]) -> None:
        self.path = path
        self._modes = modes
        self._limits = limits
        self._require_space = require_space

    def folder(self, name: str) -> Path:
        """Make the folder *name* (it may be several components) in this transaction."""
        path = self.path / name
        make_directory(path, self._modes.directory)
        return path

    def receive(
        self, path: Path, incoming: Incoming, algorithms: Iterable[str] = (), *, durable: bool = True
    ) -> StagedFile:
        """Write *incoming* to the new file *path* in this transaction, once, and check it on the way.

        SHA-256 is always computed, and the other *algorithms* (hashlib's names) and those that the sender declared.
        With *durable* false the caller sees to fsync. Raises LimitExceeded, InsufficientStorage, DigestMismatch,
        IncompleteBody, and what the chunks raise.
        """
        hasher = Hasher({"sha256", *algorithms, *incoming.declared.algorithms})
        try:
            fd = create_file(path, self._modes.file)
        except FileNotFoundError:
            make_directory(path.parent, self._modes.directory)
            fd = create_file(path, self._modes.file)
        try:
            size_bytes = self._write(fd, incoming, hasher)
            digests = hasher.digests()
            incoming.declared.verify(digests, incoming.what)
            if incoming.mtime_ns is not None:
                os.utime(fd, ns=(time.time_ns(), incoming.mtime_ns))
            write_record(fd, digests)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        return StagedFile(path, size_bytes, digests)

    def _write(self, fd: int, incoming: Incoming, hasher: Hasher) -> int:
        self._check_size(incoming.size_bytes or 0, incoming.what)
        size_bytes, check_at_bytes = 0, _SPACE_CHECK_BYTES
        for chunk in incoming.chunks:
            size_bytes += len(chunk)
            self._check_size(size_bytes, incoming.what)
            if size_bytes >= check_at_bytes:
                self._require_space(len(chunk))
                check_at_bytes = size_bytes + _SPACE_CHECK_BYTES
            hasher.update(chunk)
            write_all(fd, chunk)
        if incoming.size_bytes is not None and size_bytes != incoming.size_bytes:
            raise IncompleteBody(f"{size_bytes} bytes arrived of {incoming.size_bytes} announced")
        return size_bytes

    def _check_size(self, size_bytes: int, what: str) -> None:
        limit_bytes = self._limits.max_file_bytes
        if size_bytes > limit_bytes:
            raise LimitExceeded("max_file_bytes", f"{what} has more than {limit_bytes} bytes")

    def build(
        self, path: Path, write: Callable[[io.FileIO], None], *, expected_bytes: int | None, mtime_ns: int
    ) -> StagedFile:
        """Let *write* fill the new file *path* of this transaction, seeking as it likes; hash it, make it durable.

        *mtime_ns* becomes its modification time. Raises InsufficientStorage if *expected_bytes* would not fit; None is
        for what may use up the reserve.
        """
        if expected_bytes is not None:
            self._require_space(expected_bytes)
        fd = create_file(path, self._modes.file)
        with io.FileIO(fd, "rb+") as file:
            write(file)
            os.utime(fd, ns=(time.time_ns(), mtime_ns))
            digests = hash_descriptor(fd, ("sha256",))
            write_record(fd, digests)
            os.fsync(fd)
            return StagedFile(path, os.fstat(fd).st_size, digests)


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*; one write(2) may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def hash_descriptor(fd: int, algorithms: Iterable[str]) -> dict[str, bytes]:
    """The raw digests of the whole file *fd*, whose reading position stays where it is."""
    hasher, offset = Hasher(algorithms), 0
    while chunk := os.pread(fd, COPY_BYTES, offset):
        hasher.update(chunk)
        offset += len(chunk)
    return hasher.digests()


class Staging:
    """The staging folder of a working directory, shared by all its processes."""

    def __init__(self, root: Path, modes: Modes, limits: LimitSettings) -> None:
        self.root = root
        self.space = FreeSpace(root.parent, limits.min_free_bytes)
        self._modes = modes
        self._limits = limits
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS

    def without_limits(self) -> "Staging":
        """The same for what was stored before: only the reserve of free space holds."""
        limits = dataclasses.replace(WIDEST_LIMITS, min_free_bytes=self._limits.min_free_bytes)
        return Staging(self.root, self._modes, limits)

    @contextmanager
    def transaction(
        self, expected_bytes: int | None = 0, reserve_share: float = WHOLE_RESERVE
    ) -> Iterator[Transaction]:
        """Receive something. Raises InsufficientStorage at once if *expected_bytes* would not fit.

        None is for a transaction that frees space, or may use up the reserve; others leave the *reserve_share* of it.
        """
        require_space = partial(self.space.require, share=reserve_share)
        if expected_bytes is not None:
            require_space(expected_bytes)
        if time.monotonic() > self._next_sweep:
            self.recover()
        path, lock = self._begin()
        try:
            yield Transaction(path, self._modes, self._limits, require_space)
        finally:
            self._remove(path, lock)

    def _remove(self, path: Path, lock: int) -> None:
        """Remove the folder of a transaction and free its lock."""
        self._remove_tree(path)
        os.close(lock)

    def _remove_tree(self, path: Path) -> None:
        """Remove *path*; what fails is tried again by the next transaction."""
        shutil.rmtree(path, ignore_errors=True)
        if os.path.lexists(path):
            self._next_sweep = 0.0

    @contextmanager
    def grave(self) -> Iterator[Path]:
        """A path for something to be moved to and removed: a transaction that needs no space, not even for a folder."""
        path = self.root / secrets.token_hex(16)
        try:
            yield path
        finally:
            self._remove_tree(path)

    def probe(self) -> None:
        """Write a few bytes durably and remove them. Raises InsufficientStorage or OSError if that does not work."""
        with self.transaction() as transaction:
            staged = transaction.receive(transaction.path / "probe", Incoming(iter([b"probe"])))
            os.rename(staged.path, transaction.path / "published")
            fsync_directory(transaction.path)

    def keep(self, name: str, content: bytes) -> None:
        """Replace the small file *name* of the server's own state in the staging folder, durably, in one step."""
        with self.without_limits().transaction(None) as transaction:
            staged = transaction.receive(transaction.path / "state", Incoming(iter([content])))
            os.rename(staged.path, self.root / name)
            fsync_directory(self.root)

    def _begin(self) -> tuple[Path, int]:
        while True:
            path = self.root / secrets.token_hex(16)
            try:
                os.mkdir(path, 0o700)
            except FileNotFoundError:
                make_directory(self.root, 0o700)
                continue
            # Until it is locked, a recovery may take the new folder for a dead one and remove it: then try again.
            try:
                lock = _lock_folder(path)
            except OSError:
                with suppress(OSError):  # Somebody's recovery may have been faster.
                    os.rmdir(path)
                raise
            if lock is not None:
                return path, lock

    def transactions(self) -> list[Path]:
        """The folders of the transactions in progress, and of those that a dead process has left."""
        paths = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(path for path in paths if _TRANSACTION.fullmatch(path.name))

    def recover(self) -> int:
        """Remove what dead processes left; live transactions are left alone. Returns how many were dead.

        There is nothing to finish: every write is complete with its one atomic step.
        """
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS
        dead = 0
        try:
            for path in self.transactions():
                if (lock := _lock_folder(path)) is not None:
                    self._remove(path, lock)
                    dead += 1
        except OSError as error:
            log.warning("staging cannot be swept now: %s", error)
            self._next_sweep = 0.0
        if dead:
            log.warning("removed %d transactions that dead processes left in staging", dead)
        return dead


def _lock_folder(path: Path) -> int | None:
    """Lock the transaction folder *path*; None if another process has it, or it is gone, or no folder."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None
