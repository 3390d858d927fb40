"""What is stored for tests: one resource of every kind, once a server, and files of the original server."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.targets import Server

CONTENT_SIZE = 1000


class Resource(NamedTuple):
    path: str
    content: bytes
    media_type: str
    immutable: bool = False


def submission_file(server: Server) -> Resource:
    name, content = fresh_id(), fresh_bytes(CONTENT_SIZE)
    assert server.submit(name, {"dir/inner.c": content}).status == 200
    return Resource(f"/submissions/{name}/dir/inner.c", content, "application/octet-stream")


def archive(server: Server) -> Resource:
    name = fresh_id("student_")
    assert server.submit(name, {"inner.c": fresh_bytes(CONTENT_SIZE)}).status == 200
    path = f"/submission_archives/{name}.zip"
    return Resource(path, server.get(path).body, "application/zip")


def successor_archive(server: Server) -> Resource:
    path, content, media_type, _ = archive(server)
    name = path.removeprefix("/submission_archives/student_").removesuffix(".zip")
    path = f"/v1/worker-files/submission-archive/student/{name}"
    return Resource(path, content, media_type)


def result(server: Server) -> Resource:
    return put_resource(server, f"/results/{fresh_id()}.zip", "application/zip")


def attachment(server: Server) -> Resource:
    return put_resource(server, f"/attachments/{fresh_id()}", "application/octet-stream")


def put_resource(server: Server, path: str, media_type: str) -> Resource:
    content = fresh_bytes(CONTENT_SIZE)
    assert server.put(path, content).status == 200
    return Resource(path, content, media_type)


def task_file(prefix: str) -> Callable[[Server], Resource]:
    def store(server: Server) -> Resource:
        content = fresh_bytes(CONTENT_SIZE)
        stored = server.post_form("/tasks", {"a": content}).json()["files"]["a"]
        path = prefix + stored.removeprefix("/exercises/")
        return Resource(path, content, "application/octet-stream", immutable=True)

    return store


KINDS: dict[str, Callable[[Server], Resource]] = {
    "submission-file": submission_file,
    "archive": archive,
    "result": result,
    "attachment": attachment,
    "task-file": task_file("/tasks/"),
    "exercise-file": task_file("/exercises/"),
    "successor-archive": successor_archive,
    "successor-exercise-file": task_file("/v1/worker-files/exercise-file/"),
}


def resource(server: Server, kind: str) -> Resource:
    """Return the resource of *kind*; it is stored at the first call."""
    if kind not in server.stored:
        server.stored[kind] = KINDS[kind](server)
    return server.stored[kind]


def give_to_the_server(directory: Path, folder: str) -> None:
    """Let what a test has put into *folder* belong to the user that the server in *directory* runs as."""
    owner = directory.stat()
    top = directory / folder
    for path in [top, *top.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def store_as_the_original(directory: Path, content: bytes) -> Path:
    """Put a task file where the original server kept it; return its path, which ends with its hash."""
    name = sha1(content)
    path = directory / "exercises" / name[0] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    give_to_the_server(directory, "exercises")
    return path
