"""What is healed loses nothing: neither by the settings of today, nor by what does not belong, nor by a crash."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from fileserver.maintenance.healing import Healing
from fileserver.services import Services
from tests.maintenance.rot import FILE_PATHS, check, flip_bit, repair, told
from tests.storage.conftest import MakeServices
from tests.storage.crashes import DIED
from tests.storage.sources import tree
from tests.storage.submitting import CONTENT, JOB, store

NARROW = {"max_path_depth": 1, "max_path_bytes": 7, "max_name_bytes": 7, "max_file_bytes": 1000}


def test_limits_that_were_lowered_take_no_file_from_a_submission(make_services: MakeServices, root: Path) -> None:
    content = CONTENT | {"foo.txt": b"longer" * 1000, "a/" * 40 + "deep": b"deep"}
    store(make_services(limits={"max_path_depth": 256}), content)
    path = root / FILE_PATHS["submission"]
    flip_bit(path)
    limited = make_services(limits=NARROW)
    assert told(check(limited, read=True)) == {("damaged", FILE_PATHS["submission"])}
    assert [finding.mended for finding in repair(limited)] == [True]
    assert tree(root / "submissions" / JOB) == content
    assert check(limited, read=True) == []


def test_a_submission_with_something_foreign_is_not_healed(filled: Services, root: Path) -> None:
    folder, path = root / "submissions" / JOB, root / FILE_PATHS["submission"]
    (path.parent / "new\nline").write_bytes(b"by hand")
    (path.parent / "link").symlink_to("/etc")
    flip_bit(path)
    before = tree(folder)
    found = repair(filled)
    assert {(finding.kind, finding.mended) for finding in found} >= {("damaged", False), ("foreign", False)}
    assert not any(finding.mended for finding in found)
    assert all("foreign" in finding.action for finding in found)
    assert tree(folder) == before
    assert list(filled.quarantine.held()) == []
    (path.parent / "new\nline").unlink()
    (path.parent / "link").unlink()
    assert [finding.mended for finding in repair(filled)] == [True]
    assert tree(folder) == CONTENT


def test_what_is_kept_shares_nothing_with_what_is_in_use(
    filled: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the process dies right after it was kept."""
    flip_bit(root / FILE_PATHS["submission"])

    def die(*_: object) -> None:
        os._exit(DIED)

    monkeypatch.setattr(Healing, "_store", die)
    child = os.fork()
    if not child:
        repair(filled)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DIED
    monkeypatch.undo()
    [held] = filled.quarantine.held()
    kept = tree(held.path)
    for path in held.path.rglob("*.txt"):
        assert path.stat().st_nlink == 1
        path.write_bytes(b"edited in the quarantine")
    assert tree(root / "submissions" / JOB) == kept
    filled.staging.recover()
    assert [finding.mended for finding in repair(filled)] == [True]
    assert tree(root / "submissions" / JOB) == CONTENT


def test_what_cannot_be_read_is_kept_as_it_is(filled: Services, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = root / FILE_PATHS["submission"], shutil.copy2
    flip_bit(path)
    inode = path.stat().st_ino

    def fail(source: str, target: str) -> None:
        if Path(source).name == path.name:
            raise OSError(errno.EIO, "Input/output error")
        copy(source, target)

    monkeypatch.setattr(shutil, "copy2", fail)
    assert [finding.mended for finding in repair(filled)] == [True]
    [held] = filled.quarantine.held()
    assert (held.path / "bar/baz/bah.txt").stat().st_ino == inode
    assert (held.path / "foo.txt").read_bytes() == b"foo"
