"""Settings: typed, complete, refused early."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserver.core.errors import SettingsError
from fileserver.core.sections import LimitSettings, Section, StorageSettings, setting
from fileserver.core.settings import (
    SECTIONS,
    Setting,
    Settings,
    all_settings,
    parse_section,
    parse_settings,
    section_of,
)

LIMITS = [item.name for item in dataclasses.fields(LimitSettings)]


def test_no_configuration_at_all_is_a_safe_one() -> None:
    settings = parse_settings({})
    assert settings == Settings()
    assert (settings.storage.file_mode, settings.storage.directory_mode) == (0o640, 0o750)
    assert settings.storage.working_directory is None


def test_the_default_of_every_section_is_without_problems() -> None:
    assert [cls().problem() for cls in SECTIONS.values()] == [None] * len(SECTIONS)


def test_a_name_is_unique_over_all_sections() -> None:
    names = [item.name for cls in SECTIONS.values() for item in dataclasses.fields(cls)]
    assert len(names) == len(set(names))
    for section, cls in SECTIONS.items():
        assert {section_of(item.name) for item in dataclasses.fields(cls)} == {section}


@pytest.mark.parametrize("settings", [Settings(), StorageSettings(), LimitSettings()])
def test_settings_never_change(settings: Any) -> None:
    name = dataclasses.fields(settings)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, name, None)


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        ({"limit": {}}, "'limit'"),
        ({"Limits": {}}, "'Limits'"),
        ({"limits": {"max_part": 1}}, "'max_part'"),
        ({"storage": {"max_parts": 1}}, "'max_parts'"),
        ({"limits": 1}, "limits"),
        ({"limits": ["max_parts"]}, "limits"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(mapping: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        parse_settings(mapping)


def test_a_setting_that_does_not_exist_has_no_section() -> None:
    with pytest.raises(SettingsError, match="'max_part'"):
        section_of("max_part")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("limits", "max_parts", True),
        ("limits", "max_parts", 1.0),
        ("limits", "max_parts", None),
        ("limits", "max_parts", "many"),
        ("limits", "max_parts", ""),
        ("limits", "max_parts", "0x10"),
        ("limits", "max_parts", [1]),
        ("storage", "working_directory", 1),
        ("storage", "working_directory", ""),
        ("storage", "working_directory", False),
        ("storage", "file_mode", "rw-r-----"),
        ("storage", "file_mode", "648"),
        ("storage", "file_mode", 0o600),
        ("grading", "archive_layout", 1),
        ("grading", "archive_layout", ""),
        ("auth", "htpasswd_file", {}),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_name(section: str, name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        parse_settings({section: {name: value}})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("file_mode", "600", 0o600),
        ("file_mode", "0600", 0o600),
        ("file_mode", "0o600", 0o600),
        ("directory_mode", "755", 0o755),
        ("directory_mode", "777", 0o777),
        ("working_directory", "/srv/files", Path("/srv/files")),
        ("working_directory", Path("files"), Path("files")),
    ],
)
def test_modes_in_text_are_octal_and_paths_are_paths(name: str, value: Any, expected: Any) -> None:
    assert getattr(parse_settings({"storage": {name: value}}).storage, name) == expected


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("storage", "file_mode", "1777"),
        ("storage", "file_mode", "377"),
        ("storage", "file_mode", "0"),
        ("storage", "directory_mode", "640"),
        ("storage", "directory_mode", "-1"),
        ("limits", "max_name_bytes", 256),
        ("limits", "max_path_bytes", 2049),
        ("limits", "min_free_bytes", -2),
        ("grading", "archive_layout", "Flat"),
        ("grading", "archive_layout", "round"),
        *[("limits", name, 0) for name in LIMITS if name != "min_free_bytes"],
        *[("limits", name, "-1") for name in LIMITS if name != "min_free_bytes"],
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_name(section: str, name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        parse_settings({section: {name: value}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_free_bytes", 0),
        ("min_free_bytes", -1),
        ("max_name_bytes", 255),
        ("max_path_bytes", 2048),
        ("max_parts", 1),
    ],
)
def test_the_ends_of_a_range_are_in_it(name: str, value: int) -> None:
    assert getattr(parse_settings({"limits": {name: value}}).limits, name) == value


def test_the_limits_of_names_are_those_of_the_settings() -> None:
    limits = parse_settings({"limits": {"max_name_bytes": 9, "max_path_bytes": 99, "max_path_depth": 3}}).limits.names
    assert (limits.max_name_bytes, limits.max_path_bytes, limits.max_path_depth) == (9, 99, 3)


@given(name=st.sampled_from(LIMITS), value=st.integers())
def test_a_number_means_the_same_as_its_digits(name: str, value: int) -> None:
    def outcome(given: Any) -> Any:
        try:
            return getattr(parse_settings({"limits": {name: given}}).limits, name)
        except SettingsError as error:
            return str(error)

    assert outcome(value) == outcome(str(value))
    assert outcome(value) == value or name in outcome(value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates()
keys = st.sampled_from([item.name for cls in SECTIONS.values() for item in dataclasses.fields(cls)]) | st.text(
    max_size=5
)
tables = st.dictionaries(keys, scalars | st.lists(scalars, max_size=2), max_size=4)


@given(mapping=st.dictionaries(st.sampled_from(sorted(SECTIONS)) | st.text(max_size=5), tables | scalars, max_size=3))
def test_any_toml_makes_settings_or_a_settings_error(mapping: dict[str, Any]) -> None:
    try:
        settings = parse_settings(mapping)
    except SettingsError:
        return
    for section in SECTIONS:
        assert getattr(settings, section).problem() is None


@dataclasses.dataclass(frozen=True)
class Example(Section):
    """A section with the kinds of values that are rare."""

    enabled: bool = setting(False, "yes or no")
    addresses: tuple[str, ...] = setting((), "a list")
    colour: str = setting("red", "one of few", ("red", "blue"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("enabled", True, True),
        ("enabled", "true", True),
        ("enabled", False, False),
        ("enabled", "false", False),
        ("addresses", [], ()),
        ("addresses", ["a", "b, c"], ("a", "b, c")),
        ("addresses", ("a",), ("a",)),
        ("addresses", "a", ("a",)),
        ("addresses", "10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")),
        ("colour", "blue", "blue"),
    ],
)
def test_values_of_every_kind_are_understood(name: str, value: Any, expected: Any) -> None:
    assert getattr(parse_section("example", Example, {name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[("enabled", value, "true or false") for value in ("True", "yes", "1", "", 1, 0, None, [])],
        *[("addresses", value, "list of texts") for value in ("", "a,,b", "a,", 1, True, None, {}, ["a", 1], [""])],
        *[("colour", value, "one of red, blue") for value in ("green", "Red", "red ")],
    ],
)
def test_what_is_no_value_of_its_kind_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be .*{message}"):
        parse_section("example", Example, {name: value})


@given(value=st.booleans() | st.integers() | st.text() | st.lists(st.text(min_size=1)).map(tuple))
def test_a_value_in_toml_means_the_same(value: Any) -> None:
    known = Setting("example", "name", value, "")
    expected = list(value) if isinstance(value, tuple) else value
    assert tomllib.loads(f"name = {known.toml(value)}")["name"] == expected


def test_a_mode_in_toml_means_the_same() -> None:
    known = next(known for known in all_settings() if known.name == "file_mode")
    assert parse_settings(tomllib.loads(f"[storage]\nfile_mode = {known.toml(0o600)}")).storage.file_mode == 0o600


def test_every_setting_has_a_meaning_in_one_line() -> None:
    for known in all_settings():
        assert known.meaning
        assert "\n" not in known.meaning
        assert "|" not in known.meaning
