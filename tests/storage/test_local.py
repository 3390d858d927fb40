"""Buckets in local folders: the contract, and what only they promise."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserver.core.errors import NotFound
from fileserver.core.names import SubmissionId
from fileserver.services import Services
from fileserver.storage.interface import Bucket
from fileserver.storage.local import LocalBucket
from fileserver.storage.usage import Usage
from tests.storage.contract import StorageContract
from tests.storage.sources import Bench, MakeServices, content_of, files, incoming, within
from tests.support.hammer import together
from tests.support.servers import wait_until


class TestLocalBucket(StorageContract):
    @pytest.fixture
    def bucket(self, bench: Bench) -> Bucket:
        return bench.bucket()


class TestShardedLocalBucket(StorageContract):
    KEYS = ("a", "0", "b.zip", "ab", "Ä", "0" * 40)  # one component, as hashes are

    @pytest.fixture
    def bucket(self, bench: Bench) -> Bucket:
        return bench.bucket(sharded=True)


@pytest.fixture
def bucket(bench: Bench) -> LocalBucket:
    return bench.bucket()


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The process's umask, which must not matter."""
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def put(bench: Bench, bucket: LocalBucket, key: str, content: bytes) -> None:
    with bench.staged(content) as staged:
        bucket.put(key, staged)


def modes_below(folder: Path) -> tuple[set[int], set[int]]:
    """The permissions of all folders and of all files in *folder*, the former including it."""
    paths = [folder, *folder.rglob("*")]
    modes = [(path.is_dir(), path.stat().st_mode & 0o7777) for path in paths]
    return {mode for is_folder, mode in modes if is_folder}, {mode for is_folder, mode in modes if not is_folder}


def test_the_umask_does_not_matter_for_a_bucket(umask: int, bench: Bench) -> None:
    bucket = bench.bucket(sharded=True)
    put(bench, bucket, "abc", b"content")
    assert modes_below(bench.root / "sharded") == ({0o750}, {0o640})


def store_everything(services: Services) -> None:
    services.submissions.store(SubmissionId("job"), files({"a.txt": b"a", "dir/sub/b.txt": b"b"}))
    services.task_files.store(files({"input": b"1 2 3"}))
    services.results.store("job.zip", incoming(b"result"))
    services.attachments.store("picture", incoming(b"attachment"))


RESOURCES = ["submissions", "submission_archives", "tasks", "results", "attachments"]


@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o640, 0o750), (0o600, 0o700), (0o664, 0o775)])
def test_the_modes_of_all_that_is_stored_are_those_of_the_settings(
    umask: int, make_services: MakeServices, root: Path, file_mode: int, directory_mode: int
) -> None:
    services = make_services(storage={"file_mode": f"{file_mode:o}", "directory_mode": f"{directory_mode:o}"})
    store_everything(services)
    for name in RESOURCES:
        assert modes_below(root / name) == ({directory_mode}, {file_mode}), name
    assert (root / "staging").stat().st_mode & 0o077 == 0


def test_a_key_is_a_plain_file_of_its_name(bench: Bench, bucket: LocalBucket) -> None:
    put(bench, bucket, "a.zip", b"content")
    put(bench, bench.bucket(sharded=True), "abc", b"sharded")
    assert (bench.root / "plain" / "a.zip").read_bytes() == b"content"
    assert (bench.root / "sharded" / "a" / "abc").read_bytes() == b"sharded"


def test_a_file_that_was_copied_into_the_folder_is_served(bench: Bench, bucket: LocalBucket) -> None:
    (bench.root / "plain" / "copied").write_bytes(b"by hand")
    assert content_of(bucket, "copied") == b"by hand"
    assert list(bucket.keys()) == ["copied"]


@pytest.mark.parametrize("target", ["secret", "/etc/passwd", "missing", "."])
def test_a_symbolic_link_in_the_folder_is_not_followed(bench: Bench, bucket: LocalBucket, target: str) -> None:
    (bench.root / "plain" / "secret").write_bytes(b"secret")
    (bench.root / "plain" / "link").symlink_to(target)
    with pytest.raises(NotFound):
        bucket.open("link")


