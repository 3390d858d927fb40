"""A repair mends what can be mended, keeps what it takes away, and says what must be sent again."""

import os
import shutil
from pathlib import Path

import pytest

from fileserver.core.names import Sha1
from fileserver.grading.submissions import Submissions
from fileserver.maintenance import healing as healing_module
from fileserver.maintenance.check import Check
from fileserver.maintenance.reading import Reader
from fileserver.maintenance.repair import Repair
from fileserver.services import Services
from tests.maintenance.rot import (
    ATTACHMENT,
    FILE_PATHS,
    RESULT,
    TASK,
    TASK_PATH,
    TASK_SHA1,
    check,
    edit,
    flip_bit,
    forget,
    repair,
    rewrite,
    told,
)
from tests.storage.sources import files, incoming, transactions, tree
from tests.storage.submitting import ARCHIVE, CONTENT, JOB, archive_bytes, archived, store

OTHERS = ["task file", "result", "attachment"]


def submitted(root: Path) -> dict[str, bytes]:
    return tree(root / "submissions" / JOB)


def quarantined(services: Services) -> dict[str, tuple[str, Path]]:
    """The bucket of each thing in the quarantine by its key, and where it is."""
    return {held.note.key: (held.note.bucket, held.path) for held in services.quarantine.held()}


def send_all(services: Services) -> None:
    store(services, CONTENT)
    services.task_files.store(files({"a": TASK}))
    services.results.store("job.zip", incoming(RESULT))
    services.attachments.store("picture", incoming(ATTACHMENT))


@pytest.fixture(autouse=True)
def _nothing_is_left_in_staging(root: Path):
    yield
    assert transactions(root / "staging") == []


@pytest.mark.parametrize("kind", OTHERS)
def test_what_only_an_upload_can_heal_is_quarantined_and_told(filled: Services, root: Path, kind: str) -> None:
    path = root / FILE_PATHS[kind]
    flip_bit(path)
    rotten = path.read_bytes()
    [finding] = repair(filled)
    assert finding.remains
    assert finding.key in finding.heals
    assert not path.exists()
    [(key, (bucket, content))] = quarantined(filled).items()
    assert (key, bucket, content.read_bytes()) == (finding.key, finding.bucket, rotten)
    assert content.parent.name in finding.action
    assert check(filled, read=True) == []
    send_all(filled)
    assert check(filled, read=True) == []
    assert path.stat().st_size == len(rotten)
    assert path.read_bytes() != rotten


@pytest.mark.parametrize("damage", [flip_bit, lambda path: rewrite(path, b""), Path.unlink], ids=["bit", "cut", "gone"])
def test_a_submission_is_healed_from_its_archive(filled: Services, root: Path, damage) -> None:
    path = root / FILE_PATHS["submission"]
    info, before = path.stat(), archive_bytes(filled)
    damage(path)
    rotten = submitted(root)
    [finding] = repair(filled)
    assert (finding.mended, finding.heals) == (True, "")
    assert submitted(root) == CONTENT
    assert path.stat().st_mtime_ns == info.st_mtime_ns or damage is Path.unlink
    assert archive_bytes(filled) == before
    [(key, (bucket, content))] = quarantined(filled).items()
    assert (key, bucket, tree(content)) == (JOB, "submissions", rotten)
    assert check(filled, read=True) == []


def test_a_quick_repair_reads_before_it_heals(filled: Services, root: Path) -> None:
    """Its check has found one file by its size; another one is rotten, too."""
    flip_bit(root / FILE_PATHS["submission"])
    rewrite(root / "submissions" / JOB / "foo.txt", b"")
    found = repair(filled, read=False)
    assert {(finding.path, finding.mended) for finding in found} == {("foo.txt", True), ("bar/baz/bah.txt", True)}
    assert submitted(root) == CONTENT


def test_without_records_a_submission_is_healed_from_its_archive(filled: Services, root: Path) -> None:
    for path in [*(root / "submissions" / JOB).rglob("*.txt"), root / FILE_PATHS["archive"]]:
        forget(path)
    flip_bit(root / FILE_PATHS["submission"])
    assert [finding.mended for finding in repair(filled)] == [True]
    assert submitted(root) == CONTENT
    assert check(filled, read=True) == []


