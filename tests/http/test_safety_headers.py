"""Stored content is never shown as a page of this server, and is cached only where that is safe."""

import base64
import hashlib

import pytest

from tests.support.messages import Response, fresh_id
from tests.support.resources import Resource
from tests.support.targets import Server

SCRIPT = b"<html><script>alert(1)</script></html>"


def assert_safe(response: Response) -> None:
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert response.headers["Content-Disposition"].split(";")[0] == "attachment"
    media_type = response.headers.get_content_type()
    assert media_type in ("application/octet-stream", "application/zip", "multipart/byteranges")


def test_safety_headers(server: Server, stored: Resource):
    response = server.get(stored.path)
    assert_safe(response)
    assert response.headers["Content-Type"] == stored.media_type
    assert_safe(server.head(stored.path))
    assert_safe(server.get(stored.path, {"Range": "bytes=0-1"}))
    assert_safe(server.get(stored.path, {"Range": "bytes=0-1,4-5"}))


def test_cache_control(server: Server, stored: Resource):
    expected = "max-age=31536000, immutable" if stored.immutable else "no-cache"
    assert server.get(stored.path).headers["Cache-Control"] == expected


def test_repr_digest_is_right_where_it_is_sent(server: Server, stored: Resource):
    digest = base64.b64encode(hashlib.sha256(stored.content).digest()).decode()
    assert server.get(stored.path).headers["Repr-Digest"] in (None, f"sha-256=:{digest}:")


def test_repr_digest_follows_the_content(server: Server):
    path = f"/results/{fresh_id()}.zip"
    for content in (b"one", b"two"):
        server.put(path, content)
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert server.get(path).headers["Repr-Digest"] in (None, f"sha-256=:{digest}:")


@pytest.mark.parametrize("extension", ["html", "svg", "js", "xml", "pdf", "htm.zip"])
def test_no_name_makes_a_page(server: Server, extension: str):
    for path in (f"/results/{fresh_id()}.{extension}", f"/attachments/{fresh_id()}.{extension}"):
        assert server.put(path, SCRIPT, {"Content-Type": "text/html"}).status == 200
        assert_safe(server.get(path))
    name = fresh_id()
    server.submit(name, {f"index.{extension}": SCRIPT})
    assert_safe(server.get(f"/submissions/{name}/index.{extension}"))


@pytest.mark.parametrize("suffix", ["%C3%A4%E2%82%AC", 'q"uote', "per%25cent", "semi;colon", "%20"])
def test_names_cannot_break_headers(server: Server, suffix: str):
    path = f"/results/{fresh_id()}{suffix}.zip".replace('"', "%22")
    assert server.put(path, b"1").status == 200
    response = server.get(path)
    assert_safe(response)
    response.headers["Content-Disposition"].encode("ascii")
    assert response.body == b"1"


def test_errors_are_not_cached(server: Server):
    path = f"/results/{fresh_id()}.zip"
    response = server.get(path)
    assert response.status == 404
    assert response.headers["Cache-Control"] in (None, "no-cache", "no-store")
    server.put(path, b"now")
    assert server.get(path).body == b"now"
