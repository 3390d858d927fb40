"""Where settings come from, and who wins."""

from pathlib import Path

import pytest

from fileserver.configuration import load_settings
from fileserver.core.errors import SettingsError
from fileserver.core.settings import Settings


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text('[limits]\nmax_parts = 1\nmax_path_depth = 1\n[storage]\nworking_directory = "from/toml"\n')
    return path


def test_without_any_source_the_defaults_hold() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({"PATH": "/bin", "HOME": "/root"}, {"working_directory": None}) == Settings()


def test_the_file_wins_over_the_defaults(toml: Path) -> None:
    settings = load_settings({"FILESERVER_SETTINGS": str(toml)})
    assert settings.limits.max_parts == 1
    assert settings.storage.working_directory == Path("from/toml")
    assert settings.limits.max_name_bytes == Settings().limits.max_name_bytes


def test_the_environment_wins_over_the_file(toml: Path) -> None:
    settings = load_settings({"FILESERVER_SETTINGS": str(toml), "FILESERVER_MAX_PARTS": "2"})
    assert (settings.limits.max_parts, settings.limits.max_path_depth) == (2, 1)


def test_flags_win_over_all(toml: Path) -> None:
    environ = {"FILESERVER_SETTINGS": str(toml), "FILESERVER_WORKING_DIRECTORY": "from/environment"}
    assert load_settings(environ).storage.working_directory == Path("from/environment")
    settings = load_settings(environ, {"working_directory": Path("from/flag"), "max_parts": 3})
    assert settings.storage.working_directory == Path("from/flag")
    assert settings.limits.max_parts == 3


def test_a_flag_that_is_not_given_changes_nothing() -> None:
    settings = load_settings({"FILESERVER_WORKING_DIRECTORY": "/srv"}, {"working_directory": None})
    assert settings.storage.working_directory == Path("/srv")


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILESERVER_ARCHIVE_LAYOUT", "flat")
    assert load_settings().grading.archive_layout == "flat"


@pytest.mark.parametrize("variable", ["FILESERVER_MAX_PART", "FILESERVER_", "FILESERVER_LIMITS", "FILESERVER_PORT"])
def test_a_variable_that_is_no_setting_is_refused(variable: str) -> None:
    with pytest.raises(SettingsError, match="no setting"):
        load_settings({variable: "1"})


def test_a_flag_that_is_no_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="'port'"):
        load_settings({}, {"port": 1})


def test_an_empty_variable_is_refused_not_ignored() -> None:
    with pytest.raises(SettingsError, match="working_directory"):
        load_settings({"FILESERVER_WORKING_DIRECTORY": ""})


def test_a_mode_in_the_environment_is_octal() -> None:
    assert load_settings({"FILESERVER_FILE_MODE": "600"}).storage.file_mode == 0o600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"max_parts = 1\n", "max_parts"),
        (b"[limits\n", "not TOML"),
        (b"[limits]\nmax_parts = 1\nmax_parts = 2\n", "not TOML"),
        (b"[limits]\nmax_parts = many\n", "not TOML"),
        (b"[limit]\nmax_parts = 1\n", "limit"),
        (b"[limits]\nmax_part = 1\n", "max_part"),
        (b"[[limits]]\nmax_parts = 1\n", "limits"),
        (b'[storage]\nfile_mode = "worldwide"\n', "file_mode"),
        (b"[limits]\n# caf\xe9\nmax_parts = 1\n", "not TOML"),
        (b"\xff\xfe[\x00", "not TOML"),
    ],
)
def test_a_settings_file_with_an_error_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        load_settings({"FILESERVER_SETTINGS": str(path)})


def test_a_settings_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml cannot be read: No such file"):
        load_settings({"FILESERVER_SETTINGS": str(tmp_path / "missing.toml")})


def test_a_settings_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({"FILESERVER_SETTINGS": str(tmp_path)})


def test_an_empty_settings_file_is_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.touch()
    assert load_settings({"FILESERVER_SETTINGS": str(path)}) == Settings()
