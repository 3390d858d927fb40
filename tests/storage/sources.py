"""What the tests of the storage share: content to store, and the parts to store it with."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fileserver.core.digests import DeclaredDigests
from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.sections import LimitSettings
from fileserver.services import Services
from fileserver.storage.filesystem import Modes
from fileserver.storage.folders import LocalFolders
from fileserver.storage.interface import Bucket, StagedFile, StoredFile
from fileserver.storage.local import LocalBucket
from fileserver.storage.locks import KeyLocks, stripe_of
from fileserver.storage.staging import Staging
from fileserver.storage.usage import Account, Usage, UsageLedger, each_file, each_folder

REPOSITORY = Path(__file__).resolve().parents[2]

T = TypeVar("T")
MakeServices = Callable[..., Services]


def settings_for(root: Path, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in *sections*, with the working directory *root*."""
    return {**sections, "storage": {"working_directory": root, **sections.get("storage", {})}}


def incoming(content: bytes | Iterable[bytes], **more: Any) -> Incoming:
    """*content*, or its pieces, on their way in."""
    return Incoming(iter([content] if isinstance(content, bytes) else content), **more)


def files(content: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Iterator[IncomingFile]:
    """Named files, one after the other."""
    pairs = content.items() if isinstance(content, Mapping) else content
    for name, data in pairs:
        yield IncomingFile(name, incoming(data))


def failing(content: bytes, error: BaseException, piece: int = 1000) -> Iterator[bytes]:
    """*content* in pieces, and then *error*."""
    for start in range(0, len(content), piece):
        yield content[start : start + piece]
    raise error


def declared(algorithm: str, digest: bytes) -> DeclaredDigests:
    return DeclaredDigests(((algorithm, digest),))


def read_all(stored: StoredFile) -> bytes:
    """The content of *stored*, which is closed."""
    with stored:
        return stored.file.read()


def content_of(bucket: Bucket, key: str) -> bytes:
    return read_all(bucket.open(key))


def transactions(staging: Path) -> list[str]:
    """What lies in the folder *staging* but for what is permanent there."""
    return sorted(name for name in os.listdir(staging) if not name.startswith("."))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below *folder* with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Bench:
    """Staging, locks, a ledger, and buckets in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modes = Modes()
        for name in ("staging/.locks", "plain", "folders"):
            (root / name).mkdir(parents=True)
        counters = {name: partial(each_file, root / name) for name in ("plain", "sharded")}
        counters["folders"] = partial(each_folder, root / "folders")
        accounts = {name: Account((name,)) for name in counters}
        self.locks = KeyLocks(root / "staging" / ".locks")
        self.ledger = UsageLedger(root, self.locks, accounts, counters)
        self.staging = Staging(root / "staging", self.modes, LimitSettings())

    def bucket(self, *, sharded: bool = False) -> LocalBucket:
        name = "sharded" if sharded else "plain"
        return LocalBucket(name, self.root / name, self.locks, self.ledger, self.modes, sharded=sharded)

    def folders(self) -> LocalFolders:
        return LocalFolders("folders", self.root / "folders", self.ledger)

    @contextmanager
    def staged(self, content: bytes) -> Iterator[StagedFile]:
        """*content*, received and checked, for the time of the block."""
        with self.staging.transaction() as transaction:
            yield transaction.receive(transaction.path / "content", incoming(content))

    def close(self) -> None:
        self.ledger.close()


def within(seconds: float, action: Callable[[], T]) -> T:
    """The result of *action*; AssertionError if it takes longer. For what could wait for ever."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"it still runs after {seconds} seconds"
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def python(script: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run *script* in a process of its own, whose standard input and output are pipes; killed at the end."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def is_locked(locks: KeyLocks, bucket: str, key: str) -> bool:
    """Whether somebody holds the lock of *key*."""
    with locks.hold_if_free(bucket, stripe_of(key)) as lock:
        return lock is None


def counted(found: Iterable[tuple[str, Usage]]) -> Usage:
    """The sum of what was *found*."""
    return sum((usage for _, usage in found), Usage(0, 0))
