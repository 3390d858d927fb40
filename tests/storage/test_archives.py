"""The archives of submissions, without HTTP."""

import os
import random
import zipfile
from pathlib import Path

import pytest

from fileserver.services import Services
from tests.storage.sources import MakeServices, tree
from tests.storage.submitting import ARCHIVE, CONTENT, JOB, archive_bytes, archived, store
from tests.support.hammer import together


def test_the_archive_has_the_entries_that_the_original_server_makes(services: Services) -> None:
    store(services, CONTENT)
    assert list(archived(services).items()) == [
        ("job-id-xxxx/", b""),
        ("job-id-xxxx/bar/", b""),
        ("job-id-xxxx/foo.txt", b"foo"),
        ("job-id-xxxx/bar/baz/", b""),
        ("job-id-xxxx/bar/baz/bah.txt", b"bah"),
    ]


def test_the_archive_of_a_flat_layout_has_them_without_the_id(make_services: MakeServices) -> None:
    services = make_services(grading={"archive_layout": "flat"})
    store(services, CONTENT)
    assert list(archived(services)) == ["bar/", "foo.txt", "bar/baz/", "bar/baz/bah.txt"]


def test_a_changed_layout_is_noticed(make_services: MakeServices, builds: list[str]) -> None:
    store(make_services(), CONTENT)
    flat = make_services(grading={"archive_layout": "flat"})
    assert "foo.txt" in archived(flat)
    assert "foo.txt" in archived(flat)
    assert "job-id-xxxx/foo.txt" in archived(make_services())
    assert len(builds) == 3


def test_an_empty_submission_has_an_archive_of_its_folder_alone(services: Services, root: Path) -> None:
    store(services, {})
    assert services.submissions.files(JOB) == []
    assert (root / "submissions" / JOB).is_dir()
    assert archived(services) == {"job-id-xxxx/": b""}


def test_names_that_are_not_ascii_keep_their_spelling(services: Services) -> None:
    content = {"žluťoučký/kůň.c": b"1", "emoji \N{SNOWMAN}.txt": b"2", "e\u0301": b"3", "\u00e9": b"4"}
    store(services, content)
    files_only = {name: data for name, data in archived(services).items() if not name.endswith("/")}
    assert files_only == {f"{JOB}/{name}": data for name, data in content.items()}


def test_equal_files_give_equal_bytes(services: Services, root: Path) -> None:
    content = {f"{folder}/{name}": os.urandom(300) * 5 for folder in "xyz" for name in ("1", "2/3", "2/4", "b.c")}
    shuffled = list(content.items())
    random.shuffle(shuffled)
    store(services, content)
    first = archive_bytes(services)
    os.utime(root / "submissions" / JOB / "x" / "1", (1, 1))
    store(services, dict(shuffled))
    assert archive_bytes(services) == first
    (root / "submission_archives" / ARCHIVE).unlink()
    assert archive_bytes(services) == first


def test_no_entry_tells_when_it_was_made(services: Services) -> None:
    store(services, CONTENT)
    with services.submissions.open_archive(ARCHIVE) as stored, zipfile.ZipFile(stored.file) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"int main() { return 0; }\n" * 1000, zipfile.ZIP_DEFLATED),
        (b"", zipfile.ZIP_STORED),
        (random.Random(1).randbytes(100_000), zipfile.ZIP_STORED),
    ],
)
def test_what_does_not_compress_is_stored(services: Services, content: bytes, kind: int) -> None:
    store(services, {"file": content})
    with services.submissions.open_archive(ARCHIVE) as stored, zipfile.ZipFile(stored.file) as archive:
        info = archive.getinfo(f"{JOB}/file")
        assert (info.compress_type, info.file_size) == (kind, len(content))
        assert archive.testzip() is None


def test_entries_unpack_as_plain_readable_files(services: Services, tmp_path: Path) -> None:
    store(services, CONTENT)
    with services.submissions.open_archive(ARCHIVE) as stored, zipfile.ZipFile(stored.file) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        archive.extractall(tmp_path / "unpacked")
    assert modes["job-id-xxxx/foo.txt"] == 0o100644
    assert modes["job-id-xxxx/bar/"] == 0o040755
    assert tree(tmp_path / "unpacked") == {f"{JOB}/{path}": content for path, content in CONTENT.items()}


