"""gc may die at any step: each thing then lies in its place or in the trash, whole, and the next run goes on."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fileserver.core.settings import parse_settings
from fileserver.services import Services, build_services
from fileserver.storage.usage import each_file, each_folder
from tests.maintenance.crashes import CONTENT, NAME, collect
from tests.storage.crashes import JOB, OLD
from tests.storage.sources import REPOSITORY, counted, read_all, settings_for, transactions, tree
from tests.support.ageing import age

pytestmark = pytest.mark.slow

PLACES = {
    f"submissions/{JOB}": OLD,
    "results/job.zip": {"": CONTENT},
    f"tasks/{NAME}": {"": CONTENT},
}


def sites(folder: Path, action: str) -> list[Path]:
    """What processes have left that died at each step of *action*."""
    command = [sys.executable, "-m", "tests.maintenance.crashes", str(folder), action]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=240)
    found = sorted(folder.iterdir())
    assert len(found) > 15
    return found


@contextmanager
def restarted(site: Path) -> Iterator[Services]:
    with closing(build_services(parse_settings(settings_for(site)))) as services:
        assert transactions(site / "staging") == []
        yield services


def content(path: Path) -> dict[str, bytes] | None:
    """The files below *path*, or the one that it is; None for nothing."""
    if path.is_file():
        return {"": path.read_bytes()}
    return tree(path) if path.is_dir() else None


def in_place(services: Services) -> set[str]:
    """What lies in its place, whole; nothing that is not whole does."""
    root = services.staging.root.parent
    paths = {name: root / name for name in PLACES} | {f"tasks/{NAME}": services.buckets["tasks"].path(NAME)}
    found = {name: content(path) for name, path in paths.items()}
    assert {name: seen for name, seen in found.items() if seen not in (None, PLACES[name])} == {}
    return {name for name, seen in found.items() if seen}


def in_trash(services: Services) -> set[str]:
    """What lies in the trash, whole, with a note; nothing lies there that is not."""
    held = {f"{one.note.bucket}/{one.note.key}": content(one.path) for one in services.trash.held()}
    assert {name: seen for name, seen in held.items() if seen != PLACES[name]} == {}
    entries = {path.parent.name for path in services.trash.root.glob("*/content")}
    assert entries == {one.name for one in services.trash.held()}
    return set(held)


def assert_counted(services: Services) -> None:
    root, usage = services.staging.root.parent, services.ledger.read()
    assert usage["submissions"] == counted(each_folder(root / "submissions"))
    assert usage["results"] == counted(each_file(root / "results"))
    assert usage["task_files"] == counted(each_file(root / "tasks"))


def test_everything_lies_in_its_place_or_in_the_trash(tmp_path: Path) -> None:
    for site in sites(tmp_path, "gc"):
        with restarted(site) as services:
            places, trash = in_place(services), in_trash(services)
            assert places | trash == set(PLACES)
            assert places & trash == set()
            assert_counted(services)
            age(site, 2.5)  # What was looked at was used.
            collect(services)
            assert (in_place(services), in_trash(services)) == (set(), set(PLACES))
            assert services.trash.hollow() == []


def test_what_is_put_back_lies_in_its_place_or_in_the_trash(tmp_path: Path) -> None:
    for site in sites(tmp_path, "put_back"):
        with restarted(site) as services:
            places, trash = in_place(services), in_trash(services)
            assert places | trash == set(PLACES)
            assert places & trash == set()
            assert_counted(services)
            if f"submissions/{JOB}" in places:
                read_all(services.submissions.open_archive(JOB.archive_name))
            collect(services)
            assert services.trash.hollow() == []
            assert (in_place(services), in_trash(services)) == (places, trash)


def test_what_is_deleted_for_good_is_whole_or_gone(tmp_path: Path) -> None:
    for site in sites(tmp_path, "expire"):
        with restarted(site) as services:
            assert in_place(services) == set()
            assert in_trash(services) <= set(PLACES)
            collect(services)
            assert list(services.trash.root.iterdir()) == []
