"""The rpm as it lies there: its files and who may read them, its scriptlets, and what it needs."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from fileserver._version import __version__
from fileserver.core.settings import parse_settings
from tests.packages.building import SYSTEM_PYTHON, run
from tests.packages.conftest import only
from tests.support.deployed import mkconfig
from tests.support.servers import REPOSITORY

pytestmark = pytest.mark.slow

ENVIRONMENT = "/usr/lib64/recodex-fileserver"
CONFIGURATION = "/etc/recodex-fileserver"
UNIT = "/usr/lib/systemd/system/recodex-fileserver.service"
PYTHON = run([SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], REPOSITORY).strip()

FILES = {
    "/etc/logrotate.d/recodex-fileserver": "-rw-r--r-- root root cn",
    CONFIGURATION: "drwxr-x--- root recodex ",
    f"{CONFIGURATION}/groups": "-rw-r----- root recodex cn",
    f"{CONFIGURATION}/htpasswd": "-rw-r----- root recodex cn",
    f"{CONFIGURATION}/settings.toml": "-rw-r----- root recodex cn",
    "/usr/bin/recodex-fileserver": "-rwxr-xr-x root root ",
    UNIT: "-rw-r--r-- root root ",
    "/usr/lib/sysusers.d/recodex-fileserver.conf": "-rw-r--r-- root root ",
    "/var/lib/recodex-fileserver": "drwxr-x--- recodex recodex ",
    "/var/log/recodex-fileserver": "drwxr-x--- recodex recodex ",
}
"""All but the environment and the documentation: mode, owner, group and flags (c: configuration, n: noreplace)."""


def query(rpm: Path, form: str) -> list[str]:
    return run(["rpm", "--query", "--package", "--queryformat", form, rpm], rpm.parent).splitlines()


def files(rpm: Path) -> dict[str, str]:
    form = "[%{FILENAMES}\t%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]"
    return dict(line.split("\t") for line in query(rpm, form))


def test_its_files_belong_to_whom_they_should(rpm: Path) -> None:
    found = files(rpm)
    environment = {name: about for name, about in found.items() if f"{name}/".startswith(f"{ENVIRONMENT}/")}
    documents = {name: about for name, about in found.items() if name.startswith("/usr/share/")}
    assert {n: about for n, about in found.items() if n not in environment and n not in documents} == FILES
    assert {about.split(" ", 1)[1] for about in environment.values()} == {"root root "}
    assert {about[:10] for about in environment.values()} == {"-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x", "lrwxrwxrwx"}


def test_it_has_the_license_and_the_documentation(rpm: Path) -> None:
    found = {re.sub("^/usr/share/[^/]*/[^/]*/", "", name): about[-1] for name, about in files(rpm).items()}
    assert found["LICENSE"] == "l"
    pages = {f"docs/{page.name}" for page in (REPOSITORY / "docs").glob("*.md")}
    assert all(found[name] == "d" for name in {"README.md", "CHANGELOG.md"} | pages)


def test_it_says_who_it_is(rpm: Path) -> None:
    assert query(rpm, "%{NAME} %{VERSION} %{ARCH}") == [f"recodex-fileserver {__version__} {rpm.parent.name}"]
    assert query(rpm, "[%{CHANGELOGNAME}\n]")[0].endswith(f"- {__version__}-1")


def test_it_needs_the_python_that_it_was_made_with(rpm: Path) -> None:
    needed = query(rpm, "[%{REQUIRENEVRS}\n]")
    assert {f"/usr/bin/python{PYTHON}", f"python(abi) = {PYTHON}", "logrotate"} <= set(needed)
    assert not [name for name in needed if "dist(" in name], "libraries are inside"


def test_it_tells_which_libraries_are_inside(rpm: Path) -> None:
    provided = [line.replace("==", " = ") for line in query(rpm, "[%{PROVIDENEVRS}\n]")]
    pins = re.findall(r"^([\w-]+)==([\w.]+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    bundled = [f"bundled(python3dist({name})) = {version}" for name, version in pins]
    assert sorted(line for line in provided if "recodex-fileserver" not in line) == sorted(bundled)


def test_nothing_names_the_place_where_it_was_built(payload: Path, clone: Path) -> None:
    places = [str(clone).encode(), b"BUILDROOT"]
    paths = list(payload.rglob("*"))
    assert not [path for path in paths if path.is_file() and any(place in path.read_bytes() for place in places)]
    links = {str(path.readlink()) for path in paths if path.is_symlink()}
    assert links == {"lib", f"python{PYTHON}", f"/usr/bin/python{PYTHON}"}


def test_it_has_bytecode_for_every_module(payload: Path) -> None:
    library = payload / f"{ENVIRONMENT[1:]}/lib/python{PYTHON}"
    modules = [module for module in library.rglob("*.py") if "templates" not in module.parts]
    name = f"cpython-{PYTHON.replace('.', '')}.pyc"
    assert len(modules) > 200
    assert not [m for m in modules if not (m.parent / "__pycache__" / f"{m.stem}.{name}").exists()]


def test_scripts_run_the_python_of_the_environment(payload: Path) -> None:
    scripts = [path for path in (payload / ENVIRONMENT[1:] / "bin").iterdir() if not path.is_symlink()]
    assert {"recodex-fileserver", "gunicorn"} <= {path.name for path in scripts}
    assert {path.read_text().splitlines()[0] for path in scripts} == {f"#!{ENVIRONMENT}/bin/python"}


def test_the_settings_are_a_file_to_begin_with(payload: Path) -> None:
    text = (payload / CONFIGURATION[1:] / "settings.toml").read_text()
    assert "#max_parts = 1000" in text
    settings = parse_settings(tomllib.loads(text))
    assert settings.storage.working_directory == Path("/var/lib/recodex-fileserver")
    assert settings.auth.htpasswd_file == Path(CONFIGURATION) / "htpasswd"
    assert settings.auth.group_file == Path(CONFIGURATION) / "groups"
    assert settings.log.access_log_file == Path("/var/log/recodex-fileserver/access.log")
    assert [(payload / CONFIGURATION[1:] / name).read_text() for name in ("htpasswd", "groups")] == ["", ""]


def lines(configuration: str) -> list[str]:
    """The lines of a unit that say something, but for the environment."""
    return [line for line in configuration.splitlines() if line and not line.startswith(("#", "Environment="))]


def test_the_unit_is_that_of_mkconfig_and_leaves_settings_to_their_file(payload: Path) -> None:
    unit = (payload / UNIT[1:]).read_text()
    options = ["--virtualenv", ENVIRONMENT, "--working-directory", "/var/lib/recodex-fileserver"]
    options += ["--access-log", "/var/log/recodex-fileserver/access.log"]
    assert lines(unit) == lines(mkconfig("systemd", *options))
    environment = [line for line in unit.splitlines() if line.startswith("Environment=")]
    assert environment == [f'Environment="FILESERVER_SETTINGS={CONFIGURATION}/settings.toml"']
    assert f'ExecStart="{ENVIRONMENT}/bin/recodex-fileserver" serve --bind 127.0.0.1:9999' in unit


def test_logs_are_turned_over_as_mkconfig_says(payload: Path) -> None:
    made = mkconfig("logrotate", "--user", "recodex", "--access-log", "/var/log/recodex-fileserver/access.log")
    assert lines((payload / "etc/logrotate.d/recodex-fileserver").read_text()) == lines(made)


def test_rpmlint_finds_nothing_that_is_not_meant(rpm: Path, clone: Path) -> None:
    command = ["rpmlint", "--ignore-unused-rpmlintrc", "--rpmlintrc", REPOSITORY / "tests" / "packages" / "rpmlintrc"]
    source = only(clone / "dist", "*.src.rpm")
    done = subprocess.run([*command, clone / "recodex-fileserver.spec", rpm, source], capture_output=True, text=True)
    assert (done.returncode, re.findall(": [EW]: .*", done.stdout)) == (0, []), done.stdout + done.stderr


def test_the_source_rpm_has_all_that_it_is_made_of(clone: Path) -> None:
    listed = run(["rpm", "--query", "--package", "--list", only(clone / "dist", "*.src.rpm")], clone).split()
    sources = {f"recodex_fileserver-{__version__}.tar.gz", "recodex-fileserver-wheels.tar", "requirements.txt"}
    assert set(listed) == sources | {"recodex-fileserver.spec"}
