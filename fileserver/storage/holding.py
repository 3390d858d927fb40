"""Folders for what was taken out of its bucket but not deleted: `trash` and `quarantine`.

Each thing lies in a folder of its own, `<time>-<8 hex digits>/`: a `note.json` that says what it was, why and when it
was taken, and the file or folder itself under `content`. Ordinary tools can look into it.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fileserver.core.errors import NotFound
from fileserver.core.incoming import Incoming
from fileserver.core.names import quoted
from fileserver.storage.filesystem import fsync_directory
from fileserver.storage.staging import Staging
from fileserver.storage.usage import folder_bytes

_NOTE, _CONTENT = "note.json", "content"


@dataclass(frozen=True)
class Note:
    """What was taken out of which bucket, why, and when, in seconds since the epoch."""

    bucket: str
    key: str
    reason: str
    taken_at: float


@dataclass(frozen=True)
class Held:
    """One thing in a holding area; *name* is that of its folder there."""

    name: str
    note: Note
    path: Path
    """The file or folder itself."""

    def size_bytes(self) -> int:
        """Its bytes, of a folder those of all files in it."""
        return folder_bytes(self.path) if self.path.is_dir() else self.path.lstat().st_size


class HoldingArea:
    """One such folder. It is made when it is first used."""

    def __init__(self, root: Path, staging: Staging) -> None:
        self.root = root
        self._staging = staging

    def take(self, bucket: str, key: str, reason: str, move: Callable[[Path], bool]) -> str | None:
        """Take in what *move* moves to the path that it is given, durably; it tells whether it did.

        Returns the name under which it is held, or None if nothing was moved. The note is durable before the move, so
        that nothing ever lies here without one.
        """
        note = Note(bucket, key, reason, time.time())
        name = time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime(note.taken_at)) + secrets.token_hex(4)
        entry = self.root / name
        with self._staging.transaction(None) as transaction:
            folder = transaction.folder(name)
            transaction.receive(folder / _NOTE, Incoming(iter([json.dumps(asdict(note)).encode() + b"\n"])))
            fsync_directory(folder)
            self._make_root()
            os.rename(folder, entry)
        fsync_directory(self.root)
        moved = False
        try:
            moved = move(entry / _CONTENT)
        finally:
            if not moved and not os.path.lexists(entry / _CONTENT):
                shutil.rmtree(entry, ignore_errors=True)
        return name if moved else None

    def _make_root(self) -> None:
        try:
            self.root.mkdir(0o700)
        except FileExistsError:
            return
        fsync_directory(self.root.parent)

    def held(self) -> Iterator[Held]:
        """Everything here, the oldest first; what a crash left without content is left out."""
        for name in sorted(os.listdir(self.root)) if self.root.is_dir() else ():
            with suppress(NotFound):
                yield self.get(name)

    def get(self, name: str) -> Held:
        """The thing held as *name*. Raises NotFound."""
        entry = self.root / name
        try:
            note = Note(**json.loads((entry / _NOTE).read_bytes()))
        except (OSError, ValueError, TypeError):
            raise NotFound(f"{quoted(name)} is not in {self.root.name}") from None
        if "/" in name or not os.path.lexists(entry / _CONTENT):
            raise NotFound(f"{quoted(name)} is not in {self.root.name}")
        return Held(name, note, entry / _CONTENT)

    def remove(self, held: Held) -> None:
        """Delete one thing for good, or what is left of its entry after it was moved back; durable on return."""
        with self._staging.transaction(None) as transaction:
            with suppress(FileNotFoundError):
                os.rename(self.root / held.name, transaction.path / held.name)
            fsync_directory(self.root)
