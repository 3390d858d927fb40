"""The way back from the trash and the quarantine, and out of it for good."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fileserver.core.errors import InvalidName, NotFound, QuotaExceeded
from fileserver.maintenance.reading import Reader
from fileserver.maintenance.trash import Occupied, Restored, Unfit, empty, restore
from fileserver.services import Services
from fileserver.storage.holding import Held, HoldingArea
from fileserver.storage.local import version_of
from tests.maintenance.collecting import DATA, NAME, collect, fill
from tests.maintenance.rot import FILE_PATHS, check, edit, flip_bit, repair, rewrite, told
from tests.storage.sources import MakeServices, content_of, files, incoming, read_all, tree
from tests.storage.submitting import JOB, archived, store
from tests.support.ageing import age

RULES = {"submission_days": 10, "result_days": 10, "attachment_days": 10, "task_file_grace_days": 10}


@pytest.fixture
def services(make_services: MakeServices, root: Path) -> Services:
    """Services whose one thing of each kind lies in the trash for a day."""
    services = make_services(retention=RULES)
    fill(services)
    age(root, 100)
    collect(services)
    age(root, 1)
    return services


def held_of(services: Services, bucket: str) -> Held:
    (held,) = (held for held in services.trash.held() if held.note.bucket == bucket)
    return held


def put_back(services: Services, bucket: str) -> None:
    restore(services, services.trash, held_of(services, bucket).name)


def test_everything_comes_back_as_it_was(services: Services) -> None:
    for held in list(services.trash.held()):
        assert restore(services, services.trash, held.name) == Restored(held, [])
    assert os.listdir(services.trash.root) == []
    assert archived(services) == {f"{JOB}/": b"", f"{JOB}/b/": b"", f"{JOB}/a": b"submitted", f"{JOB}/b/c": b"too"}
    assert read_all(services.results.open("job.zip")) == b"result"
    assert read_all(services.attachments.open("att")) == b"attached"
    assert read_all(services.task_files.open(NAME)) == DATA
    assert {name: usage.files for name, usage in services.ledger.read().items() if name != "submission_archives"} == {
        "submissions": 1,
        "results": 1,
        "attachments": 1,
        "task_files": 1,
    }


def test_what_came_back_is_as_if_stored_anew(services: Services, root: Path) -> None:
    for held in list(services.trash.held()):
        restore(services, services.trash, held.name)
    age(root, 9.9)
    assert collect(services) == []
    age(root, 0.2)
    assert len(collect(services)) == 4


@pytest.mark.parametrize(("bucket", "key"), [("results", "job.zip"), ("tasks", NAME)])
def test_the_digests_of_what_came_back_are_known(services: Services, bucket: str, key: str) -> None:
    put_back(services, bucket)
    with services.buckets[bucket].open(key) as stored:
        assert stored.record
        assert stored.record.sha1_start == (bytes.fromhex(key)[:12] if bucket == "tasks" else bytes(12))


def test_what_is_newer_is_left(services: Services) -> None:
    fill(services)
    store(services, {"new": b"1"})
    services.results.store("job.zip", incoming(b"newer"))
    for held in list(services.trash.held()):
        with pytest.raises(Occupied, match="something newer lies at"):
            restore(services, services.trash, held.name)
    assert len(list(services.trash.held())) == 4
    assert read_all(services.results.open("job.zip")) == b"newer"
    assert tree(services.folders.root) == {f"{JOB}/new": b"1"}


def test_a_digit_that_has_no_folder_any_more_is_no_obstacle(services: Services, root: Path) -> None:
    (root / "tasks" / NAME[0]).rmdir()
    put_back(services, "tasks")
    assert services.task_files.missing([NAME]) == []


def test_what_is_not_there_cannot_come_back(services: Services) -> None:
    held = held_of(services, "results")
    put_back(services, "results")
    with pytest.raises(NotFound, match="is not in trash"):
        restore(services, services.trash, held.name)


def test_what_is_deleted_meanwhile_cannot_come_back(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    get = HoldingArea.get

    def slow_get(area: HoldingArea, name: str) -> Held:
        held = get(area, name)
        area.remove(name)
        return held

    for held in list(services.trash.held()):
        with monkeypatch.context() as patched:
            patched.setattr(HoldingArea, "get", slow_get)
            with pytest.raises(NotFound, match="is not in trash any more"):
                restore(services, services.trash, held.name)
    assert all(usage.files == 0 for usage in services.ledger.read().values())


def take_in(area: HoldingArea, bucket: str, key: str, make: Callable[[Path], object]) -> str:
    """Let *area* hold what *make* makes at a path, as if it had been taken from there."""

    def move(target: Path) -> bool:
        make(target)
        return True

    name = area.take(bucket, key, "reason", move)
    assert name
    return name


def write(target: Path) -> None:
    target.write_bytes(b"x")


def make_fifo(target: Path) -> None:
    os.mkfifo(target)


def link(target: Path) -> None:
    target.symlink_to("/etc")


@pytest.mark.parametrize(
    ("bucket", "key", "make", "error"),
    [
        ("somewhere", "a", write, NotFound),
        ("results", "../submissions/a", write, InvalidName),
        ("results", "/etc/x", write, InvalidName),
        ("results", "a/b.zip", write, InvalidName),
        ("results", "no-extension", write, NotFound),
        ("attachments", "a/b", write, InvalidName),
        ("tasks", "no-digest", write, NotFound),
        ("exercises", "", write, NotFound),
        ("submissions", "../a", Path.mkdir, InvalidName),
        ("submissions", "a", write, Unfit),
        ("submissions", "a", link, Unfit),
        ("submission_archives", "a.zip", write, Unfit),
        ("results", "a.zip", link, Unfit),
        ("results", "a.zip", make_fifo, Unfit),
        ("results", "a.zip", Path.mkdir, Unfit),
        ("tasks", NAME, Path.mkdir, Unfit),
    ],
)
def test_what_the_server_has_not_stored_there_is_not_put_back(
    services: Services, root: Path, bucket: str, key: str, make: Callable[[Path], object], error: type[Exception]
) -> None:
    name = take_in(services.trash, bucket, key, make)
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*") if "staging" not in path.parts}
    with pytest.raises(error):
        restore(services, services.trash, name)
    after = {path: path.lstat().st_mtime_ns for path in root.rglob("*") if "staging" not in path.parts}
    assert after == before


def test_a_quota_holds_for_what_comes_back(make_services: MakeServices, services: Services) -> None:
    small = make_services(retention=RULES, quotas={"max_results": 1})
    small.results.store("other.zip", incoming(b""))
    with pytest.raises(QuotaExceeded):
        put_back(small, "results")
    assert held_of(small, "results").path.read_bytes() == b"result"
    small.results.delete("other.zip")
    put_back(small, "results")


def truncate(path: Path) -> None:
    rewrite(path, b"")


@pytest.mark.parametrize("damage", [truncate, flip_bit])
@pytest.mark.parametrize("bucket", ["results", "tasks"])
def test_damage_is_still_damage_when_it_comes_back(
    filled: Services, root: Path, bucket: str, damage: Callable[[Path], object]
) -> None:
    """And the next check takes it away again, instead of accepting it as an edit."""
    path = root / FILE_PATHS["result" if bucket == "results" else "task file"]
    damage(path)
    repair(filled)
    for _ in range(2):
        (held,) = filled.quarantine.held()
        restored = restore(filled, filled.quarantine, held.name)
        assert restored.flaws == [held.note.reason]
        assert told(check(filled, read=True)) == {("damaged", f"{bucket}/{path.name}")}
        repair(filled)
        assert not path.exists()


def test_a_damaged_submission_comes_back_with_a_warning(filled: Services, root: Path) -> None:
    path = root / FILE_PATHS["submission"]
    (root / FILE_PATHS["archive"]).unlink()
    truncate(path)
    repair(filled)
    (held,) = filled.quarantine.held()
    (flaw,) = restore(filled, filled.quarantine, held.name).flaws
    assert flaw.startswith("bar/baz/bah.txt: it has 0 bytes")
    assert ("damaged", FILE_PATHS["submission"]) in told(check(filled, read=True))


def test_what_cannot_be_read_comes_back_with_a_warning(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    held, before = held_of(services, "results"), held_of(services, "results").path.stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr(Reader, "_chunks", fail)
        (flaw,) = restore(services, services.trash, held.name).flaws
    assert "cannot be read" in flaw
    assert services.buckets["results"].path("job.zip").stat().st_mtime_ns == before


def test_an_edit_is_still_an_edit_when_it_comes_back(services: Services) -> None:
    edit(held_of(services, "results").path, b"edited")
    (flaw,) = restore(services, services.trash, held_of(services, "results").name).flaws
    assert "somebody has edited" in flaw
    assert told(check(services)) == {("changed", "results/job.zip")}


def test_what_is_not_recorded_is_only_told_if_it_was_suspect(services: Services) -> None:
    for area, flaws in ((services.trash, 0), (services.quarantine, 1)):
        name = take_in(area, "results", f"{area.root.name}.zip", write)
        assert len(restore(services, area, name).flaws) == flaws


def test_what_is_whole_comes_back_from_quarantine(services: Services) -> None:
    services.task_files.store(files({"a": b"1"}))
    bucket = services.buckets["tasks"]
    (key,) = bucket.keys()
    info = bucket.info(key)
    assert info
    name = services.quarantine.take("tasks", key, "suspect", partial(bucket.move_out, key, version=version_of(info)))
    assert name
    assert restore(services, services.quarantine, name).flaws == []
    assert content_of(bucket, key) == b"1"
    assert list(services.quarantine.held()) == []


def test_the_trash_is_emptied_by_a_rule(services: Services) -> None:
    taken = held_of(services, "results").note.taken_at
    assert list(empty(services.trash, lambda taken_ns: None)) == []
    would = list(empty(services.trash, lambda taken_ns: f"{taken_ns / 1e9 - taken:.0f}", dry_run=True))
    assert [removal.reason for removal in would if "results" in removal.reason] == ["results/job.zip, 0"]
    assert len(list(services.trash.held())) == 4
    assert len(list(empty(services.trash, lambda taken_ns: "now"))) == 4
    assert os.listdir(services.trash.root) == []


def test_an_error_while_emptying_is_told(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(HoldingArea, "remove", fail)
    assert {removal.error for removal in empty(services.trash, lambda _: "now")} == {"Permission denied"}
