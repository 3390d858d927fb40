"""The requests of the original protocol and their answers, one after the other."""

import os
import re

import pytest

from tests.support.checks import archive_entries, assert_problem
from tests.support.messages import form, fresh_bytes, fresh_id, sha1
from tests.support.targets import Server


def assert_json(response, members) -> None:
    assert response.status == 200, response
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == str(len(response.body))
    assert response.body.endswith(b"\n")
    assert response.json() == members


def test_submission_is_stored(server: Server):
    name = fresh_id()
    response = server.submit(name, {"main.c": b"int main;", "job-config.yml": b"tasks: []"})
    paths = {
        "archive_path": f"/submission_archives/{name}.zip",
        "result_path": f"/results/{name}.zip",
    }
    assert_json(response, paths)
    stored = server.directory / "submissions" / name
    assert (stored / "main.c").read_bytes() == b"int main;"
    assert (stored / "job-config.yml").read_bytes() == b"tasks: []"


def test_paths_of_a_submission_are_percent_encoded(server: Server):
    name = fresh_id()
    response = server.submit(f"{name}%20%C3%A4%3F%23", {"a": b"1"})
    paths = response.json()
    assert paths["archive_path"] == f"/submission_archives/{name}%20%C3%A4%3F%23.zip"
    assert paths["result_path"] == f"/results/{name}%20%C3%A4%3F%23.zip"
    assert server.get(paths["archive_path"]).status == 200
    assert server.put(paths["result_path"], b"x").status == 200
    assert server.get(paths["result_path"]).body == b"x"


def test_the_first_of_several_parts_with_one_name_wins(server: Server):
    name = fresh_id()
    files = [("a", b"first"), ("b", b"other"), ("a", b"second, which is longer")]
    assert server.submit(name, files).status == 200
    assert server.get(f"/submissions/{name}/a").body == b"first"
    assert server.get(f"/submissions/{name}/b").body == b"other"


def test_a_repeated_id_replaces_the_submission(server: Server):
    name = fresh_id()
    server.submit(name, {"old.c": b"old", "both.c": b"old"})
    assert server.submit(name, {"both.c": b"new"}).status == 200
    assert server.get(f"/submissions/{name}/both.c").body == b"new"
    assert server.get(f"/submissions/{name}/old.c").status == 404
    assert not (server.directory / "submissions" / name / "old.c").exists()


def test_archive_holds_the_submission(server: Server):
    name = fresh_id()
    server.submit(name, {"main.c": b"int", "dir/sub/inner.c": b"", "job-config.yml": b"j" * 999})
    response = server.get(f"/submission_archives/{name}.zip")
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["Content-Length"] == str(len(response.body))
    entries = archive_entries(response)
    assert entries == {
        f"{name}/": b"",
        f"{name}/dir/": b"",
        f"{name}/dir/sub/": b"",
        f"{name}/dir/sub/inner.c": b"",
        f"{name}/job-config.yml": b"j" * 999,
        f"{name}/main.c": b"int",
    }
    order = list(entries)
    assert all(order.index(f"{os.path.dirname(e.rstrip('/'))}/") < order.index(e) for e in order[1:])
    assert len(response.body) < 1500, "the entries are deflated"


def test_archive_of_an_empty_submission(server: Server):
    name = fresh_id()
    assert server.post_parts(f"/submissions/{name}", []).status == 200
    assert archive_entries(server.get(f"/submission_archives/{name}.zip")) == {f"{name}/": b""}


@pytest.mark.parametrize("extension", ["zip", "tar.gz", "part", "x y", "ZIP"])
def test_result_comes_back_as_it_was_sent(server: Server, extension: str):
    path = f"/results/{fresh_id()}.{extension}".replace(" ", "%20")
    content = fresh_bytes(70_000)
    assert_json(server.put(path, content), {"result": "OK"})
    response = server.get(path)
    assert response.body == content
    assert response.headers["Content-Length"] == "70000"
    media_type = "application/zip" if extension == "zip" else "application/octet-stream"
    if extension != "ZIP":
        assert response.headers["Content-Type"] == media_type


def test_result_is_overwritten(server: Server):
    path = f"/results/{fresh_id()}.zip"
    for content in (b"a longer first", b"second", b""):
        assert server.put(path, content).status == 200
        assert server.get(path).body == content


def test_result_that_is_not_there(server: Server):
    assert_problem(server.get(f"/results/{fresh_id()}.zip"), "not-found", server)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_result_needs_an_extension(server: Server, method: str):
    path = f"/results/{fresh_id()}"
    assert 400 <= server.request(method, path, b"").status < 500


def test_result_sent_in_chunks(server: Server):
    path, content = f"/results/{fresh_id()}.zip", fresh_bytes(40_000)
    assert_json(server.put_chunked(path, content), {"result": "OK"})
    assert server.get(path).body == content


