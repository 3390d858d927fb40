"""Clients that write to a server while it is backed up, and remember what was acknowledged."""

import threading
from collections import defaultdict
from collections.abc import Callable
from itertools import count

from tests.support.checks import archive_files, submission_files
from tests.support.messages import sha1
from tests.support.targets import HttpServer, Server

NAMES = 4
"""How many resources of each kind are written again and again."""


def body(version: int, size_bytes: int = 30_000) -> bytes:
    """Content that tells its version in every line."""
    line = b"%07d\n" % version
    return line * (size_bytes // len(line))


def version_of(content: bytes) -> int:
    """The version of a content. AssertionError if it is made of several."""
    versions = set(content.split())
    assert len(versions) == 1, f"a mixture of {versions}"
    return int(versions.pop())


class Writers:
    """One client for each of results, attachments, submissions and task files, as long as the block runs.

    A submission refers to a task file that was stored right before it.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._enough = threading.Event()
        self._lock = threading.Lock()
        self._acknowledged: dict[str, list[int]] = defaultdict(list)
        self._errors: list[BaseException] = []
        kinds = (self._put_result, self._put_attachment, self._submit)
        self._threads = [threading.Thread(target=self._repeat, args=(kind,)) for kind in kinds]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def acknowledged(self) -> dict[str, int]:
        """The last acknowledged version of each resource, so far."""
        with self._lock:
            return {path: versions[-1] for path, versions in self._acknowledged.items()}

    def _repeat(self, write: Callable[[int, int], str]) -> None:
        try:
            for version in count(1):
                if self._enough.is_set():
                    return
                path = write(version % NAMES, version)
                with self._lock:
                    self._acknowledged[path].append(version)
        except BaseException as error:
            self._errors.append(error)

    def _put_result(self, number: int, version: int) -> str:
        path = f"/results/job{number}.zip"
        assert self._server.put(path, body(version)).status == 200
        return path

    def _put_attachment(self, number: int, version: int) -> str:
        path = f"/attachments/text{number}"
        assert self._server.put(path, body(version)).status == 200
        return path

    def _submit(self, number: int, version: int) -> str:
        assert self._server.post_form("/tasks", {"data": body(version)}).status == 200
        path = f"/submissions/job{number}"
        files = {f"{name}.txt": body(version, 3000) for name in "abcdefgh"}
        assert self._server.submit(f"job{number}", files).status == 200
        return path


def check_restored(server: Server, before: dict[str, int], after: dict[str, int]) -> int:
    """Check each resource acknowledged *before* the backup: it is there, whole, and no older. Returns how many are.

    None is newer than the version that was being written *after* the backup.
    """
    for path, earliest in before.items():
        latest = after[path] + NAMES
        if path.startswith("/submissions/"):
            version = _submitted_version(server, path.rpartition("/")[2])
        else:
            version = version_of(server.get(path).body)
        assert earliest <= version <= latest, (path, earliest, version, latest)
    return len(before)


def _submitted_version(server: Server, name: str) -> int:
    """The version of a submission, whose task file must be there, and whose archive must have the same content."""
    files = submission_files(server, name)
    assert files is not None
    assert len(files) == 8
    assert archive_files(server, name) == files
    versions = {version_of(content) for content in files.values()}
    assert len(versions) == 1, f"a mixture of {versions}"
    version = versions.pop()
    assert server.get(f"/tasks/{sha1(body(version))}").body == body(version)
    return version
