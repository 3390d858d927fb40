"""What the original server (1.2.1) got wrong, and what is promised here: a test for each of its 25 defects."""

import os
from pathlib import Path

import pytest

from fileserver.core.errors import SettingsError
from tests.support.checks import archive_entries, archive_files, assert_problem, stored_names, submission_files
from tests.support.clients import RawClient, put_blocks
from tests.support.credentials import PEOPLE, apr1_line, bcrypt_line
from tests.support.hammer import Hammer, together
from tests.support.memory import peak_bytes
from tests.support.messages import basic_auth, form, fresh_bytes, fresh_id, join_parts, part, sha1
from tests.support.pool import MakeServer
from tests.support.servers import wait_until
from tests.support.targets import HttpServer, Server

MIB = 1024 * 1024
ZIP = "/submission_archives/{}.zip"


def test_part_names_cannot_leave_the_submission(server: Server):
    """Row 1: nor replace another job's configuration, nor forge a task file."""
    victim, name = fresh_id(), fresh_id()
    server.submit(victim, {"job-config.yml": b"good"})
    before = stored_names(server.directory)
    outside = server.directory.with_name(f"outside-{name}")
    forged = f"../../tasks/a/{'a' * 40}"
    for path in ("../../x", str(outside), f"../{victim}/job-config.yml", forged, f"../../{name}"):
        response = server.submit(name, {"a": b"1", path: b"bad"})
        assert_problem(response, "invalid-name", server)
    assert submission_files(server, victim) == {"job-config.yml": b"good"}
    assert stored_names(server.directory) == before
    assert not outside.exists()


@pytest.mark.parametrize("dots", ["%2e%2e", "%2e", ".."])
def test_ids_cannot_leave_their_folder(server: Server, dots: str):
    """Row 2."""
    before = stored_names(server.directory)
    assert 400 <= server.submit(dots, {"a": b"bad"}).status < 500
    assert 400 <= server.put(f"/results/{dots}", b"bad").status < 500
    assert 400 <= server.put(f"/attachments/{dots}", b"bad").status < 500
    assert stored_names(server.directory) == before


def test_reading_creates_nothing(server: Server):
    """Row 3."""
    before = stored_names(server.directory)
    for method in ("GET", "HEAD"):
        assert server.request(method, f"/submissions/{fresh_id()}").status == 404
        assert server.request(method, f"/submissions/{fresh_id()}/a").status == 404
    assert stored_names(server.directory) == before


def test_archive_of_an_unknown_submission_is_never_cached(server: Server):
    """Row 4: the original made an empty archive of its own failure, and served it for ever."""
    name = fresh_id()
    for _ in range(3):
        assert_problem(server.get(ZIP.format(name)), "not-found", server)
    server.submit(name, {"a": b"now"})
    assert archive_files(server, name) == {"a": b"now"}


def test_archive_follows_the_submission_at_once(server: Server):
    """Row 5."""
    name, etags = fresh_id(), set()
    for content in (b"one", b"two"):
        server.submit(name, {"a": content})
        assert archive_files(server, name) == {"a": content}
        etags.add(server.get(ZIP.format(name)).headers["ETag"])
    assert len(etags) == 2


def test_archive_is_whole_or_not_there(gunicorn: HttpServer):
    """Row 6: 25 of 30 readers right after a large submission got a truncated archive, with 200."""
    name, content = fresh_id(), fresh_bytes(6 * MIB)

    def read() -> int:
        response = gunicorn.get(ZIP.format(name))
        if response.status == 200:
            assert archive_entries(response)[f"{name}/a"] == content
        return response.status

    with Hammer(read, threads=4) as readers:
        assert gunicorn.submit(name, {"a": content}).status == 200
    assert set(readers.results) <= {200, 404}
    assert together(*[read] * 6) == [200] * 6


def test_task_file_is_served_only_when_it_is_whole(real_server: HttpServer):
    """Row 7."""
    content = fresh_bytes(400_000)
    headers, body = form([part("a", content)])
    with RawClient(real_server.address) as client:
        client.send(client.head("POST", "/exercises", headers | {"Content-Length": str(len(body))}) + body[:-1])
        assert wait_until(lambda: bool(real_server.transactions()))
        assert real_server.get(f"/exercises/{sha1(content)}").status == 404
        client.send(body[-1:])
        assert client.read_final("POST").status == 200
    assert real_server.get(f"/exercises/{sha1(content)}").body == content