def test_what_was_edited_in_a_damaged_submission_is_kept(filled: Services, root: Path) -> None:
    flip_bit(root / FILE_PATHS["submission"])
    edit(root / "submissions" / JOB / "foo.txt", b"edited by hand")
    assert all(finding.mended for finding in repair(filled))
    assert submitted(root) == CONTENT | {"foo.txt": b"edited by hand"}
    assert check(filled, read=True) == []


def test_a_submission_is_healed_from_an_archive_that_is_wrong_in_another_file(filled: Services, root: Path) -> None:
    flip_bit(root / "submissions" / JOB / "foo.txt")
    rebuild_archive(filled, root)
    flip_bit(root / "submissions" / JOB / "foo.txt")
    flip_bit(root / FILE_PATHS["submission"])
    assert all(finding.mended for finding in repair(filled))
    assert submitted(root) == CONTENT
    assert check(filled, read=True) == []


def rebuild_archive(services: Services, root: Path) -> None:
    (root / FILE_PATHS["archive"]).unlink()
    services.submissions.open_archive(ARCHIVE).close()


UNFIT_ARCHIVES = {
    "damaged": lambda services, root: flip_bit(root / FILE_PATHS["archive"]),
    "gone": lambda services, root: (root / FILE_PATHS["archive"]).unlink(),
    "built of the damaged file": rebuild_archive,
}


@pytest.mark.parametrize("spoil", UNFIT_ARCHIVES.values(), ids=UNFIT_ARCHIVES)
def test_a_submission_that_no_archive_can_heal_is_quarantined(filled: Services, root: Path, spoil) -> None:
    flip_bit(root / FILE_PATHS["submission"])
    spoil(filled, root)
    rotten, archive = submitted(root), root / FILE_PATHS["archive"]
    spoilt = archive.read_bytes() if archive.exists() else None
    found = repair(filled)
    assert any(finding.remains and finding.heals == f"send submissions/{JOB} again" for finding in found)
    held = quarantined(filled)
    assert tree(held[JOB][1]) == rotten
    assert (held[ARCHIVE][1].read_bytes() if spoilt else None) == spoilt
    assert check(filled, read=True) == []
    send_all(filled)
    assert submitted(root) == CONTENT
    assert check(filled, read=True) == []


@pytest.mark.parametrize(
    "spoil", [flip_bit, lambda path: rewrite(path, path.read_bytes()[9:]), lambda path: os.utime(path)]
)
def test_an_unfit_archive_of_a_sound_submission_is_rebuilt(filled: Services, root: Path, spoil) -> None:
    before = archive_bytes(filled)
    spoil(root / FILE_PATHS["archive"])
    [finding] = repair(filled)
    assert (finding.action, finding.remains) == ("rebuilt", False)
    assert (root / FILE_PATHS["archive"]).read_bytes() == before
    assert list(filled.quarantine.held()) == []
    assert check(filled, read=True) == []


def test_an_archive_without_a_submission_is_quarantined(filled: Services, root: Path) -> None:
    shutil.rmtree(root / "submissions" / JOB)
    [finding] = repair(filled)
    assert not finding.remains
    assert quarantined(filled)[ARCHIVE][0] == "submission_archives"
    assert check(filled, read=True) == []


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("kind", ["result", "attachment", "submission"])
def test_what_was_edited_is_taken_for_right(filled: Services, root: Path, kind: str, read: bool) -> None:
    path = root / FILE_PATHS[kind]
    edit(path, b"edited by hand")
    assert not any(finding.remains for finding in repair(filled, read=read))
    assert path.read_bytes() == b"edited by hand"
    repair(filled)  # The quick one has not seen that the archive is of before.
    assert check(filled, read=True) == []
    assert archived(filled)[f"{JOB}/bar/baz/bah.txt"] == (root / FILE_PATHS["submission"]).read_bytes()


