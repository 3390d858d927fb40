"""What every bucket promises, as the docstrings of fileserver/storage/interface.py say it.

A storage passes by a subclass of StorageContract that makes the fixture `bucket`.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileserver.core.errors import NotFound
from fileserver.storage.interface import Bucket, StagedFile
from tests.storage.sources import Bench, content_of, read_all
from tests.support.hammer import Hammer, together

Stage = Callable[[bytes], AbstractContextManager[StagedFile]]

steps = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "open"]), st.integers(0, 3), st.binary(max_size=50)), max_size=20
)


class StorageContract:
    """The suite. A method is a promise.

    A bucket that takes less than all keys says so by keys of its own.
    """

    KEYS: tuple[str, ...] = ("a", "b.zip", "ab", "Ä", "a b", "-", "..a", "x" * 255, "a.d/b/c.txt", "a.d/e")

    @pytest.fixture
    def bucket(self, bench: Bench) -> Bucket:
        """The empty bucket to be tested."""
        raise NotImplementedError

    @pytest.fixture
    def stage(self, bench: Bench) -> Stage:
        """Return a function that receives content into staging, for the time of a block."""
        return bench.staged

    @pytest.fixture
    def put(self, bucket: Bucket, stage: Stage) -> Callable[[str, bytes], None]:
        """Return a function that stores content under a key."""

        def store(key: str, content: bytes) -> None:
            with stage(content) as staged:
                bucket.put(key, staged)

        return store

    def test_an_empty_bucket_has_no_keys(self, bucket: Bucket) -> None:
        assert list(bucket.keys()) == []

    def test_what_was_never_stored_is_not_found(self, bucket: Bucket, put: Any) -> None:
        for key in self.KEYS:
            with pytest.raises(NotFound):
                bucket.open(key)
            with pytest.raises(NotFound):
                bucket.delete(key)

    @pytest.mark.parametrize("content", [b"", b"\0", b"text\r\n", bytes(range(256)) * 5000])
    def test_what_was_stored_is_read_back(self, bucket: Bucket, put: Any, content: bytes) -> None:
        for key in self.KEYS:
            put(key, content)
        for key in self.KEYS:
            with bucket.open(key) as stored:
                assert stored.size_bytes == len(content)
                assert stored.sha256 in (None, sha256(content).digest())
                assert stored.file.read() == content

    def test_the_keys_are_sorted_and_complete(self, bucket: Bucket, put: Any) -> None:
        for key in self.KEYS:
            put(key, b"")
        assert list(bucket.keys()) == sorted(self.KEYS)
        bucket.delete(self.KEYS[0])
        assert list(bucket.keys()) == sorted(self.KEYS[1:])

    def test_the_staged_file_is_consumed(self, bucket: Bucket, stage: Stage) -> None:
        with stage(b"content") as staged:
            bucket.put("a", staged)
            assert not staged.path.exists()

    def test_the_last_put_wins(self, bucket: Bucket, put: Any) -> None:
        for content in [b"first", b"", b"a longer third"]:
            put("a", content)
            assert content_of(bucket, "a") == content
        assert list(bucket.keys()) == ["a"]

    def test_an_open_file_stays_whole_when_it_is_replaced(self, bucket: Bucket, put: Any) -> None:
        old, new = b"old" * 100_000, b"new" * 50_000
        put("a", old)
        with bucket.open("a") as stored:
            begin = stored.file.read(10)
            put("a", new)
            assert begin + stored.file.read() == old
            assert stored.read_tail(4) == old[-4:]
        assert content_of(bucket, "a") == new

    def test_an_open_file_stays_whole_when_it_is_deleted(self, bucket: Bucket, put: Any) -> None:
        put("a", b"content")
        stored = bucket.open("a")
        bucket.delete("a")
        assert read_all(stored) == b"content"
        with pytest.raises(NotFound):
            bucket.open("a")

    def test_a_second_delete_finds_nothing(self, bucket: Bucket, put: Any) -> None:
        put("a", b"content")
        put("b", b"other")
        bucket.delete("a")
        with pytest.raises(NotFound):
            bucket.delete("a")
        assert list(bucket.keys()) == ["b"]
        put("a", b"again")
        assert content_of(bucket, "a") == b"again"

    def test_two_versions_of_a_key_can_be_told_apart(self, bucket: Bucket, put: Any) -> None:
        versions = []
        for content in [b"one", b"two", b"three", b""]:
            put("a", content)
            with bucket.open("a") as stored:
                versions.append(stored.version)
        assert len(set(versions)) == 4

    def test_a_put_that_fails_leaves_what_was_there(self, bucket: Bucket, put: Any, stage: Stage) -> None:
        put("a", b"old")
        with stage(b"new") as staged:
            os.unlink(staged.path)
            with pytest.raises(OSError, match="No such file"):
                bucket.put("a", staged)
            with pytest.raises(OSError, match="No such file"):
                bucket.put("b", staged)
        assert content_of(bucket, "a") == b"old"
        assert list(bucket.keys()) == ["a"]

    def test_readers_see_one_whole_version_while_it_is_replaced(self, bucket: Bucket, put: Any) -> None:
        versions = [bytes([letter]) * (100_000 + letter) for letter in b"abcd"]
        put("a", versions[0])
        with Hammer(lambda: content_of(bucket, "a"), threads=2) as readers:
            together(*[lambda version=version: [put("a", version) for _ in range(15)] for version in versions])
        assert readers.results
        assert all(result in versions for result in readers.results)
        assert content_of(bucket, "a") in versions
        assert list(bucket.keys()) == ["a"]

    def test_one_of_many_deleters_finds_it(self, bucket: Bucket, put: Any) -> None:
        def delete() -> bool:
            try:
                bucket.delete("a")
            except NotFound:
                return False
            return True

        for _ in range(5):
            put("a", b"content")
            assert sorted(together(*[delete] * 4)) == [False, False, False, True]

    @settings(
        deadline=None,
        max_examples=40,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(steps=steps)
    def test_it_behaves_like_a_dictionary(self, bucket: Bucket, put: Any, steps: list[tuple[str, int, bytes]]) -> None:
        for key in bucket.keys():
            bucket.delete(key)
        expected: dict[str, bytes] = {}
        for step, number, content in steps:
            key = self.KEYS[number]
            if step == "put":
                put(key, content)
                expected[key] = content
            elif key not in expected:
                with pytest.raises(NotFound):
                    bucket.delete(key) if step == "delete" else bucket.open(key)
            elif step == "delete":
                bucket.delete(key)
                del expected[key]
            else:
                assert content_of(bucket, key) == expected[key]
        assert list(bucket.keys()) == sorted(expected)
        assert {key: content_of(bucket, key) for key in expected} == expected
