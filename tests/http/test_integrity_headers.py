"""Digests that a client declares are verified; a mismatch stores nothing."""

import pytest

from tests.support.checks import assert_problem, stored_names, submission_files
from tests.support.messages import (
    digest_field,
    form,
    fresh_bytes,
    fresh_id,
    md5_field,
    part,
    sha1,
)
from tests.support.targets import Server

HEADERS = [
    ("Content-Digest", digest_field),
    ("Content-Digest", lambda content: digest_field(content, "sha-512")),
    ("Repr-Digest", digest_field),
    ("Repr-Digest", lambda content: digest_field(content, "sha-512")),
    ("Content-MD5", md5_field),
]
PUT_PATHS = ["/results/{}.zip", "/attachments/{}", "/v1/worker-files/result/student/{}"]
MALFORMED = [
    ("Content-Digest", "sha-256=abc"),
    ("Content-Digest", "sha-256=:not base64!:"),
    ("Content-Digest", "sha-256"),
    ("Content-Digest", "sha-256=:"),
    ("Repr-Digest", '"x"'),
    ("Content-MD5", "rubbish"),
]


@pytest.mark.parametrize("path", PUT_PATHS)
@pytest.mark.parametrize(("header", "digest"), HEADERS)
def test_put_with_a_digest(server: Server, path: str, header: str, digest):
    path, content = path.format(fresh_id()), fresh_bytes()
    assert server.put(path, content, {header: digest(content)}).status == 200
    before = stored_names(server.directory)
    response = server.put(path, fresh_bytes(), {header: digest(content)})
    assert_problem(response, "digest-mismatch", server)
    assert stored_names(server.directory) == before
    if path.startswith("/v1/"):
        path = path.replace("/v1/worker-files/result/student/", "/results/student_") + ".zip"
    assert server.get(path).body == content


@pytest.mark.parametrize(("header", "value"), MALFORMED)
def test_put_with_a_malformed_digest(server: Server, header: str, value: str):
    path = f"/results/{fresh_id()}.zip"
    assert_problem(server.put(path, b"abc", {header: value}), "invalid-request", server)
    assert server.get(path).status == 404


@pytest.mark.parametrize(("header", "value"), [("Content-Digest", "sha-256=:YWJj:"), ("Content-MD5", "YWJj")])
def test_digest_of_the_wrong_length(server: Server, header: str, value: str):
    path = f"/results/{fresh_id()}.zip"
    assert server.put(path, b"abc", {header: value}).status == 400
    assert server.get(path).status == 404


def test_other_algorithms_are_ignored(server: Server):
    path, content = f"/results/{fresh_id()}.zip", fresh_bytes()
    for value in ("md5=:YWJj:", "sha-1024=:YWJj:, unixsum=:YWJj:", digest_field(b"other", "sha1")):
        assert server.put(path, content, {"Content-Digest": value}).status == 200


def test_one_of_several_digests_is_wrong(server: Server):
    path, content = f"/results/{fresh_id()}.zip", fresh_bytes()
    right, wrong = digest_field(content), digest_field(b"other", "sha-512")
    for headers in (
        {"Content-Digest": f"{right}, {wrong}"},
        {"Content-Digest": f"md5=:YWJj:, {wrong}"},
        {"Content-Digest": right, "Repr-Digest": wrong},
        {"Content-Digest": right, "Content-MD5": md5_field(b"other")},
    ):
        assert_problem(server.put(path, content, headers), "digest-mismatch", server)
    both = f"{right}, {digest_field(content, 'sha-512')}"
    assert server.put(path, content, {"Content-Digest": both}).status == 200


def test_digest_of_an_empty_body(server: Server):
    path = f"/results/{fresh_id()}.zip"
    assert server.put(path, b"", {"Content-Digest": digest_field(b"")}).status == 200
    response = server.put(path, b"", {"Content-Digest": digest_field(b"x")})
    assert_problem(response, "digest-mismatch", server)


def test_digest_of_a_chunked_body(server: Server):
    path, content = f"/results/{fresh_id()}.zip", fresh_bytes()
    headers = {"Content-Digest": digest_field(content)}
    assert server.put_chunked(path, content, headers).status == 200
    assert_problem(server.put_chunked(path, b"other", headers), "digest-mismatch", server)


@pytest.mark.parametrize(("header", "digest"), HEADERS)
@pytest.mark.parametrize("target", ["/submissions/{}", "/tasks", "/exercises"])
def test_form_with_a_digest_of_the_whole_body(server: Server, target: str, header: str, digest):
    path, content = target.format(fresh_id()), fresh_bytes()
    headers, body = form([part("a", content)])
    wrong = headers | {header: digest(body + b"x")}
    before = stored_names(server.directory)
    assert_problem(server.request("POST", path, body, wrong), "digest-mismatch", server)
    assert stored_names(server.directory) == before
    assert server.get(f"/tasks/{sha1(content)}").status == 404
    right = headers | {header: digest(body)}
    assert server.request("POST", path, body, right).status == 200


@pytest.mark.parametrize(("header", "digest"), HEADERS)
def test_digest_of_a_part(server: Server, header: str, digest):
    name, content = fresh_id(), fresh_bytes()
    right = part("a", content, headers={header: digest(content)})
    wrong = part("b", fresh_bytes(), headers={header: digest(content)})
    assert server.post_parts(f"/submissions/{name}", [right, part("c", b"c")]).status == 200
    response = server.post_parts(f"/submissions/{name}", [part("d", b"d"), right, wrong])
    assert_problem(response, "digest-mismatch", server)
    assert submission_files(server, name) == {"a": content, "c": b"c"}


def test_digest_of_a_task_file(server: Server):
    one, two = fresh_bytes(), fresh_bytes()
    parts = [part("1", one), part("2", two, headers={"Content-Digest": digest_field(one)})]
    assert_problem(server.post_parts("/tasks", parts), "digest-mismatch", server)
    assert server.get(f"/tasks/{sha1(two)}").status == 404
    assert server.get(f"/tasks/{sha1(one)}").status == 404


@pytest.mark.parametrize(("header", "value"), MALFORMED)
def test_malformed_digest_of_a_part(server: Server, header: str, value: str):
    name = fresh_id()
    parts = [part("a", b"abc", headers={header: value})]
    response = server.post_parts(f"/submissions/{name}", parts)
    assert_problem(response, "invalid-request", server)
    assert server.get(f"/submissions/{name}").status == 404


def test_the_detail_names_the_part(server: Server):
    wrong = part("the-part.c", b"x", headers={"Content-Digest": digest_field(b"y")})
    response = server.post_parts(f"/submissions/{fresh_id()}", [wrong])
    assert "the-part.c" in assert_problem(response, "digest-mismatch", server)["detail"]
