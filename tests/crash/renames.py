"""Seeing the names that appear in a folder by rename(2), as they do: inotify(7)."""

import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOVED_TO = 0x80
_HEAD = struct.Struct("iIII")
_MAX_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def renames_into(folder: Path) -> Iterator[list[str]]:
    """Watch *folder* during the block; yields a list to which each name that is moved there is added at once.

    The kernel merges equal events that nobody has read yet, so a thread reads them all the time.
    """
    fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    assert _libc.inotify_add_watch(fd, os.fsencode(folder), _MOVED_TO) >= 0, os.strerror(ctypes.get_errno())
    names: list[str] = []
    stop_reading, stop = os.pipe()

    def keep_reading() -> None:
        while True:
            ready, _, _ = select.select([fd, stop_reading], [], [])
            if fd not in ready:
                return
            names.extend(_names(os.read(fd, _MAX_BYTES)))

    reader = threading.Thread(target=keep_reading)
    reader.start()
    try:
        yield names
    finally:
        os.close(stop)
        reader.join()
        os.close(stop_reading)
        os.close(fd)


def _names(events: bytes) -> Iterator[str]:
    while events:
        *_, size = _HEAD.unpack_from(events)
        yield os.fsdecode(events[_HEAD.size : _HEAD.size + size].rstrip(b"\0"))
        events = events[_HEAD.size + size :]
