"""Taking one thing away, or saying that it would be."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Removal:
    """One thing that goes, or would go: out of which bucket, why, and whether to the trash or for good."""

    bucket: str
    key: str
    size_bytes: int
    reason: str
    to_trash: bool
    error: str = ""
    """What went wrong, if it did; then it may have stayed."""

    @property
    def freed_bytes(self) -> int:
        """What becomes free on the disk at once."""
        return 0 if self.to_trash or self.error else self.size_bytes


def perform(removal: Removal, act: Callable[[], object], *, dry_run: bool) -> Iterator[Removal]:
    """Yield *removal* after *act* has done it; nothing if that returns a false value, as there is nothing to do now."""
    try:
        done = dry_run or act()
    except OSError as error:
        yield replace(removal, error=error.strerror or str(error))
    else:
        if done:
            yield removal
