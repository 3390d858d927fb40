"""The commands, run as a user runs them."""

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.servers import REPOSITORY, free_port, wait_until

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DAMAGED = 3
START_SECONDS = 30


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without settings and proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FILESERVER_") and not name.lower().endswith("_proxy")
    }
    return {**kept, **(extra or {})}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "fileserver.py", *map(str, arguments)]


def run(
    *arguments: object, env: Mapping[str, str] | None = None, given: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        env=environment(env),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
    )


def heed_signals() -> None:
    """A process that a shell has put into the background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Serving:
    """A running `runserver`."""

    def __init__(self, process: "subprocess.Popen[str]", output: Path) -> None:
        self.process = process
        self._output = output
        assert wait_until(lambda: process.poll() is not None or self._announced(), START_SECONDS), self.output
        found = re.search(r"^Serving (.*) on (http://127\.0\.0\.1:(\d+))$", self.output, re.MULTILINE)
        assert found, self.output
        self.directory = Path(found[1])
        self.url = found[2]
        self.port = int(found[3])
        assert wait_until(self._answers, START_SECONDS), self.output

    @property
    def output(self) -> str:
        return self._output.read_text()

    def _announced(self) -> bool:
        return "Ctrl-C" in self.output

    def _answers(self) -> bool:
        try:
            return self.get("/healthz") == b'{"status":"ok"}\n'
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        with urlopen(self.url + path, timeout=10) as response:
            return bytes(response.read())

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def runserver(tmp_path: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Iterator[Serving]:
    """Run the server with *arguments*; temporary directories are made in tmp_path/temporary."""
    (tmp_path / "temporary").mkdir(exist_ok=True)
    output = tmp_path / "output.txt"
    with (
        output.open("w") as file,
        subprocess.Popen(
            command(*arguments),
            cwd=REPOSITORY,
            env=environment({"TMPDIR": str(tmp_path / "temporary"), **(env or {})}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_signals,
        ) as process,
    ):
        try:
            yield Serving(process, output)
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()
    assert "Traceback" not in output.read_text()


pytestmark = pytest.mark.server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_temporary_directory_vanishes_with_the_server(tmp_path: Path, number: signal.Signals) -> None:
    with runserver(tmp_path, "runserver", 0) as serving:
        assert serving.directory.parent == tmp_path / "temporary"
        assert (serving.directory / "submissions").is_dir()
        assert serving.stop(number) == 0
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_stopped_server_leaves_no_process_on_its_port(tmp_path: Path) -> None:
    with runserver(tmp_path, "runserver", 0) as serving:
        assert serving.stop(signal.SIGTERM) == 0
        with pytest.raises(OSError, match="refused"):
            serving.get("/healthz")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_the_directory_is_an_option_before_and_after_the_command(tmp_path: Path, before: bool) -> None:
    option = ["--directory", tmp_path / "work"]
    arguments = [*option, "runserver", 0] if before else ["runserver", *option, 0]
    with runserver(tmp_path, *arguments) as serving:
        assert serving.directory == tmp_path / "work"
        assert (tmp_path / "work" / "submissions").is_dir()
        assert serving.stop(signal.SIGTERM) == 0
    assert (tmp_path / "work" / "submissions").is_dir()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_directory_may_come_from_the_environment_and_the_option_wins(tmp_path: Path) -> None:
    env = {"FILESERVER_WORKING_DIRECTORY": str(tmp_path / "environment")}
    with runserver(tmp_path, "runserver", 0, env=env) as serving:
        assert serving.directory == tmp_path / "environment"
    with runserver(tmp_path, "runserver", "--directory", tmp_path / "option", 0, env=env) as serving:
        assert serving.directory == tmp_path / "option"


def test_the_port_is_an_argument(tmp_path: Path) -> None:
    port = free_port()
    with runserver(tmp_path, "runserver", port) as serving:
        assert serving.port == port


def test_a_port_in_use_is_told_with_exit_status_1(tmp_path: Path) -> None:
    with runserver(tmp_path, "runserver", 0) as serving:
        second = run("runserver", serving.port, env={"TMPDIR": str(tmp_path / "temporary")})
        assert second.returncode == EXIT_FAILED
        assert str(serving.port) in second.stderr
        assert "Traceback" not in second.stderr
        assert list((tmp_path / "temporary").iterdir()) == [serving.directory]


def test_the_commands_to_try_work_as_they_are_printed(tmp_path: Path) -> None:
    folder = tmp_path / "try"
    folder.mkdir()
    with runserver(tmp_path, "runserver", 0) as serving:
        lines = [line.strip() for line in serving.output.splitlines() if re.match(" +.*curl ", line)]
        assert len(lines) == 5
        answers = []
        for line in lines:
            shell = subprocess.run(
                ["sh", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=30
            )
            assert shell.returncode == 0, (line, shell.stderr)
            answers.append(shell.stdout)
    assert '"archive_path":"/submission_archives/job1.zip"' in answers[0].replace(" ", "")
    assert "/exercises/" in answers[2]
    assert '"result":"OK"' in answers[3].replace(" ", "")
    with zipfile.ZipFile(folder / "job1.zip") as archive:
        assert archive.read("job1/main.c") == b"int main() { return 0; }\n"
    assert (folder / "result.zip").read_bytes() == (folder / "job1.zip").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "env", "named"),
    [
        (["runserver", "0"], {"FILESERVER_MAX_PART": "1"}, "max_part"),
        (["runserver", "0"], {"FILESERVER_MAX_PARTS": "many"}, "max_parts"),
        (["runserver", "0"], {"FILESERVER_SETTINGS": "/nowhere/settings.toml"}, "/nowhere/settings.toml"),
        (["runserver", "0"], {"FILESERVER_WORKING_DIRECTORY": "/proc/nowhere"}, "/proc/nowhere"),
        (["runserver", "0"], {"FILESERVER_HTPASSWD_FILE": "/nowhere/htpasswd"}, "htpasswd"),
        (["runserver", "--directory", "/proc/nowhere", "0"], {}, "/proc/nowhere"),
        (["shell"], {"FILESERVER_MAX_PART": "1"}, "max_part"),
        (["runserver", "--directory", "fileserver.py", "0"], {}, "fileserver.py"),
        (["runserver", "port"], {}, "port"),
        (["runserver", "65536"], {}, "65536"),
        (["runserver", "-1"], {}, "-1"),
        (["runserver", "1", "2"], {}, "2"),
        (["runserver", "--port", "1"], {}, "--port"),
        (["server"], {}, "server"),
        (["serve"], {}, "no working directory is set"),
    ],
)
def test_wrong_usage_and_settings_are_told_with_exit_status_2(
    tmp_path: Path, arguments: list[str], env: dict[str, str], named: str
) -> None:
    result = run(*arguments, env={"TMPDIR": str(tmp_path), **env})
    assert result.returncode == EXIT_USAGE
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--directory", "", "shell"], ["shell", "--directory", ""]], ids=str)
def test_an_empty_directory_is_refused_and_not_the_current_one(tmp_path: Path, arguments: list[str]) -> None:
    """As `--directory "$DIRECTORY"` gives it where the variable is not set."""
    script = [sys.executable, str(REPOSITORY / "fileserver.py"), *arguments]
    result = subprocess.run(
        script, cwd=tmp_path, env=environment(), input="", capture_output=True, text=True, timeout=60
    )
    assert list(tmp_path.iterdir()) == []
    assert result.returncode == EXIT_USAGE


@pytest.mark.parametrize("arguments", [[], ["runserver"], ["shell"], ["demo"]], ids=str)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_help_tells_the_exit_status(arguments: list[str], option: str) -> None:
    result = run(*arguments, option)
    assert result.returncode == 0
    assert "Exit status: 0 " in result.stdout
    assert result.stderr == ""


def test_the_version_is_that_of_the_package() -> None:
    import fileserver

    assert fileserver.__version__ in run("--version").stdout


SCRIPT = """
from fileserver.core.incoming import Incoming
from fileserver.core.names import SubmissionId
results.store("job.zip", Incoming(iter([b"content"])))
print("size", results.open("job.zip").size_bytes)
print("files", submissions.store(SubmissionId("job"), []), submissions.files("job"))
print("tasks", task_files.missing([]), "used", ledger.read()["results"].files)
print("rule", any(rule.rule == "/healthz" for rule in app.url_map.iter_rules()), settings.limits.max_parts)
print("others", attachments, staging.recover())
"""


def test_a_script_may_be_piped_into_the_shell(tmp_path: Path) -> None:
    result = run("--directory", tmp_path / "work", "shell", env={"FILESERVER_MAX_PARTS": "77"}, given=SCRIPT)
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
    assert str(tmp_path / "work") in result.stderr
    for line in ("size 7", "files None []", "tasks [] used 1", "rule True 77", "others <"):
        assert line in result.stdout
    assert (tmp_path / "work" / "results" / "job.zip").read_bytes() == b"content"


def test_the_shell_removes_its_temporary_directory(tmp_path: Path) -> None:
    result = run("shell", env={"TMPDIR": str(tmp_path)}, given="print(settings.storage.working_directory)\n")
    assert result.returncode == 0
    assert str(tmp_path) in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demo_plays_a_job_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    result = run("demo", env={"TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("checked:") >= 4
    assert result.stdout.endswith("The job is done.\n")
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_demo_does_not_touch_the_working_directory_of_the_user(tmp_path: Path) -> None:
    work = tmp_path / "work"
    result = run("demo", env={"FILESERVER_WORKING_DIRECTORY": str(work)})
    assert result.returncode == 0, result.stderr
    assert not work.exists()
