"""The use of a file: noted to the day, at the cost of nothing else."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fileserver.core.errors import NotFound
from fileserver.core.names import Sha1
from fileserver.grading import submissions as submissions_module
from fileserver.grading import task_files as task_files_module
from fileserver.grading.task_files import TaskFiles
from fileserver.services import Services
from fileserver.storage import last_use
from fileserver.storage.filesystem import set_access_time
from fileserver.storage.interface import StoredFile
from fileserver.storage.last_use import DAY_NS, is_recent, last_used_ns, note_use
from fileserver.storage.local import LocalBucket
from tests.storage.sources import Bench, content_of, files, incoming, is_locked, within
from tests.storage.submitting import ARCHIVE, JOB, archive_bytes, store
from tests.support.ageing import make_older
from tests.support.messages import sha1

DATA = Sha1(sha1(b"data"))


def set_times(path: Path, used_days: float, stored_days: float) -> os.stat_result:
    """Let the file have been used and stored so many days ago; return its new status."""
    now = time.time_ns()
    os.utime(path, ns=(now - int(used_days * DAY_NS), now - int(stored_days * DAY_NS)))
    return path.stat()


def is_noted(path: Path) -> bool:
    return time.time_ns() - path.stat().st_atime_ns < 60 * 10**9


@pytest.fixture
def path(services: Services) -> Path:
    """A task file that was stored 30 days ago and is unused since; its digests are known, so it need not be read."""
    services.task_files.store(files({"data": b"data"}))
    path = services.buckets["tasks"].path(DATA)
    make_older(path, 30)
    return path


def test_the_access_time_is_set_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    before = set_times(tmp_path / "a", 1, 2)
    with open(tmp_path / "a", "rb") as file:
        set_access_time(file.fileno(), 1_234_567_890_123_456_789)
    after = (tmp_path / "a").stat()
    assert (after.st_atime_ns, after.st_mtime_ns) == (1_234_567_890_123_456_789, before.st_mtime_ns)


def test_a_descriptor_that_is_none_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        set_access_time(-1, 0)


@pytest.mark.parametrize(("code", "raised"), [(errno.EPERM, False), (errno.EROFS, False), (errno.EIO, True)])
def test_what_may_not_be_noted_is_left_and_other_errors_are_told(
    monkeypatch: pytest.MonkeyPatch, code: int, raised: bool
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(last_use, "set_access_time", fail)
    if raised:
        with pytest.raises(OSError, match="Input/output"):
            note_use(0)
    else:
        note_use(0)


def test_a_use_is_recent_for_a_day() -> None:
    now = time.time_ns()
    assert is_recent(now - DAY_NS + 60 * 10**9)
    assert not is_recent(now - DAY_NS)


def test_to_store_is_to_use(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    info = set_times(tmp_path / "a", 2, 1)
    assert last_used_ns(info) == info.st_mtime_ns
    info = set_times(tmp_path / "a", 1, 2)
    assert last_used_ns(info) == info.st_atime_ns


def test_what_is_received_with_an_old_time_is_used_now(bench: Bench, tmp_path: Path) -> None:
    with bench.staging.transaction() as transaction:
        staged = transaction.receive(transaction.path / "content", incoming(b"old", mtime_ns=10**18))
        info = staged.path.stat()
    assert info.st_mtime_ns == 10**18
    assert is_recent(last_used_ns(info))


@pytest.mark.parametrize("use", ["open", "ask"])
def test_a_use_of_a_task_file_is_noted(services: Services, path: Path, use: str) -> None:
    before = path.stat()
    if use == "open":
        services.task_files.open(DATA).close()
    else:
        assert services.task_files.missing([DATA]) == []
    assert is_noted(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with services.buckets["tasks"].open(DATA) as stored:
        assert stored.record


def test_a_recent_use_costs_no_lock_and_no_write(services: Services, path: Path) -> None:
    os.utime(path, ns=(time.time_ns() - int(0.9 * DAY_NS), path.stat().st_mtime_ns))
    before = path.stat()
    with services.task_files._locks.hold("task_files", DATA):
        assert within(10, lambda: services.task_files.missing([DATA])) == []
    assert path.stat().st_atime_ns == before.st_atime_ns


def test_to_upload_again_is_to_use(services: Services, path: Path) -> None:
    services.task_files.store(files({"data": b"data"}))
    assert is_recent(last_used_ns(path.stat()))


def test_what_reads_the_bucket_itself_notes_nothing(services: Services, path: Path) -> None:
    before = path.stat()
    services.buckets["tasks"].open(DATA).close()
    assert path.stat().st_atime_ns == before.st_atime_ns


def test_what_was_used_is_not_taken_away(services: Services, path: Path, tmp_path: Path) -> None:
    since_ns = last_used_ns(path.stat())
    assert not services.task_files.take_away("tasks", DATA, tmp_path / "taken", since_ns)
    assert path.exists()
    assert services.task_files.take_away("tasks", DATA, tmp_path / "taken", since_ns + 1)
    assert not path.exists()
    assert (tmp_path / "taken").read_bytes() == b"data"
    assert not services.task_files.take_away("tasks", DATA, tmp_path / "taken", since_ns + 1)
    assert services.ledger.read()["task_files"].files == 0


def between(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen after a task file was opened and before its use is noted, once."""
    original, todo = TaskFiles._is_whole, [happens]

    def is_whole(self: TaskFiles, stored: StoredFile, name: Sha1) -> bool:
        whole = original(self, stored, name)
        if todo:
            todo.pop()()
        return whole

    monkeypatch.setattr(TaskFiles, "_is_whole", is_whole)