@pytest.mark.parametrize("read", [False, True])
def test_an_edited_task_file_is_quarantined(filled: Services, root: Path, read: bool) -> None:
    edit(root / TASK_PATH, b"edited by hand")
    [finding] = repair(filled, read=read)
    assert finding.remains
    assert TASK_SHA1 in quarantined(filled)


def copy_to_exercises(root: Path) -> Path:
    copy = root / TASK_PATH.replace("tasks", "exercises")
    copy.parent.mkdir(parents=True)
    shutil.copy2(root / TASK_PATH, copy)
    return copy


def test_of_two_copies_of_a_task_file_one_stays(filled: Services, root: Path) -> None:
    copy_to_exercises(root)
    assert all(finding.mended for finding in repair(filled))
    assert check(filled, read=True) == []
    assert quarantined(filled)[TASK_SHA1][0] == "exercises"
    assert filled.task_files.missing([Sha1(TASK_SHA1)]) == []


@pytest.mark.parametrize("read", [False, True])
def test_of_two_copies_of_a_task_file_the_whole_one_stays(filled: Services, root: Path, read: bool) -> None:
    copy = copy_to_exercises(root)
    flip_bit(root / TASK_PATH)
    found = repair(filled, read=read)
    assert not any(finding.remains for finding in found)
    assert copy.read_bytes() == TASK


def test_what_is_foreign_is_left_alone(filled: Services, root: Path) -> None:
    (root / "results" / "x.zip").symlink_to("/etc")
    assert [finding.action for finding in repair(filled)] == [""]
    assert (root / "results" / "x.zip").is_symlink()


@pytest.mark.parametrize("kind", [*OTHERS, "submission", "archive"])
def test_what_was_replaced_since_it_was_found_is_left_alone(filled: Services, root: Path, kind: str) -> None:
    flip_bit(root / FILE_PATHS[kind])
    [found] = [found for found in Check(filled, Reader()).run() if found]
    send_all(filled)
    [finding] = Repair(filled, Reader()).mend(found)
    assert not finding.remains
    assert "replaced" in finding.action
    assert list(filled.quarantine.held()) == []
    assert check(filled, read=True) == []


@pytest.mark.parametrize("new", [{"new": b"newer than the archive"}, CONTENT | {"bar/baz/bah.txt": b"newer"}])
def test_a_submission_that_is_replaced_while_it_is_healed_stays_the_new_one(
    filled: Services, root: Path, monkeypatch: pytest.MonkeyPatch, new: dict[str, bytes]
) -> None:
    flip_bit(root / FILE_PATHS["submission"])
    original = healing_module._incoming

    def replaced_meanwhile(source, file):
        monkeypatch.setattr(healing_module, "_incoming", original)
        store(filled, new)
        return original(source, file)

    monkeypatch.setattr(healing_module, "_incoming", replaced_meanwhile)
    [finding] = repair(filled)
    assert "replaced" in finding.action
    assert submitted(root) == new
    assert list(filled.quarantine.held()) == []
    assert check(filled, read=True) == []


def test_what_cannot_be_repaired_does_not_end_the_repair(
    filled: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_bit(root / FILE_PATHS["submission"])
    flip_bit(root / FILE_PATHS["task file"])

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Submissions, "store", fail)
    found = {finding.bucket: finding for finding in repair(filled)}
    assert "No space left" in found["submissions"].action
    assert found["submissions"].remains
    assert "quarantine" in found["tasks"].action
    assert [held.note.bucket for held in filled.quarantine.held()] == ["tasks"]


def test_counters_are_right_after_a_repair(filled: Services, root: Path) -> None:
    for path in FILE_PATHS.values():
        flip_bit(root / path)
    repair(filled)
    used = {name: usage.files for name, usage in filled.ledger.read().items()}
    assert used == {"results": 0, "submission_archives": 1, "submissions": 1, "attachments": 0, "task_files": 0}


def test_everything_that_a_check_tells_is_gone_after_a_repair(filled: Services, root: Path) -> None:
    for path in FILE_PATHS.values():
        flip_bit(root / path)
    assert len(told(repair(filled))) == len(FILE_PATHS)
    assert check(filled, read=True) == []
