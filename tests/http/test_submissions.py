"""What a submission shows of itself, how it is replaced, and its files one by one."""

import hashlib

from tests.support.checks import (
    archive_entries,
    archive_files,
    assert_problem,
    stored_names,
    submission_files,
)
from tests.support.messages import fresh_bytes, fresh_id, part
from tests.support.targets import Server


def test_listing(server: Server):
    name, content = fresh_id(), fresh_bytes(42)
    server.submit(name, {"dir/inner.c": content, "ä b?.c": b""})
    response = server.get(f"/submissions/{name}")
    assert response.headers["Content-Type"] == "application/json"
    assert response.body.endswith(b"\n")
    listing = response.json()
    assert listing.keys() == {"archive_path", "files", "id"}
    assert listing["id"] == name
    assert listing["archive_path"] == f"/submission_archives/{name}.zip"
    files = {file["name"]: file for file in listing["files"]}
    assert files.keys() == {"dir/inner.c", "ä b?.c"}
    inner = files["dir/inner.c"]
    assert inner.keys() == {"name", "sha256", "size", "url"}
    assert inner["size"] == 42
    assert inner["sha256"] in (None, hashlib.sha256(content).hexdigest())
    assert inner["url"] == f"/submissions/{name}/dir/inner.c"
    assert files["ä b?.c"]["url"] == f"/submissions/{name}/%C3%A4%20b%3F.c"
    assert server.get(files["ä b?.c"]["url"]).status == 200


def test_listing_of_an_id_that_needs_quoting(server: Server):
    name = fresh_id()
    server.submit(f"{name}%20%C3%A4", {"a": b"1"})
    listing = server.get(f"/submissions/{name}%20%C3%A4").json()
    assert listing["id"] == f"{name} ä"
    assert listing["archive_path"] == f"/submission_archives/{name}%20%C3%A4.zip"
    assert listing["files"][0]["url"] == f"/submissions/{name}%20%C3%A4/a"


def test_listing_of_an_empty_submission(server: Server):
    name = fresh_id()
    server.post_parts(f"/submissions/{name}", [])
    assert server.get(f"/submissions/{name}").json()["files"] == []


def test_files_that_are_not_there(server: Server):
    name = fresh_id()
    server.submit(name, {"dir/a": b"1"})
    paths = ["/b", "/dir", "/dir/", "/dir/a/", "/dir/a/b", "/", "/dir//a", "/dir/%2e%2e/dir/a"]
    for path in paths:
        response = server.get(f"/submissions/{name}{path}")
        assert response.status in (400, 404), path
    assert_problem(server.get(f"/submissions/{fresh_id()}/a"), "not-found", server)
    assert_problem(server.get(f"/submissions/{fresh_id()}"), "not-found", server)


def test_files_are_readable_by_their_literal_names(server: Server):
    name = fresh_id()
    server.submit(name, {'q"uote.c': b"1", "per%22cent.c": b"2", "a+b c.c": b"3"})
    assert server.get(f"/submissions/{name}/q%22uote.c").body == b"1"
    assert server.get(f"/submissions/{name}/per%2522cent.c").body == b"2"
    assert server.get(f"/submissions/{name}/a+b%20c.c").body == b"3"
    assert archive_files(server, name).keys() == {'q"uote.c', "per%22cent.c", "a+b c.c"}


def test_a_refused_submission_leaves_the_previous_one(server: Server):
    name = fresh_id()
    server.submit(name, {"a": b"good", "old": b"good"})
    before = stored_names(server.directory)
    etag = server.get(f"/submission_archives/{name}.zip").headers["ETag"]
    response = server.submit(name, {"a": b"bad", "../x": b"bad"})
    assert_problem(response, "invalid-name", server)
    assert submission_files(server, name) == {"a": b"good", "old": b"good"}
    assert server.get(f"/submission_archives/{name}.zip").headers["ETag"] == etag
    assert stored_names(server.directory) == before


def test_a_file_becomes_a_folder_in_the_next_submission(server: Server):
    name = fresh_id()
    for files in ({"a": b"1"}, {"a/b": b"2"}, {"a": b"3"}):
        assert server.submit(name, files).status == 200
        assert submission_files(server, name) == files
        assert archive_files(server, name) == files


def test_archive_that_was_removed_is_rebuilt(server: Server):
    name = fresh_id()
    server.submit(name, {"dir/a": b"1"})
    path = f"/submission_archives/{name}.zip"
    entries = archive_entries(server.get(path))
    (server.directory / path[1:]).unlink()
    assert server.head(path).status == 200
    assert archive_entries(server.get(path)) == entries


def test_submission_of_the_original_server_is_taken_over(server: Server):
    name = fresh_id()
    folder = server.directory / "submissions" / name
    (folder / "dir").mkdir(parents=True)
    (folder / "dir" / "a.c").write_bytes(b"old")
    (folder / "job-config.yml").write_bytes(b"tasks: []")
    files = {"dir/a.c": b"old", "job-config.yml": b"tasks: []"}
    assert submission_files(server, name) == files
    assert archive_files(server, name) == files


def test_content_is_kept_whatever_part_headers_say(server: Server):
    name, content = fresh_id(), b"\r\n--\r\nAGE=\xff"
    headers = {"Content-Type": "text/html; charset=utf-16", "X-Other": "1"}
    assert server.post_parts(f"/submissions/{name}", [part("a", content, headers=headers)]).status == 200
    assert server.get(f"/submissions/{name}/a").body == content
