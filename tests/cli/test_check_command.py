"""The command `check`: what it tells, its exit status, and that it may be run beside a server."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fileserver.cli import check as check_module
from fileserver.cli.main import cli
from fileserver.core.settings import parse_settings
from fileserver.maintenance.check import Check
from fileserver.maintenance.findings import Finding, Findings, Kind
from fileserver.services import build_services
from tests.maintenance.rot import FILE_PATHS, FILLED_FILES, TASK, TASK_SHA1, edit, fill, flip_bit, refuse, rewrite
from tests.support.hammer import Hammer
from tests.support.messages import fresh_bytes, sha1
from tests.support.servers import gunicorn_server

SOUND, INCOMPLETE, USAGE, DAMAGED = 0, 1, 2, 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A working directory with something of everything, without a server."""
    root = tmp_path / "work"
    with closing(build_services(parse_settings({"storage": {"working_directory": root}}))) as services:
        fill(services)
    return root


def run(root: Path, *arguments: str) -> Result:
    return CliRunner(env={"FILESERVER_WORKING_DIRECTORY": None}).invoke(
        cli, ["check", "--directory", str(root), *arguments]
    )


def document(result: Result) -> dict[str, Any]:
    return json.loads(result.stdout)


@pytest.mark.parametrize("arguments", [[], ["--read-data"], ["--repair"], ["--read-data", "--repair"]], ids=" ".join)
def test_a_sound_directory_is_one_line_and_exit_status_0(root: Path, arguments: list[str]) -> None:
    result = run(root, *arguments)
    assert (result.exit_code, result.stderr) == (SOUND, "")
    assert re.fullmatch(rf"{FILLED_FILES} files checked, .* 0 damaged, .*\n", result.stdout)


def test_each_damage_is_a_line_and_exit_status_3(root: Path) -> None:
    for path in FILE_PATHS.values():
        flip_bit(root / path)
    assert run(root).exit_code == SOUND
    result = run(root, "--read-data")
    assert result.exit_code == DAMAGED
    lines = result.stdout.splitlines()
    assert len(lines) == len(FILE_PATHS) + 1
    assert all(line.startswith("damaged ") for line in lines[:-1])
    [line] = [line for line in lines if f"tasks/{TASK_SHA1}" in line]
    assert line.endswith(f"upload a task file with the SHA-1 {TASK_SHA1} again")
    assert " 5 damaged," in lines[-1]


def test_warnings_are_lines_and_exit_status_0(root: Path) -> None:
    edit(root / FILE_PATHS["result"], b"edited")
    (root / "results" / "line\nfeed").write_bytes(b"")
    result = run(root)
    assert result.exit_code == SOUND
    assert sorted(line.split()[0] for line in result.stdout.splitlines()[:-1]) == ["changed", "foreign"]
    assert "line\\nfeed" in result.stdout
    assert " 2 warnings" in result.stdout


def test_what_a_dead_process_left_is_removed_as_by_each_command(root: Path) -> None:
    dead = root / "staging" / ("a" * 32)
    dead.mkdir()
    assert run(root).exit_code == SOUND
    assert not dead.exists()


def test_exit_status_after_a_repair_tells_what_an_upload_must_heal(root: Path) -> None:
    flip_bit(root / FILE_PATHS["submission"])
    healed = run(root, "--read-data", "--repair")
    assert healed.exit_code == SOUND
    assert "healed from its archive" in healed.stdout
    flip_bit(root / FILE_PATHS["result"])
    lost = run(root, "--read-data", "--repair")
    assert lost.exit_code == DAMAGED
    assert "moved to quarantine/" in lost.stdout
    assert "send results/job.zip again" in lost.stdout
    assert run(root, "--read-data").exit_code == SOUND


def test_the_json_document_tells_the_same(root: Path) -> None:
    flip_bit(root / FILE_PATHS["submission"])
    flip_bit(root / FILE_PATHS["task file"])
    os.removexattr(root / FILE_PATHS["result"], "user.sha256")
    result = run(root, "--read-data", "--repair", "--json")
    told = document(result)
    assert (result.exit_code, result.stderr) == (DAMAGED, "")
    assert told.keys() == {"completed", "findings", "counts", "bytes_read", "seconds"}
    assert told["completed"] is True
    assert told["bytes_read"] > len(TASK)
    assert told["seconds"] >= 0
    counts = {"damaged": 1, "mended": 1, "warnings": 0, "files": FILLED_FILES, "unverified": 0, "recorded": 1}
    assert counts.items() <= told["counts"].items()
    task, submission = sorted(told["findings"], key=lambda finding: finding["bucket"], reverse=True)
    assert (task["bucket"], task["key"], task["kind"], task["mended"]) == ("tasks", TASK_SHA1, "damaged", False)
    assert TASK_SHA1 in task["heals"]
    assert (submission["path"], submission["severity"], submission["mended"]) == ("bar/baz/bah.txt", "damage", True)
    again = document(run(root, "--read-data", "--json"))
    assert (again["findings"], again["counts"]["damaged"]) == ([], 0)


