"""A disk that is really full: what makes room there works without any."""

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from fileserver.core.settings import parse_settings
from fileserver.maintenance.trash import empty
from fileserver.services import Services, build_services
from fileserver.storage.local import version_of
from tests.crash.conftest import Tally
from tests.crash.disks import Disks
from tests.crash.test_full_disks import SMALL, use_up_bytes
from tests.maintenance.collecting import collect, fill
from tests.storage.sources import incoming, settings_for, transactions
from tests.storage.submitting import ARCHIVE
from tests.support.ageing import age

pytestmark = pytest.mark.slow

THINGS = 20


@pytest.fixture
def full_services(disks: Disks) -> Iterator[Services]:
    """Services with an old archive and things in the trash, on a disk on which there is not even room for a folder."""
    root = disks.make(16, mkfs=SMALL).root / "work"
    settings = settings_for(root, retention={"archive_days": 1, "trash_days": 10}, limits={"min_free_bytes": 0})
    with closing(build_services(parse_settings(settings))) as services:
        fill(services)
        for number in range(THINGS):
            throw_away(services, f"{number}.zip")
        age(root, 20)
        use_up_bytes(root)
        with pytest.raises(OSError, match="No space left"):
            use_up_folders(root.parent)
        yield services
        assert transactions(services.staging.root) == []


def throw_away(services: Services, name: str) -> None:
    """Let a result of 100 kB lie in the trash."""
    bucket = services.buckets["results"]
    services.results.store(name, incoming(bytes(100_000)))
    info = bucket.info(name)
    assert info
    services.trash.take("results", name, "old", partial(bucket.move_out, name, version=version_of(info)))


def use_up_folders(folder: Path) -> None:
    """Take the last blocks that are left for folders."""
    for number in range(10_000):
        os.mkdir(folder / f"folder-{number}")


def test_the_trash_is_emptied_on_a_full_disk(full_services: Services, tally: Tally) -> None:
    removals = list(empty(full_services.trash, lambda _: "now"))
    assert [removal.error for removal in removals] == [""] * THINGS
    assert os.listdir(full_services.trash.root) == []
    tally.add("things removed from a full disk", THINGS)


def test_gc_makes_room_on_a_full_disk(full_services: Services, tally: Tally) -> None:
    removals = collect(full_services)
    assert {removal.error for removal in removals} == {""}
    assert ARCHIVE in {removal.key for removal in removals}
    assert len(removals) == THINGS + 1
    assert full_services.staging.space.free_bytes() > THINGS * 100_000
    tally.add("things removed from a full disk", len(removals))