@pytest.mark.parametrize("path", ["/exercises", "/tasks"])
def test_task_files_are_named_by_their_content(server: Server, path: str):
    one, two = fresh_bytes(), fresh_bytes(30_000)
    files = {"1.in": one, "dir/2 ä.in": two, "again": one}
    urls = {name: f"/exercises/{sha1(content)}" for name, content in files.items()}
    assert_json(server.post_form(path, files), {"files": urls, "result": "OK"})
    stored = server.directory / "tasks" / sha1(one)[0] / sha1(one)
    assert stored.read_bytes() == one


@pytest.mark.parametrize("path", ["/exercises", "/tasks"])
def test_no_task_files(server: Server, path: str):
    empty = {"files": {}, "result": "OK"}
    assert_json(server.post_parts(path, []), empty)
    assert_json(server.get(path), empty)


@pytest.mark.parametrize("prefix", ["/exercises/", "/tasks/"])
def test_task_file_is_served(server: Server, prefix: str):
    content = fresh_bytes()
    server.post_form("/exercises", {"a": content})
    response = server.get(prefix + sha1(content))
    assert (response.status, response.body) == (200, content)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["ETag"]
    assert response.headers["Last-Modified"]


def test_task_files_are_known_by_lower_case_digits_only(server: Server):
    content = fresh_bytes()
    server.post_form("/exercises", {"a": content})
    assert_problem(server.get(f"/exercises/{sha1(content).upper()}"), "not-found", server)
    assert_problem(server.get(f"/tasks/{sha1(content)[:39]}"), "not-found", server)
    assert_problem(server.get(f"/tasks/{sha1(fresh_bytes())}"), "not-found", server)


def test_attachment_comes_back_as_it_was_sent(server: Server):
    path, content = f"/attachments/{fresh_id()}", fresh_bytes()
    assert_problem(server.get(path), "not-found", server)
    assert_json(server.put(path, content), {"result": "OK"})
    assert server.get(path).body == content
    assert (server.directory / path[1:]).read_bytes() == content


def test_empty_files_are_kept(server: Server):
    name = fresh_id()
    assert server.submit(name, {"empty": b""}).status == 200
    response = server.get(f"/submissions/{name}/empty")
    assert (response.status, response.body) == (200, b"")
    assert response.headers["Content-Length"] == "0"


IDS = ["%20a%20b", "a.b.c", "%C3%A4%E2%82%AC", "UPPER", ".hidden", "...", "%25", "a%2Bb", "~", "-"]


@pytest.mark.parametrize("suffix", IDS)
def test_unusual_ids(server: Server, suffix: str):
    name = suffix + fresh_id("")
    assert server.submit(name, {"a": suffix.encode()}).status == 200
    assert server.get(f"/submissions/{name}/a").body == suffix.encode()
    assert server.get(f"/submission_archives/{name}.zip").status == 200
    assert server.put(f"/results/{name}.zip", b"r").status == 200
    assert server.put(f"/attachments/{name}", b"t").status == 200
    assert server.get(f"/results/{name}.zip").body == b"r"
    assert server.get(f"/attachments/{name}").body == b"t"


def test_ids_differ_by_case(server: Server):
    name = fresh_id()
    server.submit(name, {"a": b"lower"})
    assert server.get(f"/submissions/{name.upper()}").status == 404
    server.submit(name.upper(), {"a": b"upper"})
    assert server.get(f"/submissions/{name}/a").body == b"lower"


def test_an_encoded_slash_is_no_part_of_an_id(server: Server):
    name = fresh_id()
    assert server.submit(f"{name}%2fb", {"a": b"x"}).status in (404, 405)
    for folder in ("results", "attachments"):
        assert server.put(f"/{folder}/{name}%2fb.zip", b"x").status == 404
        assert server.get(f"/{folder}/{name}%2fb.zip").status == 404
    assert server.get(f"/submission_archives/{name}%2fb.zip").status == 404


REDIRECT_TEMPTATIONS = [
    ("PUT", "/results/{}.zip/"),
    ("PUT", "//results/{}.zip"),
    ("PUT", "/results//{}.zip"),
    ("POST", "/submissions/{}/"),
    ("POST", "//submissions/{}"),
    ("POST", "/exercises/"),
    ("GET", "/exercises/"),
    ("GET", "//"),
    ("GET", "/static"),
    ("GET", "/submissions//{}"),
]


@pytest.mark.parametrize(("method", "path"), REDIRECT_TEMPTATIONS)
def test_nothing_is_ever_redirected(server: Server, method: str, path: str):
    headers, body = form([]) if method == "POST" else ({}, b"x" if method == "PUT" else b"")
    response = server.request(method, path.format(fresh_id()), body, headers)
    assert not 300 <= response.status < 400
    assert "Location" not in response.headers


def test_times_are_told_in_the_format_of_http(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"x")
    date = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    assert re.fullmatch(date, server.get(path).headers["Last-Modified"])
