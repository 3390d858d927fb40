"""The command `settings`: what is in effect and where it comes from, and a file to begin with."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fileserver.cli.main import cli
from fileserver.core.settings import Settings, all_settings, parse_settings


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={f"FILESERVER_{name}": value for name, value in environment.items()}).invoke(cli, arguments)


def row(printed: Result, name: str) -> list[str]:
    assert printed.exit_code == 0, printed.output
    return next(line.split() for line in printed.output.splitlines() if line.startswith(f"{name} "))


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text('[limits]\nmax_parts = 1\nmax_path_depth = 1\n[storage]\nworking_directory = "from/toml"\n')
    return path


def test_each_setting_is_told_with_its_source(toml: Path) -> None:
    printed = run("--directory", "from/option", "settings", SETTINGS=str(toml), MAX_PARTS="2", FILE_MODE="600")
    assert row(printed, "storage.working_directory")[1:] == ["from/option", "option"]
    assert row(printed, "limits.max_parts")[1:] == ["2", "FILESERVER_MAX_PARTS"]
    assert row(printed, "limits.max_path_depth")[1:] == ["1", str(toml)]
    assert row(printed, "limits.max_name_bytes")[1:] == ["255", "default"]
    assert row(printed, "storage.file_mode")[1:] == ["0600", "FILESERVER_FILE_MODE"]
    assert row(printed, "auth.htpasswd_file")[1:] == ["none", "default"]
    assert len(printed.output.splitlines()) == len(list(all_settings()))


def test_the_toml_file_says_what_is_in_effect(toml: Path, tmp_path: Path) -> None:
    printed = run("settings", "--toml", SETTINGS=str(toml), FILE_MODE="600", ARCHIVE_LAYOUT="flat")
    settings = parse_settings(tomllib.loads(printed.output))
    assert (settings.limits.max_parts, settings.limits.max_path_depth) == (1, 1)
    assert (settings.storage.working_directory, settings.storage.file_mode) == (Path("from/toml"), 0o600)
    assert settings.grading.archive_layout == "flat"


def test_the_toml_file_has_every_setting_commented_out_with_its_default() -> None:
    lines = run("settings", "--toml").output.splitlines()
    assert parse_settings(tomllib.loads("\n".join(lines))) == Settings()
    bare = [line.removeprefix("#") for line in lines if not line.startswith("# ") and not line.endswith("=")]
    assert parse_settings(tomllib.loads("\n".join(bare))) == Settings()
    told = {line.removeprefix("#").partition(" ")[0] for line in lines if "=" in line and not line.startswith("# ")}
    assert told == {known.name for known in all_settings()}


def test_a_wrong_setting_is_told_with_exit_status_2() -> None:
    printed = run("settings", MAX_PARTS="many")
    assert (printed.exit_code, printed.output) == (2, "Error: max_parts must be a number, not 'many'\n")
