"""The check tells what is wrong, and nothing else."""

import os
import shutil
from pathlib import Path

import pytest

from fileserver.maintenance import files as files_module
from fileserver.maintenance.check import Check
from fileserver.maintenance.pace import Pace
from fileserver.maintenance.reading import Reader
from fileserver.services import Services
from fileserver.storage.locks import KeyLocks
from tests.maintenance.rot import (
    FILE_PATHS,
    FILLED_FILES,
    TASK_PATH,
    TASK_SHA1,
    check,
    edit,
    fill,
    flat,
    flip_bit,
    forget,
    refuse,
    rewrite,
    told,
)
from tests.storage.conftest import MakeServices
from tests.storage.sources import is_locked
from tests.storage.submitting import ARCHIVE, JOB, store

PLACES = {kind: path.replace(TASK_PATH, f"tasks/{TASK_SHA1}") for kind, path in FILE_PATHS.items()}
both = pytest.mark.parametrize("read", [False, True], ids=["quick", "read"])


@both
def test_what_the_server_stored_is_sound(filled: Services, read: bool) -> None:
    run = Check(filled, Reader() if read else None)
    assert flat(run.run()) == []
    assert (run.counts.files, run.counts.unverified, run.counts.recorded) == (FILLED_FILES, 0, 0)
    assert run.expected_keys() == 7


@both
def test_an_empty_working_directory_is_sound(services: Services, read: bool) -> None:
    assert check(services, read=read) == []


@pytest.mark.parametrize("kind", FILE_PATHS)
def test_a_flipped_bit_is_found_by_reading(filled: Services, root: Path, kind: str) -> None:
    flip_bit(root / FILE_PATHS[kind])
    assert check(filled) == []
    assert told(check(filled, read=True)) == {("damaged", PLACES[kind])}


@both
@pytest.mark.parametrize("kind", FILE_PATHS)
def test_a_cut_file_is_found_by_its_size(filled: Services, root: Path, kind: str, read: bool) -> None:
    path = root / FILE_PATHS[kind]
    # The archive keeps its end, by which it is told to belong to its submission.
    rewrite(path, path.read_bytes()[1:])
    assert told(check(filled, read=read)) == {("damaged", PLACES[kind])}


@both
@pytest.mark.parametrize("kind", ["result", "attachment", "submission"])
def test_an_edited_file_is_a_warning_and_no_damage(filled: Services, root: Path, kind: str, read: bool) -> None:
    edit(root / FILE_PATHS[kind], b"edited by hand")
    found = check(filled, read=read)
    assert ("changed", PLACES[kind]) in told(found)
    assert not any(finding.is_damage for finding in found)


def test_an_edited_submission_makes_its_archive_stale(filled: Services, root: Path) -> None:
    edit(root / FILE_PATHS["submission"], b"edited by hand")
    assert ("stale", PLACES["archive"]) in told(check(filled, read=True))


def test_an_edited_task_file_is_damaged_once_it_is_read(filled: Services, root: Path) -> None:
    edit(root / TASK_PATH, b"edited by hand")
    assert told(check(filled)) == {("changed", f"tasks/{TASK_SHA1}")}
    assert told(check(filled, read=True)) == {("damaged", f"tasks/{TASK_SHA1}")}


@pytest.mark.parametrize("kind", ["task file", "result", "attachment", "submission"])
def test_a_touched_file_is_recorded_anew(filled: Services, root: Path, kind: str) -> None:
    os.utime(root / FILE_PATHS[kind])
    assert told(check(filled)) == {("changed", PLACES[kind])}
    assert check(filled, read=True) == []
    assert check(filled) == []


@pytest.mark.parametrize("kind", FILE_PATHS)
def test_a_file_without_a_record_is_unverified_until_it_is_read(filled: Services, root: Path, kind: str) -> None:
    forget(root / FILE_PATHS[kind])
    for reader, expected in ((None, (1, 0)), (Reader(), (0, 1)), (None, (0, 0))):
        run = Check(filled, reader)
        assert flat(run.run()) == []
        assert (run.counts.unverified, run.counts.recorded) == expected
    flip_bit(root / FILE_PATHS[kind])
    assert told(check(filled, read=True)) == {("damaged", PLACES[kind])}


