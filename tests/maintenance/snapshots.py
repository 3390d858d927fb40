"""What the tests of backup and restore share: something of each resource, backups of it, and what is in them."""

import os
from collections.abc import Callable
from pathlib import Path

from fileserver.core.names import SubmissionId
from fileserver.core.settings import parse_settings
from fileserver.maintenance.backup import BackupResult, back_up
from fileserver.maintenance.pace import Pace
from fileserver.maintenance.restore import restore
from fileserver.services import Services
from tests.storage.sources import files, incoming, settings_for
from tests.support.messages import sha1

JOB = SubmissionId("job")
FILES = {"a.txt": b"a of job", "src/b.txt": b"b of job", "src/empty": b""}
TASK = b"data of an exercise"
TASK_PATH = f"tasks/{sha1(TASK)[0]}/{sha1(TASK)}"
RESOURCES = ("results", "submissions", "attachments", "tasks")

CONTENT = {
    "results/job.zip": b"a result",
    **{f"submissions/{JOB}/{name}": content for name, content in FILES.items()},
    "attachments/text": b"an attachment",
    TASK_PATH: TASK,
}
"""What `fill` stores, by its path in the working directory and in a snapshot."""


def submit(services: Services, content: dict[str, bytes], name: SubmissionId = JOB) -> None:
    services.submissions.store(name, files(content))


def fill(services: Services) -> None:
    """Store something of each resource."""
    services.results.store("job.zip", incoming(CONTENT["results/job.zip"]))
    services.attachments.store("text", incoming(CONTENT["attachments/text"]))
    services.task_files.store(files({"data": TASK}))
    submit(services, FILES)


class Watch(Pace):
    """Counts what is read, and lets *hook* do something before each piece."""

    def __init__(self, hook: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.bytes_read = 0
        self._hook = hook

    def spend(self, size_bytes: int) -> None:
        self.bytes_read += size_bytes
        self._hook()


class Backups:
    """Backups of *services* into *folder*; `problems` are those of the last one."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.problems: dict[str, str] = {}

    def make(self, pace: Pace | None = None) -> BackupResult:
        self.problems = {}
        return back_up(self.services, self.folder, self._note, pace or Watch())

    def _note(self, path: str, reason: str) -> None:
        assert path not in self.problems, "it is told once"
        self.problems[path] = reason

    def staged(self) -> list[str]:
        """What lies in staging beside what is permanent there."""
        return [name for name in os.listdir(self.folder / "staging") if not name.startswith(".")]


def restored(root: Path, source: Path, **sections: dict[str, object]) -> dict[str, str]:
    """Restore *source* into the working directory *root*; return the problems."""
    problems: dict[str, str] = {}
    restore(parse_settings(settings_for(root, **sections)), source, problems.__setitem__)
    return problems


def held(root: Path) -> dict[str, bytes]:
    """Every file of the four resources below *root*, a working directory or a snapshot, with its content."""
    paths = [path for name in RESOURCES for path in (root / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def times(root: Path) -> dict[str, int]:
    """The modification times of those files, and of the folders of submissions."""
    paths = [*map(Path, held(root)), *(path.relative_to(root) for path in (root / "submissions").iterdir())]
    return {str(path): (root / path).stat().st_mtime_ns for path in paths}


def flip(path: Path, at: int = 0, bit: int = 1) -> None:
    """Change one bit of a file, as a failing disk does: its times stay."""
    info, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= bit
    path.write_bytes(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
