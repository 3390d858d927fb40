"""HTTP Basic authentication: on every path, before the body, and never with the shipped pair."""

from pathlib import Path

import pytest

from fileserver.core.errors import SettingsError
from tests.support.checks import assert_problem, stored_names
from tests.support.clients import ApiClient, RawClient, WorkerClient
from tests.support.credentials import PEOPLE, apr1_line, bcrypt_line
from tests.support.messages import basic_auth, form, fresh_bytes, fresh_id, part
from tests.support.pool import MakeServer
from tests.support.starters import FROM_DISK
from tests.support.targets import HttpServer, Server

PATHS = ["/", "/healthz", "/readyz", "/static/x", "/results/a.zip", "/tasks", "/nowhere", "/%2e%2e"]
WRONG = [
    basic_auth("worker", "wrong"),
    basic_auth("worker", ""),
    basic_auth("nobody", "secret"),
    basic_auth("", "secret"),
    basic_auth("api", "secret"),
    basic_auth("Worker", "secret"),
    "Basic",
    "Basic !!!",
    "Basic d29ya2Vy",
    "Basic /w==",
    "Bearer secret",
    "Digest username=worker",
]


WITHOUT_CHARSET = ("nginx",)
"""Web servers whose own challenge cannot tell it; browsers take UTF-8 nevertheless."""


def good(user: str = "worker") -> dict[str, str]:
    return {"Authorization": basic_auth(user, PEOPLE[user])}


def assert_unauthorized(response, server: Server) -> None:
    assert_problem(response, "unauthorized", server)
    charset = "" if server.target in WITHOUT_CHARSET else ', charset="UTF-8"'
    assert response.headers["WWW-Authenticate"] == f'Basic realm="fileserver"{charset}'


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "OPTIONS"])
def test_every_path_asks_for_credentials(secured_server: Server, path: str, method: str):
    response = secured_server.request(method, path)
    if path == "/%2e%2e" and secured_server.target in FROM_DISK:
        assert response.status == 400, "a web server refuses it before it asks who it is"
    else:
        assert_unauthorized(response, secured_server)


@pytest.mark.parametrize("value", WRONG)
def test_wrong_credentials(secured_server: Server, value: str):
    response = secured_server.get("/", {"Authorization": value})
    assert_unauthorized(response, secured_server)


@pytest.mark.parametrize("user", list(PEOPLE))
def test_right_credentials(secured_server: Server, user: str):
    path = f"/results/{fresh_id()}.zip"
    assert secured_server.put(path, b"1", good(user)).status == 200
    for _ in range(3):
        assert secured_server.get(path, good(user)).body == b"1"
    assert secured_server.get("/", good(user)).status == 200
    assert_unauthorized(secured_server.get(path), secured_server)


def test_nothing_is_stored_without_credentials(secured_server: Server):
    before = stored_names(secured_server.directory)
    headers, body = form([part("a", b"1")])
    assert secured_server.put(f"/results/{fresh_id()}.zip", b"1").status == 401
    response = secured_server.request("POST", f"/submissions/{fresh_id()}", body, headers)
    assert response.status == 401
    assert stored_names(secured_server.directory) == before


def test_credentials_come_before_all_other_checks(secured_server: Server):
    for method, path in (("PATCH", "/tasks"), ("POST", "/submissions/%ff"), ("PUT", "/results/..")):
        assert_unauthorized(secured_server.request(method, path), secured_server)


def test_no_credentials_are_asked_for_by_default(unaided_server: Server):
    assert unaided_server.get("/", {"Authorization": WRONG[0]}).status == 200


@pytest.mark.parametrize("upgrade", [False, True])
def test_worker_with_credentials(secured_real_server: HttpServer, upgrade: bool):
    path, content = f"/results/{fresh_id()}.zip", fresh_bytes(200_000)
    worker = WorkerClient(secured_real_server.address, upgrade=upgrade)
    assert worker.put(path, content).status == 200
    assert worker.get(path).body == content
    stranger = WorkerClient(secured_real_server.address, upgrade=upgrade, credentials=("x", "y"))
    assert stranger.put(path, content).status == 401
    assert stranger.get(path).status == 401


