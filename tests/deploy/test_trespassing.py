"""Behind every web server: whoever lacks a role, credentials or a signature gets nothing, however it is asked for.

Web servers send files from the disk without asking the application, and let requests with a signature pass without
credentials. Each of the two is a gap if the servers understand a request in different ways.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fileserver.core.roles import Role
from fileserver.web.rules import RULES
from tests.support.checks import assert_problem
from tests.support.clients import RawClient
from tests.support.credentials import PASSWORD, WITHOUT_ROLE, credentials
from tests.support.embedded import uwsgi_behind_nginx
from tests.support.messages import HeaderPairs, Response, basic_auth, fresh_bytes, fresh_id, sha1
from tests.support.pool import ServerPool, environment
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

API = credentials("api")
NOBODY = {"Authorization": "none"}
FORGED = ("signature=x", "a&signature=", "expires=9999999999&signature=abc", "signature=x&signature=y")
UNSIGNED = (
    "SIGNATURE=x",
    "x=signature=y",
    ";signature=x",
    "%73ignature=x",
    "signature%3dx",
    "?signature=x",
    "a#signature=",
)


@pytest.fixture(scope="module", params=["nginx", "apache", "uwsgi", "uwsgi behind nginx"])
def server(
    request: pytest.FixtureRequest, pool: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServer]:
    with ExitStack() as stack:
        if request.param == "uwsgi behind nginx":
            directory = tmp_path_factory.mktemp("trespassing") / "work"
            yield stack.enter_context(uwsgi_behind_nginx(directory, env=environment(pool.variants["roles"])))
        else:
            yield pool.get(request.param, "roles")


@pytest.fixture(scope="module")
def stored(server: HttpServer) -> dict[str, tuple[str, bytes]]:
    """What is stored, by its path: the rule of the path, and the content."""
    name, content = fresh_id(), fresh_bytes()
    assert server.post_form(f"/submissions/{name}", {"a": content}, API).status == 200
    assert server.post_form("/tasks", {"a": content}, API).status == 200
    assert server.put(f"/results/{name}.zip", content, API).status == 200
    archive = server.get(f"/submission_archives/{name}.zip", API).body
    return {
        f"/tasks/{sha1(content)}": ("/tasks/<sha1>", content),
        f"/exercises/{sha1(content)}": ("/exercises/<sha1>", content),
        f"/submission_archives/{name}.zip": ("/submission_archives/<name>", archive),
        f"/results/{name}.zip": ("/results/<name>", content),
        f"/submissions/{name}/a": ("/submissions/<id>/<path:path>", content),
    }


def spellings(path: str) -> Iterator[str]:
    """Targets of requests that some server might take for *path*."""
    _, folder, name = path.split("/", 2)
    yield from (path, f"/{path}", f"//{path}", f"/{folder}//{name}", f"/.{path}", f"/{folder}/./{name}", f"/x/..{path}")
    yield from (f"/{folder}%2f{name}", f"/%2f{folder}/{name}", f"%2f{folder}/{name}", f"/{folder}%2F%2f{name}")
    yield from (f"/%2e{path}", f"/x/%2e%2e{path}", f"/{folder}/%2e/{name}", f"/x/.%2e{path}", f"/x%2f..{path}")
    yield from (f"{path}/", f"{path}//", f"{path}/.", f"{path}/x", f"{path}%2f", f"{path};x", f";{path}", f"/;x{path}")
    yield from (f"/{folder};x/{name}", f"/{folder}/;/{name}", f"{path}%00", f"{path}%00.zip", f"{path}%20", f"{path}.")
    yield from (
        f"{path}%0a",
        f"{path}%0d%0a",
        f"{path}%3f",
        f"{path}%23",
        f"{path}?",
        f"{path}#",
        f"{path}#x",
        f"{path}?x",
    )
    yield from (f"/{folder.upper()}/{name}", f"/{folder}/{name.upper()}", f"/{folder}\\{name}", f"/{folder}%5c{name}")
    yield from (f"/{folder}/%{ord(name[0]):02x}{name[1:]}", f"/{folder}/%25{ord(name[0]):02x}{name[1:]}")
    yield from (
        f"http://localhost{path}",
        f"http://api:x@localhost{path}",
        f"https://evil.example{path}",
        f"HTTP:{path}",
    )
    yield from (f"/_stored{path}", f"/%5fstored{path}", f"//_stored{path}", f"/_stored/tasks/{name[0]}/{name}")
    yield from (f"/tasks/{name[0]}/{name}", f"/icons/../{folder}/{name}", f"/icons/%2e%2e{path}", f"*{path}")


def signed_spellings(path: str) -> Iterator[str]:
    for query in FORGED:
        for spelling in spellings(path):
            yield spelling + ("&" if "?" in spelling else "?") + query
    for query in UNSIGNED:
        yield f"{path}?{query}"
    yield from (f"{path}#?signature=x", f"{path}?#&signature=x", f"{path}%3fsignature=x", f"{path};signature=x")


def heads(path: str) -> Iterator[list[tuple[str, str]]]:
    """Fields that some server might take for more than they are."""
    for host in (
        "",
        "localhost:1",
        "evil.example",
        "127.0.0.1",
        "_stored",
        "localhost/x",
        "[::1]",
        "files.example.",
        "*",
    ):
        yield [("Host", host)]
    for value in ("bytes=0-", "bytes=0-5", "bytes=-5", "bytes=0-1,3-4", "bytes=0-0,0-0", "x"):
        yield [("Range", value)]
        yield [("Request-Range", value)]
        yield [("Range", value), ("If-Range", '"x"')]
        yield [("Range", value), ("If-Range", "Wed, 01 Jan 2031 00:00:00 GMT")]
    for name in ("If-None-Match", "If-Match"):
        yield [(name, "*")]
    yield [("If-Modified-Since", "Wed, 01 Jan 2031 00:00:00 GMT")]
    yield [("If-Unmodified-Since", "Wed, 01 Jan 2031 00:00:00 GMT")]
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        yield from ([(name, method)] for method in ("GET", "HEAD", "PUT", "DELETE"))
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-Accel-Redirect", "X-Sendfile", "X_Accel_Redirect"):
        yield from ([(name, value)] for value in (path, f"/_stored{path}", f"{path}?signature=x"))
    for name in ("X-Accel-Redirect-Failed", "X_Accel_Redirect_Failed"):
        yield [(name, "1")]
    for name in ("Remote-User", "X-Remote-User", "X-Forwarded-User", "REMOTE_USER", "X-Forwarded-For", "Forwarded"):
        yield from ([(name, value)] for value in ("api", "127.0.0.1", "for=127.0.0.1"))
    for value in (basic_auth("api", PASSWORD), basic_auth("api", "x")):
        yield [("Proxy-Authorization", value)]
    yield [("Authorization", basic_auth("api", "wrong"))]
    yield [("Connection", "Authorization, Host")]
    yield [("Connection", "Upgrade"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]


def ask(server: HttpServer, method: str, target: str, headers: HeaderPairs, version: bytes = b"1.1") -> Response:
    with RawClient(server.address) as client:
        pairs = [*dict(headers).items(), ("Connection", "close")] if isinstance(headers, dict) else list(headers)
        head = client.head(method, target, pairs)
        client.send(head.replace(b" HTTP/1.1\r\n", b" HTTP/%s\r\n" % version, 1))
        return client.read_final(method)


def assert_nothing_is_told(response: Response, content: bytes, what: object) -> None:
    assert response.status >= 400, (what, response)
    assert content[:100] not in response.body, what
    assert content[-100:] not in response.body, what
    assert response.headers.get("Content-Length") != str(len(content)), what


def strangers(rule: str) -> list[str]:
    """Users who may not read what follows *rule*."""
    return [*(role for role in Role if role not in RULES["GET", rule]), *WITHOUT_ROLE]


def test_roles_are_those_of_the_application(server: HttpServer, stored: dict[str, tuple[str, bytes]]) -> None:
    for path, (rule, content) in stored.items():
        for role in RULES["GET", rule]:
            assert server.get(path, credentials(role)).body == content, (role, path)
            assert server.head(path, credentials(role)).headers["Content-Length"] == str(len(content)), (role, path)
        for user in strangers(rule):
            assert_problem(server.get(path, credentials(user)), "role-missing", server)
            assert server.head(path, credentials(user)).status == 403, (user, path)
        assert server.get(f"{path}%0a", API).status >= 400


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_spelling_of_a_path_gives_a_role(
    server: HttpServer, stored: dict[str, tuple[str, bytes]], method: str
) -> None:
    for path, (rule, content) in stored.items():
        for user in ("worker", "author", "API"):
            if user in strangers(rule):
                for target in spellings(path):
                    response = ask(server, method, target, credentials(user))
                    assert_nothing_is_told(response, content, (user, method, target))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_field_gives_a_role_or_stands_for_credentials(
    server: HttpServer, stored: dict[str, tuple[str, bytes]], method: str
) -> None:
    for path, (rule, content) in stored.items():
        for fields in heads(path):
            for version in (b"1.1", b"1.0"):
                user = strangers(rule)[0]
                pairs = [("Authorization", credentials(user)["Authorization"]), *fields, ("Connection", "close")]
                assert_nothing_is_told(ask(server, method, path, pairs, version), content, (user, path, fields))
                if fields[0][0] != "Authorization":
                    pairs[0] = ("Authorization", "none")
                assert_nothing_is_told(ask(server, method, path, pairs, version), content, (path, fields))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_forged_signature_opens_nothing(
    server: HttpServer, stored: dict[str, tuple[str, bytes]], method: str
) -> None:
    for path, (_, content) in stored.items():
        for target in signed_spellings(path):
            assert_nothing_is_told(ask(server, method, target, NOBODY), content, (method, target))


@pytest.mark.parametrize(
    "path", ["/icons/apache_pb.png", "/icons/", "/server-status", "/favicon.ico", "/", "/static/x"]
)
def test_a_forged_signature_opens_nothing_that_the_web_server_has_besides(server: HttpServer, path: str) -> None:
    for query in FORGED:
        assert ask(server, "GET", f"{path}?{query}", NOBODY).status in (401, 403)
    if path == "/server-status":
        assert server.get(path, API).status == 404, "it is nobody's but the application's"


def test_without_a_version_nothing_is_told(server: HttpServer, stored: dict[str, tuple[str, bytes]]) -> None:
    """HTTP/0.9 knows no fields, and thus no credentials."""
    for path, (_, content) in stored.items():
        for target in (path, f"{path}?signature=x"):
            with socket.create_connection(server.address, timeout=20) as plain:
                plain.sendall(f"GET {target}\r\n\r\n".encode())
                assert content[:100] not in plain.makefile("rb").read()


def test_a_link_opens_what_it_stands_for(server: HttpServer, stored: dict[str, tuple[str, bytes]]) -> None:
    for path, (_, content) in stored.items():
        question = json.dumps({"method": "GET", "path": path}).encode()
        link = server.request("POST", "/sign", question, API).json()["url"]
        for headers in (NOBODY, credentials("author"), credentials("nobody"), {"Authorization": basic_auth("x", "y")}):
            assert ask(server, "GET", link, headers).body == content
            assert ask(server, "HEAD", link, headers).status == 200
            assert ask(server, "GET", link, {**headers, "Range": "bytes=2-4"}).body == content[2:5]
            assert ask(server, "PUT", link, headers).status == 403
            assert_nothing_is_told(ask(server, "GET", f"{link}x", headers), content, link)
            assert_nothing_is_told(ask(server, "GET", link.replace("expires=", "expires=9"), headers), content, link)
        assert ask(server, "GET", f"http://localhost{link}", NOBODY).body == content
        assert_nothing_is_told(ask(server, "GET", link.replace("signature=", "SIGNATURE="), NOBODY), content, link)


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "POST", "PATCH", "COPY", "MOVE", "PROPFIND", "TRACE", "get", "GETX"]
)
def test_nothing_is_changed_without_a_role(
    server: HttpServer, stored: dict[str, tuple[str, bytes]], method: str
) -> None:
    for path, (_, content) in stored.items():
        for target in (path, f"/{path}", f"{path}?signature=x", f"/_stored{path}", path.replace("/", "/%2e/", 1)):
            for user in ("monitor", "nobody"):
                response = ask(server, method, target, {**credentials(user), "X-HTTP-Method-Override": "DELETE"})
                assert_nothing_is_told(response, content, (user, method, target))
            assert_nothing_is_told(ask(server, method, target, NOBODY), content, (method, target))
        assert server.get(path, API).body == content
