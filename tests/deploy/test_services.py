"""The configurations of services: gunicorn, systemd and logrotate, read by those programs themselves."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.clients import Address, RawClient
from tests.support.deployed import mkconfig
from tests.support.embedded import system_environment
from tests.support.messages import fresh_bytes
from tests.support.servers import READY_SECONDS, REPOSITORY, free_port, running, stop, wait_until

pytestmark = pytest.mark.server

NAMES = ["plain", "with spaces", "per%cent", "ä", "#"]
UNWRITABLE = ["a$dollar", 'a"quote', "an'apostrophe", "back\\slash"]


@pytest.mark.parametrize("name", ["plain", "with 'spaces'", "$HOME"])
def test_gunicorn_serves_by_its_file(tmp_path: Path, name: str) -> None:
    port = free_port()
    options = ["--working-directory", tmp_path / name, "--port", port]
    (tmp_path / "gunicorn.conf.py").write_text(mkconfig("gunicorn", *options))
    command = [sys.executable, "-m", "gunicorn", "-c", str(tmp_path / "gunicorn.conf.py")]
    with running(command, {}, tmp_path / name, port) as server:
        content = fresh_bytes()
        assert server.put("/results/a.zip", content).status == 200
        assert (tmp_path / name / "results" / "a.zip").read_bytes() == content


@contextmanager
def activated(listener: socket.socket, directory: Path) -> Iterator[None]:
    """Run `serve` with *listener* as systemd passes it."""
    log = directory.with_name("activated.log")
    script = f'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&{listener.fileno()}'
    command = ["bash", "-c", script, "bash", sys.executable, "fileserver.py", "--directory", str(directory), "serve"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=output, pass_fds=[listener.fileno()])
    try:
        assert wait_until(lambda: "Serving" in log.read_text(), READY_SECONDS), log.read_text()
        yield
    finally:
        stop(process)


def test_a_client_waits_while_a_service_with_a_socket_of_systemd_starts_anew(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address.of(listener.getsockname()[1])
        with activated(listener, tmp_path / "work"), RawClient(address) as client:
            assert client.request("PUT", "/results/a.zip", b"1").status == 200
        with RawClient(address) as waiting:
            waiting.send(waiting.head("GET", "/results/a.zip"))
            assert not waiting.answers_within(0)
            with activated(listener, tmp_path / "work"):
                assert waiting.read_final("GET").body == b"1"


def systemd_analyze(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, name: str) -> None:
    virtualenv = tmp_path / name
    (virtualenv / "bin").mkdir(parents=True)
    program = virtualenv / "bin" / "recodex-fileserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    options = ["--working-directory", tmp_path / name / "work", "--htpasswd", tmp_path / name / "htpasswd"]
    options += ["--virtualenv", virtualenv, "--user", "root", "--public-url", "https://files.example.org"]
    unit = tmp_path / "recodex-fileserver.service"
    unit.write_text(mkconfig("systemd", *options))
    checked = systemd_analyze("verify", "--man=no", unit)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_a_unit_cannot_write_is_refused(name: str) -> None:
    command = [sys.executable, "mkconfig.py", "systemd", "--working-directory", f"/srv/{name}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: --working-directory: a unit of systemd has no way to write")


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    unit = tmp_path / "recodex-fileserver.service"
    unit.write_text(mkconfig("systemd", "--working-directory", "/srv/fileserver"))
    checked = systemd_analyze("security", "--offline=true", "--threshold=20", unit)
    assert checked.returncode == 0, checked.stdout


def test_the_group_file_of_the_settings_holds_for_web_servers_too(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("api: boss\n")
    env = {"FILESERVER_HTPASSWD_FILE": "/etc/htpasswd", "FILESERVER_GROUP_FILE": str(tmp_path / "groups")}
    assert r"~^yes boss\z" in mkconfig("nginx", "--working-directory", "/srv", env=env)
    options = ["--working-directory", "/srv", "--virtualenv", system_environment()]
    assert "Require group api admin" in mkconfig("apache", *options, env=env)
    assert "Require group" not in mkconfig("apache", *options, "--insecure-no-auth", env=env)


def test_the_log_that_is_rotated_is_the_one_that_is_written() -> None:
    options = ["--working-directory", "/srv", "--access-log", "/var/log/fileserver/access.log"]
    unit = mkconfig("systemd", *options).splitlines()
    assert 'Environment="FILESERVER_ACCESS_LOG_FILE=/var/log/fileserver/access.log"' in unit
    assert "LogsDirectory=fileserver" in unit
    assert not [line for line in mkconfig("systemd", *options[:2]).splitlines() if line.startswith("LogsDirectory")]


@pytest.mark.parametrize("program", ["apache", "uwsgi", "systemd", "gunicorn"])
def test_nothing_comes_in_by_the_path_of_the_settings(tmp_path: Path, program: str) -> None:
    settings = tmp_path / "s\nexec-asap = touch x"
    settings.write_text("")
    command = [sys.executable, "mkconfig.py", program, "--working-directory", "/srv", "--virtualenv", sys.prefix]
    env = {**os.environ, "FILESERVER_SETTINGS": str(settings)}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "FILESERVER_SETTINGS" in done.stderr


def test_a_program_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    command = [sys.executable, "mkconfig.py", "systemd", "--working-directory", "/srv", "--virtualenv", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0
    assert f"Warning: {tmp_path}/bin/recodex-fileserver is not there" in done.stderr


def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    log = tmp_path / "log folder" / "access.log"
    log.parent.mkdir()
    log.write_text("a line\n")
    (tmp_path / "rotate").write_text(mkconfig("logrotate", "--access-log", log, "--user", "root"))
    (tmp_path / "rotate").chmod(0o644)
    command = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(tmp_path / "rotate")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (log.parent / "access.log.1").read_text() == "a line\n"
    assert not log.exists(), "the server makes the new one"
