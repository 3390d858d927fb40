"""Results and attachments, without HTTP."""

import hashlib
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


def seconds_of(path: Path) -> int:
    return path.stat().st_mtime_ns // 10**9


def test_no_two_versions_of_a_name_are_modified_in_one_second(services: Services, root: Path) -> None:
    """Web servers that serve the folder, and HTTP dates, tell versions apart by the second."""
    for service, path in ((services.results, root / "results/job.zip"), (services.attachments, root / "attachments/a")):
        seconds = []
        for content in (b"1", b"2", b"33", b"4"):
            service.store(path.name, incoming(content))
            seconds.append(seconds_of(path))
            with service.open(path.name) as stored:
                assert stored.sha256 == hashlib.sha256(content).digest()
        assert len(set(seconds)) == 4
        assert seconds == sorted(seconds)
