"""`health` tells by its exit status whether a server answers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from fileserver.cli.main import cli
from tests.cli.test_commands import EXIT_FAILED, EXIT_USAGE
from tests.support.pool import ServerPool
from tests.support.servers import free_port
from tests.support.targets import HttpServer


def health(*arguments: object) -> tuple[int, str]:
    """Run the command in this process; its exit status and what it printed."""
    done = CliRunner().invoke(cli, ["health", *map(str, arguments)])
    return done.exit_code, done.output


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """Listen for one client, and give it *answer*, or keep silent for None; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked = threading.Event()

        def serve() -> None:
            with listener.accept()[0] as client:
                client.recv(65536)
                if answer is None:
                    asked.wait(30)
                else:
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/healthz"
        finally:
            asked.set()
            thread.join()


@pytest.mark.parametrize("variant", ["default", "secured"])
@pytest.mark.server
def test_a_server_is_healthy_with_and_without_authentication(pool: ServerPool, variant: str) -> None:
    server = pool.get("gunicorn", variant)
    assert isinstance(server, HttpServer)
    status, output = health("http://{}:{}/healthz".format(*server.address))
    assert (status, "answers" in output) == (0, True), output


@pytest.mark.server
def test_what_is_no_fileserver_is_not_healthy(pool: ServerPool) -> None:
    server = pool.get("gunicorn")
    assert isinstance(server, HttpServer)
    status, output = health("http://{}:{}/nothing".format(*server.address))
    assert (status, "answers 404" in output) == (EXIT_FAILED, True), output


def test_a_port_where_nobody_listens_is_not_healthy() -> None:
    status, output = health(f"http://127.0.0.1:{free_port()}/healthz")
    assert (status, "refused" in output) == (EXIT_FAILED, True), output


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_name_that_no_host_can_have_is_not_healthy(host: str) -> None:
    assert health(f"http://{host}:1/")[0] == EXIT_FAILED


@pytest.mark.parametrize("path", ["/a b", "/\x7f"])
def test_a_path_that_cannot_be_asked_for_is_not_healthy(path: str) -> None:
    assert health(f"http://127.0.0.1:1{path}")[0] == EXIT_FAILED


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/healthz\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
    ids=["unavailable", "redirect", "not-http", "closed"],
)
def test_another_answer_is_not_healthy(answer: bytes) -> None:
    with answering(answer) as url:
        status, output = health(url)
    assert (status, url in output) == (EXIT_FAILED, True), output


def test_silence_is_not_healthy() -> None:
    with answering(None) as url:
        status, output = health("--timeout-seconds", "0.1", url)
    assert (status, "timed out" in output) == (EXIT_FAILED, True), output


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
        assert health(url)[0] == 0


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "127.0.0.1:9999", "http://", "http://h:99999/", "http://[h/", "http://ü/", ""]
)
def test_what_is_no_address_of_a_server_is_wrong_usage(url: str) -> None:
    assert health(url)[0] == EXIT_USAGE


@pytest.mark.parametrize("url", ["http://user:secret@h/", "https://user:secret@h:1/healthz"])
def test_credentials_are_refused_and_not_repeated(url: str) -> None:
    status, output = health(url)
    assert (status, "credentials" in output, "secret" in output) == (EXIT_USAGE, True, False), output


def test_without_an_address_the_default_port_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(url: str, timeout_seconds: float) -> int:
        asked.append(url)
        return 200

    monkeypatch.setattr("fileserver.cli.health._status", answer)
    assert (health()[0], asked) == (0, ["http://127.0.0.1:9999/healthz"])
