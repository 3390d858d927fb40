"""The wheel and the sdist: what is in them, and what they say of themselves."""

import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement

from fileserver._version import __version__
from tests.packages.building import files_below, members, run
from tests.packages.conftest import only
from tests.support.servers import REPOSITORY

pytestmark = pytest.mark.slow

INFORMATION = f"recodex_fileserver-{__version__}.dist-info"


def metadata(wheel: Path) -> Metadata:
    """Raises if a field is not as the specification of metadata wants it, as an index would refuse it."""
    return Metadata.from_email(members(wheel)[f"{INFORMATION}/METADATA"], validate=True)


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path, clone: Path) -> None:
    package = {f"fileserver/{name}" for name in files_below(clone / "fileserver")}
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}
    assert set(members(wheel)) == package | {f"{INFORMATION}/{name}" for name in about}


def test_the_wheel_fits_every_machine(wheel: Path) -> None:
    assert wheel.name == f"recodex_fileserver-{__version__}-py3-none-any.whl"


def test_the_sdist_is_the_project(sdist: Path, clone: Path) -> None:
    top = {".gitignore", ".ci/run"}  # of the clone only
    made = {"PKG-INFO", "setup.cfg"}
    unversioned = (".venv/", "build/", "dist/", "recodex_fileserver.egg-info/")
    written = files_below(clone) - top
    expected = {name for name in written if not name.startswith(unversioned)}
    found = {name for name in members(sdist) if not name.startswith("recodex_fileserver.egg-info/")}
    assert found == expected | made


def test_the_sdist_makes_the_same_wheel_as_the_clone(
    sdist: Path, wheel: Path, clone: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir"]
    for number, source in enumerate((clone, only(tmp_path, "recodex*"))):
        run([*build, tmp_path / f"out{number}", source], tmp_path)
        made = only(tmp_path / f"out{number}", "*.whl")
        assert (made.name, members(made)) == (wheel.name, members(wheel))


def test_the_metadata_is_right(wheel: Path) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    said = metadata(wheel)
    assert (said.name, str(said.version), said.summary) == ("recodex-fileserver", __version__, project["description"])
    assert (said.license_expression, said.license_files) == ("MIT", ["LICENSE"])
    assert (said.description, said.description_content_type) == (
        (REPOSITORY / "README.md").read_text(),
        "text/markdown",
    )
    needed = {item for item in said.requires_dist or [] if item.marker is None}
    assert needed == {Requirement(item) for item in project["dependencies"]}
    assert (
        f"recodex-fileserver = {project['scripts']['recodex-fileserver']}"
        in members(wheel)[f"{INFORMATION}/entry_points.txt"].decode()
    )


def test_what_is_pinned_is_what_the_wheel_needs(wheel: Path) -> None:
    pinned = dict(
        line.split(" ")[0].split("==")
        for line in (REPOSITORY / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    for needed in metadata(wheel).requires_dist or []:
        if needed.marker is None:
            assert needed.specifier.contains(pinned[needed.name.lower()]), needed
