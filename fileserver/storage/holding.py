"""Folders for what was taken out of its bucket but not deleted: `trash` and `quarantine`.

Each thing lies in a folder of its own, `<time>-<8 hex digits>/`: a `note.json` that says what it was, why and when it
was taken, and the file or folder itself under `content`. Ordinary tools can look into it.
"""

import fcntl
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fileserver.core.errors import FileserverError, NotFound
from fileserver.core.incoming import Incoming
from fileserver.core.names import quoted
from fileserver.storage.filesystem import fsync_directory, make_directory_durable, open_below
from fileserver.storage.staging import Staging
from fileserver.storage.usage import folder_bytes

_MAX_NOTE_BYTES = 64 * 1024
_END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
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
        """Its bytes, of a folder those of all files in it; 0 if it is gone, or nobody can tell."""
        return _size_bytes(self.path)


class Unreadable(FileserverError):
    """Nobody can tell what is held as *name*, or whether something is: it stays until it is removed by its name."""

    code = "unreadable"
    title = "What is held there cannot be told"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


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
        """Everything here of which can be told what it is, the oldest first."""
        return (entry for entry in self._entries() if isinstance(entry, Held))

    def unreadable(self) -> Iterator[Unreadable]:
        """Everything else here, the oldest first; but for what a crash left without content."""
        return (entry for entry in self._entries() if isinstance(entry, Unreadable))

    def _entries(self) -> Iterator[Held | Unreadable]:
        for name in self.names():
            try:
                yield self.get(name)
            except Unreadable as unreadable:
                yield unreadable
            except NotFound:
                continue

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
        """The thing held as *name*. Raises NotFound, and Unreadable if its note does not tell what it is."""
        entry = self.root / name
        try:
            if _NAME.fullmatch(name) and self._has_content(name):
                return Held(name, _read_note(entry), entry / _CONTENT)
        except OSError as error:
            # It may just be removed.
            if not isinstance(error, FileNotFoundError) or os.path.lexists(entry):
                raise Unreadable(name, f"it cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, LookupError, RecursionError):
            raise Unreadable(name, f"its {_NOTE} is damaged") from None
        raise NotFound(f"{quoted(name)} is not in {self.root.name}")

    def size_bytes(self, name: str) -> int:
        """As `Held.size_bytes`, of what is held as *name*, also if nobody can tell what it is."""
        return _size_bytes(self.root / name / _CONTENT)

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


def _size_bytes(path: Path) -> int:
    try:
        info = path.lstat()
        return folder_bytes(path) if stat.S_ISDIR(info.st_mode) else info.st_size
    except OSError:
        return 0


def _read_note(entry: Path) -> Note:
    """The note in the folder *entry*. Raises OSError, ValueError, TypeError, LookupError, RecursionError."""
    with open(open_below(entry, _NOTE), "rb") as file:
        fields = json.loads(file.read(_MAX_NOTE_BYTES))
    note = Note(*(fields[name] for name in ("bucket", "key", "reason", "taken_at")))
    texts = (note.bucket, note.key, note.reason)
    # Of NaN every comparison is false.
    if not all(isinstance(text, str) for text in texts) or not 0 <= note.taken_at < _END_OF_TIME:
        raise ValueError("what it tells cannot be true")
    return note
