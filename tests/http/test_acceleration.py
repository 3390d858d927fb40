"""Files that are left to nginx: the application decides, and tells where nginx finds the bytes."""

import os

import pytest

from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.pool import MakeServer
from tests.support.targets import FlaskServer

PREFIX = "/_stored"
OF_ONE_VERSION = ("ETag", "Last-Modified", "Accept-Ranges", "Repr-Digest")
CONTENT = fresh_bytes()
TASK = f"/exercises/{sha1(CONTENT)}"
NAME = fresh_id()


@pytest.fixture
def server(make_server: MakeServer) -> FlaskServer:
    server = make_server(delivery={"accel_redirect_prefix": PREFIX})
    server.put(f"/results/{NAME}.zip", CONTENT)
    server.put("/attachments/%C3%A4%20b%25", CONTENT)
    server.submit(NAME, {"a": CONTENT})
    server.post_form("/tasks", {"a": CONTENT})
    return server


PATHS = {
    f"/results/{NAME}.zip": f"/results/{NAME}.zip",
    "/attachments/%C3%A4%20b%25": "/attachments/%C3%A4%20b%25",
    f"/submission_archives/{NAME}.zip": f"/submission_archives/{NAME}.zip",
    TASK: f"/tasks/{sha1(CONTENT)[0]}/{sha1(CONTENT)}",
    f"/v1/worker-files/exercise-file/{sha1(CONTENT)}": f"/tasks/{sha1(CONTENT)[0]}/{sha1(CONTENT)}",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_whole_file_is_left_to_nginx(server: FlaskServer, path: str):
    response = server.get(path)
    assert (response.status, response.body) == (200, b"")
    assert response.headers["X-Accel-Redirect"] == PREFIX + PATHS[path]
    assert response.headers["Content-Type"]
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    for name in OF_ONE_VERSION:
        assert name not in response.headers, "nginx may find another version"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [{"Range": "bytes=0-"}, {"X-Accel-Redirect-Failed": "1"}])
def test_what_nginx_should_not_or_could_not_send_is_sent_here(server: FlaskServer, path: str, headers: dict[str, str]):
    response = server.get(path, headers)
    assert response.status in (200, 206)
    assert "X-Accel-Redirect" not in response.headers
    assert response.body
    assert response.headers["ETag"]


def test_a_head_request_is_answered_here(server: FlaskServer):
    response = server.head(f"/results/{NAME}.zip")
    assert response.headers["Content-Length"] == str(len(CONTENT))
    assert "X-Accel-Redirect" not in response.headers


def test_entity_tags_are_those_that_nginx_makes(server: FlaskServer):
    for path in (f"/results/{NAME}.zip", f"/submission_archives/{NAME}.zip"):
        info = (server.directory / path[1:]).stat()
        etag = f'"{int(info.st_mtime):x}-{info.st_size:x}"'
        assert server.head(path).headers["ETag"] == etag
        assert server.get(path, {"If-None-Match": etag}).status == 304
    assert server.head(TASK).headers["ETag"] == f'"{sha1(CONTENT)}"'


def test_a_file_of_a_submission_is_sent_here(server: FlaskServer):
    """Two versions of it may have the same size and second, which is all that nginx looks at."""
    response = server.get(f"/submissions/{NAME}/a")
    assert "X-Accel-Redirect" not in response.headers
    assert response.body == CONTENT
    server.submit(NAME, {"a": CONTENT[::-1]})
    assert server.head(f"/submissions/{NAME}/a").headers["ETag"] != response.headers["ETag"]


def test_a_file_that_has_lost_its_name_is_sent_here(server: FlaskServer, monkeypatch: pytest.MonkeyPatch):
    """It was replaced or deleted after it was opened."""
    path = server.directory / "results" / f"{NAME}.zip"
    really_read = os.readlink

    def delete_first(link: str) -> str:
        path.unlink(missing_ok=True)
        return really_read(link)

    monkeypatch.setattr(os, "readlink", delete_first)
    response = server.get(f"/results/{NAME}.zip")
    assert "X-Accel-Redirect" not in response.headers
    assert response.body == CONTENT


def test_without_the_setting_everything_is_sent_here(make_server: MakeServer):
    server = make_server()
    server.put(f"/results/{NAME}.zip", CONTENT)
    response = server.get(f"/results/{NAME}.zip")
    assert response.body == CONTENT
    assert "X-Accel-Redirect" not in response.headers
