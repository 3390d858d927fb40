"""Fixtures: one application, reached in three ways, and servers with settings of their own.

The servers of the pool live as long as the session and share their working directories among the
tests, so that a test takes milliseconds; each test uses ids of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.pool import MakeServer, ServerPool, make_flask_server
from tests.support.resources import KINDS, Resource, resource
from tests.support.servers import wait_until
from tests.support.starters import FROM_DISK, STARTERS
from tests.support.targets import FlaskServer, HttpServer, Server

# A busy machine is no failure: no deadline for an example.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

REAL_TARGETS = [pytest.param(target, marks=pytest.mark.server) for target in STARTERS]
TARGETS = ["flask", *REAL_TARGETS]
UNAIDED_REAL_TARGETS = [param for param in REAL_TARGETS if param.values[0] not in FROM_DISK]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--proof", choices=["short", "full"], default="short", help="how much of the proofs in tests/crash is run"
    )


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPool]:
    """The servers of the session."""
    servers = ServerPool(tmp_path_factory.mktemp("servers"))
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="session")
def flask_server(pool: ServerPool) -> Server:
    """The application in this process, for tests which need no server."""
    return pool.get("flask")


def checked(server: Server) -> Iterator[Any]:
    yield server
    assert wait_until(lambda: not server.transactions()), server.transactions()


@pytest.fixture(params=TARGETS)
def server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[Server]:
    """The application with default settings; after each test nothing may be left in staging."""
    yield from checked(pool.get(request.param))


@pytest.fixture(params=REAL_TARGETS)
def real_server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[HttpServer]:
    """As ``server``, for tests that need a socket."""
    yield from checked(pool.get(request.param))


@pytest.fixture(params=["flask", *UNAIDED_REAL_TARGETS])
def unaided_server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[Server]:
    """As ``server``, for what holds only where the application itself answers, and nobody asks for credentials."""
    yield from checked(pool.get(request.param))


@pytest.fixture(params=[pytest.param("gunicorn", marks=pytest.mark.server)])
def gunicorn(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[HttpServer]:
    """As ``server``, for tests that need several processes."""
    yield from checked(pool.get(request.param))


@pytest.fixture(params=REAL_TARGETS)
def strict_server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[HttpServer]:
    """A server that takes requests of 4 MiB and waits one second for a body to go on."""
    yield from checked(pool.get(request.param, "strict"))


@pytest.fixture(params=UNAIDED_REAL_TARGETS)
def unaided_strict_server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[HttpServer]:
    """As ``strict_server``, for what a web server in front of the application does in its own way."""
    yield from checked(pool.get(request.param, "strict"))


@pytest.fixture(params=TARGETS)
def secured_server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[Server]:
    """A server that asks for the credentials in ``credentials.PEOPLE``."""
    yield from checked(pool.get(request.param, "secured"))


@pytest.fixture(params=REAL_TARGETS)
def secured_real_server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[HttpServer]:
    """As ``secured_server``, for tests that need a socket."""
    yield from checked(pool.get(request.param, "secured"))


@pytest.fixture(params=TARGETS)
def roles_server(request: pytest.FixtureRequest, pool: ServerPool) -> Iterator[Server]:
    """A server that knows the users of `credentials.write_roles`, and signs links."""
    yield from checked(pool.get(request.param, "roles"))


@pytest.fixture(params=list(KINDS))
def stored(request: pytest.FixtureRequest, server: Server) -> Resource:
    """A stored resource of each kind, to be read only."""
    return resource(server, request.param)


@pytest.fixture
def make_server(tmp_path: Path) -> MakeServer:
    """Return a function of the settings' sections that makes an application in this process.

    All of one test share a working directory: a second call is a restart with other settings.
    """

    def make(**sections: dict[str, Any]) -> FlaskServer:
        return make_flask_server(tmp_path / "work", sections)

    return make
