"""What a restored directory holds: what was backed up, with its times, and nothing that is not as it was."""

import json
import os
import random
from contextlib import closing
from pathlib import Path

import pytest

from fileserver.core.errors import SettingsError
from fileserver.core.names import SubmissionId
from fileserver.core.settings import parse_settings
from fileserver.maintenance import manifest
from fileserver.maintenance.restore import restore
from fileserver.services import Services, build_services
from tests.maintenance.snapshots import (
    CONTENT,
    FILES,
    JOB,
    TASK_PATH,
    Backups,
    fill,
    flip,
    held,
    restored,
    submit,
    times,
)
from tests.storage.sources import incoming, settings_for
from tests.storage.submitting import archive_bytes

FLIPS = 40


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to restore."""
    return tmp_path / "restored"


@pytest.fixture
def snapshot(services: Services, backups: Backups) -> Path:
    """A snapshot of something of each resource."""
    fill(services)
    return backups.make().snapshot


def unit_of(path: str) -> str:
    return f"submissions/{JOB}" if path.startswith("submissions/") else path


def without(unit: str) -> dict[str, bytes]:
    return {path: content for path, content in CONTENT.items() if unit_of(path) != unit}


def test_everything_is_restored_with_its_times(services: Services, snapshot: Path, target: Path) -> None:
    assert restored(target, snapshot) == {}
    assert held(target) == CONTENT
    assert times(target) == times(snapshot)
    with closing(build_services(parse_settings(settings_for(target)))) as again:
        assert archive_bytes(again, JOB.archive_name) == archive_bytes(services, JOB.archive_name)
        assert again.ledger.read() == services.ledger.read()


def test_a_backup_of_what_was_restored_shares_everything(snapshot: Path, target: Path, tmp_path: Path) -> None:
    restored(target, snapshot)
    with closing(build_services(parse_settings(settings_for(target)))) as again:
        result = Backups(again, tmp_path / "backups").make()
    assert (result.copied.files, result.linked.files) == (0, len(CONTENT))


def test_what_is_restored_does_not_look_unused(snapshot: Path, target: Path) -> None:
    for path in snapshot.rglob("*"):
        os.utime(path, (0, 0)) if path.is_file() else None
    earliest = snapshot.stat().st_mtime
    restored(target, snapshot)
    assert all((target / path).stat().st_atime >= earliest for path in CONTENT)


def test_the_newest_snapshot_of_a_folder_is_taken(
    services: Services, snapshot: Path, backups: Backups, target: Path
) -> None:
    services.results.store("job.zip", incoming(b"newer"))
    backups.make()
    (backups.folder / "snapshots" / "later").mkdir()
    restored(target, backups.folder)
    assert held(target) == {**CONTENT, "results/job.zip": b"newer"}


def test_a_submission_without_files_is_restored(services: Services, backups: Backups, target: Path) -> None:
    submit(services, {})
    snapshot = backups.make().snapshot
    assert restored(target, snapshot) == {}
    assert os.listdir(target / "submissions") == [JOB]


def test_neither_limits_nor_quotas_of_today_stop_it(services: Services, backups: Backups, target: Path) -> None:
    fill(services)
    services.results.store("2.zip", incoming(b"x" * 1000))
    deep = "/".join("d" * 250 for _ in range(4))
    submit(services, {deep: b"deep"}, SubmissionId("deep"))
    snapshot = backups.make().snapshot
    limits = {
        "max_file_bytes": 1,
        "max_request_bytes": 1,
        "max_parts": 1,
        "max_path_bytes": 1,
        "max_name_bytes": 1,
        "max_path_depth": 1,
        "min_free_bytes": 1 << 60,
    }
    quotas = {"max_results": 1, "max_results_bytes": 1, "max_submissions": 1, "max_task_files_bytes": 1}
    assert restored(target, snapshot, limits=limits, quotas=quotas) == {}
    assert held(target) == held(snapshot)


@pytest.mark.parametrize("path", sorted(path for path, content in CONTENT.items() if content))
def test_a_damaged_file_is_told_and_left_out(snapshot: Path, target: Path, path: str) -> None:
    flip(snapshot / path)
    assert list(restored(target, snapshot)) == [unit_of(path)]
    assert held(target) == without(unit_of(path))


@pytest.mark.parametrize("path", sorted(CONTENT))
def test_a_missing_file_is_told_and_left_out(snapshot: Path, target: Path, path: str) -> None:
    (snapshot / path).unlink()
    assert list(restored(target, snapshot)) == [unit_of(path)]
    assert held(target) == without(unit_of(path))


def test_a_submission_that_was_damaged_before_the_backup_is_left_out(
    services: Services, root: Path, backups: Backups, target: Path
) -> None:
    fill(services)
    flip(root / "submissions" / JOB / "a.txt")
    snapshot = backups.make().snapshot
    assert list(restored(target, snapshot)) == [f"submissions/{JOB}"]
    assert held(target) == without(f"submissions/{JOB}")


def test_names_that_the_server_does_not_take_are_told(
    services: Services, root: Path, backups: Backups, target: Path
) -> None:
    fill(services)
    submit(services, FILES, SubmissionId("edited"))
    strays = ["results/without-extension", "attachments/back\\slash", "submissions/edited/back\\slash", "tasks/0/0123"]
    for path in strays:
        (root / path).write_bytes(b"x")
    snapshot = backups.make().snapshot
    assert set(strays) <= set(held(snapshot))
    assert restored(target, snapshot).keys() == {*strays[:2], "submissions/edited", strays[3]}
    assert held(target) == CONTENT


def test_nothing_outside_of_the_snapshot_is_read(snapshot: Path, target: Path) -> None:
    (snapshot.parent / "secret.zip").write_bytes(b"secret")
    with open(snapshot / manifest.NAME, "rb") as file:
        entry = json.loads(file.readline())
    hostile = ["results/../../secret.zip", "submissions/../secret.zip", "/etc/passwd", "results", "tasks/../secret.zip"]
    lines = [json.dumps({**entry, "path": path}) for path in hostile]
    lines.append(json.dumps({"path": "submissions/s/", "mtime_ns": 1, "files": 1}))
    lines.append(json.dumps({**entry, "path": "submissions/s/../../../secret.zip"}))
    (snapshot / manifest.NAME).write_text("\n".join(lines))
    told = restored(target, snapshot)
    assert told.keys() == {manifest.NAME, hostile[0], "submissions/..", "results", hostile[4], "submissions/s"}
    assert held(target) == {}


def test_no_flipped_bit_goes_unnoticed(snapshot: Path, tmp_path: Path) -> None:
    """Wherever one bit of a snapshot flips: it is told, and what is restored is what was backed up."""
    paths = [snapshot / path for path, content in CONTENT.items() if content]
    paths += [snapshot / manifest.NAME] * len(paths)
    chance = random.Random(1)
    for number in range(FLIPS):
        path, bit = chance.choice(paths), 1 << chance.randrange(8)
        at = chance.randrange(path.stat().st_size)
        flip(path, at, bit)
        target = tmp_path / f"restored-{number}"
        assert restored(target, snapshot), (path, at, bit)
        assert held(target).items() <= CONTENT.items()
        whole = {name for name in CONTENT if name.startswith("submissions/")}
        assert whole & held(target).keys() in (set(), whole)
        flip(path, at, bit)
    assert restored(tmp_path / "last", snapshot) == {}


def test_a_directory_that_holds_something_is_refused(services: Services, root: Path, snapshot: Path) -> None:
    with pytest.raises(SettingsError, match="holds something"):
        restored(root, snapshot)
    assert held(root) == CONTENT


def test_a_folder_with_other_things_is_refused_and_left_alone(snapshot: Path, target: Path) -> None:
    target.mkdir()
    (target / "notes.txt").write_bytes(b"mine")
    with pytest.raises(SettingsError, match="neither empty"):
        restored(target, snapshot)
    assert os.listdir(target) == ["notes.txt"]


@pytest.mark.parametrize("beforehand", ["missing", "empty", "a new file system", "a working directory"])
def test_a_directory_without_anything_is_taken(snapshot: Path, target: Path, beforehand: str) -> None:
    if beforehand == "empty":
        target.mkdir()
    elif beforehand == "a new file system":
        (target / "lost+found").mkdir(parents=True)
    elif beforehand == "a working directory":
        build_services(parse_settings(settings_for(target))).close()
    assert restored(target, snapshot) == {}
    assert held(target) == CONTENT


def test_what_is_no_snapshot_is_refused(snapshot: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "snapshots").mkdir(parents=True)
    for source in (tmp_path / "empty", snapshot.parent, snapshot / "results"):
        with pytest.raises(SettingsError, match="neither a snapshot"):
            restored(target, source)
    with pytest.raises(SettingsError, match="in each other"):
        restored(snapshot.parent.parent / "inside", snapshot.parent.parent)
    with pytest.raises(SettingsError, match="no working directory"):
        restore(parse_settings({}), snapshot, lambda path, reason: None)
    assert not target.exists()


def test_a_task_file_is_held_to_its_name(snapshot: Path, target: Path) -> None:
    """Though the manifest was made to tell another digest."""
    text = (snapshot / manifest.NAME).read_text()
    other = "0" * 40
    (snapshot / "tasks" / "0").mkdir()
    (snapshot / TASK_PATH).rename(snapshot / "tasks" / "0" / other)
    (snapshot / manifest.NAME).write_text(text.replace(TASK_PATH, f"tasks/0/{other}"))
    assert restored(target, snapshot).keys() == {manifest.NAME, f"tasks/0/{other}"}
