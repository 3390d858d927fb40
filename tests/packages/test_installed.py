"""The wheel, installed where no clone is, does all that the clone does."""

import json
from pathlib import Path

import pytest

from fileserver._version import __version__
from fileserver.deploy.rendering import FORMATS
from tests.packages.building import run
from tests.support.deployed import mkconfig
from tests.support.servers import REPOSITORY, free_port, running

pytestmark = pytest.mark.slow


def test_the_code_is_that_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import fileserver, json, sys; print(json.dumps([fileserver.__file__, *sys.path]))"
    paths = json.loads(run([installed / "python", "-c", program], tmp_path))
    assert paths[0].startswith(str(installed.parent))
    assert not [path for path in paths if path.startswith(str(REPOSITORY))]


def test_the_command_is_there(installed: Path, tmp_path: Path) -> None:
    assert __version__ in run([installed / "recodex-fileserver", "--version"], tmp_path)
    listed = run([installed / "recodex-fileserver", "--help"], tmp_path)
    assert all(f"\n  {command} " in listed for command in ("serve", "runserver", "health"))


@pytest.mark.parametrize("program", FORMATS)
def test_it_makes_configurations(installed: Path, tmp_path: Path, program: str) -> None:
    options = ["--access-log", "/var/log/a.log"] if program == "logrotate" else ["--working-directory", "/srv/work"]
    made = run([installed / "recodex-fileserver", "mkconfig", program, *options], tmp_path)
    assert made == mkconfig(program, *options, *of_the_environment(program, installed.parent))


def of_the_environment(program: str, virtual: Path) -> list[str]:
    """The option that names the environment, for programs which are told it."""
    return [] if program in ("nginx", "logrotate") else ["--virtualenv", str(virtual)]


@pytest.mark.server
def test_it_serves_with_templates_and_static_files(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    work = tmp_path / "work"
    command = [installed / "recodex-fileserver", "--directory", work, "serve", "--bind", f"127.0.0.1:{port}"]
    with running([str(word) for word in command], {}, work, port, folder=tmp_path) as server:
        assert server.put("/results/job1.zip", b"result").status == 200
        assert server.get("/results/job1.zip").body == b"result"
        assert server.get("/static/style.css").body == (REPOSITORY / "fileserver/web/static/style.css").read_bytes()
        assert b"<html" in server.get("/", {"Accept": "text/html"}).body
        assert "answers 200" in run(
            [installed / "recodex-fileserver", "health", f"http://127.0.0.1:{port}/healthz"], tmp_path
        )
