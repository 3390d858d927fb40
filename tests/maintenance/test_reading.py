"""How a check reads: all of it in slices, no faster than allowed, unnoticed, and with little memory."""

import hashlib
import os
import zlib
from collections import Counter
from pathlib import Path

import pytest

from fileserver.maintenance.check import Check
from fileserver.maintenance.findings import Subset
from fileserver.maintenance.pace import Pace
from fileserver.maintenance.reading import Reader
from fileserver.services import Services
from tests.maintenance.rot import FILE_PATHS, FILLED_FILES, check, flat, flip_bit, told
from tests.storage.sources import files, incoming

SLICES = 5


def test_all_slices_together_check_everything_once(filled: Services, root: Path) -> None:
    for path in FILE_PATHS.values():
        flip_bit(root / path)
    (root / "submission_archives" / "orphan.zip").write_bytes(b"")
    (root / "results" / "foreign").write_bytes(b"")
    whole = told(check(filled, read=True))
    found, counted, bytes_read = Counter(), 0, 0
    for number in range(1, SLICES + 1):
        reader = Reader()
        run = Check(filled, reader, Subset(number, SLICES))
        found.update(told(flat(run.run())))
        counted += run.counts.files
        bytes_read += reader.bytes_read
    reader = Reader()
    flat(Check(filled, reader).run())
    assert set(found) == whole
    assert set(found.values()) == {1}
    assert len(whole) == len(FILE_PATHS) + 2
    assert (counted, bytes_read) == (FILLED_FILES + 1, reader.bytes_read)


def test_a_slice_is_always_the_same(filled: Services) -> None:
    subset = Subset(2, 3)
    assert [subset.holds("results", key) for key in "abcdef"] == [subset.holds("results", key) for key in "abcdef"]
    assert not subset.holds("results", "a") or not Subset(1, 3).holds("results", "a")


def test_what_is_read_is_hashed(tmp_path: Path) -> None:
    content = os.urandom(700_000)
    (tmp_path / "file").write_bytes(content)
    with open(tmp_path / "file", "rb") as file:
        read = Reader().read(file.fileno(), ("sha1",))
    assert (read.size_bytes, read.crc32) == (len(content), zlib.crc32(content))
    assert read.digests == {name: hashlib.new(name, content).digest() for name in ("sha1", "sha256")}


def test_reading_is_no_faster_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a clock of its own, which only waiting moves on."""
    now = [0.0]
    monkeypatch.setattr("fileserver.maintenance.pace.time.monotonic", lambda: now[0])

    def pause(seconds: float) -> None:
        now[0] += seconds

    (tmp_path / "file").write_bytes(bytes(3_000_000))
    reader = Reader(Pace(1_000_000, pause))
    with open(tmp_path / "file", "rb") as file:
        reader.read(file.fileno())
        now[0] += 100
        reader.read(file.fileno())
    assert now[0] == pytest.approx(106)
    assert reader.bytes_read == 6_000_000


def test_a_check_is_no_use_of_a_file(filled: Services, root: Path) -> None:
    """The time of the last access may be what tells which task files are in use."""
    for path in FILE_PATHS.values():
        info = (root / path).stat()
        # Older than the modification: the next access would be noted even with relatime.
        os.utime(root / path, ns=(info.st_mtime_ns - 1_000_000_000, info.st_mtime_ns))
    before = {path: (root / path).stat().st_atime_ns for path in FILE_PATHS.values()}
    assert check(filled, read=True) == []
    assert {path: (root / path).stat().st_atime_ns for path in FILE_PATHS.values()} == before


def test_files_of_others_are_read_in_the_ordinary_way(filled: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    original, refused = os.open, []

    def refuse(path, flags, *more, **by_name):
        if flags & os.O_NOATIME:
            refused.append(path)
            raise PermissionError(1, "Operation not permitted")
        return original(path, flags, *more, **by_name)

    monkeypatch.setattr(os, "open", refuse)
    assert check(filled, read=True) == []
    assert refused


def test_where_nothing_can_be_recorded_it_is_said_once(filled: Services, root: Path, monkeypatch) -> None:
    for path in FILE_PATHS.values():
        os.removexattr(root / path, "user.sha256")

    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", fail)
    run = Check(filled, Reader())
    assert flat(run.run()) == []
    assert "extended attributes" in run.counts.unrecordable
    # The task file is verified by its name.
    assert (run.counts.recorded, run.counts.unverified) == (0, len(FILE_PATHS) - 1)


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_checked(services: Services) -> None:
    """Neither with the size of files nor with their number."""
    import tracemalloc

    for number in range(300):
        services.results.store(f"{number}.zip", incoming(b"%d" % number))
    services.results.store("large.zip", incoming(bytes(1 << 20) for _ in range(20)))
    services.task_files.store(files({"a": b"1"}))
    list(Check(services, Reader()).run())
    tracemalloc.start()
    for _ in Check(services, Reader()).run():
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2 << 20
