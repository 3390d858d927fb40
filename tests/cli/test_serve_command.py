"""`serve`, the server for production: where it listens, what it refuses, and how it ends."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.test_commands import EXIT_FAILED, EXIT_USAGE, command, environment, run
from tests.support.clients import Address, RawClient
from tests.support.credentials import write_htpasswd
from tests.support.memory import processes
from tests.support.servers import REPOSITORY, STOP_SECONDS, free_port, wait_until

pytestmark = pytest.mark.server

HEALTHY = b'{"status":"ok"}\n'
START_SECONDS = 30
LARGE = 30_000_000
SMALL_BUFFER = 65_536


class Serving:
    """A running `serve`; *port* is that of its first TCP socket."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
        self.process = process
        self._output = output
        assert wait_until(lambda: process.poll() is not None or "Serving" in self.output, START_SECONDS), self.output
        found = re.search(r"://(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)", self.output)
        self.address = Address.of(int(found[1]) if found else 0)

    @property
    def output(self) -> str:
        return self._output.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(tmp_path: Path, *arguments: object, prefix: Sequence[str] = (), **settings: str) -> Iterator[Serving]:
    output = tmp_path / "output.txt"
    environ = environment({f"FILESERVER_{name.upper()}": value for name, value in settings.items()})
    whole = [*prefix, *command("--directory", tmp_path / "work", "serve", *arguments)]
    with (
        output.open("w") as file,
        subprocess.Popen(
            whole, cwd=REPOSITORY, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield Serving(process, output)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()
    assert "Traceback" not in output.read_text(), output.read_text()


def get(url: str, context: ssl.SSLContext | None = None) -> bytes:
    with urlopen(url, timeout=10, context=context) as response:
        return bytes(response.read())


def curl(*arguments: object) -> bytes:
    return subprocess.run(["curl", "-sS", *map(str, arguments)], capture_output=True, check=True, timeout=20).stdout


def test_it_listens_on_every_address_that_is_given(tmp_path: Path) -> None:
    unix = tmp_path / "a socket"
    with serving(tmp_path, "--bind", "127.0.0.1:0", "--bind", "[::1]:0", "--unix-socket", unix) as server:
        for url in re.findall(r"http://\S+:\d+", server.output):
            assert get(f"{url}/healthz") == HEALTHY
        assert len(re.findall("http://", server.output)) == 2
        assert curl("--unix-socket", unix, "http://any/healthz") == HEALTHY
        assert unix.stat().st_mode & 0o777 == 0o660
        assert server.stop() == 0, server.output
    assert not unix.exists()


def test_a_unix_socket_alone_is_no_port(tmp_path: Path) -> None:
    with serving(tmp_path, "--unix-socket", tmp_path / "socket") as server:
        assert "http://" not in server.output
        assert curl("--unix-socket", tmp_path / "socket", "http://any/healthz") == HEALTHY


def test_a_socket_that_a_dead_server_left_is_replaced(tmp_path: Path) -> None:
    unix = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(unix))
    with serving(tmp_path, "--unix-socket", unix):
        assert curl("--unix-socket", unix, "http://any/healthz") == HEALTHY


def test_workers_and_threads_are_as_many_as_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, "--bind", "127.0.0.1:0", "--workers", 3, "--threads", 2) as server:
        assert "3 workers of 2 threads" in server.output
        assert wait_until(lambda: len(processes(server.process.pid)) == 4)


def refused(tmp_path: Path, *arguments: object) -> str:
    """What is said in the one line; it is checked that nothing is left, and that it is one line."""
    result = run("--directory", tmp_path / "work", "serve", *arguments)
    assert result.returncode == EXIT_FAILED, result
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_an_address_in_use_is_told_with_exit_status_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        unix = tmp_path / "socket"
        assert f"127.0.0.1:{port} cannot be used: Address already in use" in refused(
            tmp_path, "--bind", f"127.0.0.1:{port}", "--unix-socket", unix
        )
    assert not unix.exists()


def test_another_server_on_the_same_socket_is_not_pushed_away(tmp_path: Path) -> None:
    unix = tmp_path / "socket"
    with serving(tmp_path, "--bind", "127.0.0.1:0", "--unix-socket", unix) as server:
        assert "Address already in use" in refused(tmp_path, "--unix-socket", unix)
        bind = "{}:{}".format(*server.address)
        assert "Address already in use" in refused(tmp_path, "--bind", bind)
        assert curl("--unix-socket", unix, "http://any/healthz") == HEALTHY


def test_a_file_in_the_place_of_a_socket_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "a file that is no socket" in refused(tmp_path, "--unix-socket", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bind", "9999"], "'9999' is not like 127.0.0.1:9999"),
        (["--bind", "127.0.0.1:99999"], "is not like"),
        (["--bind", "me@127.0.0.1:9999"], "is not like"),
        (["--tls-certificate", "missing.pem"], "missing.pem"),
        (["--tls-certificate", "README.md"], "--tls-certificate, --tls-key: README.md cannot be used"),
        (["--tls-key", "README.md"], "--tls-key needs --tls-certificate"),
        (["--bind", "0.0.0.0:0"], "0.0.0.0 can be reached from other machines: set htpasswd_file"),
        (["--bind", "[::]:0"], ":: can be reached from other machines"),
        (["--directory", "/proc/nothing"], "the working directory /proc/nothing cannot be used"),
        (["--directory", "README.md"], "README.md"),
    ],
)
def test_what_cannot_be_is_told_with_exit_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run("--directory", tmp_path / "work", "serve", *arguments)
    assert result.returncode == EXIT_USAGE, result
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_working_directory_is_needed() -> None:
    result = run("serve")
    assert (result.returncode, result.stderr.count("\n")) == (EXIT_USAGE, 1)
    assert "no working directory is set" in result.stderr


