"""The power fails while the server works on a file system of its own; nothing acknowledged is lost."""

import os
import random
from pathlib import Path

import pytest

from tests.crash import disks as disks_module
from tests.crash.conftest import Tally
from tests.crash.disks import LAZY, Disk, Disks, run
from tests.crash.loads import report, run_until_killed
from tests.crash.versioned import KINDS, Submission
from tests.crash.workload import Workload, check
from tests.support.servers import gunicorn_server, kill

pytestmark = [pytest.mark.server, pytest.mark.slow]

MIB = 64
ONE_WORKER = ("-w", "1")


@pytest.fixture(params=disks_module.KINDS)
def file_system(request: pytest.FixtureRequest, full: bool) -> str:
    if not full and request.param != "ext4":
        pytest.skip("in the full proof only")
    return request.param


def lazy_disk(disks: Disks, file_system: str) -> Disk:
    return disks.make(MIB, kind=file_system, options=disks_module.KINDS[file_system].lazy)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_write_survives(disks: Disks, tally: Tally, kind: str, file_system: str):
    """A new version, one that replaces it, and a deletion; nobody else uses the disk, so nothing is on it by luck."""
    workload, disk, resource = Workload(), lazy_disk(disks, file_system), KINDS[kind](1)
    for act in (workload.write, workload.write, workload.delete):
        with gunicorn_server(disk.root, flags=ONE_WORKER) as server:
            check(server, workload.journal)
            act(server, resource)
            kill(server)
        disk = disks.cut_power(disk)
        tally.add(f"power cuts, {file_system}")
    with gunicorn_server(disk.root, flags=ONE_WORKER) as server:
        check(server, workload.journal)
    report(workload, tally)


def test_a_rebuilt_archive_survives(disks: Disks, tally: Tally, file_system: str):
    workload, disk, submission = Workload(), lazy_disk(disks, file_system), Submission("job")
    with gunicorn_server(disk.root, flags=ONE_WORKER) as server:
        workload.write(server, submission)
        (disk.root / submission.archive_path[1:]).unlink()
        archive = server.get(submission.archive_path).body
        kill(server)
    disk = disks.cut_power(disk)
    assert (disk.root / submission.archive_path[1:]).read_bytes() == archive
    assert submission.on_disk(disk.root) is not None
    tally.add(f"power cuts, {file_system}")


@pytest.mark.parametrize("mode", ["data=ordered", "data=writeback"])
def test_a_busy_server_loses_nothing(disks: Disks, full: bool, tally: Tally, mode: str):
    if not full and mode != "data=ordered":
        pytest.skip("in the full proof only")
    workload, disk = Workload(), disks.make(MIB, options=[*LAZY, mode])
    for _ in range(20 if full else 4):
        with gunicorn_server(disk.root) as server:
            check(server, workload.journal)
            run_until_killed(server, workload, random.uniform(0.05, 0.5))
        disk = disks.cut_power(disk)
        tally.add("power cuts, ext4")
    with gunicorn_server(disk.root) as server:
        check(server, workload.journal)
    report(workload, tally)


def write_carelessly(folder: Path) -> None:
    """Write as programs do that were never tested so: without fsync, or with only that of the file."""
    (folder / "new").write_bytes(b"new")
    (folder / "staged").write_bytes(b"replacing")
    os.rename(folder / "staged", folder / "replaced")
    os.rename(folder / "synced", folder / "renamed")
    (folder / "deleted").unlink()


def test_what_is_not_flushed_is_lost(disks: Disks, file_system: str):
    """The control: were this to survive, the tests above would prove nothing."""
    disk = lazy_disk(disks, file_system)
    for name in ("replaced", "synced", "deleted"):
        (disk.root / name).write_bytes(b"old")
    run("sync", "--file-system", disk.root)
    write_carelessly(disk.root)
    disk = disks.cut_power(disk)
    left = {path.name: path.read_bytes() for path in disk.root.iterdir() if path.is_file()}
    assert left == {"replaced": b"old", "synced": b"old", "deleted": b"old"}
