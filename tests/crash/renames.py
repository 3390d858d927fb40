"""Counting the names that appear in a folder by rename(2), exactly: inotify(7) misses none."""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_MOVED_TO = 0x80
_HEAD = struct.Struct("iIII")
_MAX_BYTES = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def renames_into(folder: Path) -> Iterator[Callable[[], list[str]]]:
    """Watch *folder*; yields a function that returns the names which were moved there since its last call."""
    fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    assert _libc.inotify_add_watch(fd, os.fsencode(folder), _MOVED_TO) >= 0, os.strerror(ctypes.get_errno())
    try:
        yield lambda: list(_names(fd))
    finally:
        os.close(fd)


def _names(fd: int) -> Iterator[str]:
    try:
        events = os.read(fd, _MAX_BYTES)
    except BlockingIOError:
        return
    while events:
        *_, size = _HEAD.unpack_from(events)
        yield os.fsdecode(events[_HEAD.size : _HEAD.size + size].rstrip(b"\0"))
        events = events[_HEAD.size + size :]
