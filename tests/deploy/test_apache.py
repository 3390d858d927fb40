"""Apache with mod_wsgi, by the configuration that mkconfig makes: what it does besides what all servers do."""

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserver.core.roles import Role, parse_groups
from tests.support.clients import Address, RawClient
from tests.support.credentials import PEOPLE, bcrypt_line, write_htpasswd
from tests.support.deployed import GROUPS, HTPASSWD
from tests.support.embedded import apache_server, reachable_folder
from tests.support.messages import Response, basic_auth, chunked, fresh_bytes, fresh_id, sha1
from tests.support.pool import ServerPool
from tests.support.resources import give_to_the_server
from tests.support.targets import HttpServer

pytestmark = pytest.mark.server

SIZE = 300_000
ODD_NAMES = ["plain", "a", r"a\b", r"a\\b", 'a"b', "a'b", "a b", "PLAIN"]


@pytest.fixture
def apache(pool: ServerPool) -> HttpServer:
    return pool.get("apache")


@pytest.fixture
def content(apache: HttpServer) -> dict[str, bytes]:
    """What is stored, by its path, as files that Apache may send."""
    name, body = fresh_id(), fresh_bytes(SIZE)
    assert apache.submit(name, {"a": body}).status == 200
    assert apache.put(f"/results/{name}.zip", body).status == 200
    assert apache.post_form("/tasks", {"a": body}).status == 200
    archive = apache.get(f"/submission_archives/{name}.zip").body
    return {
        f"/tasks/{sha1(body)}": body,
        f"/exercises/{sha1(body)}": body,
        f"/results/{name}.zip": body,
        f"/submission_archives/{name}.zip": archive,
    }


def spellings(path: str) -> Iterator[str]:
    """The ways to write *path*, and paths near it."""
    _, folder, name = path.split("/")
    yield from (path, f"/{path}", f"/{folder}//{name}", f"{path}/", f"{path}//", f"{path}/x", f"{path};x")
    yield from (f"/{folder}%2f{name}", f"/%2f{folder}/{name}", f"%2f{folder}/{name}", f"/x/%2e%2e/{folder}/{name}")
    yield from (f"/./{folder}/{name}", f"/x/../{folder}/{name}", f"/{folder}/%{ord(name[0]):02x}{name[1:]}")
    yield from (f"{path}?x", f"{path}?", f"{path}%3f", f"{path}%00", f"{path}?Signature=x", f"http://localhost{path}")
    yield from (f"/{folder.upper()}/{name}", f"/{folder}/{name.upper()}", f"/{folder}\\{name}", f"/{folder}/{name}%20")


def status_without_credentials(server: HttpServer, method: str, path: str) -> tuple[int, bytes]:
    with RawClient(Address.of(server.address[1])) as client:
        client.send(client.head(method, path, {"Connection": "close"}))
        response = client.read_final(method)
        return response.status, response.body


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "FOO"])
def test_no_spelling_of_a_path_answers_without_credentials(apache: HttpServer, content: dict[str, bytes], method: str):
    for stored, body in content.items():
        for path in spellings(stored):
            status, answer = status_without_credentials(apache, method, path)
            assert status in (400, 401, 404), (method, path)
            assert answer != body
    for path, body in content.items():
        assert apache.get(path).body == body


def test_signed_requests_are_left_to_the_application(apache: HttpServer, content: dict[str, bytes]):
    for path in content:
        for query in ("signature=x", "a=b&signature=", "signature=x&signature=y", "%73ignature=x"):
            status, _ = status_without_credentials(apache, "GET", f"{path}?{query}")
            assert status in (401, 403)


def test_trace_and_the_whole_server(apache: HttpServer):
    assert status_without_credentials(apache, "TRACE", "/")[0] in (401, 405)
    assert status_without_credentials(apache, "OPTIONS", "*")[1] == b""


def is_from_disk(response: Response) -> bool:
    """Whether Apache has answered: only the application knows the digest."""
    return "Repr-Digest" not in response.headers and response.status in (200, 206)


