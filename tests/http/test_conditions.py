"""Conditional requests (RFC 9110, section 13) on every kind of stored resource."""

import os
import re

import pytest

from tests.support.checks import assert_problem
from tests.support.messages import fresh_id
from tests.support.resources import Resource
from tests.support.targets import Server

PAST = "Thu, 01 Jan 1998 00:00:00 GMT"
FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"


def etag_of(server: Server, stored: Resource) -> str:
    return server.get(stored.path).headers["ETag"]


def test_etags_are_strong_and_stable(server: Server, stored: Resource):
    etag = etag_of(server, stored)
    assert re.fullmatch(r'"[^"]+"', etag)
    assert etag_of(server, stored) == etag


def assert_not_modified(server: Server, stored: Resource, headers: dict[str, str]) -> None:
    whole = server.get(stored.path)
    for method in ("GET", "HEAD"):
        response = server.request(method, stored.path, headers=headers)
        assert (response.status, response.body) == (304, b""), headers
        for name in ("ETag", "Cache-Control"):
            assert response.headers[name] == whole.headers[name]


def test_if_none_match(server: Server, stored: Resource):
    etag = etag_of(server, stored)
    for value in (etag, f"W/{etag}", "*", f'"other", {etag}'):
        assert_not_modified(server, stored, {"If-None-Match": value})
    response = server.get(stored.path, {"If-None-Match": '"other"'})
    assert (response.status, response.body) == (200, stored.content)


def test_if_modified_since(server: Server, stored: Resource):
    modified = server.get(stored.path).headers["Last-Modified"]
    assert_not_modified(server, stored, {"If-Modified-Since": modified})
    for value in (PAST, "rubbish"):
        response = server.get(stored.path, {"If-Modified-Since": value})
        assert (response.status, response.body) == (200, stored.content)


def test_if_none_match_outranks_if_modified_since(server: Server, stored: Resource):
    headers = {"If-None-Match": '"other"', "If-Modified-Since": FUTURE}
    assert server.get(stored.path, headers).status == 200
    assert_not_modified(server, stored, {"If-None-Match": etag_of(server, stored), "If-Modified-Since": PAST})


def test_if_none_match_outranks_range(server: Server, stored: Resource):
    etag = etag_of(server, stored)
    assert_not_modified(server, stored, {"If-None-Match": etag, "Range": "bytes=0-1"})


def test_if_match(server: Server, stored: Resource):
    etag = etag_of(server, stored)
    for value in (etag, "*", f'"other", {etag}'):
        assert server.get(stored.path, {"If-Match": value}).body == stored.content
    for value in ('"other"', f"W/{etag}"):
        response = server.get(stored.path, {"If-Match": value})
        assert_problem(response, "precondition-failed", server)


def test_if_match_with_head_and_range(server: Server, stored: Resource):
    assert server.head(stored.path, {"If-Match": '"other"'}).status == 412
    headers = {"If-Match": '"other"', "Range": "bytes=0-1"}
    assert_problem(server.get(stored.path, headers), "precondition-failed", server)
    headers = {"If-Match": etag_of(server, stored), "Range": "bytes=0-1"}
    assert server.get(stored.path, headers).body == stored.content[:2]


def test_if_unmodified_since(server: Server, stored: Resource):
    modified = server.get(stored.path).headers["Last-Modified"]
    for value in (modified, FUTURE, "rubbish"):
        assert server.get(stored.path, {"If-Unmodified-Since": value}).status == 200
    response = server.get(stored.path, {"If-Unmodified-Since": PAST})
    assert_problem(response, "precondition-failed", server)


def test_if_match_outranks_if_unmodified_since(server: Server, stored: Resource):
    headers = {"If-Match": etag_of(server, stored), "If-Unmodified-Since": PAST}
    assert server.get(stored.path, headers).status == 200


def test_if_range_with_an_etag(server: Server, stored: Resource):
    etag = etag_of(server, stored)
    response = server.get(stored.path, {"Range": "bytes=2-3", "If-Range": etag})
    assert (response.status, response.body) == (206, stored.content[2:4])
    for value in ('"other"', f"W/{etag}"):
        response = server.get(stored.path, {"Range": "bytes=2-3", "If-Range": value})
        assert (response.status, response.body) == (200, stored.content)


@pytest.mark.parametrize("value", [PAST, FUTURE])
def test_if_range_with_another_date(server: Server, stored: Resource, value: str):
    response = server.get(stored.path, {"Range": "bytes=2-3", "If-Range": value})
    assert (response.status, response.body) == (200, stored.content)


def test_if_range_with_the_right_date(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"0123456789")
    os.utime(server.directory / path[1:], (900_000_000, 900_000_000))
    modified = server.get(path).headers["Last-Modified"]
    assert modified == "Thu, 09 Jul 1998 16:00:00 GMT"
    response = server.get(path, {"Range": "bytes=2-3", "If-Range": modified})
    assert (response.status, response.body) == (206, b"23")


def test_if_range_without_a_range(server: Server, stored: Resource):
    response = server.get(stored.path, {"If-Range": etag_of(server, stored)})
    assert (response.status, response.body) == (200, stored.content)


@pytest.mark.parametrize("folder", ["results", "attachments"])
def test_new_content_has_a_new_etag(server: Server, folder: str):
    path = f"/{folder}/{fresh_id()}.zip"
    etags = set()
    for content in (b"1", b"2", b"3"):  # the same size, within one second
        server.put(path, content)
        etags.add(server.get(path).headers["ETag"])
    assert len(etags) == 3


def test_new_content_of_a_submission_file_has_a_new_etag(server: Server):
    name, etags = fresh_id(), set()
    for content in (b"1", b"2", b"3"):
        server.submit(name, {"a": content})
        etags.add(server.get(f"/submissions/{name}/a").headers["ETag"])
    assert len(etags) == 3


def test_a_stale_if_range_gets_the_new_content(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"old content")
    etag = server.get(path).headers["ETag"]
    server.put(path, b"new content")
    response = server.get(path, {"Range": "bytes=4-", "If-Range": etag})
    assert (response.status, response.body) == (200, b"new content")
