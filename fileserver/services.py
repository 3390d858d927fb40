"""The services of one working directory, put together from the storage below them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fileserver.core.errors import SettingsError
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
from fileserver.storage.local import LocalBucket
from fileserver.storage.locks import KeyLocks
from fileserver.storage.staging import Staging
from fileserver.storage.usage import Usage, UsageLedger, count_files, count_folders


@dataclass(frozen=True)
class Services:
    """What the web and the command line work with."""

    settings: Settings
    staging: Staging
    ledger: UsageLedger
    submissions: Submissions
    task_files: TaskFiles
    results: NamedFiles
    attachments: NamedFiles

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
    except (OSError, ValueError) as error:
        raise SettingsError(f"the working directory {root} cannot be used: {error}") from None
    services = _assemble(settings, root, modes)
    services.staging.recover()
    return services


def _assemble(settings: Settings, root: Path, modes: Modes) -> Services:
    ledger = UsageLedger(root / "staging", _counters(root))
    locks = KeyLocks(root / "staging" / ".locks")
    staging = Staging(root / "staging", modes, settings.limits)
    folders = LocalFolders("submissions", root / "submissions", ledger)

    def bucket(name: str, account: str | None = None, *, sharded: bool = False) -> LocalBucket:
        return LocalBucket(name, root / name, locks, ledger, modes, sharded=sharded, account=account)

    archives = bucket("submission_archives")
    names, layout = settings.limits.names, settings.grading.archive_layout
    tasks, legacy = (bucket(name, "task_files", sharded=True) for name in ("tasks", "exercises"))
    return Services(
        settings,
        staging,
        ledger,
        Submissions(folders, archives, staging, locks, names, layout),
        TaskFiles(tasks, legacy, staging, locks, settings.limits.max_path_bytes),
        NamedFiles(bucket("results"), staging),
        NamedFiles(bucket("attachments"), staging),
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
    require_exchange(staging)


def _counters(root: Path) -> dict[str, "partial[Usage]"]:
    return {
        "results": partial(count_files, root / "results"),
        "submission_archives": partial(count_files, root / "submission_archives"),
        "submissions": partial(count_folders, root / "submissions"),
        "attachments": partial(count_files, root / "attachments"),
        "task_files": partial(_count_task_files, root),
    }


def _count_task_files(root: Path) -> Usage:
    own, legacy = count_files(root / "tasks"), count_files(root / "exercises")
    return Usage(own.files + legacy.files, own.size_bytes + legacy.size_bytes)