def test_an_edit_just_before_the_digest_is_recorded_is_no_damage(
    filled: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = root / FILE_PATHS["result"], files_module.write_record

    def edited_meanwhile(*arguments) -> None:
        edit(path, path.read_bytes().swapcase())
        original(*arguments)

    forget(path)
    monkeypatch.setattr(files_module, "write_record", edited_meanwhile)
    check(filled, read=True)
    assert told(check(filled, read=True)) == {("changed", PLACES["result"])}


def test_a_task_file_without_a_record_is_judged_by_its_name(filled: Services, root: Path) -> None:
    forget(root / TASK_PATH)
    flip_bit(root / TASK_PATH)
    assert told(check(filled, read=True)) == {("damaged", f"tasks/{TASK_SHA1}")}
    assert os.listxattr(root / TASK_PATH) == []


def test_a_task_file_under_another_name_is_damaged(filled: Services, root: Path) -> None:
    other = "f" * 40
    shutil.copy2(root / TASK_PATH, root / "tasks" / "f" / other)
    assert told(check(filled)) == {("damaged", f"tasks/{other}")}


@both
def test_names_that_are_not_allowed_are_told(filled: Services, root: Path, read: bool) -> None:
    wrong = [
        "results/without-extension",
        "results/folder.zip/file",
        "attachments/back\\slash",
        "tasks/0/" + "f" * 40,
        "tasks/f/" + "F" * 40,
        "tasks/zz/file",
        "tasks/file",
        "submissions/file",
        "submission_archives/job.tar",
        f"submissions/{JOB}/new\nline",
    ]
    before = (root / "submissions" / JOB).stat().st_mtime_ns
    for path in wrong:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"")
    Path(os.fsdecode(os.fsencode(root / "attachments") + b"/latin-\xe9")).write_bytes(b"")
    os.utime(root / "submissions" / JOB, ns=(before, before))
    found = told(check(filled, read=read))
    expected = {
        ("foreign", path.removesuffix("/file")) for path in wrong if path not in ("tasks/file", "submissions/file")
    }
    expected |= {("foreign", "attachments/latin-\udce9"), ("foreign", "tasks/file"), ("foreign", "submissions/file")}
    assert {item for item in found if item[0] == "foreign"} == expected
    assert found - expected <= {("stale", f"submission_archives/{ARCHIVE}")}


@pytest.mark.parametrize("path", ["results/x.zip", "attachments/x", "tasks/1/" + "1" * 40, "submissions/x"])
@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo], ids=["symlink", "fifo"])
def test_links_and_special_files_are_told_and_never_read(filled: Services, root: Path, path: str, make) -> None:
    make(root / path)
    assert told(check(filled, read=True)) == {("foreign", path)}


def test_an_archive_may_be_missing(filled: Services, root: Path) -> None:
    (root / FILE_PATHS["archive"]).unlink()
    assert check(filled, read=True) == []


@both
def test_an_archive_of_another_version_is_stale(filled: Services, root: Path, read: bool) -> None:
    os.utime(root / "submissions" / JOB)
    assert told(check(filled, read=read)) == {("stale", PLACES["archive"])}


