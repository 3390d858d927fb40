"""Folders that are replaced as a whole, and what in them is no file."""

import os
import zipfile
from pathlib import Path

import pytest

from fileserver.core.errors import NotFound
from fileserver.core.names import ArchiveName, FilePath, SubmissionId
from fileserver.services import Services
from fileserver.storage import folders as folders_module
from fileserver.storage.filesystem import exchange, make_directory, make_directory_durable, open_below
from fileserver.storage.folders import FolderEntry, LocalFolders, walk
from fileserver.storage.usage import Usage
from tests.storage.sources import Bench, files, read_all, tree, within

JOB = SubmissionId("job")


@pytest.fixture
def folders(bench: Bench) -> LocalFolders:
    return bench.folders()


def publish(bench: Bench, folders: LocalFolders, key: str, content: dict[str, bytes]) -> tuple[int, dict[str, bytes]]:
    """Publish a folder; return its version and what it took the place of."""
    with bench.staging.transaction() as transaction:
        staged = transaction.folder("folder")
        for name, data in content.items():
            (staged / name).write_bytes(data)
        version = folders.seal(staged)
        with bench.locks.hold("folders", key) as lock:
            folders.publish(lock, key, staged, version, sum(map(len, content.values())))
        return version, tree(staged)


def test_a_folder_that_is_not_there_is_not_found(bench: Bench, folders: LocalFolders, tmp_path: Path) -> None:
    with bench.locks.hold("folders", "job") as lock:
        for ask in (
            lambda: folders.version("job"),
            lambda: folders.open("job", "a"),
            lambda: list(folders.open_all("job")),
            lambda: folders.take_away(lock, "job", tmp_path / "x"),
        ):
            with pytest.raises(NotFound):
                ask()


def test_the_first_version_takes_nothing_away(bench: Bench, folders: LocalFolders) -> None:
    version, old = publish(bench, folders, "job", {"a": b"1", "b": b"22"})
    assert old == {}
    assert folders.version("job") == version
    assert tree(bench.root / "folders") == {"job/a": b"1", "job/b": b"22"}
    assert bench.ledger.read()["folders"] == Usage(1, 3)


def test_the_next_version_takes_the_place_of_all_of_the_old_one(bench: Bench, folders: LocalFolders) -> None:
    first, _ = publish(bench, folders, "job", {"a": b"1", "b": b"22"})
    second, old = publish(bench, folders, "job", {"a": b"333"})
    assert old == {"a": b"1", "b": b"22"}
    assert first != second == folders.version("job")
    assert tree(bench.root / "folders") == {"job/a": b"333"}
    assert bench.ledger.read()["folders"] == Usage(1, 3)


def test_no_two_versions_are_equal(bench: Bench, folders: LocalFolders) -> None:
    versions = [publish(bench, folders, "job", {"a": b"same"})[0] for _ in range(20)]
    assert len(set(versions)) == 20


def test_a_folder_that_is_taken_away_is_whole_where_it_lies(bench: Bench, folders: LocalFolders) -> None:
    publish(bench, folders, "job", {"a": b"1"})
    publish(bench, folders, "other", {"a": b"22"})
    with bench.staging.transaction() as transaction:
        with bench.locks.hold("folders", "job") as lock:
            folders.take_away(lock, "job", transaction.path / "deleted")
        assert tree(transaction.path) == {"deleted/a": b"1"}
    assert tree(bench.root / "folders") == {"other/a": b"22"}
    assert bench.ledger.read()["folders"] == Usage(1, 2)
    with pytest.raises(NotFound):
        folders.version("job")


def test_a_reader_of_a_folder_that_is_replaced_meanwhile_learns_it(bench: Bench, folders: LocalFolders) -> None:
    publish(bench, folders, "job", {"a": b"1", "b": b"2"})
    reader = folders.open_all("job")
    next(reader)
    publish(bench, folders, "job", {"a": b"3", "b": b"4"})
    with pytest.raises(NotFound):
        list(reader)


def test_folders_are_walked_in_an_order_that_depends_on_names_only(tmp_path: Path) -> None:
    for name in ["z", "b/y", "b/c/x", "a.txt", "b.txt", "A/w"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(walk(tmp_path)) == [
        FolderEntry("A", True),
        FolderEntry("b", True),
        FolderEntry("a.txt", False),
        FolderEntry("b.txt", False),
        FolderEntry("z", False),
        FolderEntry("A/w", False),
        FolderEntry("b/c", True),
        FolderEntry("b/y", False),
        FolderEntry("b/c/x", False),
    ]


@pytest.fixture
def strange(services: Services, root: Path) -> Path:
    """A submission into which somebody has put what no client can send."""
    services.submissions.store(JOB, files({"good.txt": b"good", "dir/inner.txt": b"inner"}))
    folder = root / "submissions" / "job"
    (root / "secret").mkdir()
    (root / "secret" / "key").write_bytes(b"secret")
    (folder / "link").symlink_to(root / "secret" / "key")
    (folder / "linked-folder").symlink_to(root / "secret")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "dir" / "pipe")
    return folder


