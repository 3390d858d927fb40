"""The folder that holds backups: complete snapshots, and a staging of its own.

snapshots/<UTC time>/           one complete snapshot, with its manifest.jsonl
staging/<32 hex digits>/        a snapshot in progress, as in a working directory
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fileserver.core.errors import NotReady, SettingsError, StorageFailed
from fileserver.core.sections import WIDEST_LIMITS
from fileserver.maintenance import manifest
from fileserver.storage.filesystem import Modes, fsync_directory, make_directory, make_directory_durable
from fileserver.storage.locks import KeyLocks
from fileserver.storage.staging import Staging

log = logging.getLogger(__name__)

_NAME_FORMAT = "%Y%m%dT%H%M%S.%fZ"


class Snapshots:
    """The snapshots in the folder *root*, which is made if it is missing."""

    def __init__(self, root: Path, modes: Modes) -> None:
        """Raises SettingsError if *root* is a working directory, and StorageFailed if it cannot be made."""
        if (root / "staging").is_dir() and not (root / "snapshots").is_dir():
            raise SettingsError(f"{root} is a working directory, not a folder for backups")
        self._folder = root / "snapshots"
        self.staging = Staging(root / "staging", modes, WIDEST_LIMITS)
        self._locks = KeyLocks(self.staging.root / ".locks")
        try:
            make_directory_durable(self._folder, modes.directory)
            make_directory(self.staging.root, modes.directory)
            fsync_directory(root)
        except OSError as error:
            raise StorageFailed(f"{root} cannot be made a folder for backups: {error.strerror}") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one to make a snapshot here, and remove what others left half-made.

        Raises NotReady if another one is being made.
        """
        with self._locks.hold_if_free("snapshots", 0) as lock:
            if lock is None:
                raise NotReady("another backup into this folder is running")
            self.staging.recover()
            yield

    def newest(self) -> Path | None:
        """The newest snapshot."""
        return newest_snapshot(self._folder)

    def publish(self, made: Path, began_at: datetime) -> Path:
        """Put the durable folder *made* among the snapshots, durably, as the newest; returns its new path."""
        newest = max(filter(None, map(_time_of, os.listdir(self._folder))), default=None)
        if newest and newest >= began_at:
            log.warning("the snapshot of %s is of a later time than now: is the clock right?", _name_of(newest))
            began_at = newest + timedelta(microseconds=1)
        path = self._folder / _name_of(began_at)
        os.rename(made, path)
        fsync_directory(self._folder)
        return path


def _name_of(time: datetime) -> str:
    return time.astimezone(UTC).strftime(_NAME_FORMAT)


def _time_of(name: str) -> datetime | None:
    """The time in the *name* of a snapshot; None if it is not one."""
    try:
        time = datetime.strptime(name, _NAME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return time if _name_of(time) == name else None


def newest_snapshot(folder: Path) -> Path | None:
    """The snapshot in *folder* that was begun last."""
    names = sorted(filter(_time_of, os.listdir(folder)), reverse=True)
    return next((folder / name for name in names if (folder / name / manifest.NAME).is_file()), None)


def find_snapshot(source: Path) -> Path:
    """*source* if it is a snapshot, else the newest of those in the folder *source*. Raises SettingsError."""
    if (source / manifest.NAME).is_file():
        return source
    found = newest_snapshot(source / "snapshots") if (source / "snapshots").is_dir() else None
    if found is None:
        raise SettingsError(f"{source} is neither a snapshot nor a folder with one")
    return found


def refuse_overlap(working_directory: Path, other: Path) -> None:
    """Raise SettingsError if one of the two folders lies in the other; neither needs to be there yet."""
    one, two = working_directory.resolve(), other.resolve()
    if one.is_relative_to(two) or two.is_relative_to(one):
        raise SettingsError(f"{other} and the working directory {working_directory} must not lie in each other")
