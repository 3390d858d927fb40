"""Links that stand for one request, without a password."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fileserver.core.signing import is_signed, parse_keys, sign
from tests.support.checks import assert_problem
from tests.support.credentials import credentials, write_keys, write_roles
from tests.support.messages import fresh_bytes, fresh_id
from tests.support.pool import MakeServer
from tests.support.targets import FlaskServer, Server

KEYS = ["11" * 32, "22" * 32]
API = credentials("api")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys", KEYS[0])


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path, key_file: Path) -> FlaskServer:
    """The application in this process, for tests that change its keys or the time."""
    return make_server(auth={**write_roles(tmp_path), "signing_key_file": str(key_file)})


def ask(server: Server, **question: Any) -> Any:
    import json

    return server.request("POST", "/sign", json.dumps(question).encode(), API)


def link(server: Server, method: str, path: str, seconds: int = 60) -> str:
    response = ask(server, method=method, path=path, expires_in_seconds=seconds)
    assert response.status == 200, response
    return response.json()["url"]


def test_a_link_stands_for_its_request(roles_server: Server):
    path, content = f"/results/{fresh_id()}.zip", fresh_bytes()
    assert roles_server.put(link(roles_server, "PUT", path), content).status == 200
    reading = link(roles_server, "GET", path)
    response = roles_server.get(reading)
    assert (response.status, response.body) == (200, content)
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"].startswith("private")
    assert roles_server.head(reading).status == 200
    assert roles_server.get(reading, {"Range": "bytes=0-1"}).body == content[:2]


def test_a_link_stands_for_nothing_else(roles_server: Server):
    path = f"/results/{fresh_id()}.zip"
    roles_server.put(path, b"1", API)
    signed = link(roles_server, "GET", path)
    query = signed.partition("?")[2]
    for method, other in (("PUT", path), ("DELETE", path), ("GET", "/results/other.zip"), ("GET", "/"), ("GET", "/x")):
        assert_problem(roles_server.request(method, f"{other}?{query}", b"", API), "invalid-signature", roles_server)
    for tampered in (f"{signed}x", signed.replace("expires=", "expires=1"), f"{signed}&a=b", f"{path}?signature="):
        assert_problem(roles_server.get(tampered, API), "invalid-signature", roles_server)
    assert roles_server.get(path, API).body == b"1"


def test_the_spelling_of_the_link_does_not_matter(roles_server: Server):
    roles_server.put("/results/a%20b.zip", b"1", API)
    signed = link(roles_server, "GET", "/results/%61%20b.zip")
    assert signed.startswith("/results/a%20b.zip?")
    assert roles_server.get(signed.replace("/results/a", "/results/%61")).body == b"1"


def test_a_link_expires(server: FlaskServer, monkeypatch: pytest.MonkeyPatch):
    path = f"/results/{fresh_id()}.zip"
    signed = link(server, "PUT", path, 60)
    assert server.put(signed, b"1").status == 200
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert_problem(server.put(signed, b"2"), "link-expired", server)
    monkeypatch.undo()
    assert server.get(path, API).body == b"1"


def test_a_link_that_would_hold_too_long_is_none(server: FlaskServer, monkeypatch: pytest.MonkeyPatch):
    path = f"/results/{fresh_id()}.zip"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86_400)
    signed = link(server, "PUT", path, 7 * 86_400)
    monkeypatch.undo()
    assert "max_signed_seconds" in assert_problem(server.put(signed, b"1"), "invalid-signature", server)["detail"]


def test_keys_are_rotated(server: FlaskServer, key_file: Path):
    path = f"/results/{fresh_id()}.zip"
    old = link(server, "PUT", path)
    key_file.write_text(f"{KEYS[1]}\n{KEYS[0]}\n")
    new = link(server, "PUT", path)
    assert server.put(old, b"1").status == 200
    assert server.put(new, b"2").status == 200
    key_file.write_text(f"{KEYS[1]}\n")
    assert_problem(server.put(old, b"3"), "invalid-signature", server)
    assert server.put(new, b"4").status == 200


@pytest.mark.parametrize(
    "question",
    [
        {"method": "GET", "path": "/healthz"},
        {"method": "GET", "path": "/"},
        {"method": "POST", "path": "/sign"},
        {"method": "PATCH", "path": "/results/x.zip"},
        {"method": "GET", "path": "/nowhere"},
        {"method": "GET", "path": "/results/x.zip?a=b"},
        {"method": "GET", "path": "//results/x.zip"},
        {"method": "GET", "path": "results/x.zip"},
        {"method": "GET", "path": "/results/%ff.zip"},
        {"method": "GET", "path": "/results/x.zip", "expires_in_seconds": 0},
        {"method": "GET", "path": "/results/x.zip", "expires_in_seconds": 10**9},
        {"method": "GET", "path": "/results/x.zip", "expires_in_seconds": True},
        {"method": ["GET"], "path": "/results/x.zip"},
        {"path": "/results/x.zip"},
    ],
    ids=str,
)
def test_what_cannot_be_signed_is_refused(roles_server: Server, question: dict[str, Any]):
    assert_problem(ask(roles_server, **question), "invalid-request", roles_server)


@pytest.mark.parametrize("secured", [True, False])
def test_without_keys_every_signature_is_refused(make_server: MakeServer, tmp_path: Path, secured: bool):
    """Also where nobody is asked for credentials: a web server in front lets such requests through."""
    auth = write_roles(tmp_path) if secured else {}
    server = make_server(auth=auth)
    server.put("/results/x.zip", b"1", API)
    for query in ("signature=x", "signature=", "expires=9999999999&signature=abc", "a=b&signature=x"):
        assert_problem(server.get(f"/results/x.zip?{query}", API), "invalid-signature", server)
    assert ask(server, method="GET", path="/results/x.zip").status == 404


def test_links_are_absolute_where_the_public_address_is_known(make_server: MakeServer, key_file: Path):
    server = make_server(auth={"signing_key_file": str(key_file)}, proxy={"public_url": "https://files.example.org"})
    signed = ask(server, method="GET", path="/results/x.zip").json()["url"]
    assert signed.startswith("https://files.example.org/results/x.zip?expires=")


REQUESTS = st.tuples(st.sampled_from(["GET", "PUT", "DELETE"]), st.binary(max_size=20), st.integers(1, 10**11))


@given(REQUESTS, REQUESTS)
def test_no_two_requests_have_the_same_signature(one: Any, other: Any):
    key = bytes(32)
    assert is_signed([key], *one, sign(key, *one))
    assume(one != other)
    assert not is_signed([key], *other, sign(key, *one))


@given(st.text(max_size=60))
def test_nothing_but_the_signature_is_one(text: str):
    key = bytes(32)
    assume(text != sign(key, "GET", b"/x", 1))
    assert not is_signed([key], "GET", b"/x", 1, text)


@pytest.mark.parametrize("text", ["", "\n", "!" * 64, "11" * 31, "\n".join(["11" * 32] * 3)])
def test_bad_keys_are_refused_and_not_told(text: str):
    with pytest.raises(ValueError, match=r".") as told:
        parse_keys(text)
    assert not text.strip() or text.split()[0] not in str(told.value)