def test_damaged_task_file_is_repaired_by_sending_it_again(unaided_server: Server):
    """Row 8."""
    content = fresh_bytes()
    unaided_server.post_form("/exercises", {"a": content})
    stored = unaided_server.directory / "tasks" / sha1(content)[0] / sha1(content)
    stored.write_bytes(content[:500])
    assert_problem(unaided_server.get(f"/exercises/{sha1(content)}"), "not-found", unaided_server)
    assert unaided_server.post_form("/exercises", {"a": content}).status == 200
    assert unaided_server.get(f"/exercises/{sha1(content)}").body == content
    assert stored.read_bytes() == content


def test_concurrent_results_are_never_mixed(gunicorn: HttpServer):
    """Row 9: 191 of 246 such requests failed, and 9 of 41 stored results were mixtures."""
    path = f"/results/{fresh_id()}.zip"
    for _ in range(4):
        bodies = [bytes([65 + writer]) * (300_000 + writer) for writer in range(8)]
        responses = together(*[lambda body=body: gunicorn.put(path, body) for body in bodies])
        assert [response.status for response in responses] == [200] * 8
        assert gunicorn.get(path).body in bodies
    assert gunicorn.put(path, b"last").status == 200
    assert gunicorn.get(path).body == b"last"


def test_result_of_a_dying_worker_does_not_replace_the_good_one(real_server: HttpServer):
    """Row 10."""
    path = f"/results/{fresh_id()}.zip"
    real_server.put(path, b"good")
    with RawClient(real_server.address) as client:
        client.send(client.head("PUT", path, {"Content-Length": "1000000"}) + bytes(400_000))
        assert wait_until(lambda: bool(real_server.transactions()))
    assert wait_until(lambda: not real_server.transactions())
    assert real_server.get(path).body == b"good"


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html", "", "x"]
)
def test_result_is_stored_whatever_its_content_type(server: Server, content_type: str):
    """Row 11: the default type of ``curl --data-binary`` stored 0 bytes, with 200."""
    path = f"/results/{fresh_id()}.zip"
    assert server.put(path, b"a=1&b=2", {"Content-Type": content_type}).status == 200
    assert server.get(path).body == b"a=1&b=2"


def test_memory_does_not_grow_with_the_body(real_server: HttpServer):
    """Row 12: 200 MiB needed 270 MiB of memory. Processes of the server are measured."""
    path = f"/results/{fresh_id()}.zip"
    real_server.put(path, bytes(MIB))
    before = peak_bytes(real_server.pid)
    assert put_blocks(real_server.address, path, bytes(MIB), count=96).status == 200
    assert len(real_server.get(path).body) == 96 * MIB
    after = peak_bytes(real_server.pid)
    assert max(after[pid] - before[pid] for pid in before) < 16 * MIB
    assert real_server.delete(path).status == 204


def test_only_a_whole_form_is_a_submission(server: Server):
    """Row 13: each of these stored an empty submission, with 200."""
    name, whole = fresh_id(), join_parts([part("a", b"1")], "xyz")
    multipart = "multipart/form-data; boundary=xyz"
    forms = [(multipart, whole[:-8]), (multipart, b""), ("multipart/form-data", whole), ("", whole)]
    others = [("application/x-www-form-urlencoded", b"a=1"), ("application/json", b"{}")]
    for content_type, body in forms + others:
        headers = {"Content-Type": content_type} if content_type else {}
        response = server.request("POST", f"/submissions/{name}", body, headers)
        assert response.status in (400, 415), (content_type, body)
        assert submission_files(server, name) is None


def test_part_without_filename_is_stored(server: Server):
    """Row 14."""
    name = fresh_id()
    parts = [part("a", b"1", filename=None), part("b", b"2")]
    assert server.post_parts(f"/submissions/{name}", parts).status == 200
    assert submission_files(server, name) == {"a": b"1", "b": b"2"}


def test_names_are_literal_and_a_preamble_loses_nothing(server: Server):
    """Row 15: ``q"uote.c`` became ``q``, and ``back\\slash.c`` became ``backslash.c``."""
    name = fresh_id()
    headers, body = form([part('q"uote.c', b"1", filename='q"uote.c'), part("b", b"2")])
    response = server.request("POST", f"/submissions/{name}", b"preamble\r\n" + body, headers)
    assert response.status == 200
    assert submission_files(server, name) == {'q"uote.c': b"1", "b": b"2"}
    assert server.submit(name, {"back\\slash.c": b"3"}).status == 400
    assert submission_files(server, name) == {'q"uote.c': b"1", "b": b"2"}


@pytest.mark.parametrize("bad", ["", ".", "dir/", "fine/b", "x" * 300, "a\x00b"])
def test_impossible_names_keep_the_previous_submission(server: Server, bad: str):
    """Row 16: the original failed with 500, and kept the parts before."""
    name = fresh_id()
    server.submit(name, {"old": b"good"})
    response = server.submit(name, {"fine": b"1", bad: b"2"})
    assert response.status == 400
    assert submission_files(server, name) == {"old": b"good"}
    assert archive_files(server, name) == {"old": b"good"}


