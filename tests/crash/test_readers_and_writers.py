"""Two writers and many readers of every resource, in two processes: each read is one whole version, none is too old."""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.crash.conftest import Tally
from tests.crash.renames import renames_into
from tests.support.checks import archive_entries
from tests.support.clients import RawClient
from tests.support.hammer import Hammer, together
from tests.support.messages import Response, fresh_bytes, fresh_id, sha1
from tests.support.targets import HttpServer
from tests.support.versions import History, assert_none_comes_back, body_of, version_of

pytestmark = [pytest.mark.server, pytest.mark.slow]

SHORT_SECONDS, FULL_SECONDS = 1.5, 15.0
ASKERS = 64
SUBMITTED_BYTES = 50_000
MIB = 1024 * 1024

Reader = Callable[[], int | None]


@pytest.fixture
def seconds(full: bool) -> float:
    return FULL_SECONDS if full else SHORT_SECONDS


def submitted(version: int) -> dict[str, bytes]:
    body = body_of(version, SUBMITTED_BYTES)
    return {"a": body, "dir/b": body, f"only-{version}": b"1"}


def read_version(server: HttpServer, path: str) -> int:
    response = server.get(path)
    assert response.status == 200, response
    return version_of(response.body)


def archived_version(response: Response, name: str) -> int | None:
    """The version in an archive, which holds nothing of another one; None for no archive."""
    if response.status == 404:
        return None
    entries = archive_entries(response)
    version = version_of(entries.pop(f"{name}/a"))
    expected = {f"{name}/{path}": content for path, content in submitted(version).items() if path != "a"}
    assert entries == expected | {f"{name}/": b"", f"{name}/dir/": b""}
    return version


def listed_version(response: Response) -> int:
    """The version that a listing shows, which holds nothing of another one."""
    assert response.status == 200, response
    listed = {file["name"]: file["sha256"] for file in response.json()["files"]}
    version = next(int(name.removeprefix("only-")) for name in listed if name.startswith("only-"))
    assert listed == {path: hashlib.sha256(content).hexdigest() for path, content in submitted(version).items()}
    return version


def run(history: History, write: list[Callable[[int], Response]], readers: list[Reader], seconds: float) -> int:
    """Let all write and read at once for *seconds*; return how many reads were checked."""
    numbers = itertools.count()
    deadline = time.monotonic() + seconds

    def keep_writing(write_version: Callable[[int], Response]) -> None:
        while time.monotonic() < deadline:
            version = next(numbers)
            with history.writing(version):
                assert write_version(version).status == 200

    def keep_reading(reader: Reader) -> None:
        seen = []
        while time.monotonic() < deadline:
            seen.append(history.read(reader))
        assert_none_comes_back(seen)

    with history.writing(next(numbers)):
        assert write[0](0).status == 200
    jobs = [lambda write_version=one: keep_writing(write_version) for one in write]
    jobs += [lambda reader=one: keep_reading(reader) for one in readers]
    together(*jobs)
    assert len(history.writes) > 4
    return history.check()


def test_a_submission(gunicorn: HttpServer, seconds: float, tally: Tally):
    short = fresh_id()
    name = f"student_{short}"
    archives = [f"/submission_archives/{name}.zip", f"/v1/worker-files/submission-archive/student/{short}"]

    def write(version: int) -> Response:
        return gunicorn.submit(name, submitted(version))

    readers: list[Reader] = [lambda path=path: archived_version(gunicorn.get(path), name) for path in archives]
    readers += [lambda: listed_version(gunicorn.get(f"/submissions/{name}"))] * 2
    readers += [lambda file=file: read_version(gunicorn, f"/submissions/{name}/{file}") for file in ("a", "dir/b")]
    tally.add("concurrent reads checked", run(History(), [write, write], readers, seconds))


