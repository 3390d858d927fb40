"""The packages, made as `make dist` and `make rpm` make them, from a copy of the clone."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.cli.test_commands import environment
from tests.support.servers import REPOSITORY

BUILD_SECONDS = 300
SYSTEM_PYTHON = "/usr/bin/python3"
"""What the packages run on, as in the Makefile."""


def clean_environment() -> dict[str, str]:
    """As `environment`, without what make, pytest and an activated virtual environment leave there."""
    left = ("MAKE", "MFLAGS", "PYTEST", "PYTHON", "VIRTUAL_ENV", "COV")
    return {name: value for name, value in environment().items() if not name.startswith(left)}


def run(command: Sequence[object], folder: Path, given: str = "") -> str:
    """Run *command* in *folder* with *given* as input; returns what it prints. AssertionError with that if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clean_environment(),
        input=given,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done.stdout


def copy_of_the_clone(copy: Path) -> Path:
    """Copy what is in the clone, but not what git ignores, to the new folder *copy*."""
    listing = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], REPOSITORY)
    for name in filter(None, listing.split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    return copy


def make(copy: Path, *targets: str) -> None:
    """Make *targets* in a copy of the clone, with the tools and the wheels that are there already."""
    ready = copy / ".venv"
    if not ready.exists():
        ready.mkdir()
        if (wheels := Path(sys.prefix) / "wheels").is_dir():
            (ready / "wheels").symlink_to(wheels)
        for stamp in ("created", "installed", "installed-test"):
            (ready / stamp).touch()
    tools = [f"BIN={Path(sys.prefix) / 'bin'}", f"PYTHON={sys.executable}", f"SYSTEM_PYTHON={SYSTEM_PYTHON}"]
    run(["make", *tools, *targets], copy)


def install(wheel: Path, clone: Path, virtual: Path) -> Path:
    """Make a virtual environment that has *wheel* and what *clone* pins, from its wheels; returns its `bin`."""
    run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", virtual], clone)
    pip = [sys.executable, "-m", "pip", "--python", virtual, "install", "--quiet", "--no-index"]
    run([*pip, "--find-links", clone / ".venv" / "wheels", "--require-hashes", "-r", "requirements.txt"], clone)
    run([*pip, "--no-deps", wheel], clone)
    return virtual / "bin"


def members(package: Path) -> dict[str, bytes]:
    """The files in a wheel or sdist and their bytes, by their names without the folder of the sdist."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    found = {}
    with tarfile.open(package) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                found[member.name.partition("/")[2]] = file.read()
    return found


def files_below(folder: Path) -> set[str]:
    """The files and links below *folder*, from there."""
    return {
        os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in os.walk(folder) for name in names
    }
