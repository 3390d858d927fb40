"""Locks: one holder a key, over threads and processes, and never longer than the holder lives."""

import threading
from pathlib import Path

import pytest

from fileserver.storage.locks import RECORD_BYTES, KeyLocks, stripe_of
from tests.storage.sources import is_locked, python, within
from tests.support.hammer import together

HOLDER = """
import sys
from pathlib import Path
from fileserver.storage.locks import KeyLocks
with KeyLocks(Path(sys.argv[1])).hold("space", "key"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_threads_hold_a_key_one_after_the_other(tmp_path: Path) -> None:
    locks, inside, most = KeyLocks(tmp_path), [], []

    def work() -> None:
        for _ in range(50):
            with locks.hold("space", "key"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    together(*[work] * 4)
    assert set(most) == {1}


def test_another_process_waits_until_the_holder_lets_go(tmp_path: Path) -> None:
    with python(HOLDER, tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        assert is_locked(KeyLocks(tmp_path), "space", "key")
        waiting = threading.Thread(target=within, args=(10, lambda: take(tmp_path)))
        waiting.start()
        assert waiting.is_alive()
        process.communicate(timeout=10)
        waiting.join(10)
        assert not waiting.is_alive()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with python(HOLDER, tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        process.kill()
        process.wait(10)
    within(10, lambda: take(tmp_path))


def take(folder: Path) -> bool:
    with KeyLocks(folder).hold("space", "key"):
        return is_locked(KeyLocks(folder), "space", "key")


def test_an_error_in_the_block_frees_the_lock(tmp_path: Path) -> None:
    locks = KeyLocks(tmp_path)
    with pytest.raises(KeyboardInterrupt), locks.hold("space", "key"):
        raise KeyboardInterrupt
    assert not is_locked(KeyLocks(tmp_path), "space", "key")


def test_keys_of_different_buckets_do_not_wait_for_each_other(tmp_path: Path) -> None:
    locks = KeyLocks(tmp_path)
    with locks.hold("space", "key"):

        def other() -> bool:
            with locks.hold("other", "key"):
                return True

        assert within(10, other)


@pytest.mark.parametrize("key", ["", "a/b", "..", "\udcff", "x" * 5000])
def test_any_key_can_be_locked(tmp_path: Path, key: str) -> None:
    with KeyLocks(tmp_path).hold("space", key):
        assert is_locked(KeyLocks(tmp_path), "space", key)


def test_whoever_holds_a_lock_finds_the_record_that_the_last_holder_left(tmp_path: Path) -> None:
    with KeyLocks(tmp_path).hold("space", "key") as lock:
        assert lock.read_record() == b"\0" * RECORD_BYTES
        lock.write_record(b"left")
    with KeyLocks(tmp_path).hold("space", "key") as lock:
        assert lock.read_record().rstrip(b"\0") == b"left"
    with KeyLocks(tmp_path).hold("space", "other") as lock:
        assert lock.read_record() == b"\0" * RECORD_BYTES


def test_a_lock_that_somebody_holds_is_not_waited_for(tmp_path: Path) -> None:
    locks = KeyLocks(tmp_path)
    with locks.hold("space", "key"), locks.hold_if_free("space", stripe_of("key")) as lock:
        assert lock is None
    with locks.hold_if_free("space", stripe_of("key")) as lock:
        assert lock is not None


def test_a_lock_whose_file_is_removed_meanwhile_is_taken_on_the_new_one(tmp_path: Path) -> None:
    locks = KeyLocks(tmp_path)
    with locks.hold("space", "key"):
        (tmp_path / "space").unlink()
        with within(10, lambda: locks.hold("space", "key")):
            assert is_locked(locks, "space", "key")