def test_the_archive_is_built_when_the_submission_is_stored_and_not_again(
    services: Services, builds: list[str]
) -> None:
    store(services, CONTENT)
    assert builds == [JOB]
    for _ in range(3):
        archive_bytes(services)
    assert builds == [JOB]


def test_an_archive_that_is_deleted_is_rebuilt_once(services: Services, root: Path, builds: list[str]) -> None:
    store(services, CONTENT)
    before = archive_bytes(services)
    (root / "submission_archives" / ARCHIVE).unlink()
    assert archive_bytes(services) == archive_bytes(services) == before
    assert len(builds) == 2


def test_the_archives_may_all_be_deleted_with_their_folder(services: Services, root: Path) -> None:
    store(services, CONTENT)
    (root / "submission_archives" / ARCHIVE).unlink()
    (root / "submission_archives").rmdir()
    assert "job-id-xxxx/foo.txt" in archived(services)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not an archive at all" * 10])
def test_an_archive_that_something_else_wrote_is_not_served(services: Services, root: Path, content: bytes) -> None:
    store(services, CONTENT)
    (root / "submission_archives" / ARCHIVE).write_bytes(content)
    assert "job-id-xxxx/foo.txt" in archived(services)


def test_sixteen_who_ask_at_once_wait_for_one_build(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch, builds: list[str]
) -> None:
    store(services, {f"file-{number}": os.urandom(50_000) for number in range(20)})
    before = archive_bytes(services)
    for _ in range(3):
        builds.clear()
        (root / "submission_archives" / ARCHIVE).unlink()
        answers = together(*[lambda: archive_bytes(services)] * 16)
        assert set(answers) == {before}
        assert builds == [JOB]


def test_a_reader_of_an_old_archive_reads_it_to_its_end(services: Services) -> None:
    store(services, {"a": os.urandom(500_000)})
    expected = archive_bytes(services)
    with services.submissions.open_archive(ARCHIVE) as stored:
        begin = stored.file.read(100)
        store(services, {"a": b"new"})
        services.submissions.delete(JOB)
        assert begin + stored.file.read() == expected


def test_a_submission_of_the_original_server_is_listed_and_archived(services: Services, root: Path) -> None:
    folder = root / "submissions" / "job-id-xxxx" / "bar"
    folder.mkdir(parents=True)
    (folder / "foo.txt").write_bytes(b"foo")
    (listed,) = services.submissions.files(JOB)
    assert (listed.path, listed.size_bytes, listed.sha256) == ("bar/foo.txt", 3, None)
    assert archived(services) == {"job-id-xxxx/": b"", "job-id-xxxx/bar/": b"", "job-id-xxxx/bar/foo.txt": b"foo"}


def test_a_large_file_is_archived_in_the_format_for_large_files(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The border is moved down, so that this takes no time."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100_000)
    content = os.urandom(150_000)
    store(services, {"large": content, "small": b"small"})
    with services.submissions.open_archive(ARCHIVE) as stored, zipfile.ZipFile(stored.file) as archive:
        assert archive.getinfo(f"{JOB}/large").extract_version == 45
        assert archive.read(f"{JOB}/large") == content
        assert archive.testzip() is None


@pytest.mark.slow
def test_a_file_of_more_than_four_gib_is_archived(services: Services, root: Path) -> None:
    """A sparse file, which takes no space; it is slow because all of it is read and compressed."""
    folder = root / "submissions" / JOB
    folder.mkdir()
    size_bytes = (4 << 30) + 100_000_000
    with open(folder / "huge", "wb") as file:
        file.truncate(size_bytes)
        file.seek(size_bytes - 4)
        file.write(b"last")
    (folder / "small").write_bytes(b"small")
    with services.submissions.open_archive(ARCHIVE) as stored, zipfile.ZipFile(stored.file) as archive:
        assert archive.getinfo(f"{JOB}/huge").file_size == size_bytes
        assert archive.read(f"{JOB}/small") == b"small"
        with archive.open(f"{JOB}/huge") as entry:
            assert entry.read(1000) == bytes(1000)
