"""An archive that does not belong to its submission may be the only one to have a file: it is never destroyed."""

import os
import time
import zipfile
from pathlib import Path

import pytest

from fileserver.core.names import ArchiveName
from fileserver.services import Services
from tests.maintenance.rot import check, flip_bit, forget, repair, rewrite, told
from tests.storage.conftest import MakeServices
from tests.storage.sources import tree
from tests.storage.submitting import ARCHIVE, CONTENT, JOB, store

both = pytest.mark.parametrize("read", [False, True], ids=["quick", "read"])
layouts = pytest.mark.parametrize("layout", ["nested", "flat"])
PLACE, ARCHIVE_PLACE = f"submissions/{JOB}", f"submission_archives/{ARCHIVE}"
STALE = ("stale", ARCHIVE_PLACE)


@pytest.fixture
def folder(root: Path) -> Path:
    return root / PLACE


@pytest.fixture
def archive(root: Path) -> Path:
    return root / ARCHIVE_PLACE


def make_older(archive: Path) -> None:
    """Let an archive be one of before, as if the submission had been replaced by hand."""
    os.utime(archive, ns=(1, 1))


def as_the_original(folder: Path, archive: Path) -> bytes:
    """Make of a submission what the original server leaves: no records, an archive made later; returns that."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as contents:
        for path, content in tree(folder).items():
            forget(folder / path)
            contents.writestr(f"{JOB}/{path}", content)
    forget(archive)
    later = time.time_ns() + 10**9
    os.utime(archive, ns=(later, later))
    return archive.read_bytes()


def kept(services: Services) -> dict[str, bytes | dict[str, bytes]]:
    """What lies in the quarantine, by its key."""
    held = {one.note.key: one.path for one in services.quarantine.held()}
    return {key: tree(path) if path.is_dir() else path.read_bytes() for key, path in held.items()}


@both
@layouts
def test_a_file_that_is_gone_from_the_top_is_missing_and_comes_back(
    make_services: MakeServices, folder: Path, archive: Path, layout: str, read: bool
) -> None:
    """Its removal changes the time of the folder, so that the archive does not belong to that any more."""
    services = make_services(grading={"archive_layout": layout})
    store(services, CONTENT)
    made = archive.read_bytes()
    (folder / "foo.txt").unlink()
    left = tree(folder)
    found = check(services, read=read)
    assert told(found) == {("missing", f"{PLACE}/foo.txt"), STALE}
    assert [finding.path for finding in found if finding.is_damage] == ["foo.txt"]
    assert all(finding.mended for finding in repair(services, read=read))
    assert tree(folder) == CONTENT
    assert kept(services) == {JOB: left, ARCHIVE: made}
    assert check(services, read=True) == []


@both
def test_an_older_archive_that_has_what_the_folder_does_not_is_told_and_kept(
    services: Services, folder: Path, archive: Path, read: bool
) -> None:
    store(services, CONTENT)
    made = archive.read_bytes()
    (folder / "foo.txt").unlink()
    make_older(archive)
    [finding] = check(services, read=True)
    assert (finding.kind, finding.is_damage) == ("stale", False)
    assert "the folder does not have foo.txt" in finding.detail
    [finding] = repair(services, read=read)
    assert finding.action.startswith("rebuilt; what it was is in quarantine/")
    assert kept(services) == {ARCHIVE: made}
    assert "foo.txt" not in tree(folder)
    assert check(services, read=True) == []


@both
def test_an_older_archive_of_the_same_files_is_not_worth_keeping(services: Services, archive: Path, read: bool) -> None:
    store(services, CONTENT)
    make_older(archive)
    assert [finding.action for finding in repair(services, read=read)] == ["rebuilt"]
    assert kept(services) == {}


def test_an_older_archive_heals_what_the_records_prove(services: Services, folder: Path, archive: Path) -> None:
    store(services, CONTENT)
    flip_bit(folder / "foo.txt")
    make_older(archive)
    made = archive.read_bytes()
    assert all(finding.mended for finding in repair(services))
    assert tree(folder) == CONTENT
    assert kept(services)[ARCHIVE] == made


def test_an_older_archive_heals_nothing_that_no_record_proves(
    services: Services, folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(services, CONTENT)
    path = folder / "foo.txt"
    forget(path)
    make_older(archive)
    inode, pread = path.stat().st_ino, os.pread

    def fail(fd: int, *arguments: int) -> bytes:
        if os.fstat(fd).st_ino == inode:
            raise OSError(5, "Input/output error")
        return pread(fd, *arguments)

    monkeypatch.setattr(os, "pread", fail)
    made = archive.read_bytes()
    assert any(finding.remains for finding in repair(services))
    assert kept(services) == {JOB: CONTENT, ARCHIVE: made}


@layouts
def test_rot_in_a_tree_of_the_original_server_is_told_and_not_recorded(
    make_services: MakeServices, folder: Path, archive: Path, layout: str
) -> None:
    services = make_services(grading={"archive_layout": layout})
    store(services, CONTENT)
    made = as_the_original(folder, archive)
    flip_bit(folder / "foo.txt")
    rotten = tree(folder)
    assert told(check(services, read=True)) == {("damaged", f"{PLACE}/foo.txt"), STALE}
    assert os.listxattr(folder / "foo.txt") == []
    assert os.listxattr(folder / "bar/baz/bah.txt") != []
    assert all(finding.mended for finding in repair(services))
    assert tree(folder) == CONTENT
    assert kept(services) == {JOB: rotten, ARCHIVE: made}
    assert check(services, read=True) == []


@both
@layouts
def test_a_sound_tree_of_the_original_server_is_adopted(
    make_services: MakeServices, folder: Path, archive: Path, layout: str, read: bool
) -> None:
    services = make_services(grading={"archive_layout": layout})
    store(services, CONTENT)
    as_the_original(folder, archive)
    assert told(check(services, read=read)) == {STALE}
    assert bool(os.listxattr(folder / "foo.txt")) == read
    assert [finding.action for finding in repair(services, read=read)] == ["rebuilt"]
    assert kept(services) == {}


def test_where_nobody_knows_who_is_right_both_are_kept_and_nothing_is_recorded(
    services: Services, folder: Path, archive: Path
) -> None:
    """As when the tree was copied without its times."""
    store(services, CONTENT)
    made = as_the_original(folder, archive)
    flip_bit(folder / "foo.txt")
    for path in tree(folder):
        os.utime(folder / path, (time.time() + 3600, time.time() + 3600))
    other = tree(folder)
    [finding] = check(services, read=True)
    assert (finding.kind, "it holds foo.txt as it was before" in finding.detail) == ("stale", True)
    assert os.listxattr(folder / "foo.txt") == []
    assert [finding.mended for finding in repair(services)] == [True]
    assert (tree(folder), kept(services)) == (other, {ARCHIVE: made})


def test_of_a_file_that_was_stored_so_an_unfit_archive_is_wrong(
    services: Services, folder: Path, archive: Path
) -> None:
    store(services, CONTENT)
    with zipfile.ZipFile(archive, "w") as contents:
        for path in CONTENT:
            contents.writestr(f"{JOB}/{path}", b"fox")
    forget(archive)
    made = archive.read_bytes()
    [finding] = check(services, read=True)
    assert (finding.kind, "it holds other bytes of" in finding.detail) == ("stale", True)
    assert [finding.mended for finding in repair(services)] == [True]
    assert (tree(folder), kept(services)) == (CONTENT, {ARCHIVE: made})


BROKEN = {
    "belongs": lambda archive, folder: None,
    "does not belong": lambda archive, folder: os.utime(folder),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_that_cannot_be_listed_is_kept(services: Services, folder: Path, archive: Path, spoil) -> None:
    store(services, CONTENT)
    content = archive.read_bytes()
    rewrite(archive, content.replace(b"PK\x01\x02", b"PK\x09\x09"))
    broken = archive.read_bytes()
    spoil(archive, folder)
    assert len(told(check(services, read=True))) == 1
    assert [finding.mended for finding in repair(services)] == [True]
    assert kept(services) == {ARCHIVE: broken}
    assert check(services, read=True) == []


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_that_lists_what_the_folder_does_not_have_is_kept(
    services: Services, folder: Path, archive: Path, spoil
) -> None:
    store(services, CONTENT)
    content = archive.read_bytes()
    rewrite(archive, content.replace(b"foo.txtfoo", b"foo.txtfox"))
    broken = archive.read_bytes()
    assert broken != content
    (folder / "bar/baz/bah.txt").unlink()
    spoil(archive, folder)
    assert len(told(check(services, read=True))) == 1
    repair(services)
    assert kept(services) == {ARCHIVE: broken}


def test_what_is_no_zip_is_no_loss_where_it_does_not_belong(services: Services, archive: Path) -> None:
    """As an archive of its own failure that the original server left."""
    store(services, CONTENT)
    archive.write_bytes(b"")
    [finding] = check(services)
    assert (finding.kind, finding.is_damage, finding.key) == ("stale", False, ArchiveName(ARCHIVE))
    assert [finding.mended for finding in repair(services)] == [True]
