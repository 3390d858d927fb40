"""The figures of a working directory: what is held, and on which days it was stored."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from fileserver.core.names import SubmissionId
from fileserver.maintenance.statistics import growth, held_usage, overview
from fileserver.services import Services
from fileserver.storage.usage import Usage
from tests.maintenance.snapshots import FILES, TASK, fill, submit
from tests.storage.sources import incoming
from tests.support.resources import store_as_the_original

NOTHING = Usage(0, 0)
TODAY = date(2026, 3, 1)


def at_noon(day: date) -> int:
    """Nanoseconds since the epoch."""
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) * 10**9


def date_back(path: Path, day: date) -> None:
    os.utime(path, ns=(at_noon(day), at_noon(day)))


def test_things_count_on_the_day_of_their_modification(services: Services, root: Path) -> None:
    services.results.store("a.zip", incoming(b"12345"))
    services.results.store("b.zip", incoming(b"123"))
    services.results.store("older.zip", incoming(b"1"))
    submit(services, FILES, SubmissionId("job"))
    (root / "submission_archives" / "job.zip").unlink()
    original = store_as_the_original(root, TASK)
    yesterday = TODAY - timedelta(days=1)
    date_back(root / "results" / "a.zip", TODAY)
    date_back(root / "results" / "b.zip", yesterday)
    date_back(root / "results" / "older.zip", TODAY - timedelta(days=3))
    date_back(root / "submissions" / "job", yesterday)
    date_back(original, TODAY)
    found = growth(services, TODAY, 3)
    assert list(found) == [TODAY - timedelta(days=2), yesterday, TODAY]
    empty = dict.fromkeys(("results", "submission_archives", "submissions", "attachments", "task_files"), NOTHING)
    submitted = Usage(1, sum(map(len, FILES.values())))
    assert found[TODAY] == {**empty, "results": Usage(1, 5), "task_files": Usage(1, len(TASK))}
    assert found[yesterday] == {**empty, "results": Usage(1, 3), "submissions": submitted}
    assert found[TODAY - timedelta(days=2)] == empty


def test_a_day_begins_at_midnight_utc(services: Services, root: Path) -> None:
    midnight_ns = at_noon(TODAY) - 12 * 3600 * 10**9
    for name, mtime_ns in (("before.zip", midnight_ns - 1), ("after.zip", midnight_ns)):
        services.results.store(name, incoming(b"1"))
        os.utime(root / "results" / name, ns=(mtime_ns, mtime_ns))
    counts = [day["results"].files for day in growth(services, TODAY, 2).values()]
    assert counts == [1, 1]


def test_the_overview_is_that_of_the_counters(services: Services) -> None:
    fill(services)
    now = overview(services)
    assert now.usage == services.ledger.read()
    assert now.bytes_used == sum(used.size_bytes for used in now.usage.values())
    assert timedelta(0) <= now.uptime < timedelta(minutes=10)


def test_what_is_held_aside_is_counted(services: Services, tmp_path: Path) -> None:
    assert held_usage(services.trash) == NOTHING
    services.trash.take("results", "x", "for the test", lambda target: bool(target.write_bytes(b"12345")))

    def folder(target: Path) -> bool:
        target.mkdir()
        return bool((target / "a").write_bytes(b"123"))

    services.trash.take("submissions", "y", "for the test", folder)
    assert (held_usage(services.trash), held_usage(services.quarantine)) == (Usage(2, 8), NOTHING)


def test_whether_somebody_else_works_on_the_directory(services: Services) -> None:
    assert services.ledger.was_alone
