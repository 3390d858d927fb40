"""The services of one working directory, put together from the storage below them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fileserver.core.errors import SettingsError
from fileserver.core.sections import QuotaSettings
from fileserver.core.settings import Settings
from fileserver.grading.named_files import NamedFiles
from fileserver.grading.submissions import Submissions
from fileserver.grading.task_files import TaskFiles
from fileserver.storage.filesystem import (
    Modes,
    fsync_directory,
    make_directory,
    make_directory_durable,
    require_exchange,
)
from fileserver.storage.folders import LocalFolders
from fileserver.storage.holding import HoldingArea
from fileserver.storage.local import LocalBucket
from fileserver.storage.locks import KeyLocks
from fileserver.storage.staging import Staging
from fileserver.storage.usage import Account, Counter, UsageLedger, each_file, each_folder

log = logging.getLogger(__name__)

TIMED_BUCKETS = ("results", "attachments")
SHARDED_BUCKETS = ("tasks", "exercises")
BUCKETS = ("results", "submission_archives", "attachments", *SHARDED_BUCKETS)

RESULTS_RESERVE_SHARE = 0.1
"""What results leave of the reserve of free space: they are the last to be refused."""


@dataclass(frozen=True)
class Services:
    """What the web and the command line work with."""

    settings: Settings
    staging: Staging
    ledger: UsageLedger
    folders: LocalFolders
    buckets: Mapping[str, LocalBucket]
    submissions: Submissions
    task_files: TaskFiles
    results: NamedFiles
    attachments: NamedFiles
    trash: HoldingArea
    quarantine: HoldingArea

    def close(self) -> None:
        """Free what a process holds on the working directory."""
        self.ledger.close()


def build_services(settings: Settings) -> Services:
    """Open the working directory, creating what is missing in it, and recover what a dead process left.

    Raises SettingsError if there is no working directory, or it cannot be used.
    """
    if settings.storage.working_directory is None:
        raise SettingsError("no working directory is set: give --directory or FILESERVER_WORKING_DIRECTORY")
    root = settings.storage.working_directory.absolute()
    modes = Modes(settings.storage.file_mode, settings.storage.directory_mode)
    try:
        _make_folders(root, modes)
        services = _assemble(settings, root, modes)
        services.staging.recover()
    except (OSError, ValueError) as error:
        raise SettingsError(f"the working directory {root} cannot be used: {error}") from None
    _require_exchange(services.staging)
    return services


def _require_exchange(staging: Staging) -> None:
    try:
        with staging.transaction(None) as transaction:
            require_exchange(transaction.path)
    except OSError as error:
        # What is stored can be read, and deleted, on a full disk, too.
        log.warning("whether folders can be swapped atomically is not known: %s", error)


def _assemble(settings: Settings, root: Path, modes: Modes) -> Services:
    locks = KeyLocks(root / "staging" / ".locks")
    ledger = UsageLedger(root, locks, _accounts(settings.quotas), _counters(root))
    staging = Staging(root / "staging", modes, settings.limits)
    folders = LocalFolders("submissions", root / "submissions", ledger)
    buckets = {
        name: LocalBucket(
            name, root / name, locks, ledger, modes, sharded=name in SHARDED_BUCKETS, timed=name in TIMED_BUCKETS
        )
        for name in BUCKETS
    }
    names, layout = settings.limits.names, settings.grading.archive_layout
    return Services(
        settings,
        staging,
        ledger,
        folders,
        buckets,
        Submissions(folders, buckets["submission_archives"], staging, locks, names, layout),
        TaskFiles(buckets["tasks"], buckets["exercises"], staging, locks, settings.limits.max_path_bytes),
        NamedFiles(buckets["results"], staging, RESULTS_RESERVE_SHARE),
        NamedFiles(buckets["attachments"], staging),
        HoldingArea(root / "trash", staging),
        HoldingArea(root / "quarantine", staging),
    )


def _make_folders(root: Path, modes: Modes) -> None:
    make_directory_durable(root, modes.directory)
    folders = [root / name for name in ("submissions", "submission_archives", "tasks", "results", "attachments")]
    folders += [root / "tasks" / digit for digit in "0123456789abcdef"]
    for folder in folders:
        make_directory(folder, modes.directory)
    staging = root / "staging"
    make_directory(staging / ".locks", 0o700)
    # Always: whoever made them, perhaps just now, may not have come to it.
    fsync_directory(root / "tasks")
    fsync_directory(root)
    for folder in folders:
        if folder.stat().st_dev != staging.stat().st_dev:
            raise SettingsError(f"{folder} lies on another file system than staging; all must lie on one")


def _accounts(quotas: QuotaSettings) -> dict[str, Account]:
    resources = ("results", "submission_archives", "submissions", "attachments")
    accounts = {name: Account((name,), quotas.of(name)) for name in resources}
    return accounts | {"task_files": Account(("tasks", "exercises"), quotas.of("task_files"))}


def _counters(root: Path) -> dict[str, Counter]:
    counters: dict[str, Counter] = {name: partial(each_file, root / name) for name in BUCKETS}
    return counters | {"submissions": partial(each_folder, root / "submissions")}
