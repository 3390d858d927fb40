"""Time that passes for a working directory: everything in it becomes older, while the clock stays true."""

import json
import os
from pathlib import Path

from fileserver.storage.records import read_record, write_record

DAY_SECONDS = 86_400
BUCKETS = ("submissions", "submission_archives", "results", "attachments", "tasks", "exercises", "trash", "quarantine")


def make_older(path: Path, days: float) -> None:
    """Let a file or folder have been stored and used *days* earlier; the digests of a file stay known."""
    info, shift_ns = path.lstat(), int(days * DAY_SECONDS) * 10**9
    times = (info.st_atime_ns - shift_ns, info.st_mtime_ns - shift_ns)
    if path.is_dir():
        os.utime(path, ns=times)
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        record = read_record(fd, info)
        os.utime(fd, ns=times)
        if record:
            write_record(fd, {"sha256": record.sha256, "sha1": record.sha1_start})
    finally:
        os.close(fd)


def use_earlier(path: Path, days: float) -> None:
    """Let a file have been used *days* earlier than now; when it was stored stays."""
    info = path.lstat()
    os.utime(path, ns=(info.st_atime_ns - int(days * DAY_SECONDS) * 10**9, info.st_mtime_ns))


def age(root: Path, days: float) -> None:
    """Let *days* pass for all that is stored in the working directory *root*, or lies in its trash."""
    for bucket in BUCKETS:
        for path in sorted((root / bucket).rglob("*")):
            make_older(path, days)
    for path in (root / "trash").glob("*/note.json"):
        note = json.loads(path.read_bytes())
        path.write_text(json.dumps({**note, "taken_at": note["taken_at"] - days * DAY_SECONDS}))
