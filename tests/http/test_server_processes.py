"""What only whole server processes show: forks, crashes, settings from the environment, leaks."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.checks import archive_entries
from tests.support.clients import CutResponse, RawClient
from tests.support.memory import processes
from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.servers import gunicorn_server, wait_until
from tests.support.targets import FlaskServer, HttpServer

pytestmark = pytest.mark.server


def test_preloaded_application_works_in_every_fork(tmp_path: Path):
    env = {"FILESERVER_ARCHIVE_LAYOUT": "flat", "FILESERVER_MAX_PARTS": "3"}
    with gunicorn_server(tmp_path / "work", env=env, flags=["--preload"]) as server:
        for number in range(8):
            name, content = fresh_id(), fresh_bytes()
            assert server.submit(name, {"a": content, "b": b""}).status == 200
            archive = server.get(f"/submission_archives/{name}.zip")
            assert archive_entries(archive) == {"a": content, "b": b""}
            stored = server.post_form("/tasks", {str(number): content}).json()["files"]
            assert server.get(stored[str(number)]).body == content
            too_many = server.submit(name, dict.fromkeys("abcd", b""))
            assert too_many.status == 413
            assert "max_parts" in too_many.json()["detail"]
        assert not server.transactions()


def test_killed_workers_leave_nothing_behind(tmp_path: Path):
    with gunicorn_server(tmp_path / "work") as server:
        path = f"/results/{fresh_id()}.zip"
        server.put(path, b"good")
        with RawClient(server.address) as client:
            client.send(client.head("PUT", path, {"Content-Length": "1000000"}) + bytes(400_000))
            assert wait_until(lambda: bool(server.transactions()))
            for process in processes(server.pid)[1:]:
                os.kill(process, signal.SIGKILL)
            with pytest.raises((CutResponse, ConnectionResetError)):
                client.read_final("PUT")
        assert wait_until(lambda: not server.transactions(), 10)
        assert server.get(path).body == b"good"
        assert server.put(path, b"better").status == 200
        assert server.get(path).body == b"better"


def test_everything_survives_a_restart(tmp_path: Path):
    name, content = fresh_id(), fresh_bytes()
    with gunicorn_server(tmp_path / "work") as server:
        server.submit(name, {"dir/a": content})
        server.put(f"/results/{name}.zip", content)
        server.put(f"/attachments/{name}", content)
        server.post_form("/tasks", {"a": content})
        paths = [
            f"/submissions/{name}/dir/a",
            f"/submission_archives/{name}.zip",
            f"/results/{name}.zip",
            f"/attachments/{name}",
            f"/tasks/{sha1(content)}",
        ]
        before = {path: server.get(path) for path in paths}
    with gunicorn_server(tmp_path / "work") as server:
        for path, response in before.items():
            again = server.get(path)
            assert (again.status, again.body) == (200, response.body), path
            assert again.headers["ETag"] == response.headers["ETag"], path


def test_create_app_takes_a_directory(tmp_path: Path):
    from fileserver import create_app

    server = FlaskServer(create_app(tmp_path / "work"), tmp_path / "work")
    assert server.put("/results/a.zip", b"1").status == 200
    assert (tmp_path / "work" / "results" / "a.zip").read_bytes() == b"1"


def open_files(server: HttpServer) -> int:
    return sum(len(os.listdir(f"/proc/{process}/fd")) for process in processes(server.pid)[1:])


def mixed_requests(server: HttpServer, name: str) -> None:
    """Send what opens files: good requests, refused ones, and ones that are given up."""
    server.submit(name, {"a": bytes(100_000)})
    server.submit(name, {"a": b"", "../x": b""})
    server.put(f"/results/{name}.zip", bytes(300_000))
    server.put(f"/results/{name}.zip", b"1", {"Content-MD5": "rubbish"})
    for headers in ({}, {"Range": "bytes=0-1,5-6"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}):
        server.get(f"/results/{name}.zip", headers)
        server.head(f"/submission_archives/{name}.zip", headers)
    with RawClient(server.address) as client:
        client.send(client.head("GET", f"/results/{name}.zip"))
    with RawClient(server.address) as client:
        client.send(client.head("PUT", f"/results/{name}.zip", {"Content-Length": "9"}) + b"1")


def test_no_file_stays_open(gunicorn: HttpServer):
    for _ in range(10):
        mixed_requests(gunicorn, fresh_id())
    before = open_files(gunicorn)
    for _ in range(20):
        mixed_requests(gunicorn, fresh_id())
    assert wait_until(lambda: open_files(gunicorn) <= before + 5)
