"""The sections of the settings: one frozen dataclass each, every setting with a default that is safe and its meaning.

Those on who may ask are in `access_sections`. A setting's name is unique over all sections, so that the environment
variable FILESERVER_<NAME> is, too. The types are int, bool, str (or none), Path (or none) and tuple of str; an int
whose name ends in `_mode` is octal. docs/settings.md is made of these classes.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fileserver.core.names import MAX_COMPONENT_BYTES, NameLimits

MIB = 1 << 20
GIB = 1 << 30

AUTOMATIC = -1
"""Value of min_free_bytes: the lesser of 1 GiB and 2 % of the file system."""

LAYOUTS = ("nested", "flat")
LOG_FORMATS = ("text", "json")
ACCESS_LOGS = (*LOG_FORMATS, "none")

_Value = TypeVar("_Value")


def setting(default: _Value, meaning: str, choices: Sequence[str] = ()) -> _Value:
    """A field with its *meaning*, in one line of Markdown, and the values that a text may have, if they are few."""
    return field(default=default, metadata={"meaning": meaning, "choices": tuple(choices)})


class Section:
    """What all sections have in common."""

    def problem(self) -> str | None:
        """What is wrong with the values, naming the setting; None if nothing is."""
        return None


@dataclass(frozen=True)
class StorageSettings(Section):
    """Where and how bytes are kept."""

    working_directory: Path | None = setting(
        None,
        "the folder that holds everything; required but for `runserver` and `shell`, which take a temporary one",
    )
    file_mode: int = setting(0o640, 'permissions of the files that are stored: octal digits, in TOML as text, `"0640"`')
    directory_mode: int = setting(0o750, "permissions of the folders that are made")

    def problem(self) -> str | None:
        for name, needed in (("file_mode", 0o600), ("directory_mode", 0o700)):
            mode = getattr(self, name)
            if mode & needed != needed or not 0 <= mode <= 0o777:
                return f"{name} must lie between {needed:04o} and 0777 and let the owner in"
        return None


@dataclass(frozen=True)
class LimitSettings(Section):
    """What a client may send. Sizes are bytes."""

    max_request_bytes: int = setting(8 * GIB, "bytes of one request body")
    max_file_bytes: int = setting(8 * GIB, "bytes of one file, in a form or as a whole body")
    max_parts: int = setting(1000, "parts of one form")
    max_name_bytes: int = setting(MAX_COMPONENT_BYTES, "bytes of one component of a path in a submission")
    max_path_bytes: int = setting(1024, "bytes of a path in a submission, or of the name of a task file in a form")
    max_path_depth: int = setting(32, "components of a path in a submission")
    min_free_bytes: int = setting(
        AUTOMATIC,
        "bytes that uploads must leave free on the disk; -1 is the lesser of 1 GiB and 2 % of the file system; "
        "results need leave only a tenth of it, so that they are refused last",
    )
    max_idle_seconds: int = setting(
        60, "seconds that the server waits for a client in one request, beyond what `min_bytes_per_second` gives"
    )
    min_bytes_per_second: int = setting(
        1024, "bytes that a client must send, or take, for each second that the server waits for it"
    )

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
class QuotaSettings(Section):
    """The most that may be held of each resource; 0 is for no quota. Sizes are bytes."""

    max_submissions: int = setting(0, "submissions that are held; 0, here and below, is for no quota")
    max_submissions_bytes: int = setting(0, "bytes of all submissions, without their archives")
    max_task_files: int = setting(0, "task files")
    max_task_files_bytes: int = setting(0, "bytes of all task files")
    max_results: int = setting(0, "results")
    max_results_bytes: int = setting(0, "bytes of all results")
    max_attachments: int = setting(0, "attachments")
    max_attachments_bytes: int = setting(0, "bytes of all attachments")

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
class GradingSettings(Section):
    """How the grading resources behave."""

    archive_layout: str = setting(
        "nested",
        "`nested`: entries of an archive are below `<id>/`, as the original server makes them; `flat`: they are at the "
        "root, as workers from 1.7.0 want them",
        LAYOUTS,
    )


@dataclass(frozen=True)
class DeliverySettings(Section):
    """How stored files are sent."""

    accel_redirect_prefix: str | None = setting(
        None,
        "the internal location, such as `/_stored`, at which the nginx in front finds the working directory; whole "
        "files are then left to it by `X-Accel-Redirect`. `mkconfig nginx` makes such a location",
    )

    def problem(self) -> str | None:
        prefix = self.accel_redirect_prefix
        if prefix is not None and not re.fullmatch("(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", prefix):
            return "accel_redirect_prefix must be a path such as /_stored, without a slash at its end"
        return None


@dataclass(frozen=True)
class MaintenanceSettings(Section):
    """What the server does by itself to stay sound."""

    scrub_every_hours: int = setting(
        0, "hours from one scrub to the next, each of one slice of the working directory; 0 is for none"
    )
    scrub_slices: int = setting(
        30,
        "slices that the working directory is scrubbed in, so that each is read every `scrub_every_hours` times "
        "`scrub_slices` hours",
    )
    scrub_max_bytes_per_second: int = setting(20 * MIB, "bytes that a scrub reads in a second at most")

    def problem(self) -> str | None:
        if self.scrub_every_hours < 0:
            return "scrub_every_hours must be at least 1, or 0 for never"
        for name in ("scrub_slices", "scrub_max_bytes_per_second"):
            if getattr(self, name) < 1:
                return f"{name} must be at least 1"
        return None


@dataclass(frozen=True)
class RetentionSettings(Section):
    """After how many days things go, when `gc` is run; 0 keeps them for ever."""

    archive_days: int = setting(
        0,
        "days after its last use that an archive is removed by `gc` (it is rebuilt when it is asked for); 0, here and "
        "below, keeps for ever",
    )
    submission_days: int = setting(0, "days after it was stored that a submission goes to the trash")
    result_days: int = setting(0, "the same for a result")
    attachment_days: int = setting(0, "the same for an attachment")
    task_file_grace_days: int = setting(
        0,
        "days after it was last stored, read or asked about that a task file goes to the trash; at least 2; with a "
        "keep-list, 0 means 14",
    )
    trash_days: int = setting(7, "days that things stay in the trash before they are deleted for good")

    def problem(self) -> str | None:
        for item in dataclasses.fields(self):
            if getattr(self, item.name) < 0:
                return f"{item.name} must be at least 1, or 0 to keep for ever"
        if self.task_file_grace_days == 1:
            return "task_file_grace_days must be at least 2, as uses are noted to the day, or 0 to keep for ever"
        return None


@dataclass(frozen=True)
class LogSettings(Section):
    """What the server writes about itself."""

    access_log: str = setting(
        "text", "a line for each request: `text` (the combined format, and more), `json`, or `none`", ACCESS_LOGS
    )
    access_log_file: Path | None = setting(
        None, "the file for it, opened anew when it was moved away; without it: standard output"
    )
    log_format: str = setting("text", "how the server's messages look on standard error: `text` or `json`", LOG_FORMATS)


@dataclass(frozen=True)
class TracingSettings(Section):
    """Whom the server tells of each request as a span of a trace."""

    trace_endpoint: str | None = setting(
        None,
        "where spans are sent by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; without it there is no "
        "tracing. It needs the extra `tracing`",
    )

    def problem(self) -> str | None:
        endpoint = self.trace_endpoint
        if endpoint is not None and not re.fullmatch(r"https?://[^\s/?#@\\]+/[^\s?#\\]+", endpoint):
            return "trace_endpoint must be like http://127.0.0.1:4318/v1/traces, without user, query or fragment"
        return None
