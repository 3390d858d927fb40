"""What lies in folders, as it comes from the disk: unsorted, so that a folder may hold any number of entries."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from fileserver.core.errors import InvalidName, NotFound

Entry = os.DirEntry[str]
T = TypeVar("T", bound=str)


def entries(folder: Path) -> Iterator[Entry]:
    """Everything in *folder*; nothing if it does not exist."""
    try:
        listing = os.scandir(folder)
    except FileNotFoundError:
        return
    with listing:
        yield from listing


def entries_below(folder: Path, prefix: str = "") -> Iterator[tuple[str, Entry]]:
    """Everything below *folder* but for folders, with its path relative to it."""
    for entry in entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from entries_below(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def valid_name(name: Callable[[str], T], text: str, entry: Entry, *, folder: bool = False) -> tuple[T | None, str]:
    """The validated *name* of *entry*, which *text* would be; or None, and why it is nothing of this server.

    The reason is empty if it is gone.
    """
    fits = entry.is_dir(follow_symlinks=False) if folder else entry.is_file(follow_symlinks=False)
    try:
        if fits:
            return name(text), ""
        reason = "it is not a folder" if folder else "it is not a regular file"
    except (InvalidName, NotFound) as error:
        reason = str(error)
    return None, reason if os.path.lexists(entry.path) else ""
