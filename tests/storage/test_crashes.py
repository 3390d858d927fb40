"""A process may die at any step of a write: what is found afterwards is the old content or the new one."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fileserver.core.errors import NotFound
from fileserver.core.names import Sha1
from fileserver.core.settings import parse_settings
from fileserver.services import Services, build_services
from fileserver.storage.usage import each_file
from tests.storage.crashes import JOB, NEW, OLD
from tests.storage.sources import REPOSITORY, counted, read_all, settings_for, transactions
from tests.support.messages import sha1


@pytest.fixture(scope="module")
def crash_sites(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """Return a function that lets processes die at each step of an action, and returns what each has left."""

    def crash(action: str) -> list[Path]:
        folder = tmp_path_factory.mktemp("crashes")
        command = [sys.executable, "-m", "tests.storage.crashes", str(folder), action]
        subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120)
        return sorted(folder.iterdir())

    return crash


def states(sites: list[Path], look: Callable[[Services, Path], object]) -> list[object]:
    """What *look* sees in each of the *sites* after a restart."""
    seen = []
    for site in sites:
        with closing(build_services(parse_settings(settings_for(site)))) as services:
            assert transactions(site / "staging") == []
            seen.append(look(services, site))
            usage = services.ledger.read()
        assert usage["results"] == counted(each_file(site / "results"))
    return seen


def assert_one_change(seen: list[object], old: object, new: object) -> None:
    """First the old, from some step on the new, and nothing else; the new one at the latest when it is acknowledged."""
    assert set(map(repr, seen)) == {repr(old), repr(new)}
    changed = seen.index(new)
    assert seen == [old] * changed + [new] * (len(seen) - changed)
    assert len(seen) > 5


def submission(services: Services, site: Path) -> object:
    """The files of the submission, in its folder, its listing, and its archive alike; None if there is none."""
    try:
        listed = {file.path: file.size_bytes for file in services.submissions.files(JOB)}
    except NotFound:
        with pytest.raises(NotFound):
            services.submissions.open_archive(JOB.archive_name).close()
        assert not (site / "submission_archives" / "job.zip").exists()
        return None
    folder = site / "submissions" / "job"
    with services.submissions.open_archive(JOB.archive_name) as stored, zipfile.ZipFile(stored.file) as archive:
        archived = {name.removeprefix("job/"): archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    assert archived == {path: (folder / path).read_bytes() for path in listed}
    assert listed == {path: len(content) for path, content in archived.items()}
    return {path: archived[path] for path in sorted(archived)}


def test_a_submission_is_the_old_or_the_new_one(crash_sites: Callable[[str], list[Path]]) -> None:
    old, new = dict(sorted(OLD.items())), dict(sorted(NEW.items()))
    assert_one_change(states(crash_sites("submit"), submission), old, new)


def test_a_submission_is_deleted_or_not(crash_sites: Callable[[str], list[Path]]) -> None:
    assert_one_change(states(crash_sites("remove"), submission), dict(sorted(OLD.items())), None)


def test_an_archive_on_the_disk_belongs_to_the_folder_whenever_the_process_dies(
    crash_sites: Callable[[str], list[Path]],
) -> None:
    """So that a web server may serve archives from the disk."""
    for site in crash_sites("submit"):
        path = site / "submission_archives" / "job.zip"
        if path.exists():
            with zipfile.ZipFile(path) as archive:
                archived = archive.read("job/a.txt")
            assert archived == (site / "submissions" / "job" / "a.txt").read_bytes()


def test_a_result_is_the_old_or_the_new_one(crash_sites: Callable[[str], list[Path]]) -> None:
    seen = states(crash_sites("put_result"), lambda services, _: read_all(services.results.open("job.zip")))
    assert_one_change(seen, OLD["a.txt"], NEW["a.txt"])


def test_task_files_are_whole_or_missing(crash_sites: Callable[[str], list[Path]]) -> None:
    def look(services: Services, site: Path) -> int:
        for content in OLD.values():
            assert read_all(services.task_files.open(Sha1(sha1(content)))) == content
        wanted = [Sha1(sha1(content)) for content in NEW.values()]
        missing = services.task_files.missing(wanted)
        for name in set(wanted) - set(missing):
            assert sha1(read_all(services.task_files.open(name))) == name
        return len(wanted) - len(missing)

    seen = states(crash_sites("put_task_files"), look)
    assert seen == sorted(map(int, map(str, seen)))
    assert (seen[0], seen[-1]) == (0, 3)
