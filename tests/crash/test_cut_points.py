"""A server may die at any file system call of a write: what is found afterwards is the old state or the new one, whole,
and always the new one once it was acknowledged.

The process is killed at the entry of each call that changes the file system, or makes it durable, one run for each. A
death right after a call is a death before the next one: what lies between them does not reach the disk. The last cut
point is the call that sends the answer: there all calls are done, and the client knows nothing of it. So every
instant of an operation is tried, in front of real system calls, whichever way the program comes to do them. The
counters are looked at, too, as if another process were alive, so that none counts anew.
What the disk itself loses in a power cut is not tried here.
"""

from zlib import crc32

import pytest

from tests.crash.conftest import Tally
from tests.crash.operations import OPERATIONS, Operation
from tests.crash.tracing import Call
from tests.crash.victims import Victim, blamed_on, calls_of
from tests.support.checks import assert_counted

pytestmark = [pytest.mark.server, pytest.mark.slow]

STEP = 12
"""In the short version: of the calls that only concern a transaction, one in so many."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_death_at_any_call_leaves_the_old_or_the_new_state(
    victim: Victim, name: str, tally: Tally, full: bool
) -> None:
    victim.kill()  # What another test has found is not found again.
    operation = OPERATIONS[name]
    points = cut_points(victim, operation)
    chosen = points if full else boundaries_and_some(points, name)
    with victim.in_company():
        seen = [state_after_death(victim, operation, point) for point in chosen]
    assert seen[0] == 0
    assert seen == sorted(seen), "an older state came back"
    assert seen[-1] == len(operation.states) - 1, "all was done, and is not found"
    check_acknowledged(victim, operation)
    tally.add("cut points", len(chosen) + 1)


def cut_points(victim: Victim, operation: Operation) -> list[Call]:
    return [call for call in calls_of(victim, operation) if call.changes or call.answers]


def boundaries_and_some(points: list[Call], name: str) -> list[Call]:
    """Before and after each call that publishes, the first and the last, and an even choice of the others."""
    published = [index for index, call in enumerate(points) if call.publishes]
    boundaries = {index + step for index in published for step in (0, 1)}
    some = set(range(crc32(name.encode()) % STEP, len(points), STEP))
    return [points[index] for index in sorted({0, len(points) - 1} | boundaries | some)]


def state_after_death(victim: Victim, operation: Operation, point: Call) -> int:
    """The number of the state that is found after the server died at *point*."""
    key = victim.fresh_key()
    operation.prepare(victim.server, key)
    with blamed_on(point):
        with victim.dying_at(point):
            operation.request(victim.server, key)
        assert victim.server.transactions() == []
        assert_counted(victim.server)
        state = operation.look(victim.server, key)
        assert state in operation.states
        assert_counted(victim.server)
    return operation.states.index(state)


def check_acknowledged(victim: Victim, operation: Operation) -> None:
    """The client has read the answer, and then the server dies."""
    key = victim.fresh_key()
    operation.prepare(victim.server, key)
    assert operation.request(victim.server, key).status < 300
    victim.kill()
    assert operation.look(victim.server, key) == operation.states[-1]
