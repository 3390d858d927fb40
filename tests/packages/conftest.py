"""Fixtures: each package is built once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages.building import copy_of_the_clone, install, make, run
from tests.packages.containers import Stage, image
from tests.packages.machines import SHARED, Machine, machine

HTPASSWD = "/etc/recodex-fileserver/htpasswd"


def only(folder: Path, pattern: str) -> Path:
    """The one file in *folder* that matches *pattern*."""
    (found,) = folder.glob(pattern)
    return found


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone, with the wheel and the sdist in its `dist`; the rpm is made there, too."""
    copy = copy_of_the_clone(tmp_path_factory.mktemp("packages") / "clone")
    make(copy, "dist", ".venv/wheels")
    return copy


@pytest.fixture(scope="session")
def wheel(clone: Path) -> Path:
    return only(clone / "dist", "*.whl")


@pytest.fixture(scope="session")
def sdist(clone: Path) -> Path:
    return only(clone / "dist", "*.tar.gz")


@pytest.fixture(scope="session")
def rpm(clone: Path) -> Path:
    make(clone, "rpm")
    return only(clone / "dist", "*/*.rpm")


@pytest.fixture(scope="session")
def payload(rpm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the files of the rpm are unpacked, its root."""
    root = tmp_path_factory.mktemp("payload")
    run(["sh", "-euc", 'rpm2cpio "$1" | cpio --extract --make-directories --quiet', "sh", rpm], root)
    return root


@pytest.fixture(scope="session")
def installed(wheel: Path, clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a virtual environment that has the wheel and its requirements, and nothing else."""
    return install(wheel, clone, tmp_path_factory.mktemp("installed") / "virtual environment")


@pytest.fixture
def bare(rpm: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine with the rpm at hand."""
    with machine(tmp_path / "machine", rpm.parent) as made:
        yield made


@pytest.fixture
def host(bare: Machine, rpm: Path) -> Machine:
    """A machine with the rpm installed; what it needs is there, but not known to rpm on Debian."""
    bare.run("rpm", "--install", "--nodeps", SHARED / rpm.name)
    return bare


@pytest.fixture(scope="session")
def built(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with image(tmp_path_factory.mktemp("image"), clone) as made:
        yield made


@pytest.fixture
def container(built: Stage) -> Iterator[Stage]:
    """A container that has no users yet."""
    yield built
    built.machine.run("rm", "-f", HTPASSWD)
