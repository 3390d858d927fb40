"""One error of every documented kind has the documented shape and tells no path of the server."""

import shutil
from collections.abc import Callable

import pytest

from tests.support.checks import PROBLEM_KINDS, assert_problem
from tests.support.messages import Response, digest_field, fresh_id, part
from tests.support.pool import MakeServer
from tests.support.targets import FlaskServer, Server


def provoke_invalid_name(server: Server) -> Response:
    return server.submit(fresh_id(), {"../x": b""})


def provoke_invalid_request(server: Server) -> Response:
    return server.post_parts(f"/submissions/{fresh_id()}", [part(None)])


def provoke_digest_mismatch(server: Server) -> Response:
    return server.put("/results/a.zip", b"x", {"Content-Digest": digest_field(b"y")})


def provoke_incomplete_body(server: Server) -> Response:
    return server.put("/results/a.zip", b"x" * 500, {"Content-Length": "1000"})


def provoke_not_found(server: Server) -> Response:
    return server.get(f"/results/{fresh_id()}.zip")


def provoke_method_not_allowed(server: Server) -> Response:
    return server.request("PATCH", "/results/a.zip")


def provoke_precondition_failed(server: Server) -> Response:
    server.put("/results/precondition.zip", b"0123")
    return server.get("/results/precondition.zip", {"If-Match": '"x"'})


def provoke_range_not_satisfiable(server: Server) -> Response:
    server.put("/results/range.zip", b"0123")
    return server.get("/results/range.zip", {"Range": "bytes=4-"})


def provoke_unsupported_media_type(server: Server) -> Response:
    return server.put("/results/a.zip", b"x", {"Content-Encoding": "gzip"})


ON_EVERY_SERVER = {
    "invalid-name": provoke_invalid_name,
    "invalid-request": provoke_invalid_request,
    "digest-mismatch": provoke_digest_mismatch,
    "not-found": provoke_not_found,
    "method-not-allowed": provoke_method_not_allowed,
    "precondition-failed": provoke_precondition_failed,
    "range-not-satisfiable": provoke_range_not_satisfiable,
    "unsupported-media-type": provoke_unsupported_media_type,
}
# With settings or a state of their own; body-timeout is in test_broken_connections.py, length-required in
# test_hostile_requests.py, quota-exceeded in test_limits.py, storage-failed in tests/crash/test_injected_errors.py,
# unreachable in tests/deploy/test_nginx.py.
ELSEWHERE = {
    "length-required",
    "unauthorized",
    "incomplete-body",
    "body-timeout",
    "collision",
    "obstructed",
    "limit-exceeded",
    "internal",
    "storage-failed",
    "not-ready",
    "insufficient-storage",
    "quota-exceeded",
    "unreachable",
    "role-missing",
    "invalid-signature",
    "link-expired",
    "cross-site",
    "exposed",
    "too-many-requests",
}


def test_every_documented_problem_is_tested():
    assert PROBLEM_KINDS.keys() == ON_EVERY_SERVER.keys() | ELSEWHERE


@pytest.mark.parametrize("kind", ON_EVERY_SERVER)
def test_problem(server: Server, kind: str):
    provoke: Callable[[Server], Response] = ON_EVERY_SERVER[kind]
    assert_problem(provoke(server), kind, server)


def test_incomplete_body(flask_server: Server):
    """The real servers see this only when the client vanishes: see test_broken_connections.py."""
    assert_problem(provoke_incomplete_body(flask_server), "incomplete-body", flask_server)


@pytest.mark.parametrize("folder", ["results", "attachments", "submissions", "tasks"])
def test_defects_tell_nothing(make_server: MakeServer, folder: str):
    """A file where the server needs a folder: no client can cause it, and none is told of it."""
    server: FlaskServer = make_server()
    shutil.rmtree(server.directory / folder, ignore_errors=True)
    (server.directory / folder).write_bytes(b"in the way")
    if folder == "submissions":
        response = server.submit("job", {"a": b"1"})
    elif folder == "tasks":
        response = server.post_form("/tasks", {"a": b"1"})
    else:
        response = server.put(f"/{folder}/job.zip", b"1")
    problem = assert_problem(response, "internal", server)
    assert "job" not in problem["detail"]
    assert not server.transactions()


def test_the_detail_of_a_failed_precondition_is_text_for_people(server: Server):
    problem = provoke_precondition_failed(server).json()
    assert "<" not in problem["detail"]
    assert "<" not in problem["title"]


@pytest.mark.parametrize("accept", ["text/html", "application/json", "image/png"])
def test_problems_do_not_depend_on_accept(server: Server, accept: str):
    response = server.get(f"/results/{fresh_id()}.zip", {"Accept": accept})
    assert_problem(response, "not-found", server)


def test_put_with_content_range_is_refused(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"whole")
    response = server.put(path, b"x", {"Content-Range": "bytes 0-0/5"})
    assert_problem(response, "invalid-request", server)
    assert server.get(path).body == b"whole"


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x"])
@pytest.mark.parametrize("path", ["/results/{}.zip", "/attachments/{}"])
def test_encoded_bodies_are_refused(server: Server, path: str, coding: str):
    path = path.format(fresh_id())
    response = server.put(path, b"x", {"Content-Encoding": coding})
    assert_problem(response, "unsupported-media-type", server)
    assert server.get(path).status == 404


def test_identity_is_no_encoding(server: Server):
    path = f"/results/{fresh_id()}.zip"
    assert server.put(path, b"x", {"Content-Encoding": "identity"}).status == 200
    assert server.get(path).body == b"x"
