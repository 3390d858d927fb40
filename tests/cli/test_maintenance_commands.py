"""`backup`, `restore` and `stats`, run as an admin runs them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fileserver.core.settings import parse_settings
from fileserver.services import build_services
from tests.cli.test_commands import EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE, run
from tests.maintenance.snapshots import CONTENT, TASK_PATH, fill, flip, held
from tests.storage.sources import settings_for
from tests.support.gaps import not_possible
from tests.support.servers import gunicorn_server

pytestmark = pytest.mark.slow


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working directory with something of each resource."""
    root = tmp_path / "work"
    with closing(build_services(parse_settings(settings_for(root)))) as services:
        fill(services)
    return root


def made(backups: Path) -> list[Path]:
    return sorted((backups / "snapshots").iterdir())


def test_backup_and_restore_as_text(work: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        result = run("--directory", work, "backup", tmp_path / "backups")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(f"{made(tmp_path / 'backups')[-1]}: ")
        assert f"{len(CONTENT)} files" in result.stdout.split(" copied" if number == 1 else ", ")[number - 1]
    result = run("restore", "--directory", tmp_path / "restored", tmp_path / "backups")
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [
        ["results", "1"],
        ["submissions", "1"],
        ["attachments", "1"],
        ["tasks", "1"],
    ]
    assert held(tmp_path / "restored") == CONTENT


def test_damage_is_told_and_is_the_exit_status(work: Path, tmp_path: Path) -> None:
    flip(work / "results/job.zip")
    result = run("backup", "--directory", work, tmp_path / "backups")
    assert result.returncode == EXIT_DAMAGED
    assert result.stderr.startswith("results/job.zip: ")
    flip(made(tmp_path / "backups")[0] / TASK_PATH)
    result = run("restore", "--directory", tmp_path / "restored", tmp_path / "backups", "--json")
    assert (result.returncode, result.stderr) == (EXIT_DAMAGED, "")
    told = json.loads(result.stdout)
    assert [problem["path"] for problem in told["problems"]] == [TASK_PATH]
    assert told["restored"].keys() == {"submissions", "attachments"}
    assert told["completed"]


def test_wrong_usage_is_refused(work: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments in (
        ("backup", "--directory", work, work / "backups"),
        ("backup", "--directory", tmp_path / "empty", tmp_path / "backups"),
        ("backup", "--directory", work, tmp_path / "backups", "--max-bytes-per-second", 0),
        ("restore", "--directory", work, tmp_path / "empty"),
        ("restore", "--directory", tmp_path / "restored", tmp_path / "missing"),
        ("stats", "--directory", tmp_path / "empty"),
        ("stats", "--directory", work, "--days", 0),
    ):
        result = run(*arguments)
        assert (result.returncode, result.stdout) == (EXIT_USAGE, ""), arguments
        assert "Traceback" not in result.stderr
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "restored").exists()


def test_a_destination_that_cannot_be_written_is_told(work: Path) -> None:
    result = run("backup", "--directory", work, "/proc/backups")
    assert result.returncode == EXIT_FAILED
    assert result.stderr.startswith("Error: /proc/backups cannot be made a folder for backups: ")
    assert "Traceback" not in result.stderr


@contextmanager
def small_file_system(folder: Path, options: str) -> Iterator[Path]:
    """Another file system at *folder*, which goes at the end."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        not_possible("another file system for a backup: this machine does not let tests mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_the_destination_may_be_another_file_system(work: Path, tmp_path: Path) -> None:
    with small_file_system(tmp_path / "other", "size=16m") as folder:
        for _ in range(2):
            assert run("backup", "--directory", work, folder).returncode == 0
        assert run("restore", "--directory", tmp_path / "restored", folder).returncode == 0
    assert held(tmp_path / "restored") == CONTENT


def test_a_full_destination_is_told_and_left_clean(work: Path, tmp_path: Path) -> None:
    (work / "results" / "large.zip").write_bytes(os.urandom(2 << 20))
    with small_file_system(tmp_path / "other", "size=1m") as folder:
        result = run("backup", "--directory", work, folder)
        assert (result.returncode, result.stdout) == (EXIT_FAILED, "")
        assert result.stderr.startswith("Error: ")
        assert made(folder) == []
        assert os.listdir(folder / "staging") == [".locks"]


def test_stats_of_a_directory_that_nobody_serves(work: Path) -> None:
    told = json.loads(run("stats", "--directory", work, "--days", 2, "--json").stdout)
    assert told["in_use_since"] is None
    assert {name: counts["files"] for name, counts in told["resources"].items()} == {
        "results": 1,
        "submission_archives": 1,
        "submissions": 1,
        "attachments": 1,
        "task_files": 1,
    }
    assert told["bytes_used"] == sum(counts["size_bytes"] for counts in told["resources"].values())
    assert told["bytes_free"] > 0
    assert told["trash"] == told["quarantine"] == {"files": 0, "size_bytes": 0}
    assert told["days"][-1] == {"day": str(datetime.now(UTC).date()), **told["resources"]}


def test_stats_as_text(work: Path) -> None:
    result = run("stats", "--directory", work, "--days", 3)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["Results", "1", "8", "bytes"]
    assert lines[10].split() == ["In", "use", "by", "nobody", "else"]
    assert "modification" in result.stdout
    days = [line for line in lines if line.startswith("2")]
    assert len(days) == 3
    assert days[-1].split()[:4] == [str(datetime.now(UTC).date()), "1", "8", "bytes"]
    assert set(days[0].split()[1:]) == {"-"}
    assert all(len(line) <= 120 and line == line.rstrip() for line in lines)


@pytest.mark.server
def test_stats_of_a_server_that_runs(tmp_path: Path) -> None:
    with gunicorn_server(tmp_path / "work") as server:
        assert server.put("/results/a.zip", b"12345").status == 200
        told = json.loads(run("stats", "--directory", server.directory, "--json").stdout)
        page = server.get("/", {"Accept": "application/json"}).json()
    assert told["in_use_since"] == page["started_at"]
    assert told["resources"]["results"] == {"files": 1, "size_bytes": 5}


def test_a_backup_may_be_made_by_ordinary_tools_from_a_snapshot(work: Path, tmp_path: Path) -> None:
    """A copy of a snapshot elsewhere, without its digests in extended attributes, is as good."""
    assert run("backup", "--directory", work, tmp_path / "backups").returncode == 0
    shutil.copytree(made(tmp_path / "backups")[0], tmp_path / "copy")
    assert run("restore", "--directory", tmp_path / "restored", tmp_path / "copy").returncode == 0
    assert held(tmp_path / "restored") == CONTENT
