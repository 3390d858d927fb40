"""Names of files and ids: literal, or refused with 400 and nothing stored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.checks import (
    archive_files,
    assert_problem,
    assert_tells_no_secret,
    stored_names,
    submission_files,
)
from tests.support.messages import fresh_id, part
from tests.support.targets import Server

GOOD = [
    "a b.c",
    "ä/€/😀",
    'q"uote.c',
    "per%22cent.c",
    "%2e%2e",
    "..a/...",
    ".hidden",
    "dir/sub/0",
    "semi;colon=1",
    "a,b",
    "'single'",
    " leading",
    "trailing ",
    "trailing.",
    "~",
    "*?<>|:",
    "nul",
    "C:",
    "-rf",
    "x" * 255,
    "/".join(["d" * 30] * 32),
    "e\u0301",
    "\u202e",
]
BAD = [
    "",
    ".",
    "..",
    "/",
    "/abs",
    "dir/",
    "a//b",
    "./a",
    "a/.",
    "../x",
    "../../x",
    "a/../../x",
    "a/..",
    "back\\slash.c",
    "..\\x",
    "a\x00b",
    "a\tb",
    "\x7f",
    "\x1b[0m",
    "x" * 256,
    "ä" * 128,
    "/".join(["d" * 100] * 11),
    "/".join(["d"] * 33),
]


@pytest.mark.parametrize("path", GOOD)
def test_good_names_are_literal(server: Server, path: str):
    name = fresh_id()
    assert server.submit(name, {path: b"content"}).status == 200
    assert submission_files(server, name) == {path: b"content"}
    assert archive_files(server, name) == {path: b"content"}
    assert (server.directory / "submissions" / name / path).read_bytes() == b"content"


@pytest.mark.parametrize("path", BAD)
def test_bad_names_store_nothing(server: Server, path: str):
    name = fresh_id()
    before = stored_names(server.directory)
    parts = [part("fine", b"1"), part(path, b"2", filename="x"), part("also fine", b"3")]
    response = server.post_parts(f"/submissions/{name}", parts)
    assert response.status == 400
    kind = response.json()["type"].rpartition(":")[2]
    assert kind in ("invalid-name", "invalid-request")
    assert_problem(response, kind, server)
    assert stored_names(server.directory) == before
    assert submission_files(server, name) is None


def test_name_that_is_not_utf8(server: Server):
    raw = part("a?b", b"1").replace(b"a?b", b"a\xffb")
    response = server.post_parts(f"/submissions/{fresh_id()}", [raw])
    assert_problem(response, "invalid-name", server)


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["x/y/z", "x/y"], ["x", "x/y/z"]])
def test_a_file_cannot_be_the_folder_of_another(server: Server, names: list[str]):
    name = fresh_id()
    server.submit(name, {"old": b"1"})
    response = server.submit(name, dict.fromkeys(names, b"2"))
    assert_problem(response, "invalid-name", server)
    assert submission_files(server, name) == {"old": b"1"}


def test_the_detail_names_the_part(server: Server):
    response = server.submit(fresh_id(), {"fine": b"", "bad/../name": b""})
    assert "bad/../name" in assert_problem(response, "invalid-name", server)["detail"]


@settings(max_examples=150, deadline=None)
@given(st.text(st.one_of(st.sampled_from('./\\"; =%'), st.characters(codec="utf-8")), max_size=12))
def test_any_name_is_literal_or_refused(flask_server: Server, path: str):
    name = fresh_id()
    response = flask_server.submit(name, {path: b"content"})
    if response.status == 200:
        assert submission_files(flask_server, name) == {path: b"content"}
        assert archive_files(flask_server, name) == {path: b"content"}
    else:
        assert response.status == 400
        assert submission_files(flask_server, name) is None


BAD_IDS = ["%2e", "%2e%2e", "a%00b", "%00", "a%0ab", "a%5cb", "%ff", "a%C3%28", "%7f", "x" * 300, "%C3%A4" * 150]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("folder", ["submissions", "results", "attachments", "submission_archives"])
def test_bad_ids_are_refused(server: Server, bad: str, folder: str):
    before = stored_names(server.directory)
    name = f"{bad}.zip" if folder in ("results", "submission_archives") else bad
    if folder == "results" and bad in ("%2e", "%2e%2e"):
        name = bad
    path = f"/{folder}/{name}"
    if folder == "submissions":
        responses = [server.submit(bad, {"a": b"1"})]
    elif folder == "submission_archives":
        responses = []
    else:
        responses = [server.put(path, b"1")]
    for response in [*responses, server.get(path), server.request("DELETE", path)]:
        assert 400 <= response.status < 500, response
        assert_tells_no_secret(response, server)
    assert stored_names(server.directory) == before


@pytest.mark.parametrize("length", [251, 252, 255, 256])
def test_an_id_leaves_room_for_its_archive(server: Server, length: int):
    name = fresh_id("x" * 200).ljust(length, "x")
    status = server.submit(name, {"a": b"1"}).status
    assert status == (200 if length <= 251 else 400)
    if status == 200:
        assert archive_files(server, name) == {"a": b"1"}


def test_ids_are_not_normalised(server: Server):
    name = fresh_id()
    composed, decomposed = f"{name}%C3%A9", f"{name}e%CC%81"
    server.submit(composed, {"a": b"1"})
    assert server.get(f"/submissions/{decomposed}").status == 404
