"""What commands print when something fails: a message and an exit status, one whole JSON document, and no traceback."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from fileserver.cli import stats as stats_module
from fileserver.cli.main import cli
from fileserver.core.settings import parse_settings
from fileserver.maintenance.gc import Collector
from fileserver.maintenance.removals import Removal
from fileserver.services import Services, build_services
from tests.cli.test_commands import EXIT_FAILED, EXIT_USAGE, REPOSITORY, command, environment, run
from tests.maintenance.collecting import fill
from tests.storage.sources import settings_for

pytestmark = pytest.mark.slow

BROKEN = OSError(5, "Input/output error", "results")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def services(root: Path) -> Iterator[Services]:
    with closing(build_services(parse_settings(settings_for(root)))) as services:
        fill(services)
        yield services


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; its exit status and what it printed."""
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def _disk_fails_after_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gc remove one thing, and then meet a disk error."""

    def collect(*_: object) -> Iterator[Removal]:
        yield Removal("results", "job.zip", 6, "old", to_trash=True)
        raise BROKEN

    monkeypatch.setattr(Collector, "collect", collect)


@pytest.mark.usefixtures("_disk_fails_after_one")
def test_an_error_of_the_system_is_a_message(services: Services, root: Path) -> None:
    status, output, errors = invoke("gc", "--directory", root)
    assert (status, output) == (EXIT_FAILED, "trash results/job.zip, 6 bytes: old\n")
    assert errors == "Error: results: Input/output error\n"


@pytest.mark.usefixtures("_disk_fails_after_one")
def test_a_document_is_whole_and_tells_the_error(services: Services, root: Path) -> None:
    status, output, errors = invoke("gc", "--directory", root, "--json")
    assert (status, errors) == (EXIT_FAILED, "Error: results: Input/output error\n")
    told = json.loads(output)
    assert [removed["key"] for removed in told.pop("removed")] == ["job.zip"]
    assert told == {"completed": False, "error": "results: Input/output error"}


def test_an_error_while_counting_is_a_message(services: Services, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def growth(*_: object) -> None:
        raise BROKEN

    monkeypatch.setattr(stats_module, "growth", growth)
    assert invoke("stats", "--directory", root) == (EXIT_FAILED, "", "Error: results: Input/output error\n")


@pytest.mark.parametrize("name", ["gc", "stats", "trash list", "trash empty"])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_output_that_finds_no_room_is_a_message(services: Services, root: Path, name: str, flags: list[str]) -> None:
    flags = [] if name == "trash empty" else flags
    hold(services, "y.zip")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(*name.split(), "--directory", root, *flags),
            cwd=REPOSITORY,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (EXIT_FAILED, "Error: No space left on device\n")


def test_nobody_who_reads_on_is_no_error(services: Services, root: Path) -> None:
    with subprocess.Popen(
        command("stats", "--directory", root),
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == EXIT_FAILED


@pytest.fixture
def unreadable(services: Services) -> str:
    """The name of something in the trash whose note is damaged."""
    name = services.trash.take("results", "x.zip", "old", lambda target: bool(target.write_bytes(b"12345")))
    assert name
    (services.trash.root / name / "note.json").write_text('{"bucket": "a", "key": "b", "reason": "", "taken_at": NaN}')
    return name


def hold(services: Services, key: str) -> str:
    name = services.trash.take("results", key, "old", lambda target: bool(target.write_bytes(b"123")))
    assert name
    return name


def test_what_cannot_be_read_is_listed(services: Services, root: Path, unreadable: str) -> None:
    held = hold(services, "y.zip")
    listed = run("trash", "list", "--directory", root)
    assert listed.stdout == (
        f"{held}  results/y.zip, 3 bytes: old\n{unreadable}  UNREADABLE: its note.json is damaged\n"
    )
    document = run("trash", "list", "--directory", root, "--json")
    told = json.loads(document.stdout)
    assert [one["name"] for one in told["held"]] == [held]
    assert told["unreadable"] == [{"name": unreadable, "error": "its note.json is damaged"}]
    assert (listed.returncode, document.returncode, listed.stderr, document.stderr) == (
        EXIT_FAILED,
        EXIT_FAILED,
        "",
        "",
    )


def test_what_cannot_be_read_stops_nothing_and_is_told(services: Services, root: Path, unreadable: str) -> None:
    hold(services, "y.zip")
    done = run("gc", "--directory", root)
    assert done.returncode == EXIT_FAILED
    assert done.stdout.startswith(f"FAILED (its note.json is damaged): delete trash/{unreadable}")
    emptied = run("trash", "empty", "--directory", root)
    assert emptied.returncode == EXIT_FAILED
    assert emptied.stdout.splitlines()[-1] == "1 deleted (3 bytes), 1 failed"
    assert services.trash.names() == [unreadable]


def test_it_is_deleted_by_its_name(services: Services, root: Path, unreadable: str) -> None:
    held, other = hold(services, "y.zip"), hold(services, "z.zip")
    done = run("trash", "empty", "--directory", root, unreadable, held)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 deleted (8 bytes), 0 failed")
    assert services.trash.names() == [other]
    done = run("trash", "empty", "--directory", root, "../results", "/", held)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (EXIT_FAILED, "0 deleted (0 bytes), 3 failed")
    assert (root / "results" / "job.zip").exists()
    assert run("trash", "empty", "--directory", root, other, "--older-than-days", 1).returncode == EXIT_USAGE
    assert run("trash", "empty", "--directory", root, "--older-than-days", 10**30).returncode == EXIT_USAGE
    assert services.trash.names() == [other]


def test_the_quarantine_is_emptied_when_it_is_asked_for(services: Services, root: Path) -> None:
    held = hold(services, "y.zip")
    services.quarantine.take("results", "x.zip", "damaged", lambda target: bool(target.write_bytes(b"12345")))
    assert run("trash", "empty", "--directory", root, "--quarantine", "--older-than-days", 1).returncode == 0
    assert len(services.quarantine.names()) == 1
    done = run("trash", "empty", "--directory", root, "--quarantine")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 deleted (5 bytes), 0 failed")
    assert services.quarantine.names() == []
    assert services.trash.names() == [held]
