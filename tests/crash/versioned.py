"""Resources whose every version is told by its bytes, so that what is lost, old, torn or mixed is recognised."""

import io
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random

from tests.support.checks import stored_files
from tests.support.messages import Response, sha1
from tests.support.targets import Server

Version = int | None
"""The number of a version; None is a resource that is not there."""
Read = Callable[[Server], Version]

# Less than a page, some pages, and more than the server receives in one piece.
SIZES = [0, 100, 5_000, 40_000, 300_000]


@lru_cache(5000)
def content(label: str, version: int) -> bytes:
    """The bytes of *version* of the file *label*: a line that names both, and noise that only they have."""
    random = Random(f"{label} {version}")
    size = random.choices(SIZES, weights=[1, 4, 4, 3, 1])[0]
    return f"{label} {version}\n".encode() + random.randbytes(size)


def version_of(data: bytes, label: str) -> int:
    """The version that *data* is, byte for byte; AssertionError if it is none, or not whole."""
    line, _, _ = data.partition(b"\n")
    said, _, version = line.decode("utf-8", "replace").rpartition(" ")
    assert said == label, f"{label} holds {len(data)} bytes that begin {data[:80]!r}"
    assert data == content(label, int(version)), f"{label} is torn: {len(data)} bytes that begin as version {version}"
    return int(version)


def body(response: Response) -> bytes | None:
    """The body of a 200, None of a 404; AssertionError for all other answers."""
    assert response.status in (200, 404), response
    return response.body if response.status == 200 else None


class Resource(ABC):
    """One name that versions are written to."""

    path: str
    only_version: int | None = None
    """The one version that it can have, if its name is made of its bytes."""

    def __repr__(self) -> str:
        return self.path

    @abstractmethod
    def write(self, client: Server, version: int) -> Response:
        """Store *version*."""

    def delete(self, client: Server) -> Response:
        return client.delete(self.path)

    @abstractmethod
    def reads(self) -> list[Read]:
        """All ways to read it; each gives the version of which the answer is a whole."""

    @abstractmethod
    def on_disk(self, directory: Path) -> Version:
        """The version in the working directory as other programs see it; AssertionError if it is not whole."""


class PutFile(Resource):
    """A result or an attachment."""

    def __init__(self, kind: str, name: str) -> None:
        self.path = f"/{kind}/{name}"

    def write(self, client: Server, version: int) -> Response:
        return client.put(self.path, content(self.path, version))

    def reads(self) -> list[Read]:
        return [lambda client: self._version(body(client.get(self.path)))]

    def on_disk(self, directory: Path) -> Version:
        return self._version(bytes_or_none(directory / self.path[1:]))

    def _version(self, data: bytes | None) -> Version:
        return None if data is None else version_of(data, self.path)


class TaskFile(Resource):
    """A task file is there or not, because its name is the hash of its bytes."""

    only_version = 1

    def __init__(self, name: str) -> None:
        self.data = content(name, self.only_version)
        self.path = f"/tasks/{sha1(self.data)}"

    def write(self, client: Server, version: int) -> Response:
        return client.post_form("/tasks", {"a": self.data})

    def reads(self) -> list[Read]:
        return [lambda client: self._version(body(client.get(self.path)))]

    def on_disk(self, directory: Path) -> Version:
        name = self.path.removeprefix("/tasks/")
        return self._version(bytes_or_none(directory / "tasks" / name[0] / name))

    def _version(self, data: bytes | None) -> Version:
        assert data in (None, self.data), f"{self.path} does not hold what it is named for"
        return None if data is None else self.only_version


class Submission(Resource):
    """Several files in several folders; the name of one of them tells the version, too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"/submissions/{name}"
        self.archive_path = f"/submission_archives/{name}.zip"

    def files(self, version: int) -> dict[str, bytes]:
        names = ["main.c", "src/lib.c", "src/deep/er/data.bin", f"versions/{version}"]
        names += [f"extra/{version}-{number}" for number in range(version % 4)]
        return {name: content(f"{self.name}/{name}", version) for name in names} | {"empty": b""}

    def write(self, client: Server, version: int) -> Response:
        return client.submit(self.name, self.files(version))

    def reads(self) -> list[Read]:
        return [self._read_listing, self._read_file, self._read_archive]

    def _read_listing(self, client: Server) -> Version:
        response = client.get(self.path)
        if body(response) is None:
            return None
        listed = {file["name"]: (file["size"], file["sha256"]) for file in response.json()["files"]}
        version = self._told_by(listed)
        expected = {name: (len(data), sha256(data).hexdigest()) for name, data in self.files(version).items()}
        assert listed == expected, f"the listing of {self} is not that of version {version}: {listed}"
        return version

    def _read_file(self, client: Server) -> Version:
        data = body(client.get(f"{self.path}/main.c"))
        return None if data is None else version_of(data, f"{self.name}/main.c")

    def _read_archive(self, client: Server) -> Version:
        data = body(client.get(self.archive_path))
        return None if data is None else self._archived(data)

    def on_disk(self, directory: Path) -> Version:
        """As the base says; an archive may be missing, but is never another version than the folder."""
        folder = directory / self.path[1:]
        version = self._whole(stored_files(folder)) if folder.exists() else None
        archive = bytes_or_none(directory / self.archive_path[1:])
        assert archive is None or self._archived(archive) == version, f"{self.archive_path} is not of version {version}"
        return version

    def _archived(self, data: bytes) -> int:
        assert zipfile.is_zipfile(io.BytesIO(data)), f"{self.archive_path} is torn: {len(data)} bytes"
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            return self._whole({name.removeprefix(f"{self.name}/"): archive.read(name) for name in names})

    def _whole(self, files: Mapping[str, bytes]) -> int:
        version = self._told_by(files)
        expected = self.files(version)
        wrong = sorted(name for name in files.keys() | expected.keys() if files.get(name) != expected.get(name))
        assert not wrong, f"{self} is not one version: {wrong} are not of version {version}"
        return version

    def _told_by(self, names: Mapping[str, object]) -> int:
        told = [int(name.removeprefix("versions/")) for name in names if name.startswith("versions/")]
        assert len(told) == 1, f"{self} is not one version: it has {sorted(names)}"
        return told[0]


KINDS: dict[str, Callable[[int], Resource]] = {
    "submission": lambda number: Submission(f"job-{number}"),
    "result": lambda number: PutFile("results", f"job-{number}.zip"),
    "attachment": lambda number: PutFile("attachments", f"text-{number}"),
    "task file": lambda number: TaskFile(f"task {number}"),
}
"""All kinds of resources; a number makes the name."""


def bytes_or_none(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
