"""Room on the disk: what gc deletes for good, archives for free bytes, and what is due in the trash."""

import os
import shutil
import time
from pathlib import Path

import pytest

from fileserver.core.names import SubmissionId
from fileserver.maintenance import gc as gc_module
from fileserver.maintenance.gc import Collector, longest_unused_first
from fileserver.maintenance.listing import Listed
from fileserver.services import Services
from fileserver.storage.local import version_of
from tests.maintenance.collecting import collect
from tests.storage.sources import MakeServices, incoming
from tests.storage.submitting import archived, store
from tests.support.ageing import age, make_older


def submit_archives(services: Services, days: dict[str, float]) -> None:
    """Submissions whose archives were used so many days ago."""
    for name, used_days in days.items():
        submission = SubmissionId(name)
        store(services, {"a": b"x" * 5000}, submission)
        for path in (
            services.folders.root / name,
            services.buckets["submission_archives"].path(submission.archive_name),
        ):
            make_older(path, used_days)


def test_for_free_bytes_the_longest_unused_archives_go_first(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_archives(services, {"b": 2, "d": 4, "a": 1, "c": 3})
    size_bytes = services.buckets["submission_archives"].info("a.zip").st_size
    monkeypatch.setattr(services.staging.space, "free_bytes", lambda: 10_000)
    assert collect(services, free_bytes=10_000) == []
    removals = collect(services, free_bytes=10_000 + size_bytes + 1)
    assert [removal.key for removal in removals] == ["d.zip", "c.zip"]
    assert archived(services, SubmissionId("d").archive_name)["d/a"] == b"x" * 5000


@pytest.mark.parametrize("lost", ["file", "folder"])
def test_an_archive_that_may_hold_what_is_nowhere_else_stays(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    submit_archives(services, {"a": 1})
    if lost == "file":
        next((root / "submissions" / "a").iterdir()).unlink()
    else:
        shutil.rmtree(root / "submissions" / "a")
    monkeypatch.setattr(services.staging.space, "free_bytes", lambda: 0)
    assert collect(services, free_bytes=10**9) == []
    assert (root / "submission_archives" / "a.zip").exists()


def test_what_goes_anyway_spares_other_archives(
    make_services: MakeServices, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = make_services(retention={"archive_days": 3, "result_days": 1})
    services.results.store("old.zip", incoming(b"y" * 20_000))
    age(root, 2)
    collect(services)
    age(root, 8)
    submit_archives(services, {"a": 1, "b": 2, "d": 4})
    monkeypatch.setattr(services.staging.space, "free_bytes", lambda: 10_000)
    removals = collect(services, free_bytes=25_000, dry_run=True)
    assert [removal.bucket for removal in removals] == ["trash", "submission_archives"]
    assert removals == collect(services, free_bytes=25_000)


def test_what_would_be_free_is_told(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    submit_archives(services, {"a": 1})
    monkeypatch.setattr(services.staging.space, "free_bytes", lambda: 7)
    collector = Collector(services, time.time_ns(), dry_run=True)
    (removal,) = collector.collect(10**9)
    assert collector.free_bytes() == 7 + removal.size_bytes


def test_the_order_of_the_last_use_needs_little_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gc_module, "ARCHIVES_AT_ONCE", 3)
    listed = []
    for number in range(10):
        (tmp_path / str(number)).write_bytes(b"")
        os.utime(tmp_path / str(number), ns=(number // 2, 0))
        listed.append(Listed(str(number), (tmp_path / str(number)).stat()))
    shuffled = listed[5:] + listed[:5]
    assert list(longest_unused_first(lambda: iter(shuffled))) == listed


def test_what_lies_in_the_trash_goes_for_good_after_its_days(make_services: MakeServices, root: Path) -> None:
    services = make_services(retention={"result_days": 1, "trash_days": 7})
    services.results.store("job.zip", incoming(b"result"))
    age(root, 2)
    collect(services)
    age(root, 6.9)
    assert collect(services) == []
    age(root, 0.2)
    (removal,) = collect(services)
    assert (removal.bucket, removal.to_trash, removal.size_bytes) == ("trash", False, 6)
    assert "results/job.zip" in removal.reason
    assert "trash_days is 7" in removal.reason
    assert list((root / "trash").iterdir()) == []


def test_trash_may_be_kept_for_ever_and_quarantine_always_is(make_services: MakeServices, root: Path) -> None:
    services = make_services(retention={"result_days": 1, "trash_days": 0})
    services.results.store("job.zip", incoming(b"result"))
    bucket = services.buckets["results"]
    services.attachments.store("att", incoming(b"attached"))
    attachments = services.buckets["attachments"]
    info = attachments.info("att")
    version = version_of(info)
    services.quarantine.take("attachments", "att", "damaged", lambda path: attachments.move_out("att", path, version))
    age(root, 2)
    collect(services)
    age(root, 10_000)
    assert collect(services) == []
    assert len(list(services.trash.held())) == len(list(services.quarantine.held())) == 1
    assert not bucket.path("job.zip").exists()


@pytest.mark.parametrize("area", ["trash", "quarantine"])
def test_what_a_crash_left_hollow_is_removed(services: Services, root: Path, area: str) -> None:
    entry = root / area / "20200101T000000Z-0123abcd"
    entry.mkdir(parents=True)
    (removal,) = collect(services)
    assert (removal.bucket, removal.key, removal.size_bytes) == (area, entry.name, 0)
    assert not entry.exists()
