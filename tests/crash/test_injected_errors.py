"""Any file system call of a write may fail: the client is told so, and may try again; what is stored is the old state
or the new one, whole.

strace lets one call of a real server fail, one run for each call and each error that this call can return:
EIO whatever touches the disk, ENOSPC and EDQUOT what may need a new block, EMFILE what opens. Left out is what cannot
fail on a local disk: the status of an open file, its position, its locks, its end.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import pytest

from tests.crash.conftest import Tally
from tests.crash.operations import OPERATIONS, Operation
from tests.crash.tracing import READING, Call
from tests.crash.victims import Victim, blamed_on, calls_of
from tests.support.checks import assert_counted, assert_problem
from tests.support.servers import wait_until
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

ALLOCATING = {"mkdir", "mkdirat", "write", "pwrite64", "fsetxattr", "rename", "renameat", "renameat2", "fsync"}
TOUCHING = ALLOCATING | {"openat", "newfstatat", "statfs", "getdents64", "read", "pread64", "fgetxattr"}
TOUCHING |= {"chmod", "fchmod", "utimensat", "unlink", "unlinkat", "rmdir"}
FULL = ("ENOSPC", "EDQUOT")
STEP = 16
"""In the short version: one error in so many."""


@dataclass(frozen=True)
class Injection:
    """One error of one call. *forgivable*: the promise holds in spite of it, so that the answer may be 2xx."""

    call: Call
    error: str
    forgivable: bool

    def __str__(self) -> str:
        return f"{self.error} from {self.call}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_error_of_any_call_is_told_and_leaves_the_old_or_the_new_state(
    victim: Victim, name: str, tally: Tally, full: bool
) -> None:
    victim.kill()  # What another test has found is not found again.
    victim.server.get("/readyz")  # By now the request before it is counted, in a file that stays open.
    open_files = victim.open_files()
    injections = all_injections(calls_of(victim, OPERATIONS[name]))
    chosen = injections if full else injections[crc32(name.encode()) % STEP :: STEP]
    for injection in chosen:
        with blamed_on(injection):
            check_injection(victim, OPERATIONS[name], injection)
            assert victim.server.get("/readyz").status == 200
            assert not victim.server.transactions(), "clean-up that failed was not done again"
            assert wait_until(lambda: victim.open_files() == open_files), "descriptors are leaked"
    tally.add("injected errors", len(chosen))


def all_injections(calls: Sequence[Call]) -> list[Injection]:
    published = next((index for index, call in enumerate(calls) if call.publishes), len(calls))
    return [
        Injection(call, error, is_forgivable(call, index > published))
        for index, call in enumerate(calls)
        for error in possible_errors(call)
    ]


def possible_errors(call: Call) -> Iterator[str]:
    if call.name not in TOUCHING or "AT_EMPTY_PATH" in call.text:
        return
    yield "EIO"
    if call.name == "openat":
        yield "EMFILE"
    if call.name in ALLOCATING or "O_CREAT" in call.text:
        yield from FULL


def is_forgivable(call: Call, published: bool) -> bool:
    """Whether *call* does nothing for what is promised.

    That is clean-up in staging and counting, after something was published: what clean-up leaves is removed by the
    next transaction, and what is not counted is noted. And the record of a digest: without it the bytes are read.
    """
    return call.name == "fgetxattr" or (published and (call.in_staging or call.name in READING))


def check_injection(victim: Victim, operation: Operation, injection: Injection) -> None:
    server, key = victim.server, victim.fresh_key()
    operation.prepare(server, key)
    logged_bytes = server.log.stat().st_size
    with victim.failing_at(injection.call, injection.error):
        response = operation.request(server, key)
    log = server.log.read_bytes()[logged_bytes:].decode()
    state = operation.look(server, key)
    assert state in operation.states
    if response.status < 300:
        assert injection.forgivable
        assert state == operation.states[-1]
    else:
        assert_problem(response, "insufficient-storage" if injection.error in FULL else "storage-failed", server)
        assert len(re.findall(r"the storage failed|there is not enough space", log)) == 1, log
    assert injection.forgivable or not server.transactions()
    assert_counted(server)
    check_next_try(server, operation, key, state)


def check_next_try(server: HttpServer, operation: Operation, key: str, state: object) -> None:
    """The same request succeeds; if it is to delete something, that may be deleted already."""
    response = operation.request(server, key)
    assert response.status < 300 or (response.status == 404 and state == operation.states[-1])
    assert operation.look(server, key) == operation.states[-1]
