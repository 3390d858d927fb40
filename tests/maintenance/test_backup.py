"""What a snapshot holds: everything, whole and once, though it is replaced meanwhile, and nothing that is damaged."""

import os
from pathlib import Path

import pytest

from fileserver.core.names import SubmissionId
from fileserver.maintenance import backup as backup_module
from fileserver.maintenance import manifest
from fileserver.maintenance.snapshots import Snapshots
from fileserver.services import Services
from fileserver.storage.usage import Usage
from tests.maintenance.snapshots import CONTENT, FILES, JOB, TASK, TASK_PATH, Backups, Watch, fill, flip, held, submit
from tests.maintenance.snapshots import times as times_of
from tests.storage.sources import MakeServices, files, incoming, is_locked
from tests.support.messages import sha1
from tests.support.resources import store_as_the_original

EVERYTHING = Usage(len(CONTENT), sum(map(len, CONTENT.values())))
NOTHING = Usage(0, 0)


def test_a_snapshot_holds_every_resource_with_its_times(services: Services, root: Path, backups: Backups) -> None:
    fill(services)
    services.trash.take("results", "x", "for the test", lambda target: bool(target.write_bytes(b"x")))
    result = backups.make()
    assert held(result.snapshot) == CONTENT
    assert times_of(result.snapshot) == times_of(root)
    assert {path.name for path in result.snapshot.iterdir()} == {*manifest.FOLDERS, manifest.NAME}
    assert (result.copied, result.linked, backups.problems, backups.staged()) == (EVERYTHING, NOTHING, {}, [])


def test_an_empty_directory_has_an_empty_snapshot(backups: Backups) -> None:
    result = backups.make()
    assert (held(result.snapshot), result.copied, backups.problems) == ({}, NOTHING, {})


@pytest.mark.parametrize("has_records", [True, False])
def test_what_is_unchanged_is_shared_and_not_read(
    services: Services, root: Path, backups: Backups, has_records: bool
) -> None:
    fill(services)
    first = backups.make()
    if not has_records:
        for path in CONTENT:
            os.removexattr(root / path, "user.sha256")
            os.removexattr(first.snapshot / path, "user.sha256")
    watch = Watch()
    second = backups.make(watch)
    assert (second.copied, second.linked, watch.bytes_read) == (NOTHING, EVERYTHING, 0)
    for path in CONTENT:
        assert (second.snapshot / path).samefile(first.snapshot / path)
    assert times_of(second.snapshot) == times_of(root)
    assert (second.snapshot / manifest.NAME).read_bytes() == (first.snapshot / manifest.NAME).read_bytes()


def test_only_what_is_changed_is_copied(services: Services, backups: Backups) -> None:
    fill(services)
    first = backups.make()
    services.results.store("job.zip", incoming(b"newer"))
    submit(services, {"a.txt": b"newer"}, SubmissionId("other"))
    services.attachments.delete("text")
    second = backups.make()
    assert second.copied == Usage(2, len(b"newernewer"))
    gone = {path: content for path, content in CONTENT.items() if path != "attachments/text"}
    expected = {**gone, "results/job.zip": b"newer", "submissions/other/a.txt": b"newer"}
    assert held(second.snapshot) == expected
    assert held(first.snapshot) == CONTENT


def test_a_copy_that_was_altered_or_removed_is_made_anew(services: Services, backups: Backups) -> None:
    fill(services)
    first = backups.make()
    (first.snapshot / "results/job.zip").unlink()
    (first.snapshot / "attachments/text").write_bytes(b"altered")
    second = backups.make()
    assert held(second.snapshot) == CONTENT
    assert second.copied.files == 2


def test_nothing_is_shared_with_a_snapshot_whose_manifest_is_damaged(services: Services, backups: Backups) -> None:
    fill(services)
    first = backups.make()
    flip(first.snapshot / manifest.NAME, 30)
    second = backups.make()
    assert (second.linked, held(second.snapshot)) == (NOTHING, CONTENT)
    assert list(backups.problems) == [f"snapshots/{first.snapshot.name}/{manifest.NAME}"]