def test_what_is_taken_away_while_it_is_asked_about_is_missing(
    services: Services, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    between(monkeypatch, lambda: services.task_files.take_away("tasks", DATA, tmp_path / "taken", time.time_ns()))
    assert services.task_files.missing([DATA]) == [DATA]
    with pytest.raises(NotFound):
        services.task_files.open(DATA)


def test_what_is_uploaded_anew_while_it_is_asked_about_is_there(
    services: Services, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        services.task_files.take_away("tasks", DATA, tmp_path / "taken", time.time_ns())
        services.task_files.store(files({"data": b"data"}))

    between(monkeypatch, replace)
    assert services.task_files.missing([DATA]) == []
    assert is_recent(last_used_ns(path.stat()))


def test_to_note_a_use_and_to_take_away_exclude_each_other(
    services: Services, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both judge and act under the lock of the file."""
    locks, locked = services.task_files._locks, []
    move_out = LocalBucket.move_out

    def observed_note(fd: int) -> None:
        locked.append(is_locked(locks, "task_files", DATA))

    def observed_move(bucket: LocalBucket, *arguments: Any) -> bool:
        locked.append(is_locked(locks, "task_files", DATA))
        return move_out(bucket, *arguments)

    monkeypatch.setattr(task_files_module, "note_use", observed_note)
    monkeypatch.setattr(LocalBucket, "move_out", observed_move)
    assert services.task_files.missing([DATA]) == []
    assert services.task_files.take_away("tasks", DATA, tmp_path / "taken", time.time_ns())
    assert locked == [True, True]


def test_a_use_of_an_archive_is_noted(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server itself: the kernel, which would do it here as the archive is read, does not everywhere."""
    noted: list[int] = []
    monkeypatch.setattr(submissions_module, "note_use", lambda fd: noted.append(fd) or note_use(fd))
    store(services, {"a": b"1"})
    path, folder = services.buckets["submission_archives"].path(ARCHIVE), services.folders.root / JOB
    for one in (path, folder):
        make_older(one, 30)
    for _ in range(2):
        services.submissions.open_archive(ARCHIVE).close()
    assert len(noted) == 1
    assert is_noted(path)
    assert path.stat().st_mtime_ns == folder.stat().st_mtime_ns


def test_a_rebuilt_archive_is_used_now(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    store(services, {"a": b"1"})
    os.utime(services.folders.root / JOB, ns=(10**18, 10**18))
    utime, times = os.utime, []

    def recording(path: int, ns: tuple[int, int]) -> None:
        times.append(ns)
        utime(path, ns=ns)

    monkeypatch.setattr(os, "utime", recording)
    archive_bytes(services)
    ((used_ns, mtime_ns),) = times
    assert mtime_ns == 10**18
    assert is_recent(used_ns)
    assert is_recent(last_used_ns(services.buckets["submission_archives"].path(ARCHIVE).stat()))


def test_an_archive_of_another_version_is_not_discarded(services: Services) -> None:
    store(services, {"a": b"1"})
    archives: LocalBucket = services.buckets["submission_archives"]
    info = archives.path(ARCHIVE).stat()
    assert not archives.discard(ARCHIVE, (info.st_ino, info.st_mtime_ns + 1))
    assert content_of(archives, ARCHIVE)
    assert archives.discard(ARCHIVE, (info.st_ino, info.st_mtime_ns))
    assert not archives.path(ARCHIVE).exists()
