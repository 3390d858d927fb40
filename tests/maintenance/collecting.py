"""Running gc in the way of all tests about it, and what they store for it."""

import os
import time
from pathlib import Path
from typing import Any

from fileserver.core.names import Sha1
from fileserver.maintenance.gc import Collector
from fileserver.maintenance.keep_list import KeepList
from fileserver.maintenance.removals import Removal
from fileserver.services import Services
from tests.storage.sources import files, incoming
from tests.storage.submitting import store
from tests.support.messages import sha1

DATA = b"data"
NAME = Sha1(sha1(DATA))


def fill(services: Services) -> None:
    """Store one thing of each kind."""
    store(services, {"a": b"submitted", "b/c": b"too"})
    services.results.store("job.zip", incoming(b"result"))
    services.attachments.store("att", incoming(b"attached"))
    services.task_files.store(files({"data": DATA}))


def keep(*contents: bytes, days_ago: float = 0) -> KeepList:
    """A keep-list of the task files with these *contents*."""
    made_at_ns = time.time_ns() - int(days_ago * 86_400 * 10**9)
    return KeepList(frozenset(bytes.fromhex(sha1(content)) for content in contents), made_at_ns)


def collect(services: Services, kept: KeepList | None = None, free_bytes: int = 0, **options: Any) -> list[Removal]:
    """What one run of gc has taken away."""
    return list(Collector(services, time.time_ns(), kept, **options).collect(free_bytes))


def names(removals: list[Removal]) -> set[str]:
    """What went, as `<bucket>/<key>`."""
    assert [removal.error for removal in removals] == [""] * len(removals)
    return {f"{removal.bucket}/{removal.key}" for removal in removals}


def snapshot(root: Path) -> dict[str, tuple[int, ...]]:
    """All that is stored below *root*, or lies in its trash, with what a change or a use of it would change."""
    found = {}
    for path in root.rglob("*"):
        if "staging" not in path.relative_to(root).parts:
            info = path.lstat()
            used_ns = 0 if path.is_dir() or path.name == "note.json" else info.st_atime_ns
            found[os.fspath(path)] = (info.st_ino, info.st_size, info.st_mtime_ns, used_ns)
    return found
