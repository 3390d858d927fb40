"""Range requests (RFC 9110, section 14) on every kind of stored resource."""

from email import message_from_bytes

import pytest

from tests.support.checks import assert_problem
from tests.support.messages import Response, fresh_id
from tests.support.resources import Resource
from tests.support.starters import FROM_DISK
from tests.support.targets import Server


def get_range(server: Server, stored: Resource, value: str) -> Response:
    return server.get(stored.path, {"Range": f"bytes={value}"})


def byteranges(response: Response) -> list[tuple[str, bytes]]:
    """Return Content-Range and content of each part of a multipart/byteranges answer."""
    assert response.headers.get_content_type() == "multipart/byteranges"
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + response.body).get_payload()
    return [(part["Content-Range"], part.get_payload(decode=True)) for part in parts]


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("0-0", 0, 0),
        ("10-19", 10, 19),
        ("-7", -7, -1),
        ("-5000000", 0, -1),
        ("100-", 100, -1),
        ("5-5000000", 5, -1),
        ("0-", 0, -1),
    ],
)
def test_single_range(server: Server, stored: Resource, value: str, first: int, last: int):
    size = len(stored.content)
    first, last = first % size, last % size
    response = get_range(server, stored, value)
    assert (response.status, response.body) == (206, stored.content[first : last + 1])
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    assert response.headers["Content-Length"] == str(last + 1 - first)
    assert response.headers["Content-Type"] == stored.media_type


def test_partial_answer_repeats_the_headers(server: Server, stored: Resource):
    whole, partial = server.get(stored.path), get_range(server, stored, "1-2")
    # nginx, which sends the whole, does not know the digest.
    digest = [] if server.target in FROM_DISK else ["Repr-Digest"]
    for name in ("ETag", "Cache-Control", "Last-Modified", *digest):
        assert partial.headers[name] == whole.headers[name], name
    assert whole.headers["Accept-Ranges"] == "bytes"


def test_range_past_the_end(server: Server, stored: Resource):
    for value in ("1000000-", "1000000-1000001", f"{len(stored.content)}-"):
        response = get_range(server, stored, value)
        assert_problem(response, "range-not-satisfiable", server)
        assert response.headers["Content-Range"] == f"bytes */{len(stored.content)}"


def test_multiple_ranges(server: Server, stored: Resource):
    size = len(stored.content)
    response = get_range(server, stored, "0-1,20-29, -3")
    assert response.status == 206
    assert response.headers["Content-Length"] == str(len(response.body))
    assert "Content-Range" not in response.headers
    assert byteranges(response) == [
        (f"bytes 0-1/{size}", stored.content[:2]),
        (f"bytes 20-29/{size}", stored.content[20:30]),
        (f"bytes {size - 3}-{size - 1}/{size}", stored.content[-3:]),
    ]


def test_multiple_ranges_keep_the_media_type_in_the_parts(server: Server, stored: Resource):
    response = get_range(server, stored, "0-1,5-6")
    assert response.body.count(f"Content-Type: {stored.media_type}".encode()) == 2


def test_ranges_of_which_one_is_past_the_end(server: Server, stored: Resource):
    response = get_range(server, stored, "0-1,1000000-1000001")
    assert response.status == 206
    if response.headers.get_content_type() == "multipart/byteranges":
        assert [content for _, content in byteranges(response)] == [stored.content[:2]]
    else:
        assert response.body == stored.content[:2]


def test_sixteen_ranges_and_no_more(server: Server, stored: Resource):
    sixteen = ",".join(f"{10 * n}-{10 * n}" for n in range(16))
    response = get_range(server, stored, sixteen)
    expected = [stored.content[10 * n : 10 * n + 1] for n in range(16)]
    assert [content for _, content in byteranges(response)] == expected
    response = get_range(server, stored, sixteen + ",170-170")
    assert (response.status, response.body) == (200, stored.content)


def test_the_last_zero_bytes(server: Server, stored: Resource):
    assert get_range(server, stored, "-0").status in (200, 416)


@pytest.mark.parametrize("value", ["items=0-5", "bytes=5-3", "bytes=x", "bytes=", "bytes", "0-5"])
def test_ranges_that_mean_nothing_are_ignored(server: Server, stored: Resource, value: str):
    response = server.get(stored.path, {"Range": value})
    assert (response.status, response.body) == (200, stored.content)


def test_head_ignores_ranges(server: Server, stored: Resource):
    response = server.head(stored.path, {"Range": "bytes=0-4"})
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(stored.content))


def test_range_of_an_empty_file(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"")
    response = server.get(path, {"Range": "bytes=0-"})
    if server.target == "nginx":
        assert (response.status, response.body) == (200, b""), "RFC 9110 lets it ignore a range"
    else:
        assert_problem(response, "range-not-satisfiable", server)
        assert response.headers["Content-Range"] == "bytes */0"
    assert server.get(path).body == b""


def test_many_overlapping_ranges_cost_nothing(server: Server):
    path, content = f"/results/{fresh_id()}.zip", bytes(500_000)
    server.put(path, content)
    response = server.get(path, {"Range": "bytes=" + ",".join(["0-"] * 500)})
    assert (response.status, len(response.body)) == (200, len(content))
