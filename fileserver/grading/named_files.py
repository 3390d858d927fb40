"""Results and attachments: single files under names that the sender chooses; the last complete one wins."""

from fileserver.core.incoming import Incoming
from fileserver.storage.interface import Bucket, StoredFile
from fileserver.storage.staging import Staging


class NamedFiles:
    """Store, read and delete the files of one bucket. Names are validated before they come here."""

    def __init__(self, bucket: Bucket, staging: Staging) -> None:
        self._bucket = bucket
        self._staging = staging

    def store(self, name: str, incoming: Incoming) -> None:
        """Replace *name* by *incoming*; durable on return. On an error the old content stays."""
        with self._staging.transaction(incoming.size_bytes or 0) as transaction:
            staged = transaction.receive(transaction.path / "content", incoming)
            self._bucket.put(name, staged)

    def open(self, name: str) -> StoredFile:
        """Open *name*. Raises NotFound."""
        return self._bucket.open(name)

    def delete(self, name: str) -> None:
        """Remove *name*, durably. Raises NotFound."""
        self._bucket.delete(name)
