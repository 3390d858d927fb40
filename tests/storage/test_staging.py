"""Staging: what is received is whole, checked and in time published, or it was never there."""

import hashlib
import io
import os
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileserver.core.errors import (
    BodyTimeout,
    DigestMismatch,
    IncompleteBody,
    InsufficientStorage,
    LimitExceeded,
)
from fileserver.core.sections import AUTOMATIC, GIB, MIB, LimitSettings
from fileserver.storage import staging as staging_module
from fileserver.storage.filesystem import Modes
from fileserver.storage.interface import StagedFile
from fileserver.storage.staging import FreeSpace, Staging
from tests.storage.sources import declared, failing, incoming, python, transactions, tree
from tests.support.hammer import Hammer, together

ERRORS = [
    IncompleteBody("cut"),
    BodyTimeout("silent"),
    OSError(28, "No space left on device"),
    ZeroDivisionError(),
    KeyboardInterrupt(),
    SystemExit(1),
    GeneratorExit(),
    MemoryError(),
]

HOLDER = """
import sys
from pathlib import Path
from fileserver.core.incoming import Incoming
from fileserver.core.sections import LimitSettings
from fileserver.storage.filesystem import Modes
from fileserver.storage.staging import Staging
with Staging(Path(sys.argv[1]), Modes(), LimitSettings()).transaction() as transaction:
    transaction.receive(transaction.path / "sub" / "content", Incoming(iter([b"content"])))
    print(transaction.path.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The staging folder, with what is permanent in it."""
    (tmp_path / "staging" / ".locks").mkdir(parents=True)
    return tmp_path / "staging"


@pytest.fixture
def staging(folder: Path) -> Staging:
    return staging_with(folder)


def staging_with(folder: Path, **limits: int) -> Staging:
    return Staging(folder, Modes(), LimitSettings(**limits))


def receive(staging: Staging, source: Iterator[bytes] | bytes, expected_bytes: int | None = 0, **more: object) -> bytes:
    """Receive *source* in a transaction of its own; return what was staged."""
    with staging.transaction(expected_bytes) as transaction:
        staged = transaction.receive(transaction.path / "content", incoming(source, **more))
        assert isinstance(staged, StagedFile)
        return staged.path.read_bytes()


@given(content=st.binary(max_size=5000), pieces=st.integers(1, 7))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_received_is_what_was_sent(staging: Staging, content: bytes, pieces: int) -> None:
    chunks = [content[start : start + 700 * pieces] for start in range(0, len(content), 700 * pieces)]
    with staging.transaction(len(content)) as transaction:
        staged = transaction.receive(
            transaction.path / "content", incoming(chunks, size_bytes=len(content)), ("sha1", "md5")
        )
        assert staged.path.read_bytes() == content
        assert staged.size_bytes == len(content)
        assert staged.digests == {name: hashlib.new(name, content).digest() for name in ("sha1", "sha256", "md5")}
        assert staged.sha256 == hashlib.sha256(content).digest()
    assert transactions(staging.root) == []


@given(error=st.sampled_from(ERRORS), after_bytes=st.integers(0, 10_000), depth=st.integers(0, 2))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_source_that_fails_leaves_nothing(
    staging: Staging, error: BaseException, after_bytes: int, depth: int
) -> None:
    def receive_two() -> None:
        with staging.transaction() as transaction:
            transaction.receive(transaction.path / "first", incoming(b"whole"))
            path = transaction.path.joinpath(*["sub"] * depth, "content")
            transaction.receive(path, incoming(failing(b"x" * after_bytes, error)))

    with pytest.raises(type(error)):
        receive_two()
    assert transactions(staging.root) == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_in_the_block_leaves_nothing(staging: Staging, error: BaseException) -> None:
    def receive_and_fail() -> None:
        with staging.transaction() as transaction:
            transaction.receive(transaction.path / "content", incoming(b"whole"))
            raise error

    with pytest.raises(type(error)):
        receive_and_fail()
    assert transactions(staging.root) == []


def test_a_generator_that_is_dropped_in_a_transaction_leaves_nothing(staging: Staging) -> None:
    def half_way() -> Generator[None, None, None]:
        with staging.transaction() as transaction:
            transaction.receive(transaction.path / "content", incoming(b"whole"))
            yield

    generator = half_way()
    next(generator)
    assert len(transactions(staging.root)) == 1
    generator.close()
    assert transactions(staging.root) == []


