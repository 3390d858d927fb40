"""Clients that mix all reads and writes, and the check that nothing which they were told is lost."""

import random
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event

from tests.crash.journal import Journal
from tests.crash.versioned import KINDS, Resource, Version
from tests.support.checks import assert_counted
from tests.support.clients import CutResponse, RawClient
from tests.support.messages import HeaderPairs, Response
from tests.support.servers import wait_until
from tests.support.targets import HttpServer

DISCONNECTED = (CutResponse, ConnectionError)
CLIENTS = 8
RESOURCES = {"submission": 6, "result": 5, "attachment": 3, "task file": 8}
WRITE, DELETE, READ = "write", "delete", "read"


class Connection(HttpServer):
    """The same server by one connection, which is kept while the server allows."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.directory, server.address, server.pid, server.log)
        self._client: RawClient | None = None

    def request(self, method: str, path: str, body: bytes = b"", headers: HeaderPairs = ()) -> Response:
        if self._client and self._client.answers_within(0):
            self.close()  # The server has closed it.
        self._client = client = self._client or RawClient(self.address)
        try:
            response = client.request(method, path, body, headers)
        except DISCONNECTED:
            self.close()
            raise
        if not client.reusable:
            self.close()
        return response

    def close(self) -> None:
        if self._client:
            self._client.close()
        self._client = None


class Workload:
    """What eight clients do to a server, and what they were told."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.cut = Event()
        """From when on connections may break, because somebody kills processes."""
        self.resources = [KINDS[kind](number) for kind, many in RESOURCES.items() for number in range(many)]
        self._versions = count(1)

    def run(self, server: HttpServer, enough: Event) -> None:
        """Be one client until *enough*, or until the server is gone."""
        client = Connection(server)
        try:
            while not enough.is_set():
                try:
                    self._act(client)
                except DISCONNECTED:
                    if not self.cut.is_set():
                        raise
        finally:
            client.close()

    def _act(self, client: Connection) -> None:
        resource = random.choice(self.resources)
        action = random.choices([WRITE, DELETE, READ], weights=[6, 1, 5])[0]
        if action == WRITE:
            self.write(client, resource)
        elif action == DELETE:
            self.delete(client, resource)
        else:
            since = self.journal.now()
            read = random.choice(resource.reads())
            self.journal.check(resource, read(client), since)

    def write(self, client: HttpServer, resource: Resource) -> None:
        """Store a new version of *resource*; the server must agree."""
        response = self.try_to_write(client, resource)
        assert response.status == 200, (resource, response)

    def try_to_write(self, client: HttpServer, resource: Resource) -> Response:
        """Store a new version of *resource*, if the server agrees."""
        version = resource.only_version or next(self._versions)
        write = self.journal.begin(resource, version)
        response = resource.write(client, version)
        if response.status == 200:
            self.journal.acknowledge(write)
        return response

    def delete(self, client: HttpServer, resource: Resource) -> None:
        """Delete *resource*; not to find it counts as a read."""
        since = self.journal.now()
        write = self.journal.begin(resource, None)
        response = resource.delete(client)
        assert response.status in (204, 404), (resource, response)
        if response.status == 204:
            self.journal.acknowledge(write)
        else:
            self.journal.withdraw(resource, write)
            self.journal.check(resource, None, since)


def check(server: HttpServer, journal: Journal) -> None:
    """Check all that is promised of a server that was just started, or that nobody else uses now.

    AssertionError if something acknowledged is not there, or something is there that must not be. What is there is the
    truth from now on.
    """
    # One process may still be at it when another one answers already.
    assert wait_until(lambda: not server.transactions()), f"{len(server.transactions())} transactions are left"
    check_counters(server)
    client = Connection(server)
    try:
        for resource in journal.resources():
            settle(client, journal, resource)
    finally:
        client.close()
    # A process that has just started probes the file system.
    assert wait_until(lambda: not server.transactions())
    check_counters(server)
    assert {str(resource) for resource in journal.resources()} >= set(stored_paths(server.directory))


def settle(client: HttpServer, journal: Journal, resource: Resource) -> None:
    """Read *resource* in all ways, which must agree on what the journal allows."""
    since = journal.now()
    version: Version = resource.on_disk(client.directory)
    for read in resource.reads():
        journal.check(resource, version, since)
        assert read(client) == version, f"{resource}: not all ways to read it give version {version}"
    assert resource.on_disk(client.directory) == version
    journal.settle(resource, version)


def check_counters(server: HttpServer) -> None:
    """AssertionError if the home page does not tell exactly what is on the disk, in files and bytes."""

    def right() -> bool:
        with suppress(AssertionError):
            assert_counted(server)
            return True
        return False

    # The successor of a process that was killed may have to start before they are right.
    if not wait_until(right):
        assert_counted(server)


def stored_paths(directory: Path) -> list[str]:
    """The paths on the wire of all that lies in the working directory, archives left out."""
    kinds = ("submissions", "results", "attachments")
    names = [path.relative_to(directory) for kind in kinds for path in (directory / kind).iterdir()]
    return [f"/{name}" for name in names] + [f"/tasks/{path.name}" for path in directory.glob("tasks/*/*")]
