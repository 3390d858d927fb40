"""The settings: one frozen dataclass a section, each with a default that is safe.

A setting's name is unique over all sections, so that the environment variable FILESERVER_<NAME> is, too.
docs/settings.md is compared with these classes by a test. Reading files and the environment is the business of
`fileserver.configuration`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from fileserver.core.errors import SettingsError
from fileserver.core.names import MAX_COMPONENT_BYTES, NameLimits

MIB = 1 << 20
GIB = 1 << 30

AUTOMATIC = -1
"""Value of min_free_bytes: the lesser of 1 GiB and 2 % of the file system."""

LAYOUTS = ("nested", "flat")


@dataclass(frozen=True)
class StorageSettings:
    """Where and how bytes are kept."""

    working_directory: Path | None = None
    file_mode: int = 0o640
    directory_mode: int = 0o750

    def problem(self) -> str | None:
        for name, needed in (("file_mode", 0o600), ("directory_mode", 0o700)):
            mode = getattr(self, name)
            if mode & needed != needed or not 0 <= mode <= 0o777:
                return f"{name} must lie between {needed:04o} and 0777 and let the owner in"
        return None


@dataclass(frozen=True)
class LimitSettings:
    """What a client may send. Sizes are bytes."""

    max_request_bytes: int = 8 * GIB
    max_file_bytes: int = 8 * GIB
    max_parts: int = 1000
    max_name_bytes: int = MAX_COMPONENT_BYTES
    max_path_bytes: int = 1024
    max_path_depth: int = 32
    min_free_bytes: int = AUTOMATIC
    max_idle_seconds: int = 60
    min_bytes_per_second: int = 1024

    @property
    def names(self) -> NameLimits:
        return NameLimits(self.max_name_bytes, self.max_path_bytes, self.max_path_depth)

    def problem(self) -> str | None:
        for item in dataclasses.fields(self):
            if item.name != "min_free_bytes" and getattr(self, item.name) < 1:
                return f"{item.name} must be at least 1"
        if self.min_free_bytes < AUTOMATIC:
            return f"min_free_bytes must be a number of bytes, or {AUTOMATIC} for automatic"
        if self.max_name_bytes > MAX_COMPONENT_BYTES:
            return f"max_name_bytes must not exceed {MAX_COMPONENT_BYTES}"
        if self.max_path_depth > 256:
            return "max_path_depth must not exceed 256"
        if self.max_idle_seconds > 86_400:
            return "max_idle_seconds must not exceed 86400, a day"
        if self.max_path_bytes > 2048:
            return "max_path_bytes must not exceed 2048, half of what Linux allows for a whole path"
        return None


WIDEST_LIMITS = LimitSettings(max_file_bytes=1 << 62, max_path_bytes=2048, max_path_depth=256)
"""What was stored once is kept, whatever the settings say by now; only the reserve of free space holds."""


@dataclass(frozen=True)
class Quota:
    """The most that may be held of something; 0 is for no quota. The settings are named for messages."""

    max_files: int = 0
    max_bytes: int = 0
    files_setting: str = ""
    bytes_setting: str = ""

    @property
    def is_set(self) -> bool:
        return bool(self.max_files or self.max_bytes)


@dataclass(frozen=True)
class QuotaSettings:
    """The most that may be held of each resource; 0 is for no quota. Sizes are bytes."""

    max_submissions: int = 0
    max_submissions_bytes: int = 0
    max_task_files: int = 0
    max_task_files_bytes: int = 0
    max_results: int = 0
    max_results_bytes: int = 0
    max_attachments: int = 0
    max_attachments_bytes: int = 0

    def problem(self) -> str | None:
        for item in dataclasses.fields(self):
            if getattr(self, item.name) < 0:
                return f"{item.name} must be at least 1, or 0 for no quota"
        return None

    def of(self, resource: str) -> Quota:
        """The quota of *resource*, which is none if it has no settings."""
        files, size = f"max_{resource}", f"max_{resource}_bytes"
        return Quota(getattr(self, files, 0), getattr(self, size, 0), files, size)


@dataclass(frozen=True)
class GradingSettings:
    """How the grading resources behave."""

    archive_layout: str = "nested"

    def problem(self) -> str | None:
        if self.archive_layout not in LAYOUTS:
            return f"archive_layout must be one of {', '.join(LAYOUTS)}"
        return None


@dataclass(frozen=True)
class AuthSettings:
    """Who may use the server."""

    htpasswd_file: Path | None = None

    def problem(self) -> str | None:
        return None


@dataclass(frozen=True)
class MaintenanceSettings:
    """What the server does by itself to stay sound."""

    scrub_every_hours: int = 0
    scrub_slices: int = 30
    scrub_max_bytes_per_second: int = 20 * MIB

    def problem(self) -> str | None:
        if self.scrub_every_hours < 0:
            return "scrub_every_hours must be at least 1, or 0 for never"
        for name in ("scrub_slices", "scrub_max_bytes_per_second"):
            if getattr(self, name) < 1:
                return f"{name} must be at least 1"
        return None


@dataclass(frozen=True)
class RetentionSettings:
    """After how many days things go, when `gc` is run; 0 keeps them for ever."""

    archive_days: int = 0
    submission_days: int = 0
    result_days: int = 0
    attachment_days: int = 0
    task_file_grace_days: int = 0
    trash_days: int = 7

    def problem(self) -> str | None:
        for item in dataclasses.fields(self):
            if getattr(self, item.name) < 0:
                return f"{item.name} must be at least 1, or 0 to keep for ever"
        if self.task_file_grace_days == 1:
            return "task_file_grace_days must be at least 2, as uses are noted to the day, or 0 to keep for ever"
        return None


@dataclass(frozen=True)
class Settings:
    """All settings; made by `parse_settings`, never changed afterwards."""

    storage: StorageSettings = field(default_factory=StorageSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    quotas: QuotaSettings = field(default_factory=QuotaSettings)
    grading: GradingSettings = field(default_factory=GradingSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    maintenance: MaintenanceSettings = field(default_factory=MaintenanceSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)


SECTIONS: dict[str, Any] = {item.name: item.default_factory for item in dataclasses.fields(Settings)}


def section_of(name: str) -> str:
    """The section that holds the setting *name*. Raises SettingsError if there is none."""
    for section, cls in SECTIONS.items():
        if any(item.name == name for item in dataclasses.fields(cls)):
            return section
    raise SettingsError(f"there is no setting {name!r}")


def parse_settings(mapping: Mapping[str, Any]) -> Settings:
    """Make Settings of `{section: {name: value}}`.

    Values have the setting's type, or are text that denotes it. Raises SettingsError for an unknown section or name, a
    wrong type, or a value out of its range.
    """
    if unknown := set(mapping) - set(SECTIONS):
        raise SettingsError(f"there is no section {sorted(unknown)[0]!r}")
    sections = {}
    for section, cls in SECTIONS.items():
        given = mapping.get(section, {})
        if not isinstance(given, Mapping):
            raise SettingsError(f"[{section}] is not a table")
        hints = get_type_hints(cls)
        if unknown := set(given) - set(hints):
            raise SettingsError(f"there is no setting {sorted(unknown)[0]!r} in section [{section}]")
        sections[section] = cls(**{name: _convert(name, hints[name], value) for name, value in given.items()})
        if problem := sections[section].problem():
            raise SettingsError(problem)
    return Settings(**sections)


def _convert(name: str, kind: Any, value: Any) -> Any:
    if kind is int and name.endswith("_mode"):
        # As a number of TOML, 640 would be taken for another mode than 0640.
        if not isinstance(value, str):
            raise SettingsError(f'{name} must be text of octal digits, such as "0640"')
        return _parse_number(name, value, 8)
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise SettingsError(f"{name} must be a number")
        return _parse_number(name, value, 10) if isinstance(value, str) else value
    if not isinstance(value, str | Path) or not str(value):
        raise SettingsError(f"{name} must be text that is not empty")
    return str(value) if kind is str else Path(value)


def _parse_number(name: str, text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not {text!r}") from None
