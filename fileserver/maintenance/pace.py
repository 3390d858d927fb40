"""A limit to how fast maintenance reads, so that it leaves the disk to those who are served."""

import time
from collections.abc import Callable


class Pace:
    """At most *max_bytes_per_second* on average, counted from the first bytes; None is for no limit.

    *pause* waits some seconds; what it raises ends the reading.
    """

    def __init__(self, max_bytes_per_second: int | None = None, pause: Callable[[float], object] = time.sleep) -> None:
        self._pause = pause
        self._rate = max_bytes_per_second
        self._due_at = 0.0

    def spend(self, size_bytes: int) -> None:
        """Wait until *size_bytes* more may be handled."""
        if self._rate is None:
            return
        now = time.monotonic()
        # Time in which nothing was to be done is not made up for by a burst.
        self._due_at = max(self._due_at, now) + size_bytes / self._rate
        self._pause(self._due_at - now)
