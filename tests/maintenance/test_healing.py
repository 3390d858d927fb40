"""What is healed loses nothing: neither by the settings of today, nor by what does not belong, nor by a crash."""

from pathlib import Path

from fileserver.services import Services
from tests.maintenance.rot import FILE_PATHS, check, flip_bit, repair, told
from tests.storage.conftest import MakeServices
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
