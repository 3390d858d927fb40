"""Results and attachments: single files under names that the sender chooses; the last complete one wins."""

from fileserver.core.incoming import Incoming
from fileserver.storage.interface import StoredFile
from fileserver.storage.local import LocalBucket
from fileserver.storage.staging import WHOLE_RESERVE, Staging


class NamedFiles:
    """Store, read and delete the files of one bucket. Names are validated before they come here.

    *reserve_share* is the part of the reserve of free space that they must leave.
    """

    def __init__(self, bucket: LocalBucket, staging: Staging, reserve_share: float = WHOLE_RESERVE) -> None:
        self._bucket = bucket
        self._staging = staging
        self._reserve_share = reserve_share

    def store(self, name: str, incoming: Incoming) -> None:
        """Replace *name* by *incoming*; durable on return. On an error the old content stays."""
        self._bucket.require_room({name: incoming.size_bytes or 0})
        with self._staging.transaction(incoming.size_bytes or 0, self._reserve_share) as transaction:
            staged = transaction.receive(transaction.path / "content", incoming)
            self._bucket.put(name, staged)

    def open(self, name: str) -> StoredFile:
        """Open *name*. Raises NotFound."""
        return self._bucket.open(name)

    def delete(self, name: str) -> None:
        """Remove *name*, durably. Raises NotFound."""
        self._bucket.delete(name)
