"""What every storage of objects promises; `tests/storage/contract.py` holds it to that."""

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fileserver.storage.records import Record


@dataclass(frozen=True)
class StagedFile:
    """A complete, checked, durable file in staging, on its way to a bucket."""

    path: Path
    size_bytes: int
    digests: dict[str, bytes]
    """Raw digests by hashlib's name of the algorithm; always `sha256`."""

    @property
    def sha256(self) -> bytes:
        return self.digests["sha256"]


@dataclass(frozen=True)
class StoredFile:
    """One version of a stored file, open for reading. It stays whole if the name is replaced or deleted meanwhile."""

    file: io.FileIO
    size_bytes: int
    mtime_ns: int
    inode: int
    record: Record | None
    last_used_ns: int
    """When it was used or stored last, before it was opened now; nanoseconds since the epoch, up to a day early."""

    @property
    def sha256(self) -> bytes | None:
        """The SHA-256 (32 raw bytes), if it is known without reading the file."""
        return self.record.sha256 if self.record else None

    @property
    def version(self) -> str:
        """Text that differs between any two versions of one name; the digest where it is known."""
        return self.sha256.hex() if self.sha256 else f"{self.inode:x}-{self.size_bytes:x}-{self.mtime_ns:x}"

    def read_tail(self, size_bytes: int) -> bytes:
        """The last *size_bytes* of the file; the reading position stays where it is."""
        return os.pread(self.file.fileno(), size_bytes, max(0, self.size_bytes - size_bytes))

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bucket(ABC):
    """A named place for files under keys: relative paths of safe components, `/` between them."""

    name: str

    @abstractmethod
    def put(self, key: str, staged: StagedFile) -> None:
        """Publish *staged*, whose content is durable, under *key*, replacing what is there, in one atomic step.

        On return the name is durable, too. On an error readers see what was there before. The staged file is consumed.
        """

    @abstractmethod
    def open(self, key: str) -> StoredFile:
        """Open the file under *key*; the caller closes it. Raises NotFound."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove *key*, durably. Raises NotFound if there is nothing."""

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """All keys, sorted."""