def test_a_symbolic_link_to_a_folder_is_not_followed(bench: Bench, bucket: LocalBucket, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "abc").write_bytes(b"secret")
    (bench.root / "plain" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(NotFound):
        bucket.open("link/abc")


def test_a_put_replaces_a_symbolic_link_and_not_its_target(bench: Bench, bucket: LocalBucket, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"must stay")
    (bench.root / "plain" / "link").symlink_to(outside)
    put(bench, bucket, "link", b"new")
    assert outside.read_bytes() == b"must stay"
    assert content_of(bucket, "link") == b"new"


def test_folders_and_special_files_are_no_files(bench: Bench, bucket: LocalBucket) -> None:
    (bench.root / "plain" / "folder").mkdir()
    os.mkfifo(bench.root / "plain" / "pipe")
    for key in ("folder", "pipe", "folder/x", "pipe/x"):
        with pytest.raises(NotFound):
            within(5, lambda key=key: bucket.open(key))


def test_the_digest_is_known_without_reading_until_the_file_changes(bench: Bench, bucket: LocalBucket) -> None:
    put(bench, bucket, "a", b"content")
    path = bench.root / "plain" / "a"
    with bucket.open("a") as stored:
        assert stored.sha256 is not None
    path.write_bytes(b"changed by hand")
    with bucket.open("a") as stored:
        assert stored.sha256 is None


def test_a_bucket_whose_folder_is_missing_is_empty(bench: Bench) -> None:
    bucket = bench.bucket(sharded=True)
    assert not (bench.root / "sharded").exists()
    assert list(bucket.keys()) == []
    with pytest.raises(NotFound):
        bucket.open("abc")
    with pytest.raises(NotFound):
        bucket.delete("abc")


def test_the_ledger_tells_what_the_bucket_holds(bench: Bench, bucket: LocalBucket) -> None:
    put(bench, bucket, "a", b"12345")
    assert bench.ledger.read()["plain"] == Usage(1, 5)
    put(bench, bucket, "b", b"123")
    assert bench.ledger.read()["plain"] == Usage(2, 8)
    put(bench, bucket, "a", b"1")
    assert bench.ledger.read()["plain"] == Usage(2, 4)
    put(bench, bucket, "a", b"")
    assert bench.ledger.read()["plain"] == Usage(2, 3)
    bucket.delete("b")
    assert bench.ledger.read()["plain"] == Usage(1, 0)
    assert bucket.discard("a")
    assert not bucket.discard("a")
    with pytest.raises(NotFound):
        bucket.delete("a")
    assert bench.ledger.read()["plain"] == Usage(0, 0)
    assert bench.ledger.read()["sharded"] == Usage(0, 0)


@pytest.mark.parametrize("action", ["put", "delete", "discard"])
def test_who_changes_a_key_waits_for_its_lock(bench: Bench, bucket: LocalBucket, action: str) -> None:
    put(bench, bucket, "a", b"old")
    actions = {
        "put": lambda: put(bench, bucket, "a", b"new"),
        "delete": lambda: bucket.delete("a"),
        "discard": lambda: bucket.discard("a"),
    }
    with bench.locks.hold(bucket.name, "a"):
        thread = threading.Thread(target=actions[action])
        thread.start()
        assert not wait_until(lambda: not thread.is_alive(), 0.2)
        assert content_of(bucket, "a") == b"old"
    thread.join(10)
    assert not thread.is_alive()
    assert list(bucket.keys()) == (["a"] if action == "put" else [])


def test_the_ledger_is_right_after_many_writers_at_once(bench: Bench, bucket: LocalBucket) -> None:
    def work(number: int) -> None:
        for turn in range(8):
            put(bench, bucket, "shared", b"x" * number)
            put(bench, bucket, f"own-{number}", b"y" * turn)
            if turn % 3 == 0:
                bucket.delete(f"own-{number}")

    together(*[lambda number=number: work(number) for number in range(6)])
    stored = [path.stat().st_size for path in (bench.root / "plain").iterdir()]
    assert bench.ledger.read()["plain"] == Usage(len(stored), sum(stored))