STRANGE_PATHS = ["link", "linked-folder", "linked-folder/key", "dangling", "loop", "loop/good.txt", "pipe", "dir/pipe"]


@pytest.mark.parametrize("path", [*STRANGE_PATHS, "dir", "good.txt/x", "missing", "x" * 255])
def test_links_and_special_files_are_not_served(services: Services, strange: Path, path: str) -> None:
    with pytest.raises(NotFound):
        within(5, lambda: services.submissions.open_file(JOB, FilePath(path)))


def test_links_and_special_files_are_not_listed(services: Services, strange: Path) -> None:
    listed = within(5, lambda: services.submissions.files(JOB))
    assert [file.path for file in listed] == ["dir/inner.txt", "good.txt"]


def test_links_and_special_files_are_not_archived(services: Services, strange: Path, root: Path) -> None:
    (root / "submission_archives" / "job.zip").unlink()
    with (
        within(5, lambda: services.submissions.open_archive(ArchiveName("job.zip"))) as stored,
        zipfile.ZipFile(stored.file) as archive,
    ):
        assert archive.namelist() == ["job/", "job/dir/", "job/good.txt", "job/dir/inner.txt"]


def test_a_name_that_no_client_could_ask_for_is_left_out(services: Services, root: Path) -> None:
    services.submissions.store(JOB, files({"good.txt": b"good"}))
    os.mkdir(os.fsencode(root / "submissions" / "job") + b"/\xff-folder")
    with open(os.fsencode(root / "submissions" / "job") + b"/caf\xe9.txt", "wb"):
        pass
    assert [file.path for file in services.submissions.files(JOB)] == ["good.txt"]
    with (
        services.submissions.open_archive(ArchiveName("job.zip")) as stored,
        zipfile.ZipFile(stored.file) as archive,
    ):
        assert archive.namelist() == ["job/", "job/good.txt"]


def test_a_submission_with_special_files_can_be_replaced_and_deleted(services: Services, strange: Path) -> None:
    within(5, lambda: services.submissions.store(JOB, files({"new": b"new"})))
    assert read_all(services.submissions.open_file(JOB, FilePath("new"))) == b"new"
    within(5, lambda: services.submissions.delete(JOB))
    assert not strange.exists()


def test_a_submission_that_is_a_link_is_not_one(services: Services, root: Path) -> None:
    (root / "secret").mkdir()
    (root / "secret" / "key").write_bytes(b"secret")
    (root / "submissions" / "job").symlink_to(root / "secret")
    with pytest.raises(NotFound):
        services.submissions.open_file(JOB, FilePath("key"))
    with pytest.raises(NotFound):
        services.submissions.files(JOB)
    with pytest.raises(NotFound):
        services.submissions.open_archive(ArchiveName("job.zip")).close()


def test_a_file_among_the_submissions_is_not_one(services: Services, root: Path) -> None:
    (root / "submissions" / "job").write_bytes(b"stray")
    for ask in (
        lambda: services.submissions.files(JOB),
        lambda: services.submissions.open_file(JOB, FilePath("a")),
        lambda: services.submissions.open_archive(JOB.archive_name),
    ):
        with pytest.raises(NotFound):
            ask()


def test_a_file_among_the_submissions_is_replaced_by_one(services: Services, root: Path) -> None:
    (root / "submissions" / "job").write_bytes(b"stray")
    services.submissions.store(JOB, files({"a": b"new"}))
    assert tree(root / "submissions") == {"job/a": b"new"}
    assert (root / "submission_archives" / "job.zip").exists()


@pytest.mark.parametrize("relative", ["folder", "link", "linked/file", "pipe", "file/below", "missing", "x" * 300])
def test_only_a_regular_file_is_opened_below_a_folder(tmp_path: Path, relative: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "linked").symlink_to("folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        within(5, lambda: open_below(tmp_path, relative))
    fd = open_below(tmp_path, "folder/file")
    assert os.read(fd, 100) == b"content"
    os.close(fd)


def test_an_exchange_swaps_two_names_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").mkdir()
    exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"a"
    assert (tmp_path / "a").is_dir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "missing")
    assert (tmp_path / "a").is_dir()


@pytest.mark.parametrize("make", [make_directory, make_directory_durable])
def test_a_folder_is_made_with_its_parents_each_with_the_mode(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "a" / "b" / "c", 0o710)
    make(tmp_path / "a" / "b" / "c", 0o777)
    assert [(tmp_path / path).stat().st_mode & 0o777 for path in ("a", "a/b", "a/b/c")] == [0o710] * 3


def test_a_file_system_that_touches_folders_in_an_exchange_changes_no_version(
    bench: Bench, folders: LocalFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As XFS does; an archive would be stale as soon as it is there."""

    def touching(one: Path, other: Path) -> None:
        exchange(one, other)
        os.utime(other)

    monkeypatch.setattr(folders_module, "exchange", touching)
    publish(bench, folders, "a", {"b": b"1"})
    version, _ = publish(bench, folders, "a", {"b": b"2"})
    assert folders.version("a") == version
