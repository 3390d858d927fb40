"""The ledger: how much is stored, without counting, and how much may be."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from fileserver.core.errors import QuotaExceeded
from fileserver.core.sections import Quota
from fileserver.storage.locks import RECORD_BYTES, KeyLocks, Lock
from fileserver.storage.usage import NOTHING, Account, Usage, UsageLedger, each_file, each_folder
from tests.storage.sources import counted, python
from tests.support.hammer import together

WORKER = """
import os, sys
from pathlib import Path
from tests.storage.test_usage import ledger_of, locks_of, make
root, count, die_at = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ledger, locks = ledger_of(root), locks_of(root)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    make(ledger, locks, root / "one" / f"{os.getpid()}-{number}", b"0123456789", die_at)
print(ledger.started_at_seconds())
"""

REPLACER = """
import sys
from pathlib import Path
from fileserver.storage.usage import Usage
from tests.storage.test_usage import ledger_of, locks_of, make
root = Path(sys.argv[1])
make(ledger_of(root), locks_of(root), root / "one" / "b", b"0123456789", sys.argv[2], Usage(1, 1))
"""


def locks_of(root: Path) -> KeyLocks:
    return KeyLocks(root / "staging" / ".locks")


def ledger_of(root: Path, quota: Quota | None = None) -> UsageLedger:
    counters = {name: partial(each_file, root / name) for name in ("one", "two", "three")}
    accounts = {"one": Account(("one",), quota or Quota()), "both": Account(("two", "three"), quota or Quota())}
    return UsageLedger(root, locks_of(root), accounts, counters)


def make(
    ledger: UsageLedger, locks: KeyLocks, path: Path, content: bytes, die_at: str = "", old: Usage = NOTHING
) -> None:
    """Create a file under the ledger's eyes in the place of *old*, or die before or after that."""
    with locks.hold(path.parent.name, path.name) as lock:
        (path.parent.parent / path.name).write_bytes(content)
        inode = (path.parent.parent / path.name).stat().st_ino
        with ledger.change(lock, Usage(1, len(content)) - old, path, inode):
            if die_at == "before":
                os._exit(9)
            (path.parent.parent / path.name).rename(path)
            if die_at == "after":
                os._exit(9)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("staging/.locks", "one", "two", "three"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one" / "a").write_bytes(b"12345")
    return tmp_path


@pytest.fixture
def open_ledger(root: Path) -> Iterator[Callable[..., UsageLedger]]:
    with ExitStack() as opened:
        yield lambda *quota: opened.enter_context(closing(ledger_of(root, *quota)))


@pytest.fixture
def ledger(open_ledger: Callable[..., UsageLedger]) -> UsageLedger:
    return open_ledger()


@pytest.fixture
def lock(root: Path) -> Iterator[Lock]:
    with locks_of(root).hold("one", "b") as held:
        yield held


def test_the_first_process_counts_what_is_there(ledger: UsageLedger) -> None:
    assert ledger.read() == {"one": Usage(1, 5), "both": Usage(0, 0)}


def test_what_is_changed_shows_at_once_in_the_account_of_its_bucket(root: Path, ledger: UsageLedger) -> None:
    make(ledger, locks_of(root), root / "two" / "a", b"22")
    make(ledger, locks_of(root), root / "three" / "a", b"333")
    assert ledger.read() == {"one": Usage(1, 5), "both": Usage(2, 5)}


def test_what_is_removed_is_taken_off(root: Path, ledger: UsageLedger) -> None:
    path = root / "one" / "a"
    with locks_of(root).hold("one", "a") as lock, ledger.change(lock, Usage(-1, -5), path, None):
        path.unlink()
    assert ledger.read()["one"] == Usage(0, 0)


def test_a_change_that_fails_is_not_counted(root: Path, ledger: UsageLedger, lock: Lock) -> None:
    with pytest.raises(OSError, match="no"), ledger.change(lock, Usage(1, 1), root / "one" / "b", 1):
        raise OSError("no")
    assert ledger.read()["one"] == Usage(1, 5)


def test_a_change_that_was_made_is_counted_though_what_follows_fails(root: Path, ledger: UsageLedger) -> None:
    path = root / "one" / "a"
    with locks_of(root).hold("one", "a") as lock:
        with suppress(KeyError), ledger.change(lock, Usage(-1, -5), path, None):
            path.unlink()
            raise KeyError
    assert ledger.read()["one"] == Usage(0, 0)


def test_a_change_whose_count_cannot_be_written_is_still_a_success(
    root: Path, ledger: UsageLedger, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    path = root / "one" / "b"
    (root / "b").write_bytes(b"22")
    with monkeypatch.context() as patched, ledger.change(lock, Usage(1, 2), path, (root / "b").stat().st_ino):
        (root / "b").rename(path)
        patched.setattr(Lock, "write_record", fail)
    assert ledger.read()["one"] == Usage(2, 7)


@pytest.mark.parametrize(("die_at", "expected"), [("before", Usage(2, 6)), ("after", Usage(2, 15))])
def test_the_replacement_by_a_process_that_died_is_found_out(
    root: Path, ledger: UsageLedger, die_at: str, expected: Usage
) -> None:
    make(ledger, locks_of(root), root / "one" / "b", b"1")
    with python(REPLACER, root, die_at) as process:
        process.communicate("go\n", timeout=20)
    assert process.returncode == 9
    assert ledger.read()["one"] == expected


@pytest.mark.parametrize(("die_at", "expected"), [("before", Usage(1, 5)), ("after", Usage(2, 15))])
def test_the_change_of_a_process_that_died_is_found_out(
    root: Path, ledger: UsageLedger, die_at: str, expected: Usage
) -> None:
    with python(WORKER, root, 1, die_at) as process:
        process.communicate("go\n", timeout=20)
    assert process.returncode == 9
    assert ledger.read()["one"] == expected
    make(ledger, locks_of(root), root / "one" / "b", b"1")
    assert ledger.read()["one"] == expected + Usage(1, 1)


def test_who_comes_later_sees_the_same_numbers_without_counting(root: Path, ledger: UsageLedger) -> None:
    (root / "one" / "unknown").write_bytes(b"not counted")
    with closing(ledger_of(root)) as second:
        assert second.read() == ledger.read() == {"one": Usage(1, 5), "both": Usage(0, 0)}
        assert second.started_at_seconds() == ledger.started_at_seconds()


def test_wrong_numbers_are_mended_by_the_next_start(root: Path) -> None:
    with closing(ledger_of(root)) as first:
        (root / "one" / "b").write_bytes(b"1")
        started = first.started_at_seconds()
    with closing(ledger_of(root)) as second:
        assert second.read()["one"] == Usage(2, 6)
        assert second.started_at_seconds() > started


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 1000])
def test_a_damaged_ledger_is_mended_by_the_next_start(root: Path, content: bytes) -> None:
    (root / "staging" / ".locks" / "one").write_bytes(content)
    with closing(ledger_of(root)) as ledger:
        assert ledger.read()["one"] == Usage(1, 5)


