"""What a check finds, and what it counts."""

import os
import zlib
from dataclasses import dataclass, replace
from enum import StrEnum

from fileserver.storage.local import Version


class Kind(StrEnum):
    """What can be wrong."""

    DAMAGED = "damaged"
    """The bytes are not those that were stored."""
    MISSING = "missing"
    """A file of a submission is gone; its archive still has it."""
    CHANGED = "changed"
    """Somebody has edited the file, or copied it without its time."""
    FOREIGN = "foreign"
    """Nothing that this server stores: a name that is not allowed, a symbolic link, a special file."""
    STALE = "stale"
    """An archive of another version of its submission, or in another layout; it is not served."""
    ORPHAN = "orphan"
    """An archive without a submission; it is not served."""
    UNREADABLE = "unreadable"
    """It could not be looked at, for want of permission or the like; so nobody knows whether it is sound."""
    DUPLICATE = "duplicate"
    """A task file that lies in `tasks` and in `exercises`."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with what lies under *key* in *bucket*.

    *version* is that of the file, or of the submission's folder, when it was looked at. A repair adds its *action*, and
    whether all is well now.
    """

    kind: Kind
    bucket: str
    key: str
    detail: str
    version: Version = (0, 0)
    path: str = ""
    """Of a file in a submission."""
    action: str = ""
    mended: bool = False

    @property
    def is_damage(self) -> bool:
        """Whether data was lost that the server had promised to keep; everything else is a warning."""
        return self.kind in (Kind.DAMAGED, Kind.MISSING)

    @property
    def remains(self) -> bool:
        """Whether it is damage that a repair has not mended."""
        return self.is_damage and not self.mended

    @property
    def heals(self) -> str:
        """What must be sent again, empty if nothing is lost, or all is well now."""
        if not self.remains or self.bucket == "submission_archives":
            return ""
        if self.bucket in ("tasks", "exercises"):
            return f"upload a task file with the SHA-1 {self.key} again"
        return f"send {self.bucket}/{self.key} again"

    @property
    def place(self) -> str:
        """Where it lies below the working directory, roughly."""
        return "/".join(part for part in (self.bucket, self.key, self.path) if part)


Findings = list[Finding]
"""All that is wrong with what lies under one key."""


def gone(finding: Finding) -> Finding:
    """What is to be told of something that is not there any more, or was replaced."""
    return replace(finding, action="gone or replaced meanwhile", mended=True)


def accepted(finding: Finding, recorded: bool) -> Finding:
    """What is to be told of a changed file that is taken for right, if that could be *recorded*."""
    action = "recorded as it is now" if recorded else "cannot be recorded as it is now"
    return replace(finding, action=action, mended=recorded)


@dataclass
class Counts:
    """What a check has looked at so far."""

    files: int = 0
    unverified: int = 0
    """Files of which nothing is recorded that would tell whether they are whole."""
    recorded: int = 0
    """Files whose digests were not recorded, and are now."""
    unrecordable: str = ""
    """Why digests could not be recorded, if they could not."""


@dataclass(frozen=True)
class Subset:
    """Slice *number* of *slices*, from 1; all slices together hold every key exactly once."""

    number: int = 1
    slices: int = 1

    def holds(self, bucket: str, key: str) -> bool:
        return zlib.crc32(os.fsencode(f"{bucket}/{key}")) % self.slices == self.number - 1


EVERYTHING = Subset()