def test_apache_itself_sends_what_is_on_the_disk(apache: HttpServer, content: dict[str, bytes]):
    for path, body in content.items():
        whole = apache.get(path)
        assert is_from_disk(whole)
        assert whole.body == body
        from_the_application = apache.get(f"{path}?x")
        assert not is_from_disk(from_the_application)
        for name in ("ETag", "Last-Modified", "Cache-Control", "Content-Disposition", "Content-Type", "Content-Length"):
            assert whole.headers[name] == from_the_application.headers[name], (path, name)
        for name in ("X-Content-Type-Options", "Content-Security-Policy", "Accept-Ranges"):
            assert whole.headers[name] == from_the_application.headers[name], (path, name)


def test_ranges_from_the_disk(apache: HttpServer, content: dict[str, bytes]):
    for path, body in content.items():
        for value, expected in (("10-19", body[10:20]), ("-7", body[-7:]), (f"{len(body) - 3}-", body[-3:])):
            response = apache.get(path, {"Range": f"bytes={value}"})
            assert is_from_disk(response)
            assert (response.status, response.body) == (206, expected)


def test_an_archive_that_is_gone_is_rebuilt(apache: HttpServer, content: dict[str, bytes]):
    path = next(path for path in content if path.startswith("/submission_archives/"))
    (apache.directory / path[1:]).unlink()
    assert apache.head(path).status == 200
    (apache.directory / path[1:]).unlink()
    assert apache.get(path).status == 200
    assert is_from_disk(apache.get(path))


@pytest.mark.parametrize(
    "extension", ["php", "cgi", "html", "shtml", "gz", "html.gz", "var", "asis", "zip.php", "gz.zip", "de.zip"]
)
def test_no_name_makes_apache_run_or_decode_a_result(apache: HttpServer, extension: str):
    path, body = f"/results/{fresh_id()}.{extension}", b"#!/bin/sh\n<?php x ?><!--#echo var=x -->"
    assert apache.put(path, body).status == 200
    response = apache.get(path, {"Accept-Encoding": "gzip"})
    assert (response.status, response.body) == (200, body)
    kind = "application/zip" if extension.endswith(".zip") else "application/octet-stream"
    assert response.headers["Content-Type"] == kind
    assert "Content-Encoding" not in response.headers
    assert "Content-Language" not in response.headers
    assert response.headers["Content-Disposition"].startswith("attachment")


def test_nothing_else_of_the_working_directory_is_served(apache: HttpServer):
    for folder in ("staging", "trash", "quarantine", "submissions"):
        (apache.directory / folder).mkdir(exist_ok=True)
        (apache.directory / folder / "probe.zip").write_bytes(b"hidden")
        give_to_the_server(apache.directory, folder)
        for path in (f"/{folder}/probe.zip", f"/results/../{folder}/probe.zip", f"/results/%2e%2e/{folder}/probe.zip"):
            response = apache.get(path)
            assert 400 <= response.status < 500
            assert b"hidden" not in response.body
        (apache.directory / folder / "probe.zip").unlink()
    for folder in ("/results", "/results/", "/tasks/", "/submission_archives/"):
        assert b"<html" not in apache.get(folder).body.lower()


def test_links_are_not_followed(apache: HttpServer):
    """Not even to what Apache may read."""
    path, secret = f"/results/{fresh_id()}.zip", apache.directory / "results" / f".{fresh_id()}"
    secret.write_bytes(b"secret")
    os.symlink(secret, apache.directory / path[1:])
    assert apache.get(path).status == 404


def test_large_and_chunked_bodies(apache: HttpServer):
    path, body = f"/results/{fresh_id()}.zip", fresh_bytes(20 << 20)
    assert apache.put_chunked(path, body).status == 200
    assert apache.get(path).body == body
    with RawClient(apache.address) as client:
        client.send(client.head("PUT", path, {"Transfer-Encoding": "chunked", "Expect": "100-continue"}))
        assert client.read_response("PUT").status == 100
        client.send(chunked(body[:100_000]))
        assert client.read_final("PUT").status == 200
    assert apache.get(path).body == body[:100_000]


