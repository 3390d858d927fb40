"""Where settings come from: flags win over the environment, over one TOML file, over defaults."""

import os
import tomllib
from collections.abc import Mapping
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
    merged: dict[str, dict[str, Any]] = {}
    if path := environ.get(SETTINGS_FILE):
        for section, values in _read_toml(Path(path)).items():
            if not isinstance(values, dict):
                raise SettingsError(f"{section!r} stands outside of any section of the settings file")
            merged[section] = dict(values)
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and variable != SETTINGS_FILE:
            name = variable.removeprefix(PREFIX).lower()
            merged.setdefault(section_of(name), {})[name] = value
    for name, value in (flags or {}).items():
        if value is not None:
            merged.setdefault(section_of(name), {})[name] = value
    return parse_settings(merged)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from None
