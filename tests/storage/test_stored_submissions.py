"""Submissions, without HTTP: stored, listed, replaced, deleted."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fileserver.core.errors import InvalidName, LimitExceeded, NotFound
from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.names import ArchiveName, FilePath, SubmissionId
from fileserver.services import Services
from fileserver.storage.usage import Usage
from tests.storage.sources import MakeServices, failing, files, read_all, transactions, tree
from tests.storage.submitting import ARCHIVE, CONTENT, JOB, archive_bytes, archived, store
from tests.support.hammer import Hammer, together


def test_what_was_submitted_is_listed_and_read_back(services: Services) -> None:
    store(services, CONTENT)
    listed = services.submissions.files(JOB)
    assert [(file.path, file.size_bytes) for file in listed] == [("bar/baz/bah.txt", 3), ("foo.txt", 3)]
    assert [file.sha256 for file in listed] == [hashlib.sha256(content).digest() for content in (b"bah", b"foo")]
    for path, content in CONTENT.items():
        assert read_all(services.submissions.open_file(JOB, FilePath(path))) == content


def test_a_submission_that_was_never_stored_is_not_found(services: Services) -> None:
    for ask in (
        lambda: services.submissions.files(JOB),
        lambda: services.submissions.open_file(JOB, FilePath("a")),
        lambda: services.submissions.open_archive(ARCHIVE),
        lambda: services.submissions.delete(JOB),
    ):
        with pytest.raises(NotFound):
            ask()
    assert transactions(services.staging.root) == []


def test_a_submission_is_replaced_and_never_merged(services: Services, root: Path) -> None:
    store(services, {"a": b"1", "b/c": b"2"})
    store(services, {"b": b"3"})
    assert tree(root / "submissions") == {"job-id-xxxx/b": b"3"}
    assert archived(services) == {"job-id-xxxx/": b"", "job-id-xxxx/b": b"3"}


def test_a_file_is_found_while_its_submission_is_replaced(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that a reader has found is replaced, and removed, before the reader opens the file in it."""
    store(services, {"foo.txt": b"old"})
    really_open = os.open

    def replace_first(path: str, *args: Any, **kwargs: Any) -> int:
        if path == "foo.txt":
            monkeypatch.undo()
            store(services, {"foo.txt": b"new"})
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", replace_first)
    assert read_all(services.submissions.open_file(JOB, FilePath("foo.txt"))) == b"new"


def test_the_first_of_several_files_with_one_name_wins(services: Services) -> None:
    services.submissions.store(JOB, files([("a", b"first"), ("a", b"second"), ("b", b"other"), ("a", b"third")]))
    assert {file.path: file.size_bytes for file in services.submissions.files(JOB)} == {"a": 5, "b": 5}
    assert read_all(services.submissions.open_file(JOB, FilePath("a"))) == b"first"


def bad_sources() -> Iterator[tuple[type[BaseException], Iterator[IncomingFile]]]:
    yield InvalidName, files([("new", b"new"), ("../evil", b"")])
    yield InvalidName, files([("new", b"new"), ("new/below", b"")])
    yield LimitExceeded, files([("new", b"new"), ("large", b"x" * 1001)])
    yield ZeroDivisionError, iter([IncomingFile("new", Incoming(failing(b"x" * 500, ZeroDivisionError())))])
    yield KeyboardInterrupt, (part for part in [*files({"new": b"new"}), interrupt()] if part)


def interrupt() -> IncomingFile:
    return IncomingFile("interrupted", Incoming(failing(b"", KeyboardInterrupt())))


@pytest.mark.parametrize("number", range(5))
def test_a_submission_that_fails_changes_nothing(make_services: MakeServices, root: Path, number: int) -> None:
    services = make_services(limits={"max_file_bytes": 1000})
    store(services, CONTENT)
    before, archive = tree(root / "submissions"), archive_bytes(services)
    error, source = list(bad_sources())[number]
    with pytest.raises(error):
        services.submissions.store(JOB, source)
    assert tree(root / "submissions") == before
    assert archive_bytes(services) == archive
    assert transactions(root / "staging") == []


def test_the_limits_of_the_settings_hold_for_paths(make_services: MakeServices) -> None:
    services = make_services(limits={"max_path_depth": 2})
    store(services, {"a/b": b""})
    with pytest.raises(InvalidName, match="max_path_depth = 2"):
        store(services, {"a/b/c": b""})


