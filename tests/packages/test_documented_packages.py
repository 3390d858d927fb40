"""docs/packages.md: its commands, run as they are written there."""

import re
import shlex
from pathlib import Path

import pytest

from fileserver._version import __version__
from tests.packages.building import run
from tests.packages.containers import VOLUMES, Stage
from tests.packages.machines import SHARED, Machine, machine
from tests.packages.test_rpm_installed import service
from tests.support.servers import REPOSITORY, free_port, running

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / "docs" / "packages.md"
IMAGE = "recodex-fileserver"
PASSWORD = "a long secret\n"


def commands(kind: str) -> list[str]:
    """The commands of the page that are marked as *kind*."""
    blocks = re.findall(rf"^```sh {kind}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks, kind
    return "".join(blocks).replace("\\\n", "").splitlines()


def test_the_wheel(clone: Path, tmp_path: Path) -> None:
    pins = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(SHARED / ".venv" / "wheels")}
    with machine(tmp_path / "machine", clone) as host:
        printed = [host.run("sh", "-euc", line, env=pins, folder=SHARED) for line in commands("wheel")]
    assert __version__ in printed[-1]


def test_the_rpm(host: Machine) -> None:
    for line in commands("rpm"):
        command = f"{line} --password-stdin" if "user add" in line else line
        printed = host.run("sh", "-euc", command, given=PASSWORD)
    assert re.findall(r"(?m)^(\w+) +(\w+) +bcrypt$", printed) == [("api", "api"), ("worker1", "worker")]


def test_the_paths_of_the_rpm(rpm: Path) -> None:
    told = re.findall(r"^\| `(/[^`]*)`", PAGE.read_text(), re.MULTILINE)
    installed = run(["rpm", "--query", "--package", "--list", rpm], rpm.parent).splitlines()
    assert len(told) == 7
    assert [path for path in told if path.removesuffix("/access.log") not in installed] == []


@pytest.mark.server
def test_the_running_rpm(host: Machine, tmp_path: Path) -> None:
    with service(host, tmp_path):
        for line in commands("rpm running"):
            assert "Results" in host.run("sh", "-euc", line)


@pytest.mark.server
def test_the_container(container: Stage, tmp_path: Path) -> None:
    _, add, serve, execute = (shlex.split(line) for line in commands("container"))
    words = add[add.index(IMAGE) + 1 :]
    run(container.command(*words, "--password-stdin"), REPOSITORY, given=PASSWORD)
    port = free_port()
    words = [word.replace(":9999", f":{port}") for word in container.words("CMD")]
    with running(container.command(*words), {}, tmp_path / "work", port):
        assert "Results" in run(container.command(*execute[execute.index(IMAGE) + 1 :]), REPOSITORY)
    assert serve[-1] == IMAGE, "CMD says the rest"
    assert container.said["EXPOSE"] in serve[serve.index("--publish") + 1].split(":")
    assert {"--read-only", "--tmpfs"} <= set(serve), "as the container of this test"


def test_the_volumes_of_the_container(container: Stage) -> None:
    mounted = {word.partition(":")[2] for word in shlex.split(" ".join(commands("container"))) if ":/" in word}
    assert mounted == set(VOLUMES)
    owners = container.machine.run("stat", "--format=%u:%g %a", *VOLUMES)
    assert owners == "10001:10001 750\n" * 2, "which new volumes get"
