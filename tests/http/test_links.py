"""What only somebody with access to the disk can put there: links and pipes are not served."""

import os
from pathlib import Path

import pytest

from tests.support.checks import archive_entries
from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.resources import give_to_the_server
from tests.support.targets import HttpServer, Server


@pytest.fixture
def secret(server: Server) -> Path:
    path = server.directory.with_name(f"secret-{fresh_id()}")
    path.write_bytes(b"secret")
    return path


@pytest.mark.parametrize("folder", ["results", "attachments"])
def test_links_are_not_followed(server: Server, secret: Path, folder: str):
    path = f"/{folder}/{fresh_id()}.zip"
    os.symlink(secret, server.directory / path[1:])
    assert server.get(path).status == 404
    assert server.put(path, b"new").status == 200
    assert server.get(path).body == b"new"
    assert secret.read_bytes() == b"secret"


def test_linked_task_files_are_not_followed(server: Server, secret: Path):
    name = sha1(secret.read_bytes())
    for folder in ("tasks", "exercises"):
        (server.directory / folder / name[0]).mkdir(parents=True, exist_ok=True)
        (server.directory / folder / name[0] / name).unlink(missing_ok=True)
        os.symlink(secret, server.directory / folder / name[0] / name)
        give_to_the_server(server.directory, folder)
    assert server.get(f"/tasks/{name}").status == 404
    assert server.post_form("/tasks", {"a": b"secret"}).status == 200
    assert server.get(f"/tasks/{name}").body == b"secret"
    assert not (server.directory / "tasks" / name[0] / name).is_symlink()


def test_links_in_a_submission_are_not_followed(server: Server, secret: Path):
    name, other = fresh_id(), fresh_id()
    server.submit(other, {"a": b"secret"})
    folder = server.directory / "submissions" / name
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    os.symlink(secret, folder / "link")
    os.symlink(server.directory / "submissions" / other, folder / "folder")
    assert server.get(f"/submissions/{name}/link").status == 404
    assert server.get(f"/submissions/{name}/folder/a").status == 404
    archive = server.get(f"/submission_archives/{name}.zip")
    if archive.status == 200:
        assert b"secret" not in b"".join(archive_entries(archive).values())


def test_linked_submission_is_replaced_not_followed(server: Server, secret: Path):
    outside = secret.with_name(f"outside-{fresh_id()}")
    outside.mkdir()
    (outside / "a").write_bytes(b"secret")
    name = fresh_id()
    os.symlink(outside, server.directory / "submissions" / name)
    assert server.get(f"/submissions/{name}/a").status == 404
    server.submit(name, {"b": b"1"})
    server.delete(f"/submissions/{name}")
    assert (outside / "a").read_bytes() == b"secret"


@pytest.mark.parametrize("folder", ["results", "attachments", "submissions"])
def test_pipes_and_folders_are_not_served(gunicorn: HttpServer, folder: str):
    """Opening a pipe would wait for ever."""
    name = f"{fresh_id()}.zip"
    os.mkfifo(gunicorn.directory / folder / name)
    (gunicorn.directory / folder / f"folder-{name}").mkdir()
    path = f"/{folder}/{name}"
    assert gunicorn.get(path).status == 404
    if folder != "submissions":
        assert gunicorn.get(f"/{folder}/folder-{name}").status == 404
    (gunicorn.directory / folder / name).unlink()


def test_a_pipe_in_a_submission_stops_nothing(gunicorn: HttpServer):
    name = fresh_id()
    folder = gunicorn.directory / "submissions" / name
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    os.mkfifo(folder / "pipe")
    assert gunicorn.get(f"/submissions/{name}").status == 200
    assert gunicorn.get(f"/submissions/{name}/pipe").status == 404
    entries = archive_entries(gunicorn.get(f"/submission_archives/{name}.zip"))
    assert entries[f"{name}/a"] == b"1"


def test_damaged_task_file_of_the_original_server(server: Server):
    content = fresh_bytes()
    name = sha1(content)
    old = server.directory / "exercises" / name[0] / name
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_bytes(content[:-1])
    give_to_the_server(server.directory, "exercises")
    assert server.get(f"/exercises/{name}").status == 404
    assert server.post_form("/exercises", {"a": content}).status == 200
    assert server.get(f"/exercises/{name}").body == content
