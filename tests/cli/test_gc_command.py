"""gc and trash, run as an admin runs them, beside a server that runs."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fileserver.cli.working import open_services
from fileserver.core.errors import SettingsError
from fileserver.core.settings import parse_settings
from fileserver.services import Services, build_services
from tests.cli.test_commands import EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE, run
from tests.maintenance.collecting import DATA, NAME, fill
from tests.maintenance.rot import rewrite
from tests.storage.sources import files, incoming, read_all, settings_for
from tests.storage.submitting import ARCHIVE, JOB
from tests.support.ageing import age
from tests.support.messages import sha1
from tests.support.servers import gunicorn_server

pytestmark = pytest.mark.slow

OTHER = sha1(b"other")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def services(root: Path) -> Iterator[Services]:
    """The server's services; they stay open while commands are run."""
    with closing(build_services(parse_settings(settings_for(root)))) as services:
        fill(services)
        age(root, 100)
        yield services


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_a_dry_run_prints_the_lines_of_the_real_one(services: Services, root: Path) -> None:
    env = {"FILESERVER_RESULT_DAYS": "10", "FILESERVER_ARCHIVE_DAYS": "10"}
    dry = run("gc", "--directory", root, "--dry-run", env=env)
    assert lines(dry.stdout)[:-1] == [
        f"delete submission_archives/{ARCHIVE}, {services.buckets['submission_archives'].info(ARCHIVE).st_size} bytes: "
        "last used 100.0 days ago, archive_days is 10",
        "trash results/job.zip, 6 bytes: stored 100.0 days ago, result_days is 10",
    ]
    assert "nothing was changed" in lines(dry.stdout)[-1]
    assert read_all(services.results.open("job.zip")) == b"result"
    real = run("--directory", root, "gc", env=env)
    assert lines(real.stdout)[:-1] == lines(dry.stdout)[:-1]
    assert lines(real.stdout)[-1].startswith("1 to the trash (6 bytes), 1 deleted (")
    assert (dry.returncode, real.returncode, dry.stderr, real.stderr) == (0, 0, "", "")
    assert not (root / "results" / "job.zip").exists()


def test_a_keep_list_from_standard_input(services: Services, root: Path) -> None:
    done = run("gc", "--directory", root, "--keep", "-", "--json", given=f"# ours\n{NAME}\n")
    assert json.loads(done.stdout)["removed"] == []
    done = run("gc", "--directory", root, "--keep", "-", "--json", "--max-unlisted", 100, given=f"{OTHER}\n")
    document = json.loads(done.stdout)
    (removed,) = document["removed"]
    assert (removed["bucket"], removed["key"], removed["size_bytes"]) == ("tasks", NAME, len(DATA))
    assert (removed["to_trash"], removed["error"]) == (True, "")
    assert (document["trashed"], document["trashed_bytes"], document["deleted"]) == (1, len(DATA), 0)
    assert (document["dry_run"], document["failed"], document["short_bytes"]) == (False, 0, 0)
    assert services.task_files.missing([NAME]) == [NAME]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (f"{OTHER}\n", "lacks 1 of 1 task files"),
        ("", "lacks 1 of 1 task files"),
        (f"{OTHER}\n{NAME}", "cut off"),
        (f"{NAME}\nnonsense\n", "line 2"),
    ],
)
def test_a_wrong_keep_list_does_nothing(services: Services, root: Path, given: str, told: str) -> None:
    done = run("gc", "--directory", root, "--keep", "-", given=given, env={"FILESERVER_RESULT_DAYS": "10"})
    assert done.returncode == EXIT_FAILED
    assert told in done.stderr
    assert done.stdout == ""
    assert (root / "results" / "job.zip").exists()
    assert services.task_files.missing([NAME]) == []


def test_an_old_keep_list_lets_newer_files_be(services: Services, root: Path, tmp_path: Path) -> None:
    (tmp_path / "keep").write_text(f"{NAME}\n{OTHER}\n")
    old = (tmp_path / "keep").stat().st_mtime - 200 * 86_400
    os.utime(tmp_path / "keep", (old, old))
    services.task_files.store(files({"new": b"new"}))
    age(root, 100)
    assert "tasks" not in run("gc", "--directory", root, "--keep", tmp_path / "keep").stdout
    os.utime(tmp_path / "keep")
    assert f"trash tasks/{sha1(b'new')}" in run("gc", "--directory", root, "--keep", tmp_path / "keep").stdout


def test_what_cannot_be_made_free_is_told(services: Services, root: Path) -> None:
    done = run("gc", "--directory", root, "--free-bytes", 1 << 60)
    assert done.returncode == EXIT_FAILED
    assert f"delete submission_archives/{ARCHIVE}" in done.stdout
    assert "too few" in done.stdout
    done = run("gc", "--directory", root, "--free-bytes", 1 << 60, "--json")
    document = json.loads(done.stdout)
    assert document["free_bytes"] + document["short_bytes"] == 1 << 60
    assert run("gc", "--directory", root, "--free-bytes", 1).returncode == 0


