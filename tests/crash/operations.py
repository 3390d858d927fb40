"""The write operations of the server as requests, and the states that a reader may find while they go on."""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.ageing import make_older
from tests.support.checks import archive_files, stored_files, submission_files
from tests.support.messages import Response, sha1
from tests.support.targets import HttpServer

OLD_FILES = {"a.txt": b"old", "sub/b.txt": b"old b", "gone.txt": b"only in the old one"}
NEW_FILES = {"a.txt": b"new", "sub/b.txt": b"new b", "sub/added.txt": b"only in the new one"}
# Received in two pieces.
OLD, NEW = b"old" * 100_000, b"new" * 100_001

Prepare = Callable[[HttpServer, str], object]
Request = Callable[[HttpServer, str], Response]
Look = Callable[[HttpServer, str], object]


@dataclass(frozen=True)
class Operation:
    """One request that changes what is stored under a key.

    *states* are what *look* may see, in order: the old one, what may lie between (of the files of one form each is
    published for itself), the new one. *look* fails if what it sees is not whole.
    """

    prepare: Prepare
    request: Request
    look: Look
    states: tuple[object, ...]


def nothing(server: HttpServer, key: str) -> None:
    """There is no old state."""


def modified(days_later: float, prepare: Prepare) -> Prepare:
    """Let what *prepare* stores seem to have been stored *days_later* than now.

    A version that replaces one of the same second, or of a later one, is given another time, which takes more calls.
    """

    def prepare_and_shift(server: HttpServer, key: str) -> None:
        prepare(server, key)
        for path in server.directory.glob(f"*/{key}*"):
            make_older(path, -days_later)

    return prepare_and_shift


# Submissions


def submit(files: dict[str, bytes]) -> Request:
    return lambda server, key: server.submit(key, files)


def spoil_archive(server: HttpServer, key: str) -> None:
    """Let the archive not belong to its submission any more, so that it must be built again."""
    assert server.submit(key, OLD_FILES).status == 200
    os.utime(archive_path(server, key), ns=(0, 0))


def read_archive(server: HttpServer, key: str) -> Response:
    return server.get(f"/submission_archives/{key}.zip")


def archive_path(server: HttpServer, key: str) -> Path:
    return server.directory / "submission_archives" / f"{key}.zip"


def look_at_submission(server: HttpServer, key: str) -> dict[str, bytes] | None:
    """The files of the submission: in its folder, its listing and its archive alike, and before the archive is asked
    for on the disk, too, if there is one: a web server may serve it from there."""
    path = archive_path(server, key)
    on_disk = stored_files(server.directory / "submissions" / key)
    if path.exists():
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        assert entries == {f"{key}/{name}": content for name, content in on_disk.items()}
    listed = submission_files(server, key)
    if listed is None:
        assert read_archive(server, key).status == 404
        assert not path.exists()
    else:
        assert archive_files(server, key) == listed
    assert on_disk == (listed or {})
    return listed


# Results and attachments


def put(folder: str, content: bytes) -> Request:
    return lambda server, key: server.put(named_path(folder, key), content)


def delete(folder: str) -> Request:
    return lambda server, key: server.delete(named_path(folder, key))


def named_path(folder: str, key: str) -> str:
    return f"/{folder}/{key}.zip" if folder == "results" else f"/{folder}/{key}"


def look_at(folder: str) -> Look:
    def look(server: HttpServer, key: str) -> bytes | None:
        response = server.get(named_path(folder, key))
        assert response.status in (200, 404)
        return response.body if response.status == 200 else None

    return look


# Task files: their content depends on the key, because their name is their hash


def task_contents(key: str) -> list[bytes]:
    return [f"{number} of {key}".encode() for number in range(2)]


def task_path(server: HttpServer, content: bytes) -> Path:
    name = sha1(content)
    return server.directory / "tasks" / name[0] / name


def post_tasks(server: HttpServer, key: str) -> Response:
    return server.post_form("/tasks", {str(number): content for number, content in enumerate(task_contents(key))})


def damage_tasks(server: HttpServer, key: str) -> None:
    assert post_tasks(server, key).status == 200
    for content in task_contents(key):
        task_path(server, content).write_bytes(b"\0" * len(content))


def move_tasks_to_the_original(server: HttpServer, key: str) -> None:
    """Let them lie where the original server kept them, from where an upload moves them."""
    assert post_tasks(server, key).status == 200
    for content in task_contents(key):
        path = task_path(server, content)
        path.rename(server.directory / "exercises" / path.relative_to(server.directory / "tasks"))


def delete_task(server: HttpServer, key: str) -> Response:
    return server.delete(f"/tasks/{sha1(task_contents(key)[0])}")


def look_at_tasks(server: HttpServer, key: str) -> int:
    """How many of the task files there are, each of them whole."""
    answers = [(content, server.get(f"/tasks/{sha1(content)}")) for content in task_contents(key)]
    assert {response.status for _, response in answers} <= {200, 404}
    found = [(content, response.body) for content, response in answers if response.status == 200]
    assert all(content == body for content, body in found)
    return len(found)


def named_operations(folder: str) -> dict[str, Operation]:
    look = look_at(folder)
    return {
        f"{folder}: new": Operation(nothing, put(folder, NEW), look, (None, NEW)),
        f"{folder}: replaced": Operation(modified(-1, put(folder, OLD)), put(folder, NEW), look, (OLD, NEW)),
        f"{folder}: replaced at once": Operation(modified(1, put(folder, OLD)), put(folder, NEW), look, (OLD, NEW)),
        f"{folder}: deleted": Operation(put(folder, OLD), delete(folder), look, (OLD, None)),
    }


OPERATIONS = {
    "submission: new": Operation(nothing, submit(NEW_FILES), look_at_submission, (None, NEW_FILES)),
    "submission: replaced": Operation(
        modified(-1, submit(OLD_FILES)), submit(NEW_FILES), look_at_submission, (OLD_FILES, NEW_FILES)
    ),
    "submission: replaced at once": Operation(
        modified(1, submit(OLD_FILES)), submit(NEW_FILES), look_at_submission, (OLD_FILES, NEW_FILES)
    ),
    "submission: deleted": Operation(submit(OLD_FILES), delete("submissions"), look_at_submission, (OLD_FILES, None)),
    "archive: rebuilt": Operation(spoil_archive, read_archive, look_at_submission, (OLD_FILES,)),
    **named_operations("results"),
    **named_operations("attachments"),
    "task files: new": Operation(nothing, post_tasks, look_at_tasks, (0, 1, 2)),
    "task files: repaired": Operation(damage_tasks, post_tasks, look_at_tasks, (0, 1, 2)),
    "task files: moved": Operation(move_tasks_to_the_original, post_tasks, look_at_tasks, (2,)),
    "task files: deleted": Operation(post_tasks, delete_task, look_at_tasks, (2, 1)),
}
