"""docs/deployment.md: an installation by its very commands, in another place, serves."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.credentials import write_htpasswd
from tests.support.embedded import apache_server, reachable_folder, uwsgi_server
from tests.support.gaps import not_possible
from tests.support.messages import fresh_bytes
from tests.support.servers import REPOSITORY

pytestmark = [pytest.mark.server, pytest.mark.slow]

PAGE = REPOSITORY / "docs" / "deployment.md"
SERVERS = {"apache": apache_server, "uwsgi": uwsgi_server}


def commands(kind: str) -> str:
    """The commands of the page that are marked as *kind*."""
    blocks = re.findall(rf"^```sh {kind}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks, kind
    return "".join(blocks)


def run(script: str, root: Path) -> None:
    """Run *script* in a copy of the sources, with its absolute paths below *root*."""
    script = re.sub(r"(?<![\w/])/(opt|srv|etc)/", rf"{root}/\1/", script)
    done = subprocess.run(["sh", "-euc", script], cwd=root / "clone", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A folder with what the commands of the page have made."""
    if os.geteuid():
        not_possible("installing for another user needs root")
    with reachable_folder() as root:
        shutil.copytree(REPOSITORY / "fileserver", root / "clone" / "fileserver", ignore=lambda *_: ["__pycache__"])
        for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / name, root / "clone")
        for folder in ("opt", "srv", "etc/apache2/sites-available", "etc/uwsgi/apps-available"):
            (root / folder).mkdir(parents=True)
        for path in ("etc/apache2/fileserver.htpasswd", "etc/fileserver.htpasswd"):
            write_htpasswd(root / path)
        run(commands("install"), root)
        yield root


@pytest.mark.parametrize("target", SERVERS)
def test_the_documented_installation(root: Path, target: str):
    run(commands(target), root)
    [made] = (root / "etc").rglob("fileserver.conf" if target == "apache" else "fileserver.ini")
    assert str(root / "opt" / "fileserver") in made.read_text()
    env = {"FILESERVER_HTPASSWD_FILE": str(root / "etc" / "fileserver.htpasswd")}
    environment = root / "opt" / "fileserver"
    directory = root / "srv" / f"fileserver-{target}"
    with SERVERS[target](directory, env=env, environment=environment) as server:
        body = fresh_bytes()
        headers = {"Authorization": "Basic d29ya2VyOnNlY3JldA=="}
        assert server.put("/results/a.zip", body, headers).status == 200
        assert server.get("/results/a.zip", headers).body == body
        assert server.get("/results/a.zip").status == 401
