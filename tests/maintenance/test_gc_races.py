"""gc in another process, beside threads that ask, read, upload and replace: what anybody was promised is there."""

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fileserver.core.errors import NotFound
from fileserver.core.names import Sha1, SubmissionId
from fileserver.services import Services
from tests.storage.sources import files, incoming, python, read_all
from tests.storage.submitting import archived, store
from tests.support.ageing import age
from tests.support.hammer import together
from tests.support.messages import sha1

COUNT = 150
THREADS = 3

GC = """
import sys, time
from dataclasses import replace
from pathlib import Path
from fileserver.core.sections import RetentionSettings
from fileserver.core.settings import parse_settings
from fileserver.maintenance.gc import Collector
from fileserver.maintenance.keep_list import KeepList
from fileserver.services import build_services
services = build_services(parse_settings({"storage": {"working_directory": sys.argv[1]}}))
rules = RetentionSettings(archive_days=2, submission_days=2, result_days=2, task_file_grace_days=2)
services = replace(services, settings=replace(services.settings, retention=rules))
keep = KeepList(frozenset(), time.time_ns())
print("ready", flush=True)
sys.stdin.readline()
for removal in Collector(services, time.time_ns(), keep).collect():
    print(removal.bucket, removal.key, removal.error, flush=True)
print("done", flush=True)
"""


def task_file(number: int) -> bytes:
    return f"task file {number}".encode()


def ask(services: Services, name: Sha1, content: bytes) -> bool:
    return not services.task_files.missing([name])


def read(services: Services, name: Sha1, content: bytes) -> bool:
    try:
        assert read_all(services.task_files.open(name)) == content
    except NotFound:
        return False
    return True


def upload(services: Services, name: Sha1, content: bytes) -> bool:
    services.task_files.store(files({"a": content}))
    return True


def collected(root: Path, *jobs: Any) -> set[str]:
    """Run *jobs* at once, beside gc in a process of its own; return what it has taken."""
    with python(GC, root) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout))  # type: ignore[arg-type]
        reader.start()
        together(*jobs)
        reader.join(120)
        assert lines[-1] == "done\n"
        return {line.removesuffix(" \n").replace(" ", "/") for line in lines[:-1]}


def test_what_was_promised_is_never_taken(services: Services, root: Path) -> None:
    contents = {Sha1(sha1(task_file(number))): task_file(number) for number in range(COUNT)}
    services.task_files.store(files([(name, contents[name]) for name in contents]))
    age(root, 10)
    promised: list[set[Sha1]] = [set() for _ in range(THREADS)]

    def use(number: int) -> None:
        draw = random.Random(number)
        for name in draw.sample(sorted(contents), COUNT // 2):
            action = draw.choice([ask, ask, read, upload])
            if action(services, name, contents[name]):
                promised[number].add(name)

    taken = collected(root, *(lambda number=number: use(number) for number in range(THREADS)))
    there = set().union(*promised)
    assert services.task_files.missing(sorted(there)) == []
    assert 0 < len(taken) < COUNT
    for name in there:
        assert read_all(services.task_files.open(name)) == contents[name]
    held = {one.note.key: one.path.read_bytes() for one in services.trash.held()}
    assert {f"tasks/{name}" for name in held} == taken
    assert all(contents[Sha1(name)] == content for name, content in held.items())
    assert there | held.keys() | set(services.buckets["tasks"].keys()) == contents.keys()
    assert services.ledger.read()["task_files"].files == len(list(services.buckets["tasks"].keys()))


@pytest.mark.slow
def test_what_is_replaced_meanwhile_survives(services: Services, root: Path) -> None:
    ids = [SubmissionId(f"job{number}") for number in range(COUNT // 5)]
    for job in ids:
        store(services, {"a": b"old"}, job)
        services.results.store(f"{job}.zip", incoming(b"old"))
    age(root, 10)

    def replace(jobs: list[SubmissionId]) -> None:
        for job in jobs:
            store(services, {"a": b"new"}, job)
            services.results.store(f"{job}.zip", incoming(b"new"))

    started = time.time()
    collected(root, lambda: replace(ids), lambda: replace(ids[::-1]))
    for job in ids:
        assert archived(services, job.archive_name)[f"{job}/a"] == b"new"
        assert read_all(services.results.open(f"{job}.zip")) == b"new"
    for held in services.trash.held():
        assert held.note.taken_at >= started - 1
        assert (held.path / "a" if held.path.is_dir() else held.path).read_bytes() == b"old"
    assert services.ledger.read()["submissions"].files == len(ids)
