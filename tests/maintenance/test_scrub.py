"""The scrub: slice after slice, when it is due, by one process at a time, and never in the way."""

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from fileserver.maintenance import scrub as scrub_module
from fileserver.maintenance.scrub import Scrub, ScrubResult, ScrubThread, read_result
from fileserver.services import Services
from tests.maintenance.rot import FILE_PATHS, FILLED_FILES, fill, flip_bit, refuse
from tests.storage.conftest import MakeServices
from tests.storage.sources import transactions, within
from tests.support.servers import wait_until

HOUR = 3600.0
SLICES = 3
SETTINGS = {"scrub_every_hours": 1, "scrub_slices": SLICES, "scrub_max_bytes_per_second": 1 << 30}


@pytest.fixture
def scrubbed(make_services: MakeServices) -> Services:
    """Services that scrub, with something of everything."""
    services = make_services(maintenance=SETTINGS)
    fill(services)
    return services


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the clock of the scrub forward."""
    offset = [0.0]

    def move(seconds: float) -> None:
        offset[0] += seconds

    clock = time.time
    monkeypatch.setattr(scrub_module.time, "time", lambda: clock() + offset[0])
    return move


def result(root: Path):
    found = read_result(root / "staging")
    assert found is not None
    return found


def test_each_turn_checks_the_next_slice_and_the_last_is_followed_by_the_first(
    scrubbed: Services, root: Path, later: Callable[[float], None]
) -> None:
    assert read_result(root / "staging") is None
    turns = []
    for _ in range(SLICES + 1):
        assert Scrub(scrubbed).run_if_due() == HOUR
        turns.append(result(root))
        later(HOUR + 1)
    assert [(turn.slice, turn.slices) for turn in turns] == [(1, 3), (2, 3), (3, 3), (1, 3)]
    assert sum(turn.files for turn in turns[:SLICES]) == FILLED_FILES
    assert all(turn.damaged == 0 and turn.seconds >= 0 for turn in turns)
    assert transactions(root / "staging") == []


def test_a_restart_waits_until_the_next_slice_is_due(
    scrubbed: Services, root: Path, make_services: MakeServices, later: Callable[[float], None]
) -> None:
    Scrub(scrubbed).run_if_due()
    first = result(root)
    restarted = Scrub(make_services(maintenance=SETTINGS))
    later(HOUR / 2)
    assert restarted.run_if_due() == pytest.approx(HOUR / 2, abs=60)
    assert result(root) == first
    later(HOUR / 2)
    restarted.run_if_due()
    assert result(root).slice == 2


def test_after_the_clock_was_set_back_it_goes_on_at_once(
    scrubbed: Services, root: Path, later: Callable[[float], None]
) -> None:
    Scrub(scrubbed).run_if_due()
    later(-1000 * HOUR)
    for _ in range(2):
        assert Scrub(scrubbed).run_if_due() == pytest.approx(HOUR, abs=60)
        assert result(root).slice == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"slice": 1}', b"\xff", b"null", b"[" * 100_000])
def test_a_state_that_makes_no_sense_is_that_of_a_new_directory(scrubbed: Services, root: Path, content: bytes) -> None:
    (root / "staging" / ".scrub").write_bytes(content)
    Scrub(scrubbed).run_if_due()
    assert result(root).slice == 1


NO_TIMES = ["x", None, [], {}, 1e300, 10**30, float("nan"), float("inf"), -float("inf")]
WRONG_MEMBERS = [
    *[("finished_at", wrong) for wrong in NO_TIMES],
    *[("seconds", wrong) for wrong in ("x", None, float("nan"))],
    *[("slice", wrong) for wrong in ("1", 0, 4, 1.5, True, None)],
    *[("slices", wrong) for wrong in ("3", 0, None)],
    *[(name, wrong) for name in ("files", "bytes_read", "damaged", "unreadable") for wrong in ("x", -1, None)],
]


@pytest.mark.parametrize(("name", "wrong"), WRONG_MEMBERS)
def test_a_member_that_makes_no_sense_does_not_stop_the_scrub(
    scrubbed: Services, root: Path, name: str, wrong: object
) -> None:
    state = {**asdict(ScrubResult(2, 3, 1, 1, 0, 0, 0.5, time.time())), name: wrong}
    (root / "staging" / ".scrub").write_text(json.dumps(state))
    assert read_result(root / "staging") is None
    assert Scrub(scrubbed).run_if_due() == HOUR
    assert result(root).slice == 1


def test_damage_is_logged_and_counted_and_left_as_it_is(
    make_services: MakeServices, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    services = make_services(maintenance={**SETTINGS, "scrub_slices": 1})
    fill(services)
    for path in FILE_PATHS.values():
        flip_bit(root / path)
    Scrub(services).run_if_due()
    assert result(root).damaged == len(FILE_PATHS)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == len(FILE_PATHS)
    assert any("results/job.zip" in message and "send" in message for message in errors)
    assert all((root / path).exists() for path in FILE_PATHS.values())


def test_what_may_not_be_read_is_counted_and_the_next_slice_follows(
    scrubbed: Services,
    root: Path,
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refuse(monkeypatch, "picture")
    turns = []
    for _ in range(SLICES):
        Scrub(scrubbed).run_if_due()
        turns.append(result(root))
        later(HOUR + 1)
    assert [turn.slice for turn in turns] == [1, 2, 3]
    assert (sum(turn.unreadable for turn in turns), sum(turn.damaged for turn in turns)) == (1, 0)
    assert "attachments/picture" in caplog.text


def test_only_one_process_scrubs_at_a_time(scrubbed: Services, root: Path) -> None:
    with open(root / "staging" / ".scrub.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert Scrub(scrubbed).run_if_due() < HOUR
        assert read_result(root / "staging") is None
    Scrub(scrubbed).run_if_due()
    assert result(root).slice == 1


@pytest.fixture
def thread(scrubbed: Services) -> Iterator[ScrubThread]:
    made = ScrubThread(scrubbed)
    yield made
    made.stop()


def scrubbing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "scrub"]


def test_the_thread_is_started_once_and_scrubs(thread: ScrubThread, root: Path) -> None:
    for _ in range(3):
        thread.start()
    assert len(scrubbing_threads()) == 1
    assert wait_until(lambda: read_result(root / "staging") is not None)
    thread.stop()
    assert scrubbing_threads() == []
    thread.stop()


def test_the_thread_stops_at_once_in_the_midst_of_a_slow_slice(make_services: MakeServices, root: Path) -> None:
    services = make_services(maintenance={**SETTINGS, "scrub_slices": 1, "scrub_max_bytes_per_second": 1})
    fill(services)
    thread = ScrubThread(services)
    thread.start()
    within(4, thread.stop)
    assert scrubbing_threads() == []
    assert read_result(root / "staging") is None


def test_an_error_is_logged_and_does_not_end_the_thread(
    thread: ScrubThread, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def fail_once(scrub: Scrub) -> float:
        calls.append(scrub)
        if len(calls) == 1:
            raise ValueError("as unexpected as can be")
        return HOUR

    monkeypatch.setattr(scrub_module, "_AFTER_ERROR_SECONDS", 0.01)
    monkeypatch.setattr(Scrub, "run_if_due", fail_once)
    thread.start()
    assert wait_until(lambda: len(calls) == 2)
    assert "as unexpected as can be" in caplog.text


def test_a_fork_has_a_thread_of_its_own(thread: ScrubThread, monkeypatch: pytest.MonkeyPatch) -> None:
    thread.start()
    first = scrubbing_threads()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    thread.start()
    assert len(scrubbing_threads()) == 2
    thread.stop()
    assert scrubbing_threads() == first
