"""Folders for what was taken out of its bucket but not deleted: `trash` and `quarantine`.

Each thing lies in a folder of its own, `<time>-<8 hex digits>/`: a `note.json` that says what it was, why and when it
was taken, and the file or folder itself under `content`. Ordinary tools can look into it.
"""

import fcntl
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fileserver.core.errors import NotFound
from fileserver.core.incoming import Incoming
from fileserver.core.names import quoted
from fileserver.storage.filesystem import fsync_directory, make_directory_durable
from fileserver.storage.staging import Staging
from fileserver.storage.usage import folder_bytes

log = logging.getLogger(__name__)

_NOTE, _CONTENT = "note.json", "content"
_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


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
        """Its bytes, of a folder those of all files in it; 0 if it is gone."""
        if self.path.is_dir() and not self.path.is_symlink():
            return folder_bytes(self.path)
        try:
            return self.path.lstat().st_size
        except FileNotFoundError:
            return 0


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
        make_directory_durable(self.root, 0o700)
        with self._locked(fcntl.LOCK_SH):
            self._publish_note(name, note)
            content = self.root / name / _CONTENT
            try:
                moved = move(content)
            finally:
                with suppress(OSError):  # What stays hollow now is removed by a later `gc`.
                    if not self._has_content(name):
                        self.remove_hollow(name)
        return name if moved else None

    def _publish_note(self, name: str, note: Note) -> None:
        with self._staging.transaction(None) as transaction:
            folder = transaction.folder(name)
            transaction.receive(folder / _NOTE, Incoming(iter([json.dumps(asdict(note)).encode() + b"\n"])))
            fsync_directory(folder)
            os.rename(folder, self.root / name)
        fsync_directory(self.root)

    @contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        """Hold the lock of the area: shared by those who take something in, of whom there may be many."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, operation)
            yield
        finally:
            os.close(fd)

    def names(self) -> list[str]:
        """The names of all entries, the oldest first."""
        if not self.root.is_dir():
            return []
        with os.scandir(self.root) as entries:
            return sorted(
                entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            )

    def held(self) -> Iterator[Held]:
        """Everything here, the oldest first; what a crash left without content is left out."""
        for name in self.names():
            try:
                yield self.get(name)
            except NotFound:
                if not self._is_hollow(name):
                    log.error("%s/%s has no note that can be read; it is left alone", self.root.name, name)

    def hollow(self) -> list[str]:
        """The names of entries without content, as a crash leaves them; none while something is just taken in."""
        if not self.root.is_dir():
            return []
        with suppress(BlockingIOError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            return [name for name in self.names() if self._is_hollow(name)]
        return []

    def _is_hollow(self, name: str) -> bool:
        """Whether it is certain that the entry *name* has no content."""
        try:
            return not self._has_content(name)
        except OSError:
            return False

    def _has_content(self, name: str) -> bool:
        """Whether the entry *name* has content. Raises OSError where the disk does not tell."""
        try:
            os.lstat(self.root / name / _CONTENT)
        except FileNotFoundError:
            return False
        return True

    def remove_hollow(self, name: str) -> bool:
        """Delete the entry *name*, by steps that cannot delete content; tells whether it was there."""
        entry = self.root / name
        try:
            if os.listdir(entry) == [_NOTE]:
                (entry / _NOTE).unlink()
            entry.rmdir()
        except FileNotFoundError:
            return False
        fsync_directory(self.root)
        return True

    def get(self, name: str) -> Held:
        """The thing held as *name*. Raises NotFound."""
        entry = self.root / name
        with suppress(OSError, ValueError, TypeError, LookupError):
            if _NAME.fullmatch(name) and self._has_content(name):
                return Held(name, _parse_note((entry / _NOTE).read_bytes()), entry / _CONTENT)
        raise NotFound(f"{quoted(name)} is not in {self.root.name}")

    def remove(self, name: str) -> bool:
        """Delete the entry *name*, whatever is in it, for good and durably; tells whether it was there.

        It needs no space on the disk.
        """
        entry = self.root / name
        if not _NAME.fullmatch(name) or entry.is_symlink() or not entry.is_dir():
            return False
        with self._staging.grave() as grave:
            try:
                os.rename(entry, grave)
            except FileNotFoundError:
                return False
            fsync_directory(self.root)
        return True


def _parse_note(data: bytes) -> Note:
    fields = json.loads(data)
    return Note(str(fields["bucket"]), str(fields["key"]), str(fields["reason"]), float(fields["taken_at"]))