@pytest.mark.parametrize("path", sorted(path for path, content in CONTENT.items() if content))
def test_a_damaged_file_is_told_and_left_out(services: Services, root: Path, backups: Backups, path: str) -> None:
    fill(services)
    flip(root / path)
    result = backups.make()
    assert list(backups.problems) == [path]
    assert held(result.snapshot) == {name: content for name, content in CONTENT.items() if name != path}


def test_a_task_file_is_held_to_its_name_without_a_record(services: Services, root: Path, backups: Backups) -> None:
    fill(services)
    os.removexattr(root / TASK_PATH, "user.sha256")
    flip(root / TASK_PATH)
    backups.make()
    assert list(backups.problems) == [TASK_PATH]


def test_the_good_copy_of_a_damaged_file_is_kept(services: Services, root: Path, backups: Backups) -> None:
    fill(services)
    first = backups.make()
    services.results.store("job.zip", incoming(CONTENT["results/job.zip"]))
    for path in ("results/job.zip", TASK_PATH):
        flip(root / path)
    os.utime(root / TASK_PATH)
    second = backups.make()
    assert set(backups.problems) == {"results/job.zip", TASK_PATH}
    assert held(second.snapshot) == CONTENT
    assert (second.snapshot / TASK_PATH).samefile(first.snapshot / TASK_PATH)


def test_an_older_copy_of_other_content_is_not_kept(services: Services, root: Path, backups: Backups) -> None:
    fill(services)
    backups.make()
    services.results.store("job.zip", incoming(b"newer"))
    flip(root / "results/job.zip")
    assert "results/job.zip" not in held(backups.make().snapshot)


def test_files_of_the_original_server_are_put_to_the_others(services: Services, root: Path, backups: Backups) -> None:
    path = store_as_the_original(root, TASK)
    assert held(backups.make().snapshot) == {TASK_PATH: TASK}
    damaged = root / TASK_PATH
    damaged.write_bytes(b"damaged")
    assert held(backups.make().snapshot) == {TASK_PATH: TASK}
    path.unlink()
    assert held(backups.make().snapshot) == {TASK_PATH: TASK}
    assert list(backups.problems) == [TASK_PATH]


def test_what_does_not_belong_is_told(root: Path, services: Services, backups: Backups) -> None:
    (root / "results" / "folder").mkdir()
    (root / "attachments" / "link").symlink_to(root / "results")
    (root / "submissions" / "file").write_bytes(b"x")
    (root / "tasks" / "0" / "1").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(root / "results") + b"/\xff.zip")).write_bytes(b"x")
    backups.make()
    strays = {"results/folder", "results/\\xff.zip", "attachments/link", "submissions/file", "tasks/0/1"}
    assert set(backups.problems) == strays


def test_what_does_not_belong_into_a_submission_is_told(services: Services, root: Path, backups: Backups) -> None:
    fill(services)
    folder = root / "submissions" / JOB
    (folder / "src" / "link").symlink_to("b.txt")
    (folder / "folder").symlink_to("src")
    os.mkfifo(folder / "fifo")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xfe")).mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xfe/a")).write_bytes(b"x")
    snapshot = backups.make().snapshot
    strays = {f"submissions/{JOB}/{name}" for name in ("src/link", "folder", "fifo", "\\xff", "\\xfe/a")}
    assert set(backups.problems) == strays
    assert held(snapshot) == CONTENT
    assert all(unit.is_whole for unit in manifest.read_units(snapshot / manifest.NAME))


def test_a_backup_does_not_count_as_a_use(services: Services, root: Path, backups: Backups) -> None:
    fill(services)
    for path in CONTENT:
        info = (root / path).stat()
        os.utime(root / path, ns=(info.st_mtime_ns - 10**15, info.st_mtime_ns))
    before = {path: (root / path).stat().st_atime_ns for path in CONTENT}
    assert backups.make().copied == EVERYTHING
    assert {path: (root / path).stat().st_atime_ns for path in CONTENT} == before