def test_groups_decide_about_what_is_on_the_disk(tmp_path: Path):
    """The application is not asked: what it would say is tested with it."""
    directory = tmp_path / "work"
    body = fresh_bytes()
    paths = {
        f"/tasks/{sha1(body)}": f"tasks/{sha1(body)[0]}/{sha1(body)}",
        "/results/a.zip": "results/a.zip",
        "/submission_archives/a.zip": "submission_archives/a.zip",
    }
    for path in paths.values():
        (directory / path).parent.mkdir(parents=True)
        (directory / path).write_bytes(body)
    env = {"FILESERVER_HTPASSWD_FILE": str(write_htpasswd(tmp_path / "htpasswd"))}
    with reachable_folder() as folder:
        groups = folder / "groups"
        groups.write_text("worker: worker\napi: api\n")
        with apache_server(directory, env=env, options=["--group-file", groups], may_fail=True) as server:
            seen = {
                (user, path): server.get(path, {"Authorization": basic_auth(user, password)}).status
                for user, password in PEOPLE.items()
                for path in paths
            }
    assert {key: status for key, status in seen.items() if status != 200} == {("worker", "/results/a.zip"): 403}


@pytest.fixture(scope="module")
def apache_with_groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HttpServer, Path]]:
    """Apache with a result on its disk, and the group file that it reads for each request."""
    directory, files = tmp_path_factory.mktemp("groups") / "work", tmp_path_factory.mktemp("files")
    (directory / "results").mkdir(parents=True)
    (directory / "results" / "a.zip").write_bytes(b"1")
    (files / "htpasswd").write_text("".join(bcrypt_line(name, "secret") for name in ODD_NAMES))
    (files / "groups").write_text("")
    with apache_server(directory, env={HTPASSWD: str(files / "htpasswd"), GROUPS: str(files / "groups")}) as server:
        yield server, server.directory.parent / GROUPS


WORDS = ["plain", "#a plain", 'a"b', "a'b", "plain,a", "plain\ta", "  plain", '"a b"', "PLAIN a", r"a\b", r"a\\b"]
QUOTED_WORDS = [r'"a\b"', r'"a\\b"', r"'a\b'", r'"a\"b"', r"'a\'b'", r"'a\"b'"]


@pytest.mark.parametrize("words", [*WORDS, *QUOTED_WORDS])
def test_apache_reads_group_files_as_the_application_does(
    apache_with_groups: tuple[HttpServer, Path], words: str
) -> None:
    server, groups = apache_with_groups
    groups.write_text(f"api: {words}\n")
    expected = {name for name in ODD_NAMES if Role.API in parse_groups(groups.read_text()).of(name)}
    headers = {name: {"Authorization": basic_auth(name, "secret")} for name in ODD_NAMES}
    assert {name for name in ODD_NAMES if server.get("/results/a.zip", headers[name]).status == 200} == expected


def test_a_path_with_blanks_and_quotes(tmp_path: Path):
    directory = tmp_path / 'a "strange" $place% & more'
    with apache_server(directory) as server:
        body = fresh_bytes()
        assert server.put("/results/a.zip", body).status == 200
        response = server.get("/results/a.zip")
        assert is_from_disk(response)
        assert response.body == body
        task = server.post_form("/tasks", {"a": body}).json()["files"]["a"]
        assert is_from_disk(server.get(task))


def test_tls(tmp_path: Path):
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=files.example"]
    command += ["-addext", "subjectAltName=DNS:files.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    options = ["--tls-certificate", certificate, "--tls-key", key, "--server-name", "files.example"]
    with apache_server(tmp_path / "work", options=options) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        with socket.create_connection(server.address) as plain:
            with context.wrap_socket(plain, server_hostname="files.example") as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n")
                assert secure.makefile("rb").readline().startswith(b"HTTP/1.1 401 ")
