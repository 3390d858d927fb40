"""Working directories with something in them, and what time and disks do to files."""

import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from fileserver.core.names import SubmissionId
from fileserver.maintenance.check import Check
from fileserver.maintenance.findings import EVERYTHING, Finding, Subset
from fileserver.maintenance.reading import Reader
from fileserver.maintenance.repair import Repair
from fileserver.services import Services
from tests.storage.sources import files, incoming
from tests.storage.submitting import CONTENT, JOB, store
from tests.support.messages import sha1

TASK = b"1 2 3\n" * 100
TASK_SHA1 = sha1(TASK)
RESULT = b"PK result"
ATTACHMENT = b"\x89PNG picture"
OTHER_JOB = SubmissionId("other")
TASK_PATH = f"tasks/{TASK_SHA1[0]}/{TASK_SHA1}"
FILE_PATHS = {
    "task file": TASK_PATH,
    "result": "results/job.zip",
    "attachment": "attachments/picture",
    "submission": f"submissions/{JOB}/bar/baz/bah.txt",
    "archive": f"submission_archives/{JOB}.zip",
}
"""Where one file of each kind lies after `fill`."""


def fill(services: Services) -> None:
    """Store two submissions, a task file, a result and an attachment: 9 files with the archives."""
    store(services, CONTENT)
    store(services, {"a.c": b"int main;", "b": b""}, OTHER_JOB)
    services.task_files.store(files({"a": TASK}))
    services.results.store("job.zip", incoming(RESULT))
    services.attachments.store("picture", incoming(ATTACHMENT))


FILLED_FILES = 9


def rewrite(path: Path, content: bytes) -> None:
    """Change the bytes of a file in place, and not its time: as rot does."""
    info = path.stat()
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(path, bytes(content))


def edit(path: Path, content: bytes) -> None:
    """Change the bytes of a file as an administrator does."""
    rewrite(path, content)
    later = time.time_ns() + 1_000_000_000
    os.utime(path, ns=(later, later))


def forget(path: Path) -> None:
    """Remove the record of a file: as copying it without extended attributes does."""
    os.removexattr(path, "user.sha256")


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let every file and folder of this *name* be one that may not be opened or listed, as for want of permission."""
    for function in ("open", "scandir"):
        original = getattr(os, function)

        def refusing(path, *arguments, original=original, **options):
            if not isinstance(path, int) and os.path.basename(path) == name:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return original(path, *arguments, **options)

        monkeypatch.setattr(os, function, refusing)


def check(services: Services, *, read: bool = False, subset: Subset = EVERYTHING) -> list[Finding]:
    run = Check(services, Reader() if read else None, subset)
    return flat(run.run())


def repair(services: Services, *, read: bool = True) -> list[Finding]:
    mender = Repair(services, Reader())
    run = Check(services, Reader() if read else None)
    return flat(mender.mend(found) for found in run.run())


def flat(found: Iterable[list[Finding]]) -> list[Finding]:
    return [finding for findings in found for finding in findings]


def told(found: Iterable[Finding]) -> set[tuple[str, str]]:
    """What is wrong, and where."""
    return {(finding.kind.value, finding.place) for finding in found}
