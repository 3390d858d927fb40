"""Readers and writers at once, against several processes: whole or not at all, always the newest."""

import io
import time
import zipfile

from tests.support.checks import archive_entries
from tests.support.clients import RawClient
from tests.support.hammer import Hammer, together
from tests.support.messages import form, fresh_bytes, fresh_id, part, sha1
from tests.support.targets import HttpServer

MIB = 1024 * 1024
SECONDS = 1.0


def version_of(content: bytes) -> int:
    """Return the number in a body made of one number, repeated; fails for a mixture."""
    numbers = set(content.split())
    assert len(numbers) == 1, "a mixture of several bodies"
    return int(numbers.pop())


def body_of(version: int, size: int = 200_000) -> bytes:
    line = b"%07d\n" % version
    return line * (size // len(line))


def test_a_new_submission_replaces_the_archive_for_every_process(gunicorn: HttpServer):
    name, etags = fresh_id(), set()
    path = f"/submission_archives/{name}.zip"
    for version in range(12):
        gunicorn.submit(name, {"a": body_of(version, 1000)})
        for _ in range(6):
            response = gunicorn.get(path)
            assert version_of(archive_entries(response)[f"{name}/a"]) == version
            etags.add(response.headers["ETag"])
    assert len(etags) == 12


def test_readers_of_an_archive_never_see_an_old_or_torn_one(gunicorn: HttpServer):
    name, stored = fresh_id(), [0]
    path = f"/submission_archives/{name}.zip"
    gunicorn.submit(name, {"a": body_of(0), "b": body_of(0)})

    def read() -> None:
        at_least = stored[0]
        entries = archive_entries(gunicorn.get(path))
        version = version_of(entries[f"{name}/a"])
        assert version == version_of(entries[f"{name}/b"])
        assert version >= at_least

    deadline = time.monotonic() + SECONDS
    with Hammer(read, threads=4) as readers:
        while time.monotonic() < deadline:
            version = stored[0] + 1
            assert gunicorn.submit(name, {"a": body_of(version), "b": body_of(version)}).status == 200
            stored[0] = version
    assert stored[0] > 1
    assert len(readers.results) > 2


def test_readers_right_after_a_large_submission_get_whole_archives(gunicorn: HttpServer):
    name, content = fresh_id(), fresh_bytes(8 * MIB)
    assert gunicorn.submit(name, {"a": content}).status == 200
    (gunicorn.directory / "submission_archives" / f"{name}.zip").unlink(missing_ok=True)
    path = f"/submission_archives/{name}.zip"
    for response in together(*[lambda: gunicorn.get(path)] * 6):
        assert response.status == 200
        with zipfile.ZipFile(io.BytesIO(response.body)) as archive:
            assert archive.read(f"{name}/a") == content


def test_readers_during_a_large_submission_get_a_whole_archive_or_none(gunicorn: HttpServer):
    name, content = fresh_id(), fresh_bytes(8 * MIB)

    def read() -> int:
        response = gunicorn.get(f"/submission_archives/{name}.zip")
        if response.status == 200:
            assert archive_entries(response)[f"{name}/a"] == content
        return response.status

    with Hammer(read, threads=3) as readers:
        assert gunicorn.submit(name, {"a": content}).status == 200
    assert set(readers.results) <= {200, 404}
    assert gunicorn.get(f"/submission_archives/{name}.zip").status == 200


def test_a_task_file_appears_when_it_is_whole(gunicorn: HttpServer):
    content = fresh_bytes(300_000)
    path = f"/exercises/{sha1(content)}"
    headers, body = form([part("a", content)])
    headers["Content-Length"] = str(len(body))
    with RawClient(gunicorn.address) as client:
        client.send(client.head("POST", "/exercises", headers))
        for start in range(0, len(body), 60_000):
            assert gunicorn.get(path).status == 404
            client.send(body[start : start + 60_000])
        assert client.read_final("POST").status == 200
    assert gunicorn.get(path).body == content


def test_one_task_file_sent_by_many(gunicorn: HttpServer):
    for _ in range(5):
        content = fresh_bytes(100_000)
        jobs = [lambda c=content: gunicorn.post_form("/exercises", {"a": c})] * 8
        for response in together(*jobs):
            assert response.status == 200
            assert response.json()["files"] == {"a": f"/exercises/{sha1(content)}"}
        assert gunicorn.get(f"/exercises/{sha1(content)}").body == content


def test_writers_of_one_result_all_succeed(gunicorn: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    gunicorn.put(path, body_of(0))
    deadline = time.monotonic() + SECONDS

    def write(writer: int) -> int:
        count = 0
        while time.monotonic() < deadline:
            assert gunicorn.put(path, body_of(writer)).status == 200
            count += 1
        return count

    with Hammer(lambda: version_of(gunicorn.get(path).body), threads=2) as readers:
        written = together(*[lambda n=n: write(n) for n in range(1, 7)])
    assert min(written) > 0
    assert len(readers.results) > 2
    assert version_of(gunicorn.get(path).body) in range(1, 7)


def test_the_last_writer_to_complete_wins(gunicorn: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    with RawClient(gunicorn.address) as slow:
        slow.send(slow.head("PUT", path, {"Content-Length": "10"}) + b"slow ")
        assert gunicorn.put(path, b"quick").status == 200
        assert gunicorn.get(path).body == b"quick"
        slow.send(b"loser")
        assert slow.read_final("PUT").status == 200
    assert gunicorn.get(path).body == b"slow loser"


def test_a_reader_keeps_what_it_began_to_read(gunicorn: HttpServer):
    """A download goes on with the old bytes while they are replaced, or deleted."""
    content = fresh_bytes(8 * MIB)
    name = fresh_id()
    paths = [f"/results/{name}.zip", f"/attachments/{name}", f"/submissions/{name}/a"]
    for path in paths[:2]:
        gunicorn.put(path, content)
    gunicorn.submit(name, {"a": content})
    for path in paths:
        with RawClient(gunicorn.address) as replaced, RawClient(gunicorn.address) as deleted:
            replaced.send(replaced.head("GET", path))
            assert replaced.answers_within(5)
            if path.startswith("/submissions/"):
                gunicorn.submit(name, {"a": content})
            else:
                gunicorn.put(path, content[::-1])
            deleted.send(deleted.head("GET", path))
            assert deleted.answers_within(5)
            gunicorn.delete(path.removesuffix("/a"))
            assert replaced.read_final("GET").body == content
            assert deleted.read_final("GET").body in (content, content[::-1])


def test_writers_of_one_submission_leave_one_of_them(gunicorn: HttpServer):
    name = fresh_id()

    def submit(version: int) -> int:
        files = {f"{version}-{number}": body_of(version, 1000) for number in range(5)}
        return gunicorn.submit(name, files | {"same": body_of(version, 1000)}).status

    for _ in range(4):
        assert together(*[lambda n=n: submit(n) for n in range(6)]) == [200] * 6
        entries = archive_entries(gunicorn.get(f"/submission_archives/{name}.zip"))
        files = {key: data for key, data in entries.items() if not key.endswith("/")}
        version = version_of(files[f"{name}/same"])
        expected = {f"{name}/{version}-{number}" for number in range(5)} | {f"{name}/same"}
        assert files.keys() == expected
        listed = gunicorn.get(f"/submissions/{name}").json()["files"]
        assert {f"{name}/{file['name']}" for file in listed} == expected


def test_deleting_while_it_is_submitted_and_read(gunicorn: HttpServer):
    name, statuses = fresh_id(), []
    deadline = time.monotonic() + SECONDS / 2

    def read() -> int:
        response = gunicorn.get(f"/submission_archives/{name}.zip")
        if response.status == 200:
            assert len({version_of(archive_entries(response)[f"{name}/{k}"]) for k in "ab"}) == 1
        return response.status

    def delete() -> int:
        return gunicorn.delete(f"/submissions/{name}").status

    with Hammer(read, threads=3) as readers, Hammer(delete, threads=1) as deleters:
        while time.monotonic() < deadline:
            body = body_of(len(statuses), 1000)
            statuses.append(gunicorn.submit(name, {"a": body, "b": body}).status)
    assert set(statuses) == {200}
    assert set(readers.results) <= {200, 404}
    assert set(deleters.results) <= {204, 404}
