"""Results and attachments, without HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserver.core.errors import NotFound
from fileserver.services import Services
from tests.storage.sources import failing, incoming, read_all, transactions


def test_results_and_attachments_are_replaced_whole(services: Services, root: Path) -> None:
    for service, name in ((services.results, "job.zip"), (services.attachments, "picture")):
        with pytest.raises(NotFound):
            service.open(name)
        with pytest.raises(NotFound):
            service.delete(name)
        service.store(name, incoming(b"first"))
        with pytest.raises(ZeroDivisionError):
            service.store(name, incoming(failing(b"second", ZeroDivisionError())))
        assert read_all(service.open(name)) == b"first"
        service.store(name, incoming(b""))
        assert read_all(service.open(name)) == b""
        service.delete(name)
        with pytest.raises(NotFound):
            service.delete(name)
    assert transactions(root / "staging") == []


def test_a_reception_that_waits_blocks_nobody(services: Services) -> None:
    """Locks are held while publishing only, not while receiving."""
    seen: list[bytes] = []

    def slow() -> Iterator[bytes]:
        yield b"begin"
        services.results.store("job.zip", incoming(b"fast"))
        seen.append(read_all(services.results.open("job.zip")))
        yield b"end"

    services.results.store("job.zip", incoming(slow()))
    assert seen == [b"fast"]
    assert read_all(services.results.open("job.zip")) == b"beginend"
