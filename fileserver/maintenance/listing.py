"""What a working directory holds, one thing after the other, as it comes from the disk: in any order, in little memory.

Only what the server itself could have stored is listed: regular files and folders, in their place, of valid names.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fileserver.core.errors import FileserverError, NotFound
from fileserver.core.names import ArchiveName, SubmissionId
from fileserver.services import Services
from fileserver.storage.folders import LocalFolders
from fileserver.storage.last_use import last_used_ns
from fileserver.storage.local import LocalBucket, Version, version_of
from fileserver.storage.usage import regular_files


@dataclass(frozen=True)
class Listed:
    """A file, or the folder of a submission, and its status; times are nanoseconds since the epoch."""

    key: str
    info: os.stat_result

    @property
    def version(self) -> Version:
        return version_of(self.info)

    @property
    def stored_ns(self) -> int:
        return self.info.st_mtime_ns

    @property
    def used_ns(self) -> int:
        """When it was used or stored last."""
        return last_used_ns(self.info)


def files_in(bucket: LocalBucket, parse: Callable[[str], str]) -> Iterator[Listed]:
    """The files of *bucket* whose name *parse* takes; it raises an error for others."""
    for entry in regular_files(bucket.root):
        with suppress(FileserverError, FileNotFoundError):
            key = parse(entry.name)
            if Path(entry.path) == bucket.path(key):
                yield Listed(key, entry.stat(follow_symlinks=False))


def submissions_in(folders: LocalFolders) -> Iterator[Listed]:
    """The folders of submissions."""
    with os.scandir(folders.root) as entries:
        for entry in entries:
            with suppress(FileserverError, FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    yield Listed(SubmissionId(entry.name), entry.stat(follow_symlinks=False))


def rebuildable_archives(services: Services) -> Iterator[Listed]:
    """The archives that belong to their submission; others may hold what is nowhere else."""
    for listed in files_in(services.buckets["submission_archives"], ArchiveName):
        with suppress(NotFound):
            if services.folders.version(ArchiveName(listed.key).submission_id) == listed.stored_ns:
                yield listed
