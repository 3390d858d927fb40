"""Retention: what goes, when, where to, and what survives."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fileserver.core.names import SubmissionId
from fileserver.maintenance import gc as gc_module
from fileserver.maintenance.gc import stored_task_files
from fileserver.services import Services
from fileserver.storage.holding import HoldingArea
from fileserver.storage.local import LocalBucket
from tests.maintenance.collecting import DATA, NAME, collect, fill, keep, names, snapshot
from tests.storage.sources import MakeServices, files, incoming, read_all, tree
from tests.storage.submitting import ARCHIVE, JOB, archived, store
from tests.support.ageing import age, use_earlier

ALL = {
    "archive_days": 10,
    "submission_days": 10,
    "result_days": 10,
    "attachment_days": 10,
    "task_file_grace_days": 10,
}
STORED = {
    f"submission_archives/{ARCHIVE}",
    f"submissions/{JOB}",
    "results/job.zip",
    "attachments/att",
    f"tasks/{NAME}",
}


def contents(root: Path) -> dict[str, bytes]:
    """Every stored file."""
    return {path: data for path, data in tree(root).items() if not path.startswith(("staging/", "trash/"))}


def test_nothing_goes_by_default(services: Services, root: Path) -> None:
    fill(services)
    age(root, 10_000)
    before = snapshot(root)
    assert collect(services) == []
    assert snapshot(root) == before


def test_each_thing_goes_after_its_days(make_services: MakeServices, root: Path) -> None:
    services = make_services(retention=ALL)
    fill(services)
    age(root, 9.9)
    assert collect(services) == []
    age(root, 0.2)
    removals = collect(services)
    assert names(removals) == STORED
    assert {removal.bucket for removal in removals if not removal.to_trash} == {"submission_archives"}
    assert contents(root) == {}
    assert all(usage.files == usage.size_bytes == 0 for usage in services.ledger.read().values())
    held = {f"{one.note.bucket}/{one.note.key}": one for one in services.trash.held()}
    assert held.keys() == STORED - {f"submission_archives/{ARCHIVE}"}
    assert held["results/job.zip"].path.read_bytes() == b"result"
    assert tree(held[f"submissions/{JOB}"].path) == {"a": b"submitted", "b/c": b"too"}
    assert collect(services) == []


@pytest.mark.parametrize("setting", list(ALL))
def test_one_setting_lets_one_kind_go(make_services: MakeServices, root: Path, setting: str) -> None:
    services = make_services(retention={setting: 10})
    fill(services)
    before = contents(root)
    age(root, 11)
    (removal,) = collect(services)
    assert f"{setting} is 10" in removal.reason
    assert "11.0 days" in removal.reason
    gone = {
        path
        for path in before
        if path.startswith((f"{removal.bucket}/{removal.key}", f"tasks/{NAME[0]}/{removal.key}"))
    }
    gone |= {f"submission_archives/{ARCHIVE}"} if setting == "submission_days" else set()
    assert contents(root) == {path: data for path, data in before.items() if path not in gone}


def test_a_dry_run_tells_the_same_and_changes_nothing(make_services: MakeServices, root: Path) -> None:
    services = make_services(retention=ALL)
    fill(services)
    age(root, 11)
    assert len(collect(services)) == 5
    fill(services)
    store(services, {"a": b"1"}, SubmissionId("other"))
    age(root, 10.5)
    before = snapshot(root)
    would = collect(services, keep(b"other"), 1 << 60, dry_run=True)
    assert snapshot(root) == before
    assert collect(services, keep(b"other"), 1 << 60) == would
    assert len(would) == 4 + 5 + 2


def test_an_archive_goes_by_its_last_use(make_services: MakeServices, root: Path) -> None:
    services = make_services(retention={"archive_days": 10})
    fill(services)
    age(root, 30)
    services.submissions.open_archive(ARCHIVE).close()
    assert collect(services) == []
    use_earlier(services.buckets["submission_archives"].path(ARCHIVE), 11)
    assert names(collect(services)) == {f"submission_archives/{ARCHIVE}"}
    assert archived(services)[f"{JOB}/a"] == b"submitted"
    assert collect(services) == []


def test_without_a_list_an_unlisted_task_file_needs_the_setting(services: Services, root: Path) -> None:
    fill(services)
    age(root, 1000)
    assert collect(services) == []
    assert names(collect(services, keep(b"other"))) == {f"tasks/{NAME}"}


def test_a_listed_task_file_stays_for_ever(make_services: MakeServices, root: Path) -> None:
    services = make_services(retention={"task_file_grace_days": 10})
    fill(services)
    age(root, 1000)
    assert collect(services, keep(DATA)) == []
    assert names(collect(services)) == {f"tasks/{NAME}"}


@pytest.mark.parametrize(("setting", "grace_days"), [(0, 14), (3, 3)])
def test_the_grace_counts_back_from_when_the_list_was_made(
    make_services: MakeServices, root: Path, setting: int, grace_days: int
) -> None:
    services = make_services(retention={"task_file_grace_days": setting})
    fill(services)
    age(root, grace_days - 0.1)
    assert collect(services, keep(b"other")) == []
    age(root, 20)
    assert collect(services, keep(b"other", days_ago=20)) == []
    age(root, 0.2)
    (removal,) = collect(services, keep(b"other", days_ago=20))
    assert f"task_file_grace_days is {grace_days}" in removal.reason
    assert f"{grace_days + 0.1:.1f} days before the keep-list was made" in removal.reason


@pytest.mark.parametrize("use", ["open", "missing", "store", "ask in exercises"])
def test_a_task_file_in_use_stays(make_services: MakeServices, root: Path, use: str) -> None:
    services = make_services(retention={"task_file_grace_days": 2})
    fill(services)
    if use == "ask in exercises":
        (root / "exercises" / NAME[0]).mkdir(parents=True)
        os.rename(services.buckets["tasks"].path(NAME), services.buckets["exercises"].path(NAME))
    age(root, 100)
    if use == "open":
        read_all(services.task_files.open(NAME))
    elif use == "store":
        services.task_files.store(files({"again": DATA}))
    else:
        assert services.task_files.missing([NAME]) == []
    assert collect(services, keep(b"other")) == []
    age(root, 2.1)
    assert [removal.key for removal in collect(services, keep(b"other"))] == [NAME]
    assert services.task_files.missing([NAME]) == [NAME]


def test_a_task_file_of_another_user_is_told_and_left(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may not note its use."""
    fill(services)
    age(root, 100)
    monkeypatch.setattr(gc_module, "geteuid", lambda: os.geteuid() + 1)
    (removal,) = collect(services, keep(b"other"))
    assert "another user" in removal.error
    assert services.task_files.missing([NAME]) == []


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> None:
    """Let something happen after gc has decided and before it takes anything."""
    take, discard = HoldingArea.take, LocalBucket.discard
    todo = [happens]

    def first(*_: Any) -> None:
        if todo:
            todo.pop()()

    def late_take(area: HoldingArea, *arguments: Any) -> Any:
        first()
        return take(area, *arguments)

    def late_discard(bucket: LocalBucket, *arguments: Any) -> Any:
        first()
        return discard(bucket, *arguments)

    monkeypatch.setattr(HoldingArea, "take", late_take)
    monkeypatch.setattr(LocalBucket, "discard", late_discard)


