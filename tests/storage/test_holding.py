"""The trash and the quarantine: whatever happens, a thing lies in its place or here, with a note, and in one piece."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fileserver.core.errors import NotFound
from fileserver.storage.holding import Held, HoldingArea, Note, Unreadable
from tests.storage.sources import Bench, transactions, tree


@pytest.fixture
def area(bench: Bench) -> Iterator[HoldingArea]:
    yield HoldingArea(bench.root / "trash", bench.staging)
    assert transactions(bench.root / "staging") == []


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    (tmp_path / "thing").write_bytes(b"bytes")
    return tmp_path / "thing"


def take(area: HoldingArea, source: Path, key: str = "key") -> Held:
    """Take in *source*, and return it as it is held."""

    def move(target: Path) -> bool:
        os.rename(source, target)
        return True

    name = area.take("results", key, "it is old", move)
    assert name
    return area.get(name)


def test_what_is_taken_in_lies_there_with_a_note(area: HoldingArea, thing: Path) -> None:
    held = take(area, thing, "Ä \udcff.zip")
    assert (held.note.bucket, held.note.key, held.note.reason) == ("results", "Ä \udcff.zip", "it is old")
    assert held.note.taken_at == pytest.approx(os.stat(held.path.parent).st_mtime, abs=60)
    assert held.path == area.root / held.name / "content"
    assert held.path.read_bytes() == b"bytes"
    assert sorted(os.listdir(held.path.parent)) == ["content", "note.json"]
    assert list(area.held()) == [held]
    assert area.root.stat().st_mode & 0o777 == 0o700


def test_what_is_not_moved_leaves_nothing(area: HoldingArea) -> None:
    assert area.take("results", "key", "reason", lambda target: False) is None
    assert os.listdir(area.root) == []


def test_an_error_before_the_move_leaves_nothing(area: HoldingArea) -> None:
    with pytest.raises(OSError, match="broken"):
        area.take("results", "key", "reason", fail)
    assert os.listdir(area.root) == []


def fail(_: Path) -> bool:
    raise OSError("broken")


def test_an_error_after_the_move_leaves_the_thing_with_its_note(area: HoldingArea, thing: Path) -> None:
    def move_and_fail(target: Path) -> bool:
        os.rename(thing, target)
        return fail(target)

    with pytest.raises(OSError, match="broken"):
        area.take("results", "key", "reason", move_and_fail)
    (held,) = area.held()
    assert held.path.read_bytes() == b"bytes"


def test_the_note_is_durable_before_the_move(area: HoldingArea, thing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def recording(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        fsync(fd)

    def move(target: Path) -> bool:
        must = [target.parent / "note.json", target.parent, area.root, area.root.parent]
        assert {path.stat().st_ino for path in must} <= set(synced)
        os.rename(thing, target)
        return True

    monkeypatch.setattr(os, "fsync", recording)
    assert area.take("results", "key", "reason", move)


def test_everything_is_listed_the_oldest_first(area: HoldingArea, tmp_path: Path) -> None:
    names = []
    for number in range(3):
        (tmp_path / str(number)).write_bytes(b"")
        names.append(take(area, tmp_path / str(number)).name)
        if number:
            earlier = f"{19990101 + number}{names[number][8:]}"
            os.rename(area.root / names[number], area.root / earlier)
            names[number] = earlier
    assert [held.name for held in area.held()] == [names[1], names[2], names[0]]


def test_an_area_that_nobody_used_is_empty(area: HoldingArea) -> None:
    assert (list(area.held()), area.hollow(), area.root.exists()) == ([], [], False)


def test_the_bytes_of_a_thing_are_known(area: HoldingArea, thing: Path, tmp_path: Path) -> None:
    assert take(area, thing).size_bytes() == 5
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "a").write_bytes(b"123")
    folder = take(area, tmp_path / "folder")
    assert folder.size_bytes() == 3
    area.remove(folder.name)
    assert folder.size_bytes() == 0


def test_what_is_removed_is_gone(area: HoldingArea, thing: Path) -> None:
    held = take(area, thing)
    assert area.remove(held.name)
    assert os.listdir(area.root) == []
    assert not area.remove(held.name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "x", "../bench", "20261120T170135Z-1ff78c3c", "20261120T170135Z-1ff78c3c/.."]
)
def test_only_what_is_held_has_a_name(area: HoldingArea, thing: Path, name: str) -> None:
    held = take(area, thing)
    (area.root.parent / "note.json").write_bytes((held.path.parent / "note.json").read_bytes())
    (area.root.parent / "content").write_bytes(b"not here")
    with pytest.raises(NotFound, match="is not in trash"):
        area.get(name)
    before = sorted(tree(area.root.parent))
    assert not area.remove(name)
    assert sorted(tree(area.root.parent)) == before


def test_what_is_no_entry_is_left_out(area: HoldingArea, thing: Path) -> None:
    held = take(area, thing)
    (area.root / "README").write_bytes(b"")
    (area.root / "folder").mkdir()
    for name in ("20260101T000000Z-00000000", "20260101T000000Z-00000001"):
        (area.root / name).write_bytes(b"") if name.endswith("0") else (area.root / name).symlink_to(held.path.parent)
        assert not area.remove(name)
        assert os.path.lexists(area.root / name)
    assert list(area.held()) == [held]
    assert area.hollow() == []


def note(**changes: object) -> bytes:
    return json.dumps({"bucket": "results", "key": "b", "reason": "c", "taken_at": 1.0, **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 60_000,
        b'"' + b"x" * 100_000 + b'"',
        note(taken_at="d"),
        note(taken_at=None),
        note(taken_at=float("nan")),
        note(taken_at=float("inf")),
        note(taken_at=float("-inf")),
        note(taken_at=1e300),
        note(taken_at=10**400),
        note(taken_at=-1),
        note(bucket=["results"]),
        note(key=1),
        note(reason=None),
        None,
    ],
    ids=lambda data: repr(data)[:40],
)
def test_a_thing_whose_note_cannot_be_read_is_told_and_left(area: HoldingArea, thing: Path, data: bytes | None) -> None:
    held = take(area, thing)
    path = held.path.parent / "note.json"
    path.write_bytes(data) if data is not None else path.unlink()
    assert list(area.held()) == []
    assert [one.name for one in area.unreadable()] == [held.name]
    with pytest.raises(Unreadable):
        area.get(held.name)
    assert area.hollow() == []
    assert held.path.read_bytes() == b"bytes"
    assert area.remove(held.name)
    assert list(area.unreadable()) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_note_is_a_regular_file(area: HoldingArea, thing: Path, make: Callable[[Path], None]) -> None:
    held = take(area, thing)
    path = held.path.parent / "note.json"
    path.unlink()
    make(path)
    assert [one.name for one in area.unreadable()] == [held.name]


def test_an_entry_without_content_is_hollow(area: HoldingArea, thing: Path) -> None:
    held = take(area, thing)
    os.unlink(held.path)
    assert list(area.held()) == []
    assert area.hollow() == [held.name]
    assert area.remove_hollow(held.name)
    assert not area.remove_hollow(held.name)
    assert tree(area.root) == {}


def fail_to_look_at(content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a disk error meet whoever asks whether *content* is there."""
    lstat = os.lstat

    def failing(path: "str | os.PathLike[str]", **options: Any) -> os.stat_result:
        if os.fspath(path) == os.fspath(content):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", failing)


