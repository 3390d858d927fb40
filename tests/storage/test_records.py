"""The record of a file's digests: right, or void, or not there."""

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from fileserver.storage.records import read_record, write_record

CONTENT = b"content"
DIGESTS = {name: hashlib.new(name, CONTENT).digest() for name in ("sha1", "sha256")}


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A file with the content above."""
    made = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(made, CONTENT)
    yield made
    os.close(made)


def recorded_sha256(fd: int) -> bytes | None:
    record = read_record(fd, os.fstat(fd))
    return record.sha256 if record else None


def test_a_new_file_has_no_record(fd: int) -> None:
    assert read_record(fd, os.fstat(fd)) is None


def test_what_is_recorded_is_read_back(fd: int) -> None:
    write_record(fd, DIGESTS)
    assert recorded_sha256(fd) == DIGESTS["sha256"]


def test_the_record_moves_with_the_file(fd: int, tmp_path: Path) -> None:
    write_record(fd, DIGESTS)
    (tmp_path / "file").rename(tmp_path / "moved")
    moved = os.open(tmp_path / "moved", os.O_RDONLY)
    assert recorded_sha256(moved) == DIGESTS["sha256"]
    os.close(moved)


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_any_later_change_makes_it_void(fd: int, change: str) -> None:
    write_record(fd, DIGESTS)
    info = os.fstat(fd)
    if change == "touch":
        os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns + 1))
    else:
        os.truncate(fd, 8 if change == "grow" else 6)
        os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert read_record(fd, os.fstat(fd)) is None


@pytest.mark.parametrize("size", [0, 1, 32, 48, 59, 60, 61, 200])
def test_what_is_no_record_is_none(fd: int, size: int) -> None:
    os.setxattr(fd, "user.sha256", b"\x01" * size)
    assert read_record(fd, os.fstat(fd)) is None


@pytest.mark.parametrize(("code", "matters"), [(errno.ENOTSUP, False), (errno.EPERM, False), (errno.EIO, True)])
def test_a_file_system_without_records_is_no_error_but_a_broken_one_is(
    fd: int, monkeypatch: pytest.MonkeyPatch, code: int, matters: bool
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "setxattr", fail)
    if matters:
        with pytest.raises(OSError, match="error"):
            write_record(fd, DIGESTS)
    else:
        write_record(fd, DIGESTS)
        assert read_record(fd, os.fstat(fd)) is None


@pytest.mark.parametrize("digests", [DIGESTS, {"sha256": DIGESTS["sha256"]}], ids=["both", "sha256"])
def test_a_sha1_is_known_only_if_it_was_recorded(fd: int, digests: dict[str, bytes]) -> None:
    write_record(fd, digests)
    record = read_record(fd, os.fstat(fd))
    assert record is not None
    assert record.has_sha1(DIGESTS["sha1"].hex()) is ("sha1" in digests)
    assert not record.has_sha1(hashlib.sha1(b"other").hexdigest())