@pytest.mark.parametrize("content", [b"\xff" * 600, b"\x01" * 600, b"\0" * 16 + b"\x01" + b"\0" * 600])
def test_a_ledger_that_is_damaged_meanwhile_goes_on(root: Path, ledger: UsageLedger, content: bytes) -> None:
    with locks_of(root).hold("two", "a") as lock:
        lock.write_record(content[:RECORD_BYTES])
    assert set(ledger.read()) == {"one", "both"}
    make(ledger, locks_of(root), root / "two" / "a", b"22")


def test_a_record_never_runs_into_the_next_one(root: Path) -> None:
    with locks_of(root).hold("two", "a") as lock, pytest.raises(ValueError, match="fit"):
        lock.write_record(bytes(RECORD_BYTES + 1))


@pytest.mark.parametrize("size", [0, 7, 20])
def test_a_ledger_that_somebody_cuts_off_meanwhile_goes_on(root: Path, ledger: UsageLedger, size: int) -> None:
    os.truncate(root / "staging" / ".locks" / "two", size)
    os.truncate(root / "staging" / ".alive", 0)
    make(ledger, locks_of(root), root / "two" / "a", b"22")
    assert ledger.read()["both"] == Usage(1, 2)
    assert ledger.started_at_seconds() >= 0


def test_nothing_is_lost_between_threads_and_processes(root: Path, ledger: UsageLedger) -> None:
    ready = threading.Barrier(4, timeout=20)

    def in_thread(number: int) -> None:
        ready.wait()
        for at in range(300):
            make(ledger, locks_of(root), root / "one" / f"thread{number}-{at}", b"0123456789")

    def in_process() -> None:
        with python(WORKER, root, 300, "") as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            ready.wait()
            output, _ = process.communicate("go\n", timeout=20)
        assert float(output) == ledger.started_at_seconds()

    together(partial(in_thread, 1), partial(in_thread, 2), in_process, in_process)
    assert ledger.read()["one"] == Usage(1201, 12005)


