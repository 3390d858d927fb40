"""Numbered versions of one resource, written and read by many at once, and what a read may show."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


def body_of(version: int, size: int = 200_000) -> bytes:
    """A body made of one number, repeated."""
    line = b"%07d\n" % version
    return line * (size // len(line))


def version_of(content: bytes) -> int:
    """Return the number in a body made of one number, repeated; fails for a mixture."""
    numbers = set(content.split())
    assert len(numbers) == 1, "a mixture of several bodies"
    return int(numbers.pop())


class Write(NamedTuple):
    """A version, None for a deletion, with the times between which it took effect."""

    version: int | None
    begun: float
    acknowledged: float


class Read(NamedTuple):
    version: int | None
    begun: float
    ended: float


class History:
    """What was written to one resource and what was read from it, by several threads."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.reads: list[Read] = []

    @contextmanager
    def writing(self, version: int | None) -> Iterator[None]:
        """The block writes *version*, and ends when it is acknowledged."""
        begun = time.monotonic()
        yield
        self.writes.append(Write(version, begun, time.monotonic()))

    def read(self, read: Callable[[], int | None]) -> int | None:
        """Call *read* and note what it returns, and when."""
        begun = time.monotonic()
        version = read()
        self.reads.append(Read(version, begun, time.monotonic()))
        return version

    def check(self) -> int:
        """Each read shows a version that was written by then, and not surely replaced before; return their number."""
        for read in self.reads:
            shown = [write for write in self.writes if write.version == read.version and write.begun < read.ended]
            assert shown, f"{read} shows what nobody has written"
            assert any(not self._was_replaced(write, read) for write in shown), f"{read} shows an old version"
        return len(self.reads)

    def _was_replaced(self, write: Write, read: Read) -> bool:
        """Whether another write began after *write* was acknowledged, and was itself acknowledged before *read*."""
        return any(write.acknowledged < later.begun and later.acknowledged < read.begun for later in self.writes)


def assert_none_comes_back(versions: list[int | None]) -> None:
    """What one reader sees in turn never goes back to a version that it has seen replaced."""
    changes = [version for number, version in enumerate(versions) if number == 0 or version != versions[number - 1]]
    assert len(changes) == len(set(changes)), "a replaced version came back"