def test_a_result_in_both_dialects(gunicorn: HttpServer, seconds: float, tally: Tally):
    short = fresh_id()
    path = f"/results/student_{short}.zip"
    writers = [
        lambda version, path=path: gunicorn.put(path, body_of(version))
        for path in (path, f"/v1/worker-files/result/student/{short}")
    ]
    readers: list[Reader] = [lambda: read_version(gunicorn, path)] * 4
    tally.add("concurrent reads checked", run(History(), writers, readers, seconds))


def test_an_attachment(gunicorn: HttpServer, seconds: float, tally: Tally):
    path = f"/attachments/{fresh_id()}"

    def write(version: int) -> Response:
        return gunicorn.put(path, body_of(version))

    readers: list[Reader] = [lambda: read_version(gunicorn, path)] * 4
    tally.add("concurrent reads checked", run(History(), [write, write], readers, seconds))


def test_a_task_file_that_is_uploaded_again_and_again(gunicorn: HttpServer, seconds: float, tally: Tally):
    content = fresh_bytes(200_000)
    paths = [f"{prefix}/{sha1(content)}" for prefix in ("/tasks", "/exercises", "/v1/worker-files/exercise-file")]

    def read(path: str) -> int:
        response = gunicorn.get(path)
        assert (response.status, response.body == content) == (200, True), response
        return 0

    history = History()
    with history.writing(0):
        assert gunicorn.post_form("/tasks", {"a": content}).status == 200
    deadline = time.monotonic() + seconds
    with Hammer(lambda: [history.read(lambda path=path: read(path)) for path in paths], threads=4):
        while time.monotonic() < deadline:
            together(*[lambda to=to: gunicorn.post_form(to, {"a": content}) for to in ("/tasks", "/exercises")])
    tally.add("concurrent reads checked", history.check())


def ask_at_once(server: HttpServer, path: str, number: int) -> list[Response]:
    """The answers to *number* clients that have all asked before the first answer is read."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(server.address)) for _ in range(number)]
        for client in clients:
            client.send(client.head("GET", path))
        return [client.read_final("GET") for client in clients]


def test_many_first_askers_wait_for_one_build(gunicorn: HttpServer, full: bool, tally: Tally):
    """Of a submission that takes a while to compress, so that all ask before it is done."""
    name, content = fresh_id(), fresh_bytes(2 * MIB).hex().encode()
    archives = gunicorn.directory / "submission_archives"
    assert gunicorn.submit(name, {"a": content}).status == 200
    for _ in range(10 if full else 2):
        (archives / f"{name}.zip").unlink()
        with renames_into(archives) as renamed:
            answers = ask_at_once(gunicorn, f"/submission_archives/{name}.zip", ASKERS)
        assert renamed == [f"{name}.zip"], "the archive was not built exactly once"
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert archive_entries(answers[0])[f"{name}/a"] == content
        tally.add("concurrent reads checked", ASKERS)


def test_many_askers_while_it_is_replaced_and_deleted(gunicorn: HttpServer, seconds: float, tally: Tally):
    """Also while somebody removes the archive from the disk, which is allowed at any time."""
    name, history, numbers = fresh_id(), History(), itertools.count()
    path = f"/submission_archives/{name}.zip"
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            history.read(lambda: archived_version(gunicorn.get(path), name))

    def write() -> None:
        version = next(numbers)
        with history.writing(version):
            assert gunicorn.submit(name, submitted(version)).status == 200
        (gunicorn.directory / path.lstrip("/")).unlink(missing_ok=True)

    def write_and_delete() -> None:
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                for _ in range(3):
                    write()
                with history.writing(None):
                    assert gunicorn.delete(f"/submissions/{name}").status == 204
        finally:
            stop.set()

    with history.writing(None):
        assert gunicorn.get(path).status == 404
    together(write_and_delete, *[ask] * ASKERS)
    checked = history.check()
    assert {read.version is None for read in history.reads} == {True, False}
    tally.add("concurrent reads checked", checked)