def test_a_disk_error_makes_nothing_hollow(area: HoldingArea, thing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = take(area, thing)
    with monkeypatch.context() as patched:
        fail_to_look_at(held.path, patched)
        assert area.hollow() == []
        assert [one.name for one in area.unreadable()] == [held.name]
    assert list(area.held()) == [held]


def test_a_disk_error_after_the_move_leaves_the_thing(
    area: HoldingArea, thing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(target: Path) -> bool:
        os.rename(thing, target)
        fail_to_look_at(target, monkeypatch)
        return True

    name = area.take("results", "key", "reason", move)
    monkeypatch.undo()
    assert [(held.name, held.path.read_bytes()) for held in area.held()] == [(name, b"bytes")]


def test_what_has_content_after_all_is_not_removed_as_hollow(area: HoldingArea, thing: Path) -> None:
    held = take(area, thing)
    with pytest.raises(OSError, match="not empty"):
        area.remove_hollow(held.name)
    assert list(area.held()) == [held]


def test_nothing_is_hollow_while_something_is_taken_in(area: HoldingArea, bench: Bench, thing: Path) -> None:
    other = HoldingArea(area.root, bench.staging)
    os.unlink(take(area, thing).path)

    def move(target: Path) -> bool:
        assert not target.exists()
        assert other.hollow() == []
        return False

    area.take("results", "key", "reason", move)
    assert len(other.hollow()) == 1


def test_several_take_in_at_once(area: HoldingArea, bench: Bench, thing: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    other = HoldingArea(area.root, bench.staging)

    def move(target: Path) -> bool:
        take(other, tmp_path / "other")
        os.rename(thing, target)
        return True

    area.take("results", "key", "reason", move)
    assert sorted(held.path.read_bytes() for held in area.held()) == [b"bytes", b"other"]


def test_a_note_is_what_it_was(area: HoldingArea, thing: Path) -> None:
    held = take(area, thing)
    assert area.get(held.name).note == Note("results", "key", "it is old", held.note.taken_at)