def test_a_file_of_the_size_of_the_limit_is_received(folder: Path) -> None:
    assert receive(staging_with(folder, max_file_bytes=10), b"x" * 10) == b"x" * 10


def test_a_file_of_one_byte_more_is_refused_and_its_source_is_not_read_on(folder: Path) -> None:
    read = []

    def endless() -> Iterator[bytes]:
        while True:
            read.append(1)
            yield b"x" * 4

    with pytest.raises(LimitExceeded, match="max_file_bytes: the picture has more than 10 bytes") as caught:
        receive(staging_with(folder, max_file_bytes=10), endless(), what="the picture")
    assert caught.value.setting == "max_file_bytes"
    assert len(read) == 3
    assert transactions(folder) == []


def unread() -> Iterator[NoReturn]:
    raise AssertionError("nothing may be read")
    yield


def test_what_would_use_up_the_reserve_is_refused_before_it_is_read(folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    with pytest.raises(InsufficientStorage, match="min_free_bytes"):
        receive(staging_with(folder, min_free_bytes=free_bytes + GIB), unread())
    with pytest.raises(InsufficientStorage, match="min_free_bytes"):
        receive(staging_with(folder, min_free_bytes=0), unread(), expected_bytes=free_bytes + GIB)
    assert transactions(folder) == []


def test_what_only_frees_space_needs_none(folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    with staging_with(folder, min_free_bytes=free_bytes + GIB).transaction(None) as transaction:
        assert transaction.path.is_dir()


def test_the_reserve_is_watched_while_an_unannounced_body_streams_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def free_bytes(at: Path) -> tuple[int, int]:
        return 200 * MIB - sum(map(len, tree(at).values())), 1000 * MIB

    def endless() -> Iterator[bytes]:
        while True:
            written.append(MIB)
            yield bytes(MIB)

    monkeypatch.setattr(staging_module, "free_and_total_bytes", free_bytes)
    with pytest.raises(InsufficientStorage, match="min_free_bytes"):
        receive(staging_with(folder, min_free_bytes=180 * MIB), endless())
    assert len(written) <= 40
    assert transactions(folder) == []


@pytest.mark.parametrize(("total", "floor"), [(10 * GIB, 10 * GIB // 50), (50 * GIB, GIB), (500 * GIB, GIB)])
def test_the_automatic_reserve_is_a_fiftieth_but_at_most_one_gib(
    folder: Path, monkeypatch: pytest.MonkeyPatch, total: int, floor: int
) -> None:
    monkeypatch.setattr(staging_module, "free_and_total_bytes", lambda at: (floor + 100, total))
    space = FreeSpace(folder, AUTOMATIC)
    space.require(100)
    assert space.free_bytes() == floor + 100
    with pytest.raises(InsufficientStorage):
        space.require(101)


@pytest.mark.parametrize("announced", [0, 6, 8, 10**9])
def test_a_body_of_another_length_than_announced_is_refused(staging: Staging, announced: int) -> None:
    with pytest.raises(IncompleteBody, match=f"7 bytes arrived of {announced}"):
        receive(staging, b"content", size_bytes=announced)
    assert transactions(staging.root) == []


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_a_declared_digest_is_checked(staging: Staging, algorithm: str) -> None:
    right = hashlib.new(algorithm, b"content").digest()
    assert receive(staging, b"content", declared=declared(algorithm, right)) == b"content"
    with pytest.raises(DigestMismatch, match=f"the body does not have the declared {algorithm} digest"):
        receive(staging, b"Content", declared=declared(algorithm, right), what="the body")
    assert transactions(staging.root) == []


def test_a_name_is_received_only_once(staging: Staging) -> None:
    with staging.transaction() as transaction:
        transaction.receive(transaction.path / "content", incoming(b"first"))
        with pytest.raises(FileExistsError):
            transaction.receive(transaction.path / "content", incoming(b"second"))
        assert (transaction.path / "content").read_bytes() == b"first"


def test_a_symbolic_link_in_staging_is_not_written_through(staging: Staging, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"must stay")
    with staging.transaction() as transaction:
        (transaction.path / "content").symlink_to(outside)
        with pytest.raises(FileExistsError):
            transaction.receive(transaction.path / "content", incoming(b"evil"))
    assert outside.read_bytes() == b"must stay"


def write_something(file: io.FileIO) -> None:
    file.write(b"built")


def write_and_fail(file: io.FileIO) -> None:
    file.write(b"begun")
    raise ZeroDivisionError


def test_what_is_built_has_its_time_and_its_digest(staging: Staging) -> None:
    with staging.transaction() as transaction:
        staged = transaction.build(transaction.path / "built", write_something, expected_bytes=0, mtime_ns=123456789)
        assert staged.path.stat().st_mtime_ns == 123456789
        assert (staged.size_bytes, staged.sha256) == (5, hashlib.sha256(b"built").digest())
    with pytest.raises(ZeroDivisionError), staging.transaction() as transaction:
        transaction.build(transaction.path / "built", write_and_fail, expected_bytes=0, mtime_ns=0)
    assert transactions(staging.root) == []


def test_the_probe_leaves_nothing_and_tells_when_nothing_can_be_written(folder: Path) -> None:
    staging_with(folder).probe()
    assert transactions(folder) == []
    with pytest.raises(InsufficientStorage):
        staging_with(folder, min_free_bytes=1 << 60).probe()
    staging = staging_with(folder)
    shutil.rmtree(folder)
    folder.write_bytes(b"in the way")
    with pytest.raises(OSError, match="Not a directory"):
        staging.probe()


def test_staging_that_somebody_removed_is_made_again(folder: Path) -> None:
    staging = staging_with(folder)
    shutil.rmtree(folder)
    staging.probe()
    assert transactions(folder) == []


def test_a_transaction_of_another_process_is_left_alone_until_the_process_dies(staging: Staging) -> None:
    with python(HOLDER, staging.root) as process:
        assert process.stdout
        name = process.stdout.readline().strip()
        assert transactions(staging.root) == [name]
        assert staging.recover() == 0
        assert (staging.root / name / "sub" / "content").read_bytes() == b"content"
        process.kill()
        process.wait(10)
    assert transactions(staging.root) == [name]
    assert staging.recover() == 1
    assert transactions(staging.root) == []
    assert staging.recover() == 0


def test_a_process_that_ends_well_leaves_nothing_to_recover(staging: Staging) -> None:
    with python(HOLDER, staging.root) as process:
        assert process.stdout
        process.stdout.readline()
        process.communicate(timeout=10)
    assert transactions(staging.root) == []


def test_a_transaction_of_this_process_is_left_alone(staging: Staging, folder: Path) -> None:
    with staging.transaction() as transaction:
        assert staging.recover() == 0
        assert staging_with(folder).recover() == 0
        assert transaction.path.is_dir()


def test_recovery_touches_only_transactions(staging: Staging, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"must stay")
    (folder / ("0" * 32)).mkdir()
    (folder / ("0" * 32) / "link").symlink_to(tmp_path / "outside")
    (folder / "lost+found").mkdir()
    (folder / "note.txt").touch()
    assert staging.recover() == 1
    assert transactions(folder) == ["lost+found", "note.txt"]
    assert tree(tmp_path / "outside") == {"file": b"must stay"}


def test_recovery_passes_by_a_file_that_is_called_as_a_transaction(staging: Staging, folder: Path) -> None:
    (folder / ("0" * 31 + "1")).symlink_to("/etc")
    (folder / ("0" * 31 + "2")).touch()
    (folder / ("0" * 31 + "3")).mkdir()
    assert staging.recover() == 1
    assert transactions(folder) == ["0" * 31 + "1", "0" * 31 + "2"]


def test_what_is_dead_is_also_recovered_while_the_server_runs(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = staging.root / ("a" * 32)
    dead.mkdir()
    with staging.transaction():
        assert dead.exists()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3600)
    with staging.transaction() as transaction:
        assert transactions(staging.root) == [transaction.path.name]


def test_a_transaction_that_just_begins_survives_many_recoveries(staging: Staging, folder: Path) -> None:
    others = [staging_with(folder) for _ in range(3)]

    def begin_and_use() -> None:
        for number in range(150):
            content = b"%d" % number
            assert receive(staging, content) == content

    def recover() -> None:
        for other in others:
            other.recover()

    with Hammer(recover, threads=3):
        together(*[begin_and_use] * 3)
    staging.recover()
    assert transactions(folder) == []


def test_no_two_processes_recover_one_transaction(staging: Staging, folder: Path) -> None:
    others = [staging_with(folder) for _ in range(4)]
    for number in range(30):
        os.mkdir(folder / f"{number:032x}")
    recovered = together(*[other.recover for other in others])
    assert sum(recovered) == 30
    assert transactions(folder) == []
