"""The files are the truth: what an administrator changes with ordinary tools is told as it is."""

import base64
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.support.checks import archive_files, assert_problem
from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.pool import MakeServer
from tests.support.resources import give_to_the_server
from tests.support.targets import Server


def overwrite(path: Path, content: bytes) -> None:
    """Replace the bytes in place, at a time that the file system can tell from that before."""
    later = path.stat().st_mtime + 2
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, (later, later))


@pytest.mark.parametrize("path", ["results/{}.zip", "attachments/{}", "submissions/{}/a"])
def test_edited_file_has_another_etag_and_no_false_digest(server: Server, path: str):
    name, content = fresh_id(), fresh_bytes(500)
    server.submit(name, {"a": bytes(500)})
    server.put(f"/results/{name}.zip", bytes(500))
    server.put(f"/attachments/{name}", bytes(500))
    path = path.format(name)
    before = server.get(f"/{path}")
    overwrite(server.directory / path, content)
    after = server.get(f"/{path}")
    assert (before.body, after.body) == (bytes(500), content)
    assert after.headers["ETag"] != before.headers["ETag"]
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert after.headers["Repr-Digest"] in (None, f"sha-256=:{digest}:")
    assert server.get(f"/{path}", {"If-None-Match": before.headers["ETag"]}).status == 200


def test_listing_tells_no_false_digest(server: Server):
    name, content = fresh_id(), fresh_bytes(500)
    server.submit(name, {"a": bytes(500)})
    overwrite(server.directory / "submissions" / name / "a", content)
    [file] = server.get(f"/submissions/{name}").json()["files"]
    assert file["sha256"] in (None, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("how", [os.link, os.rename, shutil.copy2])
def test_task_file_under_another_name_is_not_served(unaided_server: Server, how):
    """A restored backup may mix up names; a worker's cache keeps wrong bytes for ever."""
    content, other = fresh_bytes(), sha1(fresh_bytes())
    unaided_server.post_form("/tasks", {"a": content})
    assert unaided_server.get(f"/tasks/{sha1(content)}").status == 200
    (unaided_server.directory / "tasks" / other[0]).mkdir(exist_ok=True)
    how(
        unaided_server.directory / "tasks" / sha1(content)[0] / sha1(content),
        unaided_server.directory / "tasks" / other[0] / other,
    )
    give_to_the_server(unaided_server.directory, "tasks")
    assert_problem(unaided_server.get(f"/tasks/{other}"), "not-found", unaided_server)


def test_good_copy_of_the_original_server_stands_in_for_a_damaged_one(unaided_server: Server):
    content = fresh_bytes()
    name = sha1(content)
    for folder, stored in (("tasks", content[:-1]), ("exercises", content)):
        path = unaided_server.directory / folder / name[0] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored)
    response = unaided_server.get(f"/tasks/{name}")
    assert response.status == 404 or response.body == content


def test_removed_by_hand(server: Server):
    name, content = fresh_id(), fresh_bytes()
    server.submit(name, {"a": b"1", "b": b"2"})
    server.put(f"/results/{name}.zip", b"1")
    server.post_form("/tasks", {"a": content})
    (server.directory / "results" / f"{name}.zip").unlink()
    (server.directory / "tasks" / sha1(content)[0] / sha1(content)).unlink()
    shutil.rmtree(server.directory / "submissions" / name)
    for path in (f"/results/{name}.zip", f"/tasks/{sha1(content)}", f"/submissions/{name}"):
        assert_problem(server.get(path), "not-found", server)
    assert server.submit(name, {"c": b"3"}).status == 200
    assert archive_files(server, name) == {"c": b"3"}


def test_copied_submission_has_an_archive_of_its_own(server: Server):
    name, copy = fresh_id(), fresh_id()
    server.submit(name, {"dir/a": b"1"})
    shutil.copytree(server.directory / "submissions" / name, server.directory / "submissions" / copy)
    give_to_the_server(server.directory, f"submissions/{copy}")
    assert archive_files(server, copy) == {"dir/a": b"1"}


def test_archives_may_be_deleted_at_any_time(make_server: MakeServer):
    server = make_server()
    server.submit("job", {"a": b"1"})
    shutil.rmtree(server.directory / "submission_archives")
    assert archive_files(server, "job") == {"a": b"1"}
    assert server.submit("job", {"a": b"2"}).status == 200
    assert archive_files(server, "job") == {"a": b"2"}


def test_a_link_among_the_files_is_neither_counted_nor_followed(make_server: MakeServer, tmp_path: Path):
    server = make_server()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (server.directory / "results" / "a.zip").symlink_to(tmp_path / "outside" / "secret")
    (server.directory / "submissions" / "job").symlink_to(tmp_path / "outside")
    assert server.put("/results/a.zip", b"12345").status == 200
    assert server.submit("job", {"a": b"123"}).status == 200
    counted = {name: quota["used"] for name, quota in server.get("/limits").json()["quotas"].items()}
    assert (counted["max_results"], counted["max_results_bytes"]) == (1, 5)
    assert (counted["max_submissions"], counted["max_submissions_bytes"]) == (1, 3)
    assert (tmp_path / "outside" / "secret").read_bytes() == b"secret"


def test_a_deleted_link_takes_nothing_off_the_counters(make_server: MakeServer, tmp_path: Path):
    server = make_server()
    (server.directory / "results" / "a.zip").symlink_to(tmp_path)
    server.delete("/results/a.zip")
    assert server.get("/limits").json()["quotas"]["max_results_bytes"]["used"] == 0


def test_a_folder_in_the_place_of_a_file_is_told(make_server: MakeServer):
    server = make_server()
    (server.directory / "results" / "a.zip").mkdir()
    (server.directory / "submission_archives" / "job.zip").mkdir()
    assert_problem(server.put("/results/a.zip", b"1"), "obstructed", server)
    assert_problem(server.get("/results/a.zip"), "not-found", server)
    assert_problem(server.delete("/results/a.zip"), "not-found", server)
    assert_problem(server.submit("job", {"a": b"1"}), "obstructed", server)
    assert server.delete("/submissions/job").status == 204
