"""Where settings come from: flags win over the environment, over one TOML file, over defaults."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fileserver.core.errors import SettingsError
from fileserver.core.settings import Settings, parse_settings, section_of

PREFIX = "FILESERVER_"
SETTINGS_FILE = PREFIX + "SETTINGS"
"""The environment variable that names the TOML file."""


def load_settings(environ: Mapping[str, str] = os.environ, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the TOML file named by FILESERVER_SETTINGS, if any, then the other FILESERVER_ variables, then *flags*.

    *flags* maps names of settings to values, None meaning not given. Raises SettingsError.
    """
    return load_with_sources(environ, flags)[0]


def load_with_sources(
    environ: Mapping[str, str] = os.environ, flags: Mapping[str, Any] | None = None
) -> tuple[Settings, dict[str, str]]:
    """As `load_settings`; also tells by name where each setting comes from that has not its default."""
    merged: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for section, values, source in _given(environ, flags or {}):
        merged.setdefault(section, {}).update(values)
        sources |= dict.fromkeys(values, source)
    return parse_settings(merged), sources


def _given(environ: Mapping[str, str], flags: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Sections with values and the name of their source; what comes later wins."""
    if path := environ.get(SETTINGS_FILE):
        for section, values in _read_toml(Path(path)).items():
            if not isinstance(values, dict):
                raise SettingsError(f"{section!r} stands outside of any section of the settings file")
            yield section, values, path
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and variable != SETTINGS_FILE:
            name = variable.removeprefix(PREFIX).lower()
            yield section_of(name), {name: value}, variable
    for name, value in flags.items():
        if value is not None:
            yield section_of(name), {name: value}, "option"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from None
