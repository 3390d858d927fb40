"""Roles: each route has a rule, and each role can do what the rules say, and nothing else."""

import re
from pathlib import Path

import pytest

from fileserver.core.roles import Role
from fileserver.web.access import require_rules
from fileserver.web.rules import RULES
from tests.support.checks import assert_problem
from tests.support.credentials import WITHOUT_ROLE, credentials, write_roles
from tests.support.messages import fresh_id
from tests.support.pool import MakeServer
from tests.support.servers import REPOSITORY
from tests.support.targets import Server

EXAMPLES = {
    "filename": "x",
    "id": "student_1",
    "path": "a",
    "name": "student_1.zip",
    "sha1": "a" * 40,
    "type": "student",
}


def example(rule: str) -> str:
    return re.sub(r"<(?:path:)?(\w+)>", lambda found: EXAMPLES[found[1]], rule)


def test_every_route_of_the_application_has_a_rule(make_server: MakeServer):
    routes = {
        (method, rule.rule)
        for rule in make_server().app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == set(RULES)


def test_a_route_without_a_rule_does_not_start():
    from flask import Flask

    app = Flask("without rules")
    app.add_url_rule("/secret", "secret", lambda: "")
    with pytest.raises(LookupError, match="/secret"):
        require_rules(app)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("route", RULES, ids=" ".join)
def test_a_role_may_do_what_its_rules_say_and_nothing_else(roles_server: Server, route: tuple[str, str], role: Role):
    method, rule = route
    response = roles_server.request(method, example(rule), b"", credentials(role))
    if role in RULES[route]:
        assert response.status not in (401, 403)
    else:
        problem = assert_problem(response, "role-missing", roles_server)
        assert all(allowed in problem["detail"] for allowed in RULES[route])
    if method == "GET":
        assert (roles_server.head(example(rule), credentials(role)).status == 403) == (role not in RULES[route])


def test_the_worker_may_do_these_things_only():
    assert {route for route, roles in RULES.items() if Role.WORKER in roles} == {
        ("GET", "/submission_archives/<name>"),
        ("GET", "/tasks/<sha1>"),
        ("GET", "/exercises/<sha1>"),
        ("PUT", "/results/<name>"),
        ("GET", "/v1/worker-files/submission-archive/<type>/<id>"),
        ("GET", "/v1/worker-files/exercise-file/<sha1>"),
        ("PUT", "/v1/worker-files/result/<type>/<id>"),
    }


def test_a_user_without_a_role_may_do_nothing(roles_server: Server):
    for user in WITHOUT_ROLE:
        for method, path in (("GET", "/"), ("GET", "/healthz"), ("OPTIONS", "/tasks"), ("GET", f"/{fresh_id()}")):
            assert_problem(roles_server.request(method, path, b"", credentials(user)), "role-missing", roles_server)


def test_roles_add_up(roles_server: Server):
    assert roles_server.put("/results/both.zip", b"1", credentials("both")).status == 200
    assert roles_server.post_form("/tasks", {"a": b"1"}, credentials("both")).status == 200
    assert roles_server.get("/results/both.zip", credentials("both")).status == 403


def test_what_is_no_route_is_told_alike_to_all_who_have_a_role(roles_server: Server):
    for role in Role:
        assert roles_server.get(f"/{fresh_id()}", credentials(role)).status == 404
        assert roles_server.request("PATCH", "/results/x.zip", b"", credentials(role)).status == 405


def test_without_a_group_file_every_user_has_all_roles(make_server: MakeServer, tmp_path: Path):
    settings = write_roles(tmp_path)
    del settings["group_file"]
    server = make_server(auth=settings)
    assert server.get("/", credentials("nobody")).status == 200
    assert server.put("/results/x.zip", b"1", credentials("nobody")).status == 200


def test_a_changed_group_file_holds_at_once_and_a_broken_one_does_not(make_server: MakeServer, tmp_path: Path):
    server = make_server(auth=write_roles(tmp_path, "worker: both\n"))
    assert server.get("/limits", credentials("both")).status == 403
    (tmp_path / "groups").write_text("monitor: both\n")
    assert server.get("/limits", credentials("both")).status == 200
    (tmp_path / "groups").write_text("no group at all\n")
    assert server.get("/limits", credentials("both")).status == 200


def test_the_table_of_the_page_is_that_of_the_code():
    page = (REPOSITORY / "docs" / "security.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r"\| (GET|PUT|POST|DELETE) ", line)]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    documented = {
        (method, rule): {role for role, cell in zip(Role, marks, strict=True) if cell == "yes"}
        for method, rule, *marks in cells
    }
    assert documented == {route: set(roles) for route, roles in RULES.items()}
