"""What is acknowledged survives a power cut: every step on the disk is followed by the fsync that makes it last."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fileserver.core.errors import NotFound
from fileserver.core.names import ArchiveName, Sha1, SubmissionId
from fileserver.services import Services
from fileserver.storage import folders as folders_module
from fileserver.storage import local as local_module
from tests.storage.sources import files, incoming
from tests.support.messages import sha1

JOB = SubmissionId("job")
Version = tuple[int, int, int]


def version_of(info: os.stat_result) -> Version:
    return info.st_ino, info.st_size, info.st_mtime_ns


class Disk:
    """Watches what happens to names outside of staging, and what is made durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.published = 0
        self._durable: set[Version] = set()
        self._pending: set[Path] = set()

    def fsync(self, fd: int) -> None:
        info = os.fstat(fd)
        self._durable.add(version_of(info))
        self._pending = {folder for folder in self._pending if folder.stat().st_ino != info.st_ino}

    def changed(self, path: Path) -> None:
        """A name outside of staging was made or removed; its folder must be made durable from now on."""
        if not path.is_relative_to(self.root / "staging"):
            self._pending.add(path.parent)

    def publish(self, source: Path, target: Path) -> None:
        """Whatever takes a name outside of staging must be durable to its last file."""
        if target.is_relative_to(self.root / "staging"):
            return
        below = [source, *source.rglob("*")]
        lost = [path for path in below if version_of(path.stat()) not in self._durable]
        assert lost == [], f"{target} is published before these are durable"

    def assert_durable(self) -> None:
        assert self._pending == set()


@pytest.fixture
def disk(services: Services, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Checks each step of the test, and at its end that nothing is left to be made durable."""
    watch = Disk(root)

    def tell(module: Any, name: str, before: Callable[..., None] | None, after: Callable[..., None]) -> None:
        original = getattr(module, name)

        def told(*args: Any, **kwargs: Any) -> Any:
            if before and "dir_fd" not in kwargs:
                before(*args)
            result = original(*args, **kwargs)
            if not kwargs.get("dir_fd"):
                after(*args)
            return result

        monkeypatch.setattr(module, name, told)

    def moved(source: Any, target: Any, *_: Any) -> None:
        watch.changed(Path(source))
        watch.changed(Path(target))
        watch.published += not Path(target).is_relative_to(watch.root / "staging")

    def publish(source: Any, target: Any) -> None:
        watch.publish(Path(source), Path(target))

    def changed(path: Any, *_: Any) -> None:
        watch.changed(Path(path))

    tell(os, "fsync", None, watch.fsync)
    tell(os, "rename", publish, moved)
    tell(folders_module, "exchange", publish, moved)
    for name in ("mkdir", "unlink", "rmdir"):
        tell(os, name, None, changed)
    yield watch
    watch.assert_durable()


def test_results_and_attachments_last(services: Services, disk: Disk) -> None:
    for content in (b"first", b"second"):
        services.results.store("job.zip", incoming(content))
        disk.assert_durable()
        services.attachments.store("picture", incoming(content))
        disk.assert_durable()
    services.results.delete("job.zip")
    assert disk.published == 4


def test_task_files_last_and_the_folders_made_for_them(services: Services, disk: Disk) -> None:
    contents = {str(number): b"%d" % number for number in range(12)}
    services.task_files.store(files(contents))
    disk.assert_durable()
    services.task_files.store(files({"again": b"1"}))
    disk.assert_durable()
    services.task_files.delete(Sha1(sha1(b"1")))
    assert disk.published == 13


@pytest.mark.parametrize("content", [{}, {"a": b""}, {"a": b"1", "b/c/d": b"2", "b/e": b"3"}])
def test_a_submission_lasts_to_its_last_file(services: Services, disk: Disk, content: dict[str, bytes]) -> None:
    for _ in range(2):
        services.submissions.store(JOB, files(content))
        disk.assert_durable()
    services.submissions.delete(JOB)
    assert disk.published == 4


def test_a_rebuilt_archive_lasts(services: Services, disk: Disk, root: Path) -> None:
    services.submissions.store(JOB, files({"a": b"1"}))
    (root / "submission_archives" / "job.zip").unlink()
    services.submissions.open_archive(ArchiveName("job.zip")).close()
    assert disk.published == 3


@pytest.mark.parametrize("module", [local_module, folders_module], ids=["result", "submission"])
def test_a_removal_that_failed_at_its_end_is_made_durable_by_the_next_try(
    services: Services, disk: Disk, monkeypatch: pytest.MonkeyPatch, module: Any
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "input/output error")

    services.results.store("job.zip", incoming(b"result"))
    services.submissions.store(JOB, files({"a": b"1"}))
    delete = services.submissions.delete if module is folders_module else services.results.delete
    key = JOB if module is folders_module else "job.zip"
    with monkeypatch.context() as broken:
        broken.setattr(module, "fsync_directory", fail)
        with pytest.raises(OSError, match="input/output"):
            delete(key)
    with pytest.raises(AssertionError):
        disk.assert_durable()
    with pytest.raises(NotFound):
        delete(key)


@pytest.mark.parametrize("break_it", ["content", "name"])
def test_the_watch_finds_what_is_not_durable(tmp_path: Path, break_it: str) -> None:
    watch = Disk(tmp_path)
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "file").write_bytes(b"content")
    if break_it == "name":
        fd = os.open(tmp_path / "staging" / "file", os.O_RDONLY)
        watch.fsync(fd)
        os.close(fd)
        watch.publish(tmp_path / "staging" / "file", tmp_path / "file")
        watch.changed(tmp_path / "file")
        with pytest.raises(AssertionError):
            watch.assert_durable()
    else:
        with pytest.raises(AssertionError, match="before these are durable"):
            watch.publish(tmp_path / "staging" / "file", tmp_path / "file")