def test_all_subsets_together_check_every_file_once(root: Path) -> None:
    counted = [document(run(root, "--json", "--subset", f"{number}/4"))["counts"]["files"] for number in range(1, 5)]
    assert sum(counted) == FILLED_FILES


def test_the_speed_of_reading_can_be_limited(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    original = check_module.Pace
    monkeypatch.setattr(check_module, "Pace", lambda limit: given.append(limit) or original(limit))
    assert run(root, "--read-data", "--max-bytes-per-second", "1000000000").exit_code == SOUND
    assert given == [1_000_000_000]


def test_what_may_not_be_read_is_exit_status_1_unless_something_is_damaged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "picture")
    result = run(root, "--read-data", "--repair")
    assert result.exit_code == INCOMPLETE
    assert "unreadable attachments/picture: it cannot be looked at: Permission denied" in result.stdout
    assert " 1 unreadable" in result.stdout
    told = document(run(root, "--json"))
    assert (told["completed"], told["counts"]["unreadable"]) == (False, 1)
    rewrite(root / FILE_PATHS["submission"], b"")
    assert run(root).exit_code == DAMAGED


def test_an_error_ends_the_check_with_exit_status_1(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(check: Check) -> Iterator[Findings]:
        yield [Finding(Kind.STALE, "submission_archives", "first", "it is the first")]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Check, "run", fail)
    result = run(root)
    assert (result.exit_code, "No space left" in result.stderr, "first" in result.stdout) == (INCOMPLETE, True, True)
    result = run(root, "--json")
    assert result.exit_code == INCOMPLETE
    assert (document(result)["completed"], len(document(result)["findings"])) == (False, 1)


def test_the_json_document_is_printed_while_it_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []

    def find(check: Check) -> Iterator[Findings]:
        for number in range(3):
            assert sum('"kind"' in text for text in printed) == number
            yield [Finding(Kind.STALE, "submission_archives", "key", "it is stale")]

    monkeypatch.setattr(Check, "run", find)
    monkeypatch.setattr("click.echo", lambda text, **_: printed.append(text))
    assert run(root, "--json").exit_code == SOUND
    assert len(json.loads("".join(printed))["findings"]) == 3


@pytest.mark.parametrize("subset", ["0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/3/5", ""])
def test_a_subset_that_makes_no_sense_is_refused(root: Path, subset: str) -> None:
    result = run(root, "--subset", subset)
    assert result.exit_code == USAGE
    assert "--subset" in result.stderr


def test_a_directory_that_is_none_is_refused_and_not_made(tmp_path: Path) -> None:
    result = run(tmp_path / "wrong")
    assert result.exit_code == USAGE
    assert "wrong" in result.stderr
    assert not (tmp_path / "wrong").exists()


def test_the_help_tells_the_exit_status() -> None:
    text = " ".join(CliRunner().invoke(cli, ["check", "--help"]).stdout.split())
    assert "Exit status: 0 " in text
    assert "3 something is damaged" in text


@pytest.mark.server
def test_check_and_repair_beside_a_running_server(tmp_path: Path) -> None:
    with gunicorn_server(tmp_path / "work") as server:
        contents = [fresh_bytes(300) for _ in range(3)]

        def write() -> None:
            for content in contents:
                assert server.submit("busy", {"a": content, "b/c": content}).status == 200
                assert server.put("/results/busy.zip", content).status == 200
                assert server.post_form("/tasks", {"a": content}).status == 200
            server.delete("/submissions/busy")

        with Hammer(write, threads=2):
            for arguments in ([], ["--read-data"], ["--read-data", "--repair"]):
                for _ in range(4):
                    result = run(server.directory, *arguments, "--json")
                    assert (result.exit_code, document(result)["findings"]) == (SOUND, [])
        content = fresh_bytes(1000)
        assert server.submit("still", {"a": content}).status == 200
        assert server.post_form("/tasks", {"a": content}).status == 200
        task = f"/tasks/{sha1(content)}"
        flip_bit(server.directory / "tasks" / sha1(content)[0] / sha1(content))
        flip_bit(server.directory / "submissions" / "still" / "a")
        assert run(server.directory, "--read-data", "--repair").exit_code == DAMAGED
        assert server.get("/submissions/still/a").body == content
        assert server.get(task).status == 404
        assert server.post_form("/tasks", {"a": content}).status == 200
        assert server.get(task).body == content
        assert run(server.directory, "--read-data").exit_code == SOUND