@pytest.mark.parametrize("arguments", [["--keep", "/nowhere"], ["--free-bytes", "-1"], ["--max-unlisted", "101"]])
def test_wrong_usage(services: Services, root: Path, arguments: list[str]) -> None:
    assert run("gc", "--directory", root, *arguments).returncode == EXIT_USAGE


@pytest.mark.parametrize("command", [["gc"], ["trash", "list"], ["trash", "empty"], ["trash", "restore", "x"]])
def test_a_wrong_directory_is_no_empty_one(tmp_path: Path, command: list[str]) -> None:
    done = run(*command, "--directory", tmp_path / "nowhere")
    assert done.returncode == EXIT_USAGE
    assert "is not a working directory" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_the_directory_of_another_user_is_refused(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command creates there, the server must be able to open."""
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(root).st_uid + 1)
    with pytest.raises(SettingsError, match="run this command as that user"), open_services(root, None):
        pass


def test_the_way_through_the_trash(services: Services, root: Path) -> None:
    env = {"FILESERVER_RESULT_DAYS": "10", "FILESERVER_SUBMISSION_DAYS": "10"}
    run("gc", "--directory", root, env=env)
    listed = run("trash", "list", "--directory", root)
    assert sorted(line.split("  ")[1] for line in lines(listed.stdout)) == [
        "results/job.zip, 6 bytes: stored 100.0 days ago, result_days is 10",
        f"submissions/{JOB}, 12 bytes: stored 100.0 days ago, submission_days is 10",
    ]
    held = {
        one["bucket"]: one for one in json.loads(run("trash", "list", "--directory", root, "--json").stdout)["held"]
    }
    assert (held["results"]["key"], held["results"]["size_bytes"]) == ("job.zip", 6)
    assert held["results"]["taken_at"].endswith("+00:00")
    services.results.store("job.zip", incoming(b"newer"))
    names = [held[bucket]["name"] for bucket in ("results", "submissions")]
    back = run("trash", "restore", "--directory", root, *names)
    assert back.returncode == EXIT_FAILED
    assert back.stderr == f"{names[0]}: something newer lies at results/'job.zip'\n"
    assert back.stdout == f"{names[1]}: submissions/{JOB} is back\n"
    assert [file.path for file in services.submissions.files(JOB)] == ["a", "b/c"]
    assert lines(run("trash", "empty", "--directory", root, "--older-than-days", 1).stdout) == [
        "0 deleted (0 bytes), 0 failed"
    ]
    age(root, 2)
    emptied = run("trash", "empty", "--directory", root, "--older-than-days", 1)
    assert emptied.stdout.startswith(f"delete trash/{names[0]}, 6 bytes: results/job.zip")
    assert run("trash", "list", "--directory", root).stdout == ""


def test_the_quarantine_has_the_same_way_back(services: Services, root: Path) -> None:
    bucket = services.buckets["results"]
    info = bucket.info("job.zip")
    version = (info.st_ino, info.st_mtime_ns)
    name = services.quarantine.take(
        "results", "job.zip", "damaged", lambda path: bucket.move_out("job.zip", path, version)
    )
    assert run("trash", "list", "--directory", root).stdout == ""
    listed = run("trash", "list", "--quarantine", "--directory", root)
    assert listed.stdout == f"{name}  results/job.zip, 6 bytes: damaged\n"
    assert run("trash", "restore", "--directory", root, name).returncode == EXIT_FAILED
    assert run("trash", "restore", "--quarantine", "--directory", root, name).returncode == 0
    assert read_all(services.results.open("job.zip")) == b"result"


def test_what_comes_back_damaged_is_told(services: Services, root: Path) -> None:
    rewrite(root / "results" / "job.zip", b"rot")
    assert run("check", "--directory", root, "--repair").returncode == EXIT_DAMAGED
    (held,) = services.quarantine.held()
    back = run("trash", "restore", "--quarantine", "--directory", root, held.name)
    assert (back.returncode, back.stdout) == (EXIT_DAMAGED, f"{held.name}: results/job.zip is back\n")
    assert "is not as it was stored: it has 3 bytes of 6" in back.stderr
    assert run("check", "--directory", root).returncode == EXIT_DAMAGED
    back = run("trash", "restore", "--quarantine", "--directory", root, "nothing")
    assert back.returncode == EXIT_FAILED


@pytest.mark.server
def test_a_running_server_keeps_its_promise(services: Services, root: Path) -> None:
    with gunicorn_server(root) as server:
        asked = server.request("POST", "/tasks/missing", json.dumps({"hashes": [NAME, OTHER]}).encode())
        assert asked.json() == {"missing": [OTHER]}
        done = run("gc", "--directory", root, "--keep", "-", "--max-unlisted", 100, given=f"{OTHER}\n")
        assert "tasks" not in done.stdout
        assert server.get(f"/tasks/{NAME}").body == DATA
        age(root, 15)
        done = run("gc", "--directory", root, "--keep", "-", "--max-unlisted", 100, given=f"{OTHER}\n")
        assert f"trash tasks/{NAME}, 4 bytes" in done.stdout
        assert server.get(f"/tasks/{NAME}").status == 404
        (name,) = (held.name for held in services.trash.held())
        assert run("trash", "restore", "--directory", root, name).returncode == 0
        assert server.get(f"/tasks/{NAME}").body == DATA