def test_readers_see_one_whole_version_while_it_is_replaced(services: Services) -> None:
    versions = [{f"{letter}{number}": letter * 1000 for number in range(5)} | {"a": letter} for letter in "xyz"]
    contents = [{path: text.encode() for path, text in version.items()} for version in versions]
    store(services, contents[0])

    def listing() -> dict[str, bytes | None]:
        return {file.path: file.sha256 for file in services.submissions.files(JOB)}

    def archive() -> dict[str, bytes]:
        return {name.partition("/")[2]: data for name, data in archived(services).items() if not name.endswith("/")}

    def replace() -> None:
        for number in range(45):
            store(services, contents[number % 3])

    with Hammer(listing, threads=2) as listings, Hammer(archive, threads=2) as archives:
        together(replace)
    digests = [{path: hashlib.sha256(data).digest() for path, data in version.items()} for version in contents]
    assert listings.results
    assert archives.results
    assert all(listed in digests for listed in listings.results)
    assert all(found in contents for found in archives.results)


def test_several_who_submit_one_id_leave_one_whole_version(services: Services, root: Path) -> None:
    versions = [{f"{number}-{part}": b"%d" % number * 5000 for part in range(4)} for number in range(6)]
    together(*[lambda version=version: [store(services, version) for _ in range(5)] for version in versions])
    folder = tree(root / "submissions" / JOB)
    assert folder in versions
    assert archived(services) == {f"{JOB}/": b""} | {f"{JOB}/{path}": data for path, data in sorted(folder.items())}
    size_bytes = sum(map(len, folder.values()))
    assert services.ledger.read()["submissions"] == Usage(1, size_bytes)
    assert services.ledger.read()["submission_archives"].files == 1


def test_a_deleted_submission_is_gone_with_its_archive(services: Services, root: Path) -> None:
    store(services, CONTENT)
    other = SubmissionId("other")
    store(services, CONTENT, other)
    services.submissions.delete(JOB)
    for ask in (services.submissions.files, services.submissions.delete):
        with pytest.raises(NotFound):
            ask(JOB)
    with pytest.raises(NotFound):
        services.submissions.open_archive(ARCHIVE)
    assert os.listdir(root / "submissions") == ["other"]
    assert os.listdir(root / "submission_archives") == ["other.zip"]
    assert transactions(root / "staging") == []


def test_a_submission_can_be_deleted_when_the_disk_is_full(make_services: MakeServices) -> None:
    store(make_services(), CONTENT)
    full = make_services(limits={"min_free_bytes": 1 << 60})
    full.submissions.delete(JOB)
    with pytest.raises(NotFound):
        full.submissions.files(JOB)


def test_the_ledger_follows(services: Services) -> None:
    store(services, {"a": b"12345", "b/c": b"1"})
    assert services.ledger.read()["submissions"] == Usage(1, 6)
    store(services, {"a": b"12"})
    store(services, {}, SubmissionId("other"))
    assert services.ledger.read()["submissions"] == Usage(2, 2)
    sizes = [len(archive_bytes(services, ArchiveName(name))) for name in (ARCHIVE, "other.zip")]
    assert services.ledger.read()["submission_archives"] == Usage(2, sum(sizes))
    services.submissions.delete(JOB)
    assert services.ledger.read()["submissions"] == Usage(1, 0)
    assert services.ledger.read()["submission_archives"] == Usage(1, sizes[1])


def test_no_two_versions_of_a_submission_are_modified_in_one_second(services: Services, root: Path) -> None:
    """Web servers that serve the archives tell versions apart by the second of their modification."""
    paths = (root / "submissions" / JOB, root / "submission_archives" / ARCHIVE)
    seconds = []
    for content in (b"1", b"2", b"3"):
        store(services, {"a": content})
        folder, archive = (path.stat().st_mtime_ns for path in paths)
        assert folder == archive, "the archive belongs to the folder"
        seconds.append(folder // 10**9)
        with services.submissions.open_archive(ARCHIVE) as stored:
            assert stored.sha256 == hashlib.sha256(paths[1].read_bytes()).digest()
    assert len(set(seconds)) == 3
    assert seconds == sorted(seconds)
