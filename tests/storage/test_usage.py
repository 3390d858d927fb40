"""The ledger: how much is stored, without counting."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from fileserver.storage.usage import Usage, UsageLedger, count_files, count_folders
from tests.storage.sources import python
from tests.support.hammer import together

ADDER = """
import sys
from pathlib import Path
from fileserver.storage.usage import UsageLedger
ledger = UsageLedger(Path(sys.argv[1]), {"one": None, "two": None})
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2000):
    ledger.add("one", 1, 10)
print(ledger.started_at_seconds())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_bytes(b"12345")
    return tmp_path


def ledger_of(folder: Path) -> UsageLedger:
    return UsageLedger(folder, {name: partial(count_files, folder / name) for name in ("one", "two")})


@pytest.fixture
def ledger(folder: Path) -> Iterator[UsageLedger]:
    with closing(ledger_of(folder)) as made:
        yield made


def test_the_first_process_counts_what_is_there(ledger: UsageLedger) -> None:
    assert ledger.read() == {"one": Usage(1, 5), "two": Usage(0, 0)}


def test_what_is_added_shows_at_once(ledger: UsageLedger) -> None:
    ledger.add("two", 2, 20)
    ledger.add("two", -1, -5)
    assert ledger.read() == {"one": Usage(1, 5), "two": Usage(1, 15)}


def test_who_comes_later_sees_the_same_numbers_without_counting(folder: Path, ledger: UsageLedger) -> None:
    ledger.add("one", 1, 1)
    with closing(ledger_of(folder)) as second:
        assert second.read() == ledger.read() == {"one": Usage(2, 6), "two": Usage(0, 0)}
        assert second.started_at_seconds() == ledger.started_at_seconds()


def test_wrong_numbers_are_mended_by_the_next_start(folder: Path) -> None:
    with closing(ledger_of(folder)) as first:
        first.add("one", 1000, 1000)
        started = first.started_at_seconds()
    with closing(ledger_of(folder)) as second:
        assert second.read()["one"] == Usage(1, 5)
        assert second.started_at_seconds() > started


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 1000])
def test_a_damaged_ledger_is_mended_by_the_next_start(folder: Path, content: bytes) -> None:
    (folder / ".usage").write_bytes(content)
    with closing(ledger_of(folder)) as ledger:
        assert ledger.read() == {"one": Usage(1, 5), "two": Usage(0, 0)}


@pytest.mark.parametrize("size", [0, 7, 20])
def test_a_ledger_that_somebody_cuts_off_meanwhile_goes_on(folder: Path, ledger: UsageLedger, size: int) -> None:
    os.truncate(folder / ".usage", size)
    assert set(ledger.read()) == {"one", "two"}
    ledger.add("two", 1, 10)
    assert ledger.read()["two"] == Usage(1, 10)
    assert ledger.started_at_seconds() >= 0


def test_nothing_is_lost_between_threads_and_processes(folder: Path, ledger: UsageLedger) -> None:
    ready = threading.Barrier(4, timeout=20)

    def in_thread() -> None:
        ready.wait()
        for _ in range(2000):
            ledger.add("one", 1, 10)

    def in_process() -> None:
        with python(ADDER, folder) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            ready.wait()
            output, _ = process.communicate("go\n", timeout=20)
        assert float(output) == ledger.started_at_seconds()

    together(in_thread, in_thread, in_process, in_process)
    assert ledger.read()["one"] == Usage(8001, 80005)


def test_only_regular_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "link").symlink_to("b")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    assert count_files(tmp_path) == Usage(2, 4)
    assert count_folders(tmp_path) == Usage(1, 4)
    assert count_files(tmp_path / "missing") == Usage(0, 0)
