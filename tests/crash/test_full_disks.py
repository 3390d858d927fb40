"""A disk that is really full: what does not fit is refused, what was acknowledged stays, and room mends all."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.test_commands import run as run_command
from tests.crash.conftest import Tally
from tests.crash.disks import Disk, Disks, run
from tests.crash.loads import report
from tests.crash.versioned import KINDS, Resource
from tests.crash.workload import Workload, check
from tests.support.checks import assert_problem
from tests.support.memory import processes
from tests.support.messages import HeaderPairs, Response, chunked, header_pairs
from tests.support.servers import gunicorn_server, kill_a_worker
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

MIB = 1 << 20
FAST = ("barrier=0",)
SMALL = ("-m", "0", "-J", "size=1")
NO_FLOOR = {"FILESERVER_MIN_FREE_BYTES": "0"}


class Unannounced(HttpServer):
    """The same server, but no body's length is announced: only the disk tells the server that there is no room."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.directory, server.address, server.pid, server.log)

    def request(self, method: str, path: str, body: bytes = b"", headers: HeaderPairs = ()) -> Response:
        if not body:
            return super().request(method, path, headers=headers)
        return super().request(method, path, chunked(body), [*header_pairs(headers), ("Transfer-Encoding", "chunked")])


def fill(server: HttpServer, workload: Workload, resources: Iterator[Resource]) -> list[Resource]:
    """Store *resources* until ten were refused, return those that were stored."""
    stored, refused = [], 0
    while refused < 10:
        resource = next(resources)
        if accepted(server, workload.try_to_write(server, resource)):
            stored.append(resource)
        else:
            refused += 1
    return stored


def accepted(server: HttpServer, response: Response) -> bool:
    """Whether *response* is a success; if it is not, it must tell that the disk is full."""
    if response.status != 200:
        assert_problem(response, "insufficient-storage", server)
    return response.status == 200


def leave_free(root: Path, bytes_free: int) -> None:
    """Let somebody else take all of the file system but *bytes_free*."""
    filler = root / "filler"
    filler.unlink(missing_ok=True)
    run("sync", "--file-system", root)  # Room that is set free is counted after that.
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes(root) - bytes_free)


def free_bytes(root: Path) -> int:
    info = os.statvfs(root)
    return info.f_bavail * info.f_frsize


def use_up_bytes(root: Path) -> None:
    """Take the last bytes of the file system, as others may who use it."""
    with suppress(OSError), (root / "rest").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def use_up_inodes(root: Path) -> None:
    """Take the last inodes."""
    with suppress(OSError):
        for number in itertools.count():
            (root / f"rest-{number}").touch()


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_a_clear_answer_and_no_damage(disks: Disks, full: bool, tally: Tally, kind: str):
    disk = disks.make(24, mkfs=SMALL, options=FAST)
    if not full:
        leave_free(disk.root, 3 * MIB)
    fill_and_make_room(disk, map(KINDS[kind], itertools.count()), use_up_bytes, tally)


def test_no_inode_left_is_a_full_disk(disks: Disks, tally: Tally):
    disk = disks.make(20, mkfs=[*SMALL, "-N", "200"], options=FAST)
    resources = (make(number) for number in itertools.count() for make in KINDS.values())
    fill_and_make_room(disk, resources, use_up_inodes, tally)


def fill_and_make_room(disk: Disk, resources: Iterator[Resource], use_up: Callable[[Path], None], tally: Tally) -> None:
    """Fill the disk by uploads, then by *use_up* to the last; then delete all but one, and use the same server."""
    workload = Workload()
    with gunicorn_server(disk.root, env=NO_FLOOR) as server:
        client = Unannounced(server)
        stored = fill(client, workload, resources)
        use_up(disk.root)
        for resource in stored[:8]:
            accepted(server, workload.try_to_write(client, resource))
        check(server, workload.journal)
        for resource in stored[1:]:
            workload.delete(server, resource)
        for resource in stored[:3]:
            workload.write(client, resource)
        check(server, workload.journal)
    tally.add("full disks")
    report(workload, tally)


@pytest.mark.parametrize("use_up", [use_up_bytes, use_up_inodes])
def test_a_server_starts_on_a_full_disk(disks: Disks, use_up: Callable[[Path], None]):
    """All is read, and what makes room works: a killed worker comes back, commands run, deletions are done."""
    disk = disks.make(16, mkfs=[*SMALL, "-N", "400"], options=FAST)
    workload, stored = Workload(), [make(1) for make in KINDS.values()]
    with gunicorn_server(disk.root, env=NO_FLOOR) as server:
        for resource in stored:
            workload.write(server, resource)
    use_up(disk.root)
    with gunicorn_server(disk.root, env=NO_FLOOR) as server:
        check(server, workload.journal)
        kill_a_worker(server, processes(server.pid)[1])
        check(server, workload.journal)
        for command in ("check", "stats", "gc"):
            assert run_command("--directory", disk.root, command).returncode == 0
        for resource in stored:
            workload.delete(server, resource)
        check(server, workload.journal)
        for resource in stored:
            accepted(server, workload.try_to_write(server, resource))
        check(server, workload.journal)


def test_the_reserve_is_for_results(disks: Disks):
    """What workers have computed is taken in down to a tenth of the reserve; all else must leave it alone."""
    disk, workload = disks.make(16, mkfs=SMALL, options=FAST), Workload()
    floor = free_bytes(disk.root) // 2
    with gunicorn_server(disk.root, env={"FILESERVER_MIN_FREE_BYTES": str(floor)}) as server:
        everything = {kind: make(1) for kind, make in KINDS.items()}
        for resource in everything.values():
            workload.write(server, resource)
        result = everything.pop("result")
        leave_free(disk.root, floor - MIB // 16)
        workload.write(server, result)
        for resource in everything.values():
            assert_refused(server, workload, resource)
        leave_free(disk.root, floor // 10 + MIB)
        workload.write(server, result)
        leave_free(disk.root, floor // 10 - MIB // 16)
        assert_refused(server, workload, result)
        (disk.root / "filler").unlink()
        check(server, workload.journal)
        for make in KINDS.values():
            workload.write(server, make(2))
        check(server, workload.journal)


def assert_refused(server: HttpServer, workload: Workload, resource: Resource) -> None:
    problem = assert_problem(workload.try_to_write(server, resource), "insufficient-storage", server)
    assert "min_free_bytes" in problem["detail"]
