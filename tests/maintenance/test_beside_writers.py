"""A check beside writers: what they replace and delete meanwhile is never taken for damage."""

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from fileserver.core.errors import NotFound
from fileserver.core.names import Sha1, SubmissionId
from fileserver.services import Services
from tests.maintenance.rot import check, repair
from tests.storage.sources import files, incoming
from tests.storage.submitting import store
from tests.support.messages import sha1

WRITES = 20
TASKS = [b"%d" % number * 1000 for number in range(3)]
JOBS = [SubmissionId(f"job{number}") for number in range(3)]


def writers(services: Services) -> list[Callable[[], None]]:
    numbers, chance = itertools.count(), random.Random(1)

    def submit() -> None:
        names = chance.sample(["a", "b", "c/d", "c/e"], 3)
        store(services, {name: b"%d" % next(numbers) * 50 for name in names}, chance.choice(JOBS))

    def delete_and_build() -> None:
        with suppress(NotFound):
            services.submissions.delete(chance.choice(JOBS))
        name = chance.choice(JOBS).archive_name
        with suppress(NotFound):
            services.buckets["submission_archives"].discard(name)
            services.submissions.open_archive(name).close()

    def send_others() -> None:
        services.results.store("r.zip", incoming(b"%d" % next(numbers) * 50))
        task = chance.choice(TASKS)
        with suppress(NotFound):
            services.task_files.delete(Sha1(sha1(task)))
        put_as_the_original_server(services, task)
        services.task_files.store(files({"a": task}))

    return [submit, delete_and_build, send_others]


@pytest.mark.parametrize("look", [check, repair], ids=["check", "repair"])
@pytest.mark.parametrize("read", [False, True], ids=["quick", "read"])
def test_nothing_is_found_while_others_write(services: Services, look, read: bool) -> None:
    checks = 0
    with ThreadPoolExecutor() as executor:
        futures = [executor.submit(times, WRITES, action) for action in writers(services)]
        while not all(future.done() for future in futures):
            assert look(services, read=read) == []
            checks += 1
    for future in futures:
        future.result()
    assert checks > WRITES
    assert check(services, read=True) == []
    assert list(services.quarantine.held()) == []


def put_as_the_original_server(services: Services, content: bytes) -> None:
    """Make a task file in `exercises`, whole from the beginning; the next upload moves it."""
    path = services.buckets["exercises"].root / sha1(content)[0] / sha1(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    with services.staging.transaction() as transaction:
        whole = transaction.path / "whole"
        whole.write_bytes(content)
        whole.rename(path)


def times(number: int, action: Callable[[], None]) -> None:
    for _ in range(number):
        action()