def test_api_with_credentials(secured_real_server: HttpServer):
    with ApiClient(secured_real_server.address) as api:
        assert api.send_files(fresh_id(), {"a": fresh_bytes(2_000_000)}).status == 200
    with ApiClient(secured_real_server.address, ("x", "y")) as api:
        assert api.send_files(fresh_id(), {"a": fresh_bytes(2_000_000)}).status == 401
        assert api.get("/").status == 401


def test_refused_before_the_body_is_sent(secured_real_server: HttpServer):
    """The answer comes while not one byte of the announced body has been sent."""
    with RawClient(secured_real_server.address) as client:
        headers = {"Content-Length": "1000000"}
        if secured_real_server.target == "apache":
            headers["Expect"] = "100-continue"  # It keeps its answer back from a client that does not wait for one.
        client.send(client.head("PUT", "/results/a.zip", headers))
        assert client.read_final("PUT").status == 401


def test_refused_while_the_body_is_pushed(secured_real_server: HttpServer):
    """A client that does not wait must be able to read the status, not a reset connection."""
    for _ in range(5):
        with RawClient(secured_real_server.address) as client:
            length = {"Content-Length": str(8 << 20)}
            client.send(client.head("PUT", "/results/a.zip", length) + bytes(8 << 20))
            assert client.read_final("PUT").status == 401
    assert secured_real_server.get("/", good()).status == 200


def settings_with(path: Path, *lines: str) -> dict[str, str]:
    path.write_text("".join(lines))
    return {"htpasswd_file": str(path)}


@pytest.mark.parametrize("line", [bcrypt_line, apr1_line])
def test_the_shipped_password_is_refused(make_server: MakeServer, tmp_path: Path, line):
    lines = [bcrypt_line("worker", "secret"), line("re", "codex")]
    with pytest.raises(SettingsError):
        make_server(auth=settings_with(tmp_path / "htpasswd", *lines))


def test_the_shipped_user_may_have_another_password(make_server: MakeServer, tmp_path: Path):
    auth = settings_with(tmp_path / "htpasswd", apr1_line("re", "other"))
    server = make_server(auth=auth)
    assert server.get("/", {"Authorization": basic_auth("re", "other")}).status == 200
    assert server.get("/", {"Authorization": basic_auth("re", "codex")}).status == 401


def test_a_password_file_that_is_not_there(make_server: MakeServer, tmp_path: Path):
    with pytest.raises(SettingsError):
        make_server(auth={"htpasswd_file": str(tmp_path / "nothing")})


@pytest.mark.parametrize(
    "line", [b"bob:$2y$05$short\n", b"\xff\xfe:$apr1$aaaaaaaa$aaaaaaaaaaaaaaaaaaaaaa\n", b"bob:plain\n"]
)
def test_a_file_that_cannot_be_used_is_refused_at_start_and_ignored_later(
    make_server: MakeServer, tmp_path: Path, line: bytes
):
    path = tmp_path / "htpasswd"
    path.write_bytes(line)
    with pytest.raises(SettingsError):
        make_server(auth={"htpasswd_file": str(path)})
    path.write_text(apr1_line("worker", "secret") + "\n")
    server = make_server(auth={"htpasswd_file": str(path)})
    path.write_bytes(line)
    assert server.get("/healthz", {"Authorization": basic_auth("worker", "secret")}).status == 200
    assert server.get("/healthz", {"Authorization": basic_auth("bob", "plain")}).status == 401


def test_bcrypt_uses_the_first_72_bytes_of_a_password(make_server: MakeServer, tmp_path: Path):
    server = make_server(auth=settings_with(tmp_path / "htpasswd", bcrypt_line("worker", "x" * 72)))
    assert server.get("/healthz", {"Authorization": basic_auth("worker", "x" * 73)}).status == 200
    assert server.get("/healthz", {"Authorization": basic_auth("worker", "x" * 71)}).status == 401
