"""Roles: each route has a rule, and each role can do what the rules say, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserver.core.roles import Role
from fileserver.web.access import require_rules
from fileserver.web.rules import RULES
from tests.support.checks import assert_problem
from tests.support.credentials import bcrypt_line
from tests.support.messages import basic_auth, fresh_id
from tests.support.pool import MakeServer, make_flask_server
from tests.support.servers import REPOSITORY
from tests.support.targets import FlaskServer

EXAMPLES = {
    "filename": "x",
    "id": "student_1",
    "path": "a",
    "name": "student_1.zip",
    "sha1": "a" * 40,
    "type": "student",
}
PASSWORD = "a secret"


def example(rule: str) -> str:
    return re.sub(r"<(?:path:)?(\w+)>", lambda found: EXAMPLES[found[1]], rule)


def credentials(user: str) -> dict[str, str]:
    return {"Authorization": basic_auth(user, PASSWORD)}


def write_files(folder: Path, groups: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    users = [*Role, "nobody", "both"]
    (folder / "htpasswd").write_text("".join(bcrypt_line(user, PASSWORD) for user in users))
    (folder / "groups").write_text(groups)
    return {"htpasswd_file": str(folder / "htpasswd"), "group_file": str(folder / "groups")}


GROUPS = "# roles\n" + "".join(f"{role}: {role}\n" for role in Role) + "worker: both\nauthor: both\nother: nobody\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskServer]:
    folder = tmp_path_factory.mktemp("roles")
    server = make_flask_server(folder / "work", {"auth": write_files(folder, GROUPS)})
    yield server
    server.app.extensions["fileserver"].close()


def test_every_route_of_the_application_has_a_rule(server: FlaskServer):
    routes = {
        (method, rule.rule) for rule in server.app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == set(RULES)


def test_a_route_without_a_rule_does_not_start(server: FlaskServer):
    from flask import Flask

    app = Flask("without rules")
    app.add_url_rule("/secret", "secret", lambda: "")
    with pytest.raises(LookupError, match="/secret"):
        require_rules(app)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("route", RULES, ids=" ".join)
def test_a_role_may_do_what_its_rules_say_and_nothing_else(server: FlaskServer, route: tuple[str, str], role: Role):
    method, rule = route
    response = server.request(method, example(rule), b"", credentials(role))
    if role in RULES[route]:
        assert response.status not in (401, 403)
    else:
        problem = assert_problem(response, "role-missing", server)
        assert all(allowed in problem["detail"] for allowed in RULES[route])
    if method == "GET":
        assert (server.head(example(rule), credentials(role)).status == 403) == (role not in RULES[route])


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


def test_a_user_without_a_role_may_do_nothing(server: FlaskServer):
    for method, path in (("GET", "/"), ("GET", "/healthz"), ("OPTIONS", "/tasks"), ("GET", f"/{fresh_id()}")):
        assert_problem(server.request(method, path, b"", credentials("nobody")), "role-missing", server)


def test_roles_add_up(server: FlaskServer):
    assert server.put("/results/both.zip", b"1", credentials("both")).status == 200
    assert server.post_form("/tasks", {"a": b"1"}, credentials("both")).status == 200
    assert server.get("/results/both.zip", credentials("both")).status == 403


def test_what_is_no_route_is_told_alike_to_all_who_have_a_role(server: FlaskServer):
    for role in Role:
        assert server.get(f"/{fresh_id()}", credentials(role)).status == 404
        assert server.request("PATCH", "/results/x.zip", b"", credentials(role)).status == 405


def test_without_a_group_file_every_user_has_all_roles(make_server: MakeServer, tmp_path: Path):
    settings = write_files(tmp_path, "")
    del settings["group_file"]
    server = make_server(auth=settings)
    assert server.get("/", credentials("nobody")).status == 200
    assert server.put("/results/x.zip", b"1", credentials("nobody")).status == 200


def test_a_changed_group_file_holds_at_once_and_a_broken_one_does_not(make_server: MakeServer, tmp_path: Path):
    server = make_server(auth=write_files(tmp_path, "worker: both\n"))
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
