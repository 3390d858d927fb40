"""The settings as a whole: made of plain values, typed, complete, refused early.

The sections and their settings are in `fileserver.core.sections` and `access_sections`. Reading files and the
environment is the business of `fileserver.configuration`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from fileserver.core.access_sections import AuthSettings, ProxySettings
from fileserver.core.errors import SettingsError
from fileserver.core.sections import (
    DeliverySettings,
    GradingSettings,
    LimitSettings,
    LogSettings,
    MaintenanceSettings,
    QuotaSettings,
    RetentionSettings,
    StorageSettings,
    TracingSettings,
)


@dataclass(frozen=True)
class Settings:
    """All settings; made by `parse_settings`, never changed afterwards."""

    storage: StorageSettings = field(default_factory=StorageSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    quotas: QuotaSettings = field(default_factory=QuotaSettings)
    grading: GradingSettings = field(default_factory=GradingSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    proxy: ProxySettings = field(default_factory=ProxySettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    maintenance: MaintenanceSettings = field(default_factory=MaintenanceSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)


SECTIONS: dict[str, Any] = {item.name: item.default_factory for item in dataclasses.fields(Settings)}


@dataclass(frozen=True)
class Setting:
    """One setting, as the commands and pages tell of it."""

    section: str
    name: str
    default: Any
    meaning: str

    def shown(self, value: Any) -> str:
        """A *value* of this setting for people."""
        return "none" if value is None or value == () else _text(self.name, value)

    def toml(self, value: Any) -> str:
        """A *value* of this setting, which is not None, in TOML."""
        if isinstance(value, tuple):
            return f"[{', '.join(map(_quoted, value))}]"
        is_bare = isinstance(value, bool | int) and not self.name.endswith("_mode")
        return _text(self.name, value) if is_bare else _quoted(_text(self.name, value))


def all_settings() -> Iterator[Setting]:
    """Every setting, section by section."""
    for section, cls in SECTIONS.items():
        for item in dataclasses.fields(cls):
            yield Setting(section, item.name, item.default, item.metadata["meaning"])


def section_of(name: str) -> str:
    """The section that holds the setting *name*. Raises SettingsError if there is none."""
    for known in all_settings():
        if known.name == name:
            return known.section
    raise SettingsError(f"there is no setting {name!r}")


def parse_settings(mapping: Mapping[str, Any]) -> Settings:
    """Make Settings of `{section: {name: value}}`.

    Values have the setting's type (a list of text: any list or tuple), or are text that denotes it. Raises
    SettingsError for an unknown section or name, a wrong type, or a value out of its range.
    """
    if unknown := set(mapping) - set(SECTIONS):
        raise SettingsError(f"there is no section {sorted(unknown)[0]!r}")
    sections = {}
    for section, cls in SECTIONS.items():
        given = mapping.get(section, {})
        if not isinstance(given, Mapping):
            raise SettingsError(f"[{section}] is not a table")
        sections[section] = parse_section(section, cls, given)
    return Settings(**sections)


def parse_section(section: str, cls: Any, given: Mapping[str, Any]) -> Any:
    """Make the dataclass *cls* of one *section*, by the rules of `parse_settings`."""
    hints = get_type_hints(cls)
    if unknown := set(given) - set(hints):
        raise SettingsError(f"there is no setting {sorted(unknown)[0]!r} in section [{section}]")
    values = {name: _convert(name, hints[name], value) for name, value in given.items()}
    for item in dataclasses.fields(cls):
        choices = item.metadata["choices"]
        if choices and values.get(item.name, item.default) not in choices:
            raise SettingsError(f"{item.name} must be one of {', '.join(choices)}")
    made = cls(**values)
    if problem := made.problem():
        raise SettingsError(problem)
    return made


def _convert(name: str, kind: Any, value: Any) -> Any:
    if kind is int and name.endswith("_mode"):
        # As a number of TOML, 640 would be taken for another mode than 0640.
        if not isinstance(value, str):
            raise SettingsError(f'{name} must be text of octal digits, such as "0640"')
        return _parse_number(name, value, 8)
    if kind is bool:
        return _parse_bool(name, value)
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise SettingsError(f"{name} must be a number")
        return _parse_number(name, value, 10) if isinstance(value, str) else value
    if kind == tuple[str, ...]:
        return _parse_list(name, value)
    if not isinstance(value, str | Path) or not str(value):
        raise SettingsError(f"{name} must be text that is not empty")
    return Path(value) if kind == Path | None else str(value)


def _parse_number(name: str, text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not {text!r}") from None


def _parse_bool(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise SettingsError(f"{name} must be true or false")
    return bool(value == "true")


def _parse_list(name: str, value: Any) -> tuple[str, ...]:
    """The items of a list, or of text with commas between them."""
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
        raise SettingsError(f"{name} must be a list of texts that are not empty (in the environment: with commas)")
    return tuple(items)


def _text(name: str, value: Any) -> str:
    """*value* as the environment takes it."""
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:04o}" if name.endswith("_mode") else str(value)


def _quoted(text: str) -> str:
    """*text* as a basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    shown = [f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 else char for char in escaped]
    return f'"{"".join(shown)}"'
