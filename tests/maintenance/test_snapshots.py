"""The folder of backups: where it may lie, and the order of what is in it."""

import os
from pathlib import Path

import pytest

from fileserver.core.errors import NotReady, ReserveReached, SettingsError
from fileserver.maintenance import manifest
from fileserver.maintenance.snapshots import newest_snapshot
from fileserver.services import Services
from fileserver.storage import staging
from fileserver.storage.usage import Usage
from tests.maintenance.snapshots import CONTENT, Backups, Watch, fill
from tests.storage.sources import incoming


def test_a_clock_that_was_set_back_does_not_make_the_last_snapshot_an_older_one(
    services: Services, backups: Backups, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = backups.folder / "snapshots"
    later = snapshots / "29990101T000000.999999Z"
    backups.make().snapshot.rename(later)
    fill(services)
    made = [backups.make() for _ in range(2)]
    assert [result.snapshot.name for result in made] == ["29990101T000001.000000Z", "29990101T000001.000001Z"]
    assert [result.linked for result in made] == [Usage(0, 0), Usage(len(CONTENT), sum(map(len, CONTENT.values())))]
    assert newest_snapshot(snapshots) == made[-1].snapshot
    assert "is the clock right?" in caplog.text


@pytest.mark.parametrize("name", ["29991399T000000.000000Z", "29990101T000000.0Z", "notes"])
def test_what_is_not_named_by_a_time_is_no_snapshot(backups: Backups, name: str) -> None:
    snapshot = backups.make().snapshot
    snapshot.with_name(name).mkdir()
    (snapshot.with_name(name) / manifest.NAME).write_bytes(b"")
    assert newest_snapshot(snapshot.parent) == snapshot
    assert backups.make().snapshot.name.startswith("20")


def test_folders_that_lie_in_each_other_are_refused(services: Services, root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    for folder in (root, root / "backups", root / "results" / "x", tmp_path, tmp_path / "link" / "backups"):
        with pytest.raises(SettingsError, match="in each other"):
            Backups(services, folder).make()
    assert not (root / "backups").exists()


def test_another_working_directory_is_no_place_for_backups(services: Services, tmp_path: Path) -> None:
    (tmp_path / "other" / "staging").mkdir(parents=True)
    with pytest.raises(SettingsError, match="is a working directory"):
        Backups(services, tmp_path / "other").make()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["staging"]


def test_a_second_backup_at_once_is_refused(services: Services, backups: Backups) -> None:
    fill(services)
    refused: list[str] = []

    def another() -> None:
        with pytest.raises(NotReady) as error:
            Backups(services, backups.folder).make()
        refused.append(str(error.value))

    result = backups.make(Watch(another))
    assert set(refused) == {"another backup into this folder is running"}
    assert os.listdir(backups.folder / "snapshots") == [result.snapshot.name]


@pytest.mark.parametrize("size_bytes", [900, 901])
def test_the_reserve_of_free_space_is_kept(
    services: Services, backups: Backups, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    """A file is not even begun that would leave less than the reserve, here 2 % of 5000 bytes."""
    services.results.store("large.zip", incoming(bytes(size_bytes)))
    monkeypatch.setattr(staging, "free_and_total_bytes", lambda _: (1000, 5000))
    watch = Watch()
    if size_bytes == 900:
        assert backups.make(watch).copied == Usage(1, 900)
        return
    with pytest.raises(ReserveReached, match="901 bytes more would leave less than 100 bytes free"):
        backups.make(watch)
    assert (watch.bytes_read, os.listdir(backups.folder / "snapshots"), backups.staged()) == (0, [], [])
