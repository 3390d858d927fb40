"""The restore drill: a server under load is backed up, and a server on what was restored is asked for everything."""

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from fileserver.core.settings import parse_settings
from fileserver.services import build_services
from tests.cli.test_commands import command, environment, run
from tests.maintenance.drill import Writers, check_restored, version_of
from tests.maintenance.snapshots import held
from tests.storage.sources import REPOSITORY, incoming, settings_for
from tests.support.memory import peak_of
from tests.support.messages import fresh_bytes
from tests.support.servers import gunicorn_server, wait_until

KILLS = 12
MIB = 1 << 20


def backup(directory: Path, destination: Path) -> dict[str, object]:
    """Run the command; return what it tells."""
    result = run("backup", "--directory", directory, destination, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


@contextmanager
def backup_process(directory: Path, destination: Path, *options: object) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the command in a process, which is killed at the end."""
    arguments = command("backup", "--directory", directory, destination, *options)
    with subprocess.Popen(arguments, cwd=REPOSITORY, env=environment(), stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.server
def test_a_restored_server_has_all_that_was_acknowledged_before_the_backup(tmp_path: Path) -> None:
    source, backups = tmp_path / "work", tmp_path / "backups"
    with gunicorn_server(source) as server:
        still = {f"/results/still{number}.zip": fresh_bytes(20_000) for number in range(20)}
        for path, content in still.items():
            assert server.put(path, content).status == 200
        with Writers(server) as writers:
            assert wait_until(lambda: len(writers.acknowledged()) == 12, 30)
            for is_first in (True, False):
                before = writers.acknowledged()
                told = backup(source, backups)
                after = writers.acknowledged()
                snapshot = Path(str(told["snapshot"]))
                links = {(snapshot / path[1:]).stat().st_nlink for path in still}
                assert links == ({1} if is_first else {2})
        copied = told["copied"]["size_bytes"]
    assert after != before, "the server was not under load"
    total = sum(map(len, held(snapshot).values()))
    assert copied <= total - sum(map(len, still.values()))

    target = tmp_path / "restored"
    result = run("restore", "--directory", target, backups)
    assert (result.returncode, result.stderr) == (0, "")
    shutil.rmtree(target / "submission_archives")
    with gunicorn_server(target) as server:
        assert check_restored(server, before, after) == 12
        for path, content in still.items():
            assert server.get(path).body == content


@pytest.mark.server
@pytest.mark.slow
def test_a_backup_that_is_killed_leaves_no_half_snapshot(tmp_path: Path) -> None:
    """Whenever it dies; the next one removes what was left, and is complete."""
    source, backups = tmp_path / "work", tmp_path / "backups"
    chance = random.Random(7)
    with closing(build_services(parse_settings(settings_for(source)))) as services:
        for number in range(300):
            services.results.store(f"{number}.zip", incoming(b"%07d\n" % number * 2000))
    began_at = time.monotonic()
    first = backup(source, backups)
    seconds, interrupted = time.monotonic() - began_at, 0
    for _ in range(KILLS):
        shutil.rmtree(backups)
        with backup_process(source, backups) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.3, 0.9) * seconds)
            process.kill()  # It may have been faster than the first one, and be complete.
        snapshots = sorted((backups / "snapshots").iterdir()) if (backups / "snapshots").exists() else []
        for snapshot in snapshots:
            assert held(snapshot) == held(source)
        interrupted += any(not name.startswith(".") for name in _staged(backups))
        told = backup(source, backups)
        assert _staged(backups) == [".locks"]
        assert held(Path(str(told["snapshot"]))) == held(source)
    assert interrupted, "none was killed in between"
    assert first["copied"] == {"files": 300, "size_bytes": 300 * 16_000}


def _staged(backups: Path) -> list[str]:
    return os.listdir(backups / "staging") if (backups / "staging").exists() else []


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    source, backups = tmp_path / "work", tmp_path / "backups"
    with closing(build_services(parse_settings(settings_for(source)))) as services:
        services.results.store("large.zip", incoming(iter([bytes(MIB)] * 200)))
    with backup_process(source, backups, "--max-bytes-per-second", 100 * MIB) as process:
        peak_bytes = 0
        while process.poll() is None:
            peak_bytes = max(peak_bytes, _peak_bytes(process.pid))
    assert process.returncode == 0
    assert 10 * MIB < peak_bytes < 64 * MIB


def _peak_bytes(pid: int) -> int:
    try:
        return peak_of(pid)
    except (AssertionError, FileNotFoundError, ProcessLookupError):  # It is just ending.
        return 0


def test_a_backup_can_be_slowed_down(tmp_path: Path) -> None:
    source, backups = tmp_path / "work", tmp_path / "backups"
    with closing(build_services(parse_settings(settings_for(source)))) as services:
        services.results.store("large.zip", incoming(bytes(MIB)))
    began_at = time.monotonic()
    result = run("backup", "--directory", source, backups, "--max-bytes-per-second", MIB)
    assert result.returncode == 0
    assert time.monotonic() - began_at > 0.9


def test_a_mixture_would_be_found() -> None:
    with pytest.raises(AssertionError, match="mixture"):
        version_of(b"0000001\n0000002\n")