@pytest.mark.parametrize(
    ("setting", "happens"),
    [
        ("archive_days", lambda services: store(services, {"a": b"new"})),
        ("submission_days", lambda services: store(services, {"a": b"new"})),
        ("result_days", lambda services: services.results.store("job.zip", incoming(b"new"))),
        ("attachment_days", lambda services: services.attachments.store("att", incoming(b"new"))),
        ("task_file_grace_days", lambda services: services.task_files.store(files({"a": DATA}))),
        ("task_file_grace_days", lambda services: services.task_files.missing([NAME])),
        ("task_file_grace_days", lambda services: services.task_files.open(NAME).close()),
    ],
)
def test_what_is_replaced_or_used_meanwhile_stays(
    make_services: MakeServices, root: Path, monkeypatch: pytest.MonkeyPatch, setting: str, happens: Any
) -> None:
    services = make_services(retention={setting: 10})
    fill(services)
    age(root, 11)
    states: list[dict[str, bytes]] = []

    def happen() -> None:
        happens(services)
        states.append(contents(root))

    meanwhile(monkeypatch, happen)
    assert collect(services) == []
    assert contents(root) == states[0]
    assert list(services.trash.held()) == services.trash.hollow() == []


def test_what_is_deleted_meanwhile_is_not_told(
    make_services: MakeServices, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = make_services(retention={"submission_days": 1})
    fill(services)
    age(root, 2)
    meanwhile(monkeypatch, lambda: services.submissions.delete(JOB))
    assert collect(services) == []


def test_a_thing_that_cannot_be_moved_is_told_and_the_rest_goes(
    make_services: MakeServices, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = make_services(retention={**ALL, "archive_days": 0})
    fill(services)
    age(root, 11)
    move_out = LocalBucket.move_out

    def broken(bucket: LocalBucket, *arguments: Any, **more: Any) -> bool:
        if bucket.name == "results":
            raise OSError(errno.EIO, "Input/output error")
        return move_out(bucket, *arguments, **more)

    monkeypatch.setattr(LocalBucket, "move_out", broken)
    removals = collect(services)
    assert {removal.bucket: removal.error for removal in removals} == {
        "submissions": "",
        "results": "Input/output error",
        "attachments": "",
        "tasks": "",
    }
    assert contents(root) == {"results/job.zip": b"result"}
    assert services.trash.hollow() == []


def test_a_submission_that_cannot_be_listed_stops_nothing(
    make_services: MakeServices, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    services = make_services(retention=ALL)
    fill(services)
    age(root, 11)
    monkeypatch.setattr(gc_module, "folder_bytes", fail)
    errors = {removal.bucket: removal.error for removal in collect(services) if removal.error}
    assert errors == {"submissions": "Input/output error"}
    assert [path.partition("/")[0] for path in contents(root)] == ["submissions"] * 2


def test_what_the_server_did_not_store_is_left(make_services: MakeServices, root: Path) -> None:
    services = make_services(retention=ALL)
    strange = ["results/README", "results/sub/x.zip", f"tasks/{NAME}", f"tasks/x/{NAME}", "tasks/a/notes.txt"]
    strange += ["submissions/file", "submission_archives/a.tar", "attachments/.hidden/x"]
    for name in strange:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"?")
    (root / "results" / "link.zip").symlink_to(root / "results" / "README")
    (root / "submissions" / "link").symlink_to(root / "results")
    os.mkdir(os.fsencode(root) + b"/submissions/\xff")
    for path in root.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    assert collect(services) == []


def test_all_task_files_are_known(services: Services, root: Path) -> None:
    services.task_files.store(files({"a": b"1", "b": b"2"}))
    (root / "exercises" / NAME[0]).mkdir(parents=True)
    (root / "exercises" / NAME[0] / NAME).write_bytes(DATA)
    assert len(list(stored_task_files(services))) == 3
    assert NAME in stored_task_files(services)