def test_a_submission_that_is_replaced_meanwhile_is_of_one_version(services: Services, backups: Backups) -> None:
    newer = {"a.txt": b"newer", "src/b.txt": b"newer"}
    once = iter([newer])

    def replace() -> None:
        for content in once:
            submit(services, content)

    submit(services, FILES)
    snapshot = backups.make(Watch(replace)).snapshot
    assert held(snapshot) == {f"submissions/{JOB}/{name}": content for name, content in newer.items()}
    assert (snapshot / "submissions" / JOB).stat().st_mtime_ns == services.folders.version(JOB)
    assert backups.problems == {}


def test_a_submission_that_is_replaced_again_and_again_is_copied_under_its_lock(
    services: Services, root: Path, backups: Backups
) -> None:
    replaced = 0

    def replace() -> None:
        nonlocal replaced
        if not is_locked(services.submissions._locks, "submissions", JOB):
            replaced += 1
            submit(services, {"a.txt": b"%d" % replaced, "b.txt": b"%d" % replaced})

    submit(services, FILES)
    snapshot = backups.make(Watch(replace)).snapshot
    assert held(snapshot) == {f"submissions/{JOB}/{name}": b"%d" % replaced for name in ("a.txt", "b.txt")}
    assert (snapshot / "submissions" / JOB).stat().st_mtime_ns == services.folders.version(JOB)


def test_a_submission_that_is_deleted_meanwhile_is_left_out(services: Services, backups: Backups) -> None:
    once = iter([JOB])

    def delete() -> None:
        for name in once:
            services.submissions.delete(name)

    submit(services, FILES)
    result = backups.make(Watch(delete))
    assert (held(result.snapshot), result.copied, backups.problems) == ({}, NOTHING, {})
    assert not any((result.snapshot / "submissions").iterdir())


@pytest.mark.parametrize("moment", ["results/job.zip", "attachments/text"])
def test_a_submission_in_a_snapshot_has_its_task_files(services: Services, backups: Backups, moment: str) -> None:
    folder, _, name = moment.partition("/")
    {"results": services.results, "attachments": services.attachments}[folder].store(name, incoming(b"x"))
    data = iter([b"new data"])

    def store() -> None:
        for content in data:
            services.task_files.store(files({"data": content}))
            submit(services, {"job-config.yml": sha1(content).encode()}, SubmissionId("new"))

    content = held(backups.make(Watch(store)).snapshot)
    assert ("submissions/new/job-config.yml" in content) == (folder == "results")
    name = sha1(b"new data")
    assert content[f"tasks/{name[0]}/{name}"] == b"new data"


def test_a_file_that_is_edited_while_it_is_read_is_told(services: Services, root: Path, backups: Backups) -> None:
    path = root / "attachments" / "edited"
    path.write_bytes(b"long ago")
    os.utime(path, (0, 0))
    backups.make(Watch(lambda: path.write_bytes(b"just now")))
    assert list(backups.problems) == ["attachments/edited"]


def test_lowered_limits_do_not_matter(make_services: MakeServices, tmp_path: Path) -> None:
    fill(make_services())
    lowered = make_services(limits={"max_file_bytes": 1, "max_path_depth": 1}, quotas={"max_results": 1})
    backups = Backups(lowered, tmp_path / "backups")
    assert (held(backups.make().snapshot), backups.problems) == (CONTENT, {})


def test_a_backup_that_fails_leaves_nothing(services: Services, backups: Backups) -> None:
    def fail() -> None:
        raise RuntimeError("the machine stops")

    fill(services)
    with pytest.raises(RuntimeError):
        backups.make(Watch(fail))
    assert (os.listdir(backups.folder / "snapshots"), backups.staged()) == ([], [])


def test_all_is_durable_before_it_is_a_snapshot(
    services: Services, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: set[int] = set()
    fsync, publish = os.fsync, Snapshots.publish

    def watched_fsync(fd: int) -> None:
        fsync(fd)
        durable.add(os.fstat(fd).st_ino)

    def watched_publish(snapshots: Snapshots, made: Path, *rest: object) -> Path:
        assert {path.stat().st_ino for path in (made, *made.rglob("*"))} <= durable
        path = publish(snapshots, made, *rest)
        assert path.parent.stat().st_ino in durable
        return path

    fill(services)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(backup_module.Snapshots, "publish", watched_publish)
    for _ in range(2):
        backups.make()
