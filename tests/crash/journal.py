"""What clients began to write, and what was acknowledged: it tells what may be read."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from threading import Lock

from tests.crash.versioned import Resource, Version


@dataclass(eq=False)
class Write:
    """One write; the instants are those of the client, so it happened between them."""

    version: Version
    begun: int
    acknowledged: int | None = None


class Journal:
    """The writes of all clients, by resource, on one clock that only counts."""

    def __init__(self) -> None:
        self.reads_checked = 0
        self.writes_checked = 0
        self._lock = Lock()
        self._clock = count(1)
        self._writes: dict[Resource, list[Write]] = defaultdict(lambda: [Write(None, -1, 0)])

    def now(self) -> int:
        return next(self._clock)

    def resources(self) -> list[Resource]:
        """All that was ever written."""
        return list(self._writes)

    def begin(self, resource: Resource, version: Version) -> Write:
        """Note that *version* (None: nothing) is about to be sent."""
        with self._lock:
            write = Write(version, self.now())
            self._writes[resource].append(write)
            return write

    def acknowledge(self, write: Write) -> None:
        """Note that *write* was answered with success."""
        write.acknowledged = self.now()

    def withdraw(self, resource: Resource, write: Write) -> None:
        """Forget *write*, which the server said to have changed nothing."""
        with self._lock:
            self._writes[resource].remove(write)

    def allowed(self, resource: Resource, since: int) -> set[Version]:
        """What a read begun at *since* may give.

        That is every version, also one that was not acknowledged, unless another one was begun after its
        acknowledgement, and was itself acknowledged before the read.
        """
        with self._lock:
            writes = list(self._writes[resource])
        acknowledged = {write: write.acknowledged for write in writes}
        newest = max(write.begun for write, at in acknowledged.items() if at is not None and at < since)
        return {write.version for write, at in acknowledged.items() if at is None or at > newest}

    def check(self, resource: Resource, version: Version, since: int) -> None:
        """AssertionError if a read begun at *since* must not give *version*."""
        allowed = self.allowed(resource, since)
        assert version in allowed, f"{resource}: version {version} was read where one of {allowed} must be"
        self.reads_checked += 1

    def settle(self, resource: Resource, version: Version) -> None:
        """Let *version*, which was read after a recovery, be the truth: what was not acknowledged by then, never is."""
        with self._lock:
            self.writes_checked += sum(write.acknowledged is not None for write in self._writes[resource])
            self._writes[resource] = [Write(version, self.now(), self.now())]
