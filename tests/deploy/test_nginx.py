"""What nginx does itself, in front of the application."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checks import assert_problem
from tests.support.clients import CREDENTIALS, RawClient
from tests.support.credentials import bcrypt_line
from tests.support.deployed import nginx_server
from tests.support.memory import processes
from tests.support.messages import basic_auth, fresh_bytes, fresh_id, sha1
from tests.support.servers import kill
from tests.support.targets import HttpServer

pytestmark = pytest.mark.server

CONTENT = fresh_bytes(5000)
NOBODY = {"Authorization": "none"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """nginx on a directory whose path has a space and a quote."""
    with nginx_server(tmp_path_factory.mktemp("deployed") / 'my "work') as server:
        yield server


def stored_paths(server: HttpServer) -> list[str]:
    name = fresh_id()
    assert server.submit(name, {"a": CONTENT}).status == 200
    assert server.put(f"/results/{name}.zip", CONTENT).status == 200
    assert server.post_form("/tasks", {"a": CONTENT}).status == 200
    return [f"/tasks/{sha1(CONTENT)}", f"/submission_archives/{name}.zip", f"/results/{name}.zip"]


DETOURS = ["{}", "/{}", "/.{}", "/x/..{}", "{}?a=b", "{}#x", "/%2e{}", "{}/", "{}/.", "{}%00"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("detour", DETOURS)
def test_no_way_to_what_is_stored_goes_without_credentials(server: HttpServer, method: str, detour: str) -> None:
    for path in stored_paths(server):
        for wanted in (path, path.replace("/", "/%2f"), f"/_stored{path}", path.upper()):
            response = server.request(method, detour.format(wanted), headers=NOBODY)
            assert response.status in (400, 401, 405), (wanted, response)
            assert CONTENT[:100] not in response.body
    if method in ("PUT", "DELETE"):
        assert server.get(stored_paths(server)[2]).body == CONTENT


@pytest.mark.parametrize("query", ["signature=x", "a&signature=", "expires=9&signature=abc"])
def test_a_signature_that_nobody_knows_opens_nothing(server: HttpServer, query: str) -> None:
    for path in stored_paths(server):
        response = server.get(f"{path}?{query}", NOBODY)
        assert response.status in (401, 403)
        assert CONTENT[:100] not in response.body


@pytest.mark.parametrize("query", ["SIGNATURE=x", "%73ignature=x", "xsignature=y", "a=signature=y", ";signature=x"])
def test_what_only_looks_like_a_signature_needs_credentials(server: HttpServer, query: str) -> None:
    assert server.get(f"/results/x.zip?{query}", NOBODY).status == 401


@pytest.mark.parametrize("path", ["/staging/.alive", "/_stored/results/x.zip", "/_stored/staging/.alive", "/trash/x"])
def test_nothing_but_resources_is_served(server: HttpServer, path: str) -> None:
    assert server.get(path).status == 404


def test_a_link_on_the_disk_is_not_followed(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    (server.directory / "results" / "link.zip").symlink_to(tmp_path / "secret")
    try:
        assert server.get("/results/link.zip").status == 404
    finally:
        (server.directory / "results" / "link.zip").unlink()


def test_files_are_sent_from_the_disk_with_the_headers_of_the_application(tmp_path: Path) -> None:
    """The application is stopped, so that it cannot be it who answers."""
    with nginx_server(tmp_path / "work") as server:
        paths = stored_paths(server)
        (application,) = server.behind
        for process in processes(application.pid):
            os.kill(process, signal.SIGSTOP)
        try:
            for path in paths:
                whole = server.get(path)
                assert whole.status == 200
                assert whole.headers["ETag"]
                assert whole.headers["Last-Modified"]
                assert whole.headers["X-Content-Type-Options"] == "nosniff"
                assert whole.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
                assert whole.headers["Content-Disposition"] == f"attachment; filename={path.rpartition('/')[2]}"
                assert server.get(path, {"Range": "bytes=1-3"}).body == whole.body[1:4]
                assert server.head(path).headers["Content-Length"] == str(len(whole.body))
            assert server.get(paths[0]).headers["Cache-Control"] == "max-age=31536000, immutable"
            assert server.get(paths[1]).headers["Cache-Control"] == "no-cache"
        finally:
            for process in processes(application.pid):
                os.kill(process, signal.SIGCONT)


def test_an_application_that_is_gone_is_told_as_a_problem(tmp_path: Path) -> None:
    with nginx_server(tmp_path / "work") as server:
        kill(server.behind[0])
        for method, path in (("GET", "/"), ("GET", "/results/x.zip"), ("PUT", "/results/x.zip")):
            assert_problem(server.request(method, path), "unreachable", server)


def test_an_archive_that_is_missing_is_built_by_the_application(server: HttpServer) -> None:
    _, archive, _ = stored_paths(server)
    before = server.get(archive).body
    (server.directory / archive[1:]).unlink()
    assert server.get(archive).body == before


def test_what_the_application_decides_is_sent_by_nginx(server: HttpServer) -> None:
    stored_paths(server)
    response = server.get(f"/v1/worker-files/exercise-file/{sha1(CONTENT)}")
    assert (response.status, response.body) == (200, CONTENT)
    assert "X-Accel-Redirect" not in response.headers
    assert "Repr-Digest" not in response.headers, "the application has sent it itself"


def test_a_refused_body_that_is_pushed_leaves_the_answer_readable(server: HttpServer) -> None:
    with RawClient(server.address) as client:
        head = client.head("PUT", "/results/x.zip", {"Content-Length": str(8 << 20), **NOBODY})
        client.send(head + bytes(8 << 20))
        assert client.read_final("PUT").status == 401


def test_a_large_body_goes_through_in_chunks(server: HttpServer) -> None:
    path, content = f"/results/{fresh_id()}.zip", bytes(64 << 20)
    with RawClient(server.address) as client:
        client.send(client.head("PUT", path, {"Transfer-Encoding": "chunked"}))
        for start in range(0, len(content), 1 << 20):
            client.send(b"100000\r\n" + content[start : start + (1 << 20)] + b"\r\n")
        client.send(b"0\r\n\r\n")
        assert client.read_final("PUT").status == 200
    assert (server.directory / path[1:]).stat().st_size == len(content)


def test_who_is_not_in_the_password_file_is_told_so(server: HttpServer) -> None:
    assert server.get("/", {"Authorization": basic_auth(CREDENTIALS[0], "wrong")}).status == 401
    assert server.get("/", {"Authorization": basic_auth(*CREDENTIALS)}).status == 200


def test_without_its_password_file_nothing_is_passed_on(tmp_path: Path) -> None:
    with nginx_server(tmp_path / "work") as server:
        paths = stored_paths(server)
        server.log.with_name("htpasswd").unlink()
        for path in (*paths, "/results/missing.zip", "/healthz"):
            for headers in (NOBODY, {}, {"If-None-Match": "*"}):
                response = server.get(path, headers)
                assert response.status in (401, 403)
                assert "X-Request-Id" not in response.headers, "the application was asked"


def test_roles_hold_for_what_is_on_the_disk(tmp_path: Path) -> None:
    """Those who have lost no role are served by nginx alone; all others are for the application to decide."""
    users = {name: f"secret of {name}" for name in ("api", "worker", "author", "odd ~user", "none")}
    (tmp_path / "htpasswd").write_text("".join(bcrypt_line(*pair) for pair in users.items()))
    (tmp_path / "groups").write_text('api: api\nworker: worker "odd ~user"\nauthor: author\n')
    files = {"HTPASSWD": "htpasswd", "GROUP": "groups"}
    env = {f"FILESERVER_{name}_FILE": str(tmp_path / file) for name, file in files.items()}
    with nginx_server(tmp_path / "work", env=env) as server:
        server.address.credentials = ("api", users["api"])
        task, archive, result = stored_paths(server)
        expected = {
            "api": [200, 200, 200],
            "worker": [200, 200, 403],
            "odd ~user": [200, 200, 403],
            "author": [200, 403, 403],
            "none": [403, 403, 403],
        }
        for user, statuses in expected.items():
            server.address.credentials = (user, users[user])
            assert [server.get(path).status for path in (task, archive, result)] == statuses, user
            assert [server.head(path).status for path in (task, archive, result)] == statuses, user


def test_a_signed_link_goes_without_credentials(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("11" * 32)
    with nginx_server(tmp_path / "work", env={"FILESERVER_SIGNING_KEY_FILE": str(keys)}) as server:
        for path in stored_paths(server):
            question = json.dumps({"method": "GET", "path": path}).encode()
            link = server.request("POST", "/sign", question).json()["url"]
            assert server.get(link, NOBODY).body == server.get(path).body
            assert server.request("PUT", link, b"x", NOBODY).status == 403
            assert server.get(f"{path}?{link.partition('?')[2]}x", NOBODY).status == 403
