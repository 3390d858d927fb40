"""How often a password may be guessed: failed logins are counted by address, in the memory of this process."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fileserver.core.addresses import household

_MAX_COUNTED = 10_000
_KNOWN_SECONDS = 86_400


@dataclass
class _Count:
    failures: int
    until: float


class LoginThrottle:
    """Failed logins of a user from an address, and of all users from it, each up to a limit within *window_seconds*.

    The limit of an address does not hold for a user who has logged in from there within a day: behind one proxy, or
    one address of a network, the failures of others lock nobody out who works. *clock* is monotonic, in seconds.
    """

    def __init__(
        self, max_of_user: int, max_of_address: int, window_seconds: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_of_user = max_of_user
        self._max_of_address = max_of_address
        self._window_seconds = window_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: OrderedDict[Hashable, _Count] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def wait_seconds(self, address: str, user: str) -> int:
        """How long *user* must not try from *address*; 0 if it may."""
        household_of, now = household(address), self._clock()
        with self._lock:
            waits = [self._wait((household_of, user), self._max_of_user, now)]
            if self._known.get((household_of, user), -math.inf) < now:
                waits.append(self._wait(household_of, self._max_of_address, now))
        return max(waits)

    def failed(self, address: str, user: str) -> bool:
        """Count a failed login; whether the next one of *user* is not allowed any more."""
        household_of, now = household(address), self._clock()
        with self._lock:
            for key in (household_of, (household_of, user)):
                self._count(key, now)
        return self.wait_seconds(address, user) > 0

    def succeeded(self, address: str, user: str) -> None:
        """Note that *user* can log in from *address*, and forget that it failed before."""
        key = (household(address), user)
        with self._lock:
            self._counts.pop(key, None)
            self._known.pop(key, None)
            self._known[key] = self._clock() + _KNOWN_SECONDS
            if len(self._known) > _MAX_COUNTED:
                self._known.popitem(last=False)

    def _wait(self, key: Hashable, limit: int, now: float) -> int:
        count = self._counts.get(key)
        return math.ceil(count.until - now) if count and count.failures >= limit and count.until > now else 0

    def _count(self, key: Hashable, now: float) -> None:
        count = self._counts.get(key)
        if count and count.until > now:
            count.failures += 1
            return
        self._counts.pop(key, None)
        self._counts[key] = _Count(1, now + self._window_seconds)
        # The oldest goes first, which ends first, too. One address cannot push the others out: before its count
        # of users grows long it is not listened to any more.
        if len(self._counts) > _MAX_COUNTED:
            self._counts.popitem(last=False)
