"""Several clients at once, for a bounded time; their failures surface in the test."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run *jobs* at once, each in its own thread; return their results, raise the first error."""
    with ThreadPoolExecutor(len(jobs)) as executor:
        futures = [executor.submit(job) for job in jobs]
        return [future.result() for future in futures]


class Hammer:
    """Repeats an action in several threads while the block of its ``with`` runs.

    The results are in ``results`` afterwards; an error of the action is raised at the end.
    """

    def __init__(self, action: Callable[[], Any], threads: int = 4) -> None:
        self.action = action
        self.results: list[Any] = []
        self._threads = threads
        self._enough = Event()

    def __enter__(self) -> "Hammer":
        self._executor = ThreadPoolExecutor(self._threads)
        self._futures = [self._executor.submit(self._repeat) for _ in range(self._threads)]
        return self

    def __exit__(self, *exc: object) -> None:
        self._enough.set()
        self._executor.shutdown()
        for future in self._futures:
            self.results += future.result()

    def _repeat(self) -> list[Any]:
        results = []
        while not self._enough.is_set():
            results.append(self.action())
        return results
