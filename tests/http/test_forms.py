"""Forms: what is understood literally, and what is refused with nothing stored."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.checks import assert_problem, stored_names, submission_files
from tests.support.messages import Response, form, fresh_id, join_parts, part
from tests.support.targets import Server

BOUNDARY = "0123456789abcdef0123456789abcdef01234567"
BODY = join_parts([part("a", b"1"), part("b", b"2")], BOUNDARY)


def post(server: Server, name: str, content_type: str | None, body: bytes) -> Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return server.request("POST", f"/submissions/{name}", body, headers)


def post_body(server: Server, name: str, body: bytes) -> Response:
    return post(server, name, f"multipart/form-data; boundary={BOUNDARY}", body)


def assert_refused(server: Server, content_type: str | None, body: bytes, kinds: Iterable[str]):
    """Check that a form is refused and that neither a new nor an old submission is touched."""
    name = fresh_id()
    before = stored_names(server.directory)
    response = post(server, name, content_type, body)
    assert response.status >= 400, response
    kind = response.json()["type"].rpartition(":")[2]
    assert kind in kinds
    assert_problem(response, kind, server)
    assert stored_names(server.directory) == before
    assert submission_files(server, name) is None


@pytest.mark.parametrize(
    "content_type",
    [
        f"multipart/form-data; boundary={BOUNDARY}",
        f'multipart/form-data; boundary="{BOUNDARY}"',
        f"Multipart/Form-Data; charset=utf-8; Boundary={BOUNDARY}",
        f"multipart/form-data;boundary={BOUNDARY}",
    ],
)
def test_ways_to_write_the_content_type(server: Server, content_type: str):
    name = fresh_id()
    assert post(server, name, content_type, BODY).status == 200
    assert submission_files(server, name) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/mixed"],
)
def test_what_is_no_form_is_refused(server: Server, content_type: str | None):
    kinds = ["unsupported-media-type", "invalid-request"]
    assert_refused(server, content_type, b"a=1", kinds)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary=""'],
)
def test_a_form_needs_a_boundary(server: Server, content_type: str):
    assert_refused(server, content_type, BODY, ["invalid-request", "unsupported-media-type"])


@pytest.mark.parametrize("path", ["/tasks", "/exercises"])
def test_task_files_need_a_form_too(server: Server, path: str):
    response = server.request("POST", path, b"{}", {"Content-Type": "application/json"})
    assert_problem(response, "unsupported-media-type", server)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 20, 44, 45, 47, 60, len(BODY) - 10, len(BODY)])
def test_a_form_without_its_end_is_refused(server: Server, cut: int):
    kinds = ["incomplete-body", "invalid-request"]
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    body = BODY[:-cut]
    if body.endswith(f"{BOUNDARY}--".encode()):  # the line end of the last line may be absent
        assert post(server, fresh_id(), content_type, body).status == 200
    elif not body.endswith(f"{BOUNDARY}--\r".encode()):
        assert_refused(server, content_type, body, kinds)


def test_other_boundary_than_announced(server: Server):
    content_type = f"multipart/form-data; boundary={BOUNDARY[::-1]}"
    assert_refused(server, content_type, BODY, ["incomplete-body", "invalid-request"])


def test_preamble_and_epilogue_are_ignored(server: Server):
    name = fresh_id()
    body = b"a preamble\r\n--\r\n" + BODY + b"an epilogue\r\n--" + BOUNDARY[:-1].encode()
    assert post_body(server, name, body).status == 200
    assert submission_files(server, name) == {"a": b"1", "b": b"2"}


def test_parts_after_the_closing_boundary_are_not_lost_silently(server: Server):
    end = b"--" + BOUNDARY.encode() + b"--\r\n"
    assert_refused(server, f"multipart/form-data; boundary={BOUNDARY}", end + BODY, ["invalid-request"])


def test_blanks_after_the_boundary_are_ignored(server: Server):
    name = fresh_id()
    body = BODY.replace(BOUNDARY.encode() + b"\r\n", BOUNDARY.encode() + b" \t\r\n", 1)
    assert post_body(server, name, body).status == 200
    assert submission_files(server, name) == {"a": b"1", "b": b"2"}


def test_a_part_may_lack_a_filename(server: Server):
    name = fresh_id()
    response = server.post_parts(f"/submissions/{name}", [part("a", b"1", filename=None)])
    assert response.status == 200
    assert submission_files(server, name) == {"a": b"1"}


def test_the_filename_does_not_matter(server: Server):
    name = fresh_id()
    parts = [part("a", b"1", filename="../../x"), part("b", b"2", filename="")]
    assert server.post_parts(f"/submissions/{name}", parts).status == 200
    assert submission_files(server, name) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize(
    "broken",
    [
        part(None, b"x"),
        part(None, b"x", filename=None),
        b"\r\nno header at all",
        b"Content-Type: text/plain\r\n\r\nx",
        b'Content-Disposition: attachment; name="a"\r\n\r\nx',
        b"no colon\r\n\r\nx",
        b'Content-Disposition: form-data; name="a"',
        b'Content-Disposition: form-data; name="a\r\n\r\nx',
        b'Content-Disposition: form-data; name="a"; name="b"\r\n\r\nx',
        b'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"\r\n\r\nx',
        b'Content-Disposition: form-data; name="a"; filename="b"; filename="a"; filename="b"\r\n\r\nx',
        b"X: " + b"x" * 1_000_000 + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',
    ],
)
def test_broken_parts_are_refused(server: Server, broken: bytes):
    headers, body = form([part("fine", b"1"), broken, part("fine too", b"2")])
    kinds = ["invalid-request", "invalid-name", "incomplete-body", "limit-exceeded"]
    assert_refused(server, headers["Content-Type"], body, kinds)


FRAGMENTS = [b"\r", b"\n", b"-", b"--", b"\r\n--", BOUNDARY.encode(), BOUNDARY[:20].encode(), b"x"]
CONTENTS = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(CONTENTS.filter(lambda c: f"--{BOUNDARY}".encode() not in c), max_size=4))
def test_any_content_survives(flask_server: Server, contents: list[bytes]):
    name = fresh_id()
    files = {f"{number}": content for number, content in enumerate(contents)}
    body = join_parts([part(*item) for item in files.items()], BOUNDARY)
    assert post_body(flask_server, name, body).status == 200
    assert submission_files(flask_server, name) == files


@pytest.mark.parametrize("before", [*range(65_500, 65_580, 7), 131_030, 262_100])
def test_boundaries_across_blocks(flask_server: Server, before: int):
    """A boundary is found wherever the reads of the server split it."""
    name = fresh_id()
    files = {"1": b"\r" * before, "2": b"\r\n--", "3": BOUNDARY.encode() * 2000, "4": b"\n"}
    body = join_parts([part(*item) for item in files.items()], BOUNDARY)
    assert post_body(flask_server, name, body).status == 200
    assert submission_files(flask_server, name) == files


def test_form_sent_in_chunks(server: Server):
    name = fresh_id()
    headers, body = form([part("a", b"x" * 20_000)])
    framed = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[:70], body[70:])) + b"0\r\n\r\n"
    response = server.request("POST", f"/submissions/{name}", framed, headers | {"Transfer-Encoding": "chunked"})
    assert response.status == 200
    assert submission_files(server, name) == {"a": b"x" * 20_000}


def test_encoded_forms_are_refused(server: Server):
    headers, body = form([part("a", b"x")])
    headers["Content-Encoding"] = "gzip"
    response = server.request("POST", f"/submissions/{fresh_id()}", body, headers)
    assert_problem(response, "unsupported-media-type", server)
