"""HEAD, OPTIONS, methods that are not allowed, and the documented table of routes."""

import re

import pytest

from tests.support.checks import assert_problem
from tests.support.docs import anonymous, documented_routes
from tests.support.messages import fresh_id
from tests.support.resources import Resource
from tests.support.targets import FlaskServer, Server

IMPLIED = {"HEAD", "OPTIONS"}
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
ROUTES = documented_routes()
PATHS = sorted({path for _, path in ROUTES})


def methods_of(path: str) -> set[str]:
    return {method for method, other in ROUTES if other == path}


def example(path: str) -> str:
    """Return a path that the rule matches."""
    path = re.sub(r"(/v1/worker-files/[a-z-]+)/<>/", r"\1/student/", path)
    return re.sub(r"<[^>]*>", fresh_id(), path)


def test_the_documented_routes_are_those_of_the_application(flask_server: FlaskServer):
    rules = flask_server.app.url_map.iter_rules()
    routes = {(method, anonymous(rule.rule)) for rule in rules for method in rule.methods}
    assert {route for route in routes if route[0] not in IMPLIED} == ROUTES


def test_the_table_of_routes_is_read():
    assert ("PUT", "/results/<>") in ROUTES
    assert ("GET", "/submissions/<>/<path:>") in ROUTES
    assert len(ROUTES) > 25


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_refused(server: Server, path: str):
    allowed = methods_of(path)
    target = example(path)
    for method in set(METHODS) - allowed:
        if path == "/tasks/missing" and method in methods_of("/tasks/<>"):
            continue  # a task file of that name, which is never there
        response = server.request(method, target)
        assert_problem(response, "method-not-allowed", server)
        assert allowed <= set(response.headers["Allow"].split(", "))
        assert method not in response.headers["Allow"].split(", ")


@pytest.mark.parametrize("path", PATHS)
def test_options_tells_the_methods(server: Server, path: str):
    response = server.request("OPTIONS", example(path))
    assert response.status in (200, 204)
    told = set(response.headers["Allow"].split(", "))
    assert methods_of(path) | {"OPTIONS"} <= told
    assert ("HEAD" in told) == ("GET" in told)


@pytest.mark.parametrize("method", [*METHODS, "HEAD", "OPTIONS"])
def test_unknown_paths(server: Server, method: str):
    response = server.request(method, f"/{fresh_id()}/x")
    assert response.status == 404
    if method != "HEAD":
        assert_problem(response, "not-found", server)


def test_head_of_stored_resources(server: Server, stored: Resource):
    head, get = server.head(stored.path), server.get(stored.path)
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control"):
        assert head.headers[name] == get.headers[name], name
    assert head.headers["Content-Length"] == str(len(stored.content))


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/exercises", "/tasks"])
def test_head_of_other_pages(server: Server, path: str):
    head, get = server.head(path), server.get(path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


def test_head_of_a_submission(server: Server):
    name = fresh_id()
    server.submit(name, {"a": b"1"})
    head, get = server.head(f"/submissions/{name}"), server.get(f"/submissions/{name}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


def test_head_of_what_is_not_there(server: Server):
    for path in ("/results/{}.zip", "/submission_archives/{}.zip", "/attachments/{}"):
        response = server.head(path.format(fresh_id()))
        assert (response.status, response.body) == (404, b"")
