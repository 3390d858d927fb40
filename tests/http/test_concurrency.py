"""Readers and writers at once, against several processes: whole or not at all, always the newest."""

from tests.support.checks import archive_entries
from tests.support.clients import RawClient
from tests.support.hammer import Hammer, together
from tests.support.messages import form, fresh_bytes, fresh_id, part, sha1
from tests.support.targets import HttpServer
from tests.support.versions import body_of, version_of

MIB = 1024 * 1024


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