def test_other_machines_are_served_with_credentials_or_if_that_is_said(tmp_path: Path) -> None:
    with serving(tmp_path, "--bind", "0.0.0.0:0", htpasswd_file=str(write_htpasswd(tmp_path / "htpasswd"))) as server:
        with RawClient(server.address) as client:
            assert client.request("GET", "/healthz").status == 401
    with serving(tmp_path, "--bind", "0.0.0.0:0", "--insecure-no-auth") as server, RawClient(server.address) as client:
        assert client.request("GET", "/healthz").status == 200


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in a file each."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", path.with_name("key.pem"), "-out", path], check=True, capture_output=True)
    return path


def test_it_speaks_tls(tmp_path: Path, certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    arguments = ["--bind", "127.0.0.1:0", "--tls-certificate", certificate, "--tls-key", key]
    with serving(tmp_path, *arguments) as server:
        url = "https://{}:{}/".format(*server.address)
        assert url.removesuffix("/") in server.output
        context = ssl.create_default_context(cafile=certificate)
        assert get(f"{url}healthz", context) == HEALTHY
        content = os.urandom(3_000_000)
        (tmp_path / "sent").write_bytes(content)
        curl("--cacert", certificate, "-T", tmp_path / "sent", f"{url}results/a.zip")
        assert curl("--cacert", certificate, f"{url}results/a.zip") == content
        assert curl("--cacert", certificate, "-r", "5-2000000", f"{url}results/a.zip") == content[5:2_000_001]
        with pytest.raises(OSError, match=r".*"), RawClient(server.address) as client:
            client.request("GET", "/healthz")


def test_a_key_may_lie_in_the_file_of_its_certificate_and_needs_no_passphrase(
    tmp_path: Path, certificate: Path
) -> None:
    both, locked = tmp_path / "both.pem", tmp_path / "locked.pem"
    key = certificate.with_name("key.pem")
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    subprocess.run(["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", key, "-out", locked], check=True)
    with serving(tmp_path, "--bind", "127.0.0.1:0", "--tls-certificate", both) as server:
        context = ssl.create_default_context(cafile=certificate)
        assert get("https://{}:{}/healthz".format(*server.address), context) == HEALTHY
    result = run("--directory", tmp_path, "serve", "--tls-certificate", certificate, "--tls-key", locked)
    assert (result.returncode, "cannot be used" in result.stderr) == (EXIT_USAGE, True)


def connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_running_transfers_end_after_sigterm_and_nobody_new_is_let_in(tmp_path: Path) -> None:
    content = os.urandom(LARGE)
    with serving(tmp_path, "--bind", "127.0.0.1:0") as server:
        with (
            RawClient(server.address, receive_buffer=SMALL_BUFFER) as download,
            RawClient(server.address) as upload,
            RawClient(server.address) as idle,
        ):
            assert idle.request("PUT", "/results/large.zip", content).status == 200
            download.send(download.head("GET", "/results/large.zip"))
            assert download.answers_within(10)
            upload.send(upload.head("PUT", "/results/new.zip", {"Content-Length": str(LARGE)}) + content[:1000])
            staging = tmp_path / "work" / "staging"
            assert wait_until(lambda: any(not entry.name.startswith(".") for entry in staging.iterdir()))
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: not connects(server.address))
            upload.send(content[1000:])
            assert upload.read_final("PUT").status == 200
            assert download.read_final("GET").body == content
        assert server.process.wait(STOP_SECONDS) == 0
    assert (tmp_path / "work" / "results" / "new.zip").read_bytes() == content


def test_a_transfer_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, "--bind", "127.0.0.1:0", "--graceful-seconds", 1) as server:
        with RawClient(server.address) as upload:
            upload.send(upload.head("PUT", "/results/new.zip", {"Content-Length": "9"}) + b"1")
            staging = tmp_path / "work" / "staging"
            assert wait_until(lambda: any(not entry.name.startswith(".") for entry in staging.iterdir()))
            assert server.stop() == 0, server.output
    assert not (tmp_path / "work" / "results" / "new.zip").exists()


def test_sigint_ends_it_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "--bind", "127.0.0.1:0") as server, RawClient(server.address) as upload:
        upload.send(upload.head("PUT", "/results/new.zip", {"Content-Length": "9"}) + b"1")
        assert server.stop(signal.SIGINT) == 0


ACTIVATE = """
import os, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    os.execv(sys.argv[2], sys.argv[2:])
"""


def test_it_takes_the_sockets_that_systemd_passes(tmp_path: Path) -> None:
    port = free_port()
    prefix = [sys.executable, "-c", ACTIVATE, str(port)]
    with serving(tmp_path, prefix=prefix) as server:
        assert server.address == ("127.0.0.1", port)
        assert get(f"http://127.0.0.1:{port}/healthz") == HEALTHY
        assert server.stop() == 0, server.output
    with serving(tmp_path, "--bind", "127.0.0.1:0", prefix=prefix) as server:
        assert server.process.wait(STOP_SECONDS) == EXIT_USAGE
        assert "where systemd opens the sockets" in server.output