def test_a_quota_is_never_exceeded_by_many_at_once(root: Path, open_ledger: Callable[..., UsageLedger]) -> None:
    ledger = open_ledger(Quota(20, 0, "max_ones", "max_ones_bytes"))

    def fill(number: int) -> int:
        made = 0
        for at in range(20):
            try:
                make(ledger, locks_of(root), root / "one" / f"{number}-{at}", b"1")
                made += 1
            except QuotaExceeded:
                continue
        return made

    assert sum(together(*(partial(fill, number) for number in range(4)))) == 19
    assert ledger.read()["one"].files == 20


def test_who_decides_by_a_quota_decides_alone(
    root: Path, open_ledger: Callable[..., UsageLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one waits until the first one's decision is written down."""
    ledger, first_decided, second_asks = open_ledger(Quota(2)), threading.Event(), threading.Event()
    original = UsageLedger.require

    def slow_require(self: UsageLedger, bucket: str, more: Usage) -> None:
        original(self, bucket, more)
        if not first_decided.is_set():
            first_decided.set()
            second_asks.wait(10)
            # Without the lock it would be let through now.
            assert not second_decided.wait(0.5)
        else:
            second_decided.set()

    second_decided = threading.Event()
    monkeypatch.setattr(UsageLedger, "require", slow_require)

    def second() -> None:
        assert first_decided.wait(10)
        second_asks.set()
        with pytest.raises(QuotaExceeded):
            make(ledger, locks_of(root), root / "one" / "c", b"1")

    together(lambda: make(ledger, locks_of(root), root / "one" / "b", b"1"), second)
    assert ledger.read()["one"].files == 2


def test_what_will_be_freed_elsewhere_is_no_more(root: Path, open_ledger: Callable[..., UsageLedger]) -> None:
    ledger = open_ledger(Quota(1))
    path = root / "one" / "b"
    (root / "b").write_bytes(b"12345")
    with locks_of(root).hold("one", "b") as lock:
        with ledger.change(lock, Usage(1, 5), path, (root / "b").stat().st_ino, Usage(1, 5)):
            (root / "b").rename(path)
    assert ledger.read()["one"] == Usage(2, 10)


@pytest.mark.parametrize(
    ("quota", "setting"),
    [
        (Quota(1, 0, "max_ones", "max_ones_bytes"), "max_ones"),
        (Quota(0, 6, "max_ones", "max_ones_bytes"), "max_ones_bytes"),
    ],
)
def test_a_quota_names_its_setting_and_changes_nothing(
    root: Path, open_ledger: Callable[..., UsageLedger], quota: Quota, setting: str
) -> None:
    ledger = open_ledger(quota)
    with pytest.raises(QuotaExceeded, match=setting) as caught:
        make(ledger, locks_of(root), root / "one" / "b", b"22")
    assert caught.value.setting == setting
    assert not (root / "one" / "b").exists()
    assert ledger.read()["one"] == Usage(1, 5)


def test_more_than_the_quota_may_become_less(root: Path, open_ledger: Callable[..., UsageLedger]) -> None:
    ledger = open_ledger(Quota(1, 1, "max_ones", "max_ones_bytes"))
    with locks_of(root).hold("one", "a") as lock, ledger.change(lock, Usage(0, -1), root / "one" / "a", 0):
        pass
    ledger.require("one", Usage(-1, -1))


def test_a_quota_counts_all_buckets_of_an_account(root: Path, open_ledger: Callable[..., UsageLedger]) -> None:
    ledger = open_ledger(Quota(1, 0, "max_both", "max_both_bytes"))
    make(ledger, locks_of(root), root / "two" / "a", b"1")
    with pytest.raises(QuotaExceeded):
        make(ledger, locks_of(root), root / "three" / "b", b"1")


def test_only_regular_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "link").symlink_to("b")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    assert counted(each_file(tmp_path)) == Usage(2, 4)
    assert counted(each_folder(tmp_path)) == Usage(1, 3)
    assert counted(each_file(tmp_path / "missing")) == Usage(0, 0)


def test_files_that_are_removed_while_they_are_counted_do_not_count(tmp_path: Path) -> None:
    """As when a submission is replaced while another one under its id arrives."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"1")
    found = each_file(tmp_path)
    first, _ = next(found)
    for name in {*"abc"} - {first}:
        (tmp_path / name).unlink()
    assert list(found) == []
