"""Task files: what is missing, what is damaged, and what the original server left."""

import json
import os

import pytest

from tests.support.checks import assert_problem
from tests.support.messages import form, fresh_bytes, part, sha1
from tests.support.resources import store_as_the_original
from tests.support.targets import Server

# The blocks of the SHAttered attack: two contents with one SHA-1.
COLLIDING_HEAD = bytes.fromhex(
    "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f486569676874"
    "2033203020522f547970652034203020522f537562747970652035203020522f46696c7465722036203020522f43"
    "6f6c6f7253706163652037203020522f4c656e6774682038203020522f42697473506572436f6d706f6e656e7420"
    "383e3e0a73747265616d0affd8fffe00245348412d3120697320646561642121212121852fec092339759c39b1a1"
    "c63c4c97e1fffe01"
)
COLLIDING_TAILS = [
    bytes.fromhex(
        "7f46dc93a6b67e013b029aaa1db2560b45ca67d688c7f84b8c4c791fe02b3df614f86db1690901c56b45c1530afe"
        "dfb76038e972722fe7ad728f0e4904e046c230570fe9d41398abe12ef5bc942be33542a4802d98b5d70f2a332ec3"
        "7fac3514e74ddc0f2cc1a874cd0c78305a21566461309789606bd0bf3f98cda8044629a1"
    ),
    bytes.fromhex(
        "7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fe"
        "dfb3dc38e96ac22fe7bd728f0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf"
        "93ac3500eb4ddc0decc1a864790c782c76215660dd309791d06bd0af3f98cda4bc4629b1"
    ),
]


def upload(server: Server, *contents: bytes) -> list[str]:
    """Store task files; return their names."""
    files = {str(number): content for number, content in enumerate(contents)}
    stored = server.post_form("/tasks", files).json()["files"]
    assert stored == {name: f"/exercises/{sha1(content)}" for name, content in files.items()}
    return [sha1(content) for content in contents]


def ask_missing(server: Server, hashes: object):
    body = json.dumps({"hashes": hashes}).encode()
    headers = {"Content-Type": "application/json"}
    return server.request("POST", "/tasks/missing", body, headers)


def test_missing_are_told_in_the_order_asked(server: Server):
    there, also_there = upload(server, fresh_bytes(), fresh_bytes())
    absent = sorted((sha1(fresh_bytes()) for _ in range(3)), reverse=True)
    asked = [absent[0], there, absent[1], also_there, absent[2]]
    response = ask_missing(server, asked)
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"missing": absent}
    assert ask_missing(server, []).json() == {"missing": []}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b'{"hashes": "x"}',
        b'{"hashes": [1]}',
        b'{"hashes": null}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_missing_with_a_malformed_question(server: Server, body: bytes):
    headers = {"Content-Type": "application/json"}
    response = server.request("POST", "/tasks/missing", body, headers)
    assert_problem(response, "invalid-request", server)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 40, "é" * 40])
def test_missing_with_a_malformed_hash(server: Server, name: str):
    response = ask_missing(server, [name])
    assert response.status in (200, 400)
    if response.status == 200:
        assert response.json() == {"missing": [name]}


def test_task_file_of_the_original_server_is_found(server: Server):
    content = fresh_bytes()
    name = store_as_the_original(server.directory, content).name
    assert server.get(f"/exercises/{name}").body == content
    assert server.get(f"/tasks/{name}").body == content
    assert ask_missing(server, [name]).json() == {"missing": []}
    assert upload(server, content) == [name]


def damage(server: Server, name: str, content: bytes) -> None:
    """Replace the stored bytes, at a time that the file system can tell from that of storing."""
    path = server.directory / "tasks" / name[0] / name
    later = path.stat().st_mtime + 2
    path.write_bytes(content)
    os.utime(path, (later, later))


@pytest.mark.parametrize("size", [0, 999, 1000, 1001])
def test_damaged_task_file_is_not_served(unaided_server: Server, size: int):
    content = fresh_bytes(1000)
    [name] = upload(unaided_server, content)
    damage(unaided_server, name, fresh_bytes(size))
    assert_problem(unaided_server.get(f"/tasks/{name}"), "not-found", unaided_server)
    assert_problem(unaided_server.get(f"/exercises/{name}", {"Range": "bytes=0-1"}), "not-found", unaided_server)
    assert unaided_server.head(f"/tasks/{name}").status == 404
    assert ask_missing(unaided_server, [name]).json() == {"missing": [name]}


def test_damaged_task_file_is_repaired(server: Server):
    content = fresh_bytes()
    [name] = upload(server, content)
    damage(server, name, fresh_bytes())
    assert upload(server, content) == [name]
    assert server.get(f"/tasks/{name}").body == content
    assert ask_missing(server, [name]).json() == {"missing": []}


def test_damage_is_noticed_after_the_file_was_served(unaided_server: Server):
    [name] = upload(unaided_server, fresh_bytes(1000))
    assert unaided_server.get(f"/tasks/{name}").status == 200
    damage(unaided_server, name, fresh_bytes(1000))
    assert unaided_server.get(f"/tasks/{name}").status == 404


def test_other_content_with_the_same_sha1_is_refused(server: Server):
    first, second = (COLLIDING_HEAD + tail for tail in COLLIDING_TAILS)
    assert sha1(first) == sha1(second)
    assert first != second
    [name] = upload(server, first)
    response = server.post_form("/tasks", {"other": second})
    assert_problem(response, "collision", server)
    assert server.get(f"/tasks/{name}").body == first
    assert upload(server, first) == [name]


def test_both_contents_with_one_sha1_in_one_form(server: Server):
    contents = [COLLIDING_HEAD + tail for tail in COLLIDING_TAILS]
    server.delete(f"/tasks/{sha1(contents[0])}")
    response = server.post_form("/tasks", {"1": contents[0], "2": contents[1]})
    assert_problem(response, "collision", server)


def test_first_of_several_task_files_with_one_name_wins(server: Server):
    one, two = fresh_bytes(), fresh_bytes()
    response = server.post_form("/tasks", [("a", one), ("a", two)])
    assert response.json()["files"] == {"a": f"/exercises/{sha1(one)}"}


@pytest.mark.parametrize("name", ["a/../b", "/abs", "..", "back\\slash", 'q"uote', "ä" * 200])
def test_the_name_of_a_task_file_is_only_a_key(server: Server, name: str):
    content = fresh_bytes()
    response = server.post_parts("/tasks", [part(name, content)])
    assert response.json()["files"] == {name: f"/exercises/{sha1(content)}"}
    assert server.get(f"/tasks/{sha1(content)}").body == content


@pytest.mark.parametrize("name", ["a\tb", "\x01", "\x7f", "ä" * 600])
def test_names_that_cannot_be_a_key(server: Server, name: str):
    content = fresh_bytes()
    response = server.post_parts("/tasks", [part("fine", fresh_bytes()), part(name, content)])
    assert response.status == 400
    assert server.get(f"/tasks/{sha1(content)}").status == 404


def test_a_refused_form_stores_no_task_file(server: Server):
    content = fresh_bytes()
    headers, body = form([part("a", content)])
    assert server.request("POST", "/tasks", body[:-10], headers).status == 400
    assert server.get(f"/tasks/{sha1(content)}").status == 404