@pytest.mark.parametrize("bad", ["x" * 300, "a%00b", "a%ffb", "a%C3%28b"])
def test_impossible_ids_are_refused(server: Server, bad: str):
    """Row 17: invalid UTF-8 was mapped to one character, so that ids collided."""
    before = stored_names(server.directory)
    assert 400 <= server.submit(bad, {"a": b"1"}).status < 500
    assert 400 <= server.put(f"/results/{bad}.zip", b"1").status < 500
    assert 400 <= server.put(f"/attachments/{bad}", b"1").status < 500
    assert stored_names(server.directory) == before


@pytest.mark.parametrize("extension", [".tar.gz", ".html", "", ".zip.part", ".ZIP"])
def test_archives_are_zip_files_only(server: Server, extension: str):
    """Row 18."""
    name = fresh_id()
    server.submit(name, {"a": b"1"})
    before = stored_names(server.directory)
    assert_problem(server.get(f"/submission_archives/{name}{extension}"), "not-found", server)
    assert stored_names(server.directory) == before


def test_temporary_names_are_outside_the_name_space(server: Server):
    """Row 19: a result named ``x.zip.part`` was lost by the next PUT of ``x.zip``."""
    name = fresh_id()
    suffixes = ["zip.part", "zip.tmp", "zip~", "zip"]
    for suffix in [*suffixes, "zip"]:
        assert server.put(f"/results/{name}.{suffix}", suffix.encode()).status == 200
    for suffix in suffixes:
        assert server.get(f"/results/{name}.{suffix}").body == suffix.encode()


def test_stored_content_is_never_a_page(server: Server):
    """Row 20."""
    path = f"/results/{fresh_id()}.html"
    server.put(path, b"<script>alert(1)</script>", {"Content-Type": "text/html"})
    headers = server.get(path).headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


def test_a_part_is_not_stored_as_the_whole(server: Server):
    """Row 21."""
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"whole")
    response = server.put(path, b"wh", {"Content-Range": "bytes 0-1/5"})
    assert_problem(response, "invalid-request", server)
    assert server.get(path).body == b"whole"


@pytest.mark.parametrize("path", ["/", "/results/a.zip", "/tasks", f"/{fresh_id()}", "/%2e%2fx"])
def test_credentials_cover_every_path(secured_server: Server, path: str):
    """Row 22, first half."""
    for headers in ({}, {"Authorization": basic_auth("worker", "wrong")}):
        response = secured_server.put(path, b"1", headers)
        assert_problem(response, "unauthorized", secured_server)
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
    for person in PEOPLE.items():
        assert secured_server.get(path, {"Authorization": basic_auth(*person)}).status != 401


@pytest.mark.parametrize("line", [bcrypt_line, apr1_line])
def test_the_password_of_the_original_is_refused(make_server: MakeServer, tmp_path: Path, line):
    """Row 22, second half: the server does not start with the shipped pair ``re``/``codex``."""
    (tmp_path / "htpasswd").write_text(line("re", "codex"))
    with pytest.raises(SettingsError):
        make_server(auth={"htpasswd_file": str(tmp_path / "htpasswd")})


def test_many_parts_are_all_stored_or_none(server: Server):
    """Row 23."""
    name = fresh_id()
    assert server.submit(name, {str(number): b"" for number in range(1000)}).status == 200
    response = server.submit(name, {f"x{number}": b"" for number in range(1100)})
    assert "max_parts" in assert_problem(response, "limit-exceeded", server)["detail"]
    assert len(server.get(f"/submissions/{name}").json()["files"]) == 1000
    assert len(os.listdir(server.directory / "submissions" / name)) == 1000


def test_only_what_never_changes_is_cached(server: Server):
    """Row 24."""
    name, content = fresh_id(), fresh_bytes()
    server.submit(name, {"a": b"1"})
    server.put(f"/results/{name}.zip", b"1")
    server.post_form("/exercises", {"a": content})
    for path in (ZIP.format(name), f"/results/{name}.zip", f"/submissions/{name}/a"):
        assert server.get(path).headers["Cache-Control"] == "no-cache"
    headers = server.get(f"/exercises/{sha1(content)}").headers
    assert headers["Cache-Control"] == "max-age=31536000, immutable"


def test_length_that_is_no_number_is_refused(server: Server):
    """Row 25."""
    path = f"/results/{fresh_id()}.zip"
    assert server.request("PUT", path, b"01234", {"Content-Length": "abc"}).status == 400
    assert server.get(path).status == 404