def test_an_unfit_archive_is_looked_at_again_under_the_lock(
    filled: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(root / "submissions" / JOB)
    locks, held, belongs = KeyLocks(root / "staging" / ".locks"), [], filled.submissions.belongs

    def observed(*arguments) -> bool:
        held.append(is_locked(locks, "submissions", JOB))
        return belongs(*arguments)

    monkeypatch.setattr(filled.submissions, "belongs", observed)
    assert told(check(filled)) == {("stale", PLACES["archive"])}
    assert sorted(held) == [False, False, True]


@both
def test_an_archive_of_the_other_layout_is_stale(make_services: MakeServices, read: bool) -> None:
    store(make_services(), {"a": b"1"})
    flat_layout = make_services(grading={"archive_layout": "flat"})
    assert told(check(flat_layout, read=read)) == {("stale", f"submission_archives/{ARCHIVE}")}
    flat_layout.submissions.open_archive(ARCHIVE).close()
    assert check(flat_layout, read=True) == []


@both
def test_an_archive_without_a_submission_is_an_orphan(filled: Services, root: Path, read: bool) -> None:
    shutil.rmtree(root / "submissions" / JOB)
    assert told(check(filled, read=read)) == {("orphan", PLACES["archive"])}


def test_a_file_that_only_the_archive_has_is_missing(filled: Services, root: Path) -> None:
    (root / FILE_PATHS["submission"]).unlink()
    assert told(check(filled, read=True)) == {("missing", PLACES["submission"])}


def test_a_file_that_the_archive_lacks_makes_it_stale(filled: Services, root: Path) -> None:
    (root / FILE_PATHS["submission"]).with_name("more").write_bytes(b"by hand")
    assert told(check(filled, read=True)) == {("stale", PLACES["archive"])}


def test_an_archive_that_holds_other_bytes_is_damaged(filled: Services, root: Path) -> None:
    """As one that was built of damaged files; it is whole by itself."""
    path, version = root / FILE_PATHS["submission"], (root / "submissions" / JOB).stat().st_mtime_ns
    flip_bit(path)
    (root / FILE_PATHS["archive"]).unlink()
    filled.submissions.open_archive(ARCHIVE).close()
    flip_bit(path)
    assert (root / FILE_PATHS["archive"]).stat().st_mtime_ns == version
    assert told(check(filled, read=True)) == {("damaged", PLACES["archive"])}


def test_without_records_the_archive_tells_which_file_is_damaged(filled: Services, root: Path) -> None:
    """As on a file system without extended attributes."""
    for path in (root / "submissions" / JOB).rglob("*.txt"):
        forget(path)
    forget(root / FILE_PATHS["archive"])
    flip_bit(root / FILE_PATHS["submission"])
    assert told(check(filled, read=True)) == {("damaged", PLACES["submission"])}
    assert os.listxattr(root / FILE_PATHS["submission"]) == []


def test_without_records_a_damaged_archive_is_told_by_its_crcs(filled: Services, root: Path) -> None:
    path = root / FILE_PATHS["archive"]
    forget(path)
    content = path.read_bytes()
    rewrite(path, content.replace(b"bah", b"bag", 3).replace(b"bag.txt", b"bah.txt"))
    assert path.read_bytes() != content
    assert told(check(filled, read=True)) == {("damaged", PLACES["archive"])}


def test_a_task_file_in_both_places_is_a_duplicate(filled: Services, root: Path) -> None:
    (root / "exercises" / TASK_SHA1[0]).mkdir(parents=True)
    shutil.copy2(root / TASK_PATH, root / TASK_PATH.replace("tasks", "exercises"))
    assert told(check(filled)) == {("duplicate", f"exercises/{TASK_SHA1}")}


@pytest.mark.parametrize("kind", ["task file", "result", "attachment", "submission", "archive"])
def test_what_is_replaced_while_it_is_read_is_no_finding(filled: Services, root: Path, kind: str) -> None:
    flip_bit(root / FILE_PATHS[kind])
    reader = Reader(Pace(1 << 40, lambda seconds: fill(filled)))
    assert flat(Check(filled, reader).run()) == []


REFUSED = {
    "job.zip": "results/job.zip",
    "picture": "attachments/picture",
    TASK_SHA1: f"tasks/{TASK_SHA1[0]}/{TASK_SHA1}",
    "bah.txt": f"submissions/{JOB}",
    "baz": f"submissions/{JOB}",
    ARCHIVE: f"submissions/{JOB}",
    TASK_SHA1[0]: f"tasks/{TASK_SHA1[0]}",
    "results": "results",
    "submissions": "submissions",
}


@both
@pytest.mark.parametrize(("name", "place"), REFUSED.items())
def test_what_may_not_be_read_is_told_and_all_else_is_checked(
    filled: Services, root: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str, read: bool
) -> None:
    others = {"results/z.zip", "attachments/z", "submissions/z", "submission_archives/z", "tasks/z"}
    for path in others:
        (root / path).symlink_to("/etc")
    refuse(monkeypatch, name)
    expected = {("foreign", path) for path in others if not path.startswith(f"{place}/")}
    assert told(check(filled, read=read)) >= expected | {("unreadable", place)}
    assert not any(finding.is_damage for finding in check(filled, read=read))


def test_a_file_that_cannot_be_read_is_damaged(filled: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("fileserver.maintenance.reading.os.pread", fail)
    assert ("damaged", PLACES["result"]) in told(check(filled, read=True))
