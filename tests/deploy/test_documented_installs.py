"""docs/deployment.md: an installation by its very commands, in another place, serves."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.documented import PASSWORD, Machine, blocks
from tests.support.embedded import WEB_USER, reachable_folder
from tests.support.gaps import not_possible
from tests.support.messages import basic_auth, fresh_bytes
from tests.support.servers import free_port, running, wait_until
from tests.support.targets import HttpServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

TESTED = {"install", "use", "systemd", "socket", "logrotate", "nginx", "apache", "uwsgi"}
AS_WEB_USER = ["setpriv", f"--reuid={WEB_USER}", f"--regid={WEB_USER}", "--clear-groups"]


@pytest.fixture(scope="module")
def installed() -> Iterator[Machine]:
    """A machine with what the first commands of the page have made."""
    if os.geteuid():
        not_possible("installing for another user needs root")
    with reachable_folder() as root:
        machine = Machine(root / "machine")
        machine.run("install")
        yield machine


@pytest.fixture
def machine(installed: Machine) -> Iterator[Machine]:
    """The same, with nothing stored, and only the settings of the installation."""
    settings = installed.root / "etc" / "fileserver" / "settings.toml"
    before = settings.read_text()
    yield installed
    settings.write_text(before)
    for path in (installed.root / "srv" / "fileserver").iterdir():
        shutil.rmtree(path)


def test_every_command_of_the_page_is_tested() -> None:
    assert {fence for fence, _ in blocks()} == {f"sh {kind}" for kind in TESTED}


def unit_lines(unit: Path, key: str) -> list[str]:
    """The values of *key* in *unit*; an empty one takes back those before."""
    values: list[str] = []
    for value in re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE):
        values = [*values, value] if value else []
    return values


@contextmanager
def service(machine: Machine, prefix: list[str], *units: str) -> Iterator[HttpServer]:
    """Run what the last of *units* starts, by *prefix*, as the user and with the variables that the first one says."""
    paths = [machine.root / "etc" / "systemd" / "system" / unit for unit in units]
    assert unit_lines(paths[0], "User") == [WEB_USER]
    variables = dict(pair.split("=", 1) for line in unit_lines(paths[0], "Environment") for pair in shlex.split(line))
    (command,) = unit_lines(paths[-1], "ExecStart")
    log = machine.root / "log" / "service"
    with running([*AS_WEB_USER, *prefix, *shlex.split(command)], variables, log, 0, await_ready=False) as server:
        yield server


def verify(machine: Machine, *units: str) -> None:
    """Let systemd check the *units*, where it would look for them."""
    folder = machine.root / "etc" / "systemd" / "system"
    command = ["systemd-analyze", "verify", "--man=no", *(str(folder / unit) for unit in units)]
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    checked = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def assert_it_serves(machine: Machine, server: HttpServer, port: int) -> None:
    """The last commands of the page do what it promises, and each user may do what its role says."""
    assert wait_until(lambda: server.get("/healthz?signature=").status == 403, 30), server.log.read_text()
    machine.run("use", port)
    path, body = "/results/job.zip", b"a result"
    api, worker = ({"Authorization": basic_auth(user, PASSWORD)} for user in ("api", "worker"))
    assert (server.get(path, api).status, server.get(path, api).body) == (200, body)
    assert [server.get(path, headers).status for headers in (worker, {}, {"Authorization": "none"})] == [403, 401, 401]
    content = fresh_bytes()
    assert server.post_form("/submissions/job", {"a": content}, api).status == 200
    assert server.get("/submission_archives/job.zip", worker).status == 200
    assert server.put("/results/a.zip", content).status == 401
    link = server.request("POST", "/sign", b'{"method": "GET", "path": "/results/job.zip"}', api).json()["url"]
    assert server.get(link).body == body
    assert server.get(f"{path}?signature=x").status == 403


def test_the_service_behind_nginx(machine: Machine) -> None:
    port = free_port()
    machine.run("systemd")
    machine.run("nginx", port)
    verify(machine, "recodex-fileserver.service")
    assert "enable --now recodex-fileserver\n" in machine.asked_of_systemd()
    front = ["nginx", "-c", str(machine.root / "etc" / "nginx" / "nginx.conf"), "-e", "stderr", "-g", "daemon off;"]
    with (
        service(machine, [], "recodex-fileserver.service"),
        running(front, {}, machine.root / "log" / "nginx", port) as server,
    ):
        assert_it_serves(machine, server, port)
        missing = server.get("/results/missing.zip", {"Authorization": basic_auth("api", PASSWORD)})
        assert missing.status == 404


def test_a_socket_that_systemd_opens(machine: Machine) -> None:
    """The first connection starts the service; what it is told in the drop-in is what is run."""
    machine.run("systemd")
    machine.run("socket")
    verify(machine, "recodex-fileserver.socket", "recodex-fileserver.service")
    assert "start recodex-fileserver.socket\n" in machine.asked_of_systemd()
    (path,) = unit_lines(machine.root / "etc" / "systemd" / "system" / "recodex-fileserver.socket", "ListenStream")
    Path(path).unlink(missing_ok=True)
    units = ["recodex-fileserver.service", "recodex-fileserver.service.d/socket.conf"]
    passed = [f"--setenv={name}" for name in ("FILESERVER_SETTINGS", "FILESERVER_WORKING_DIRECTORY")]
    passed += [f"--setenv=FILESERVER_{name}_FILE" for name in ("HTPASSWD", "GROUP")]
    with service(machine, ["systemd-socket-activate", f"--listen={path}", *passed], *units) as server:
        assert wait_until(Path(path).is_socket), server.log.read_text()
        command = ["curl", "-sS", "-u", f"api:{PASSWORD}", "--unix-socket", path, "http://localhost/limits"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "max_request_bytes" in answer.stdout, answer.stderr + server.log.read_text()
        assert f"Serving {machine.root}/srv/fileserver on unix:{path}" in server.log.read_text()
    Path(path).unlink()


def test_the_access_log_is_turned_over(machine: Machine) -> None:
    machine.run("logrotate")
    log = machine.root / "var" / "log" / "fileserver" / "access.log"
    log.write_text("a line\n")
    shutil.chown(log, WEB_USER, WEB_USER)
    command = ["logrotate", "--force", "--state", str(machine.root / "state")]
    done = subprocess.run(
        [*command, machine.root / "etc" / "logrotate.d" / "fileserver"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert log.with_name("access.log.1").read_text() == "a line\n"


def test_apache(machine: Machine) -> None:
    port, folder = free_port(), machine.root / "etc" / "apache2"
    machine.run("apache", port)
    assert "restart apache2\n" in machine.asked_of_systemd()
    command = ["sh", "-c", f". {folder}/envvars && exec apache2 -d {folder} -DFOREGROUND"]
    with running(command, machine.environment(), machine.root / "log" / "apache", port) as server:
        assert_it_serves(machine, server, port)


def test_uwsgi(machine: Machine) -> None:
    port, inherited = free_port(), machine.root / "etc" / "default.ini"
    machine.run("uwsgi", port)
    assert "restart uwsgi\n" in machine.asked_of_systemd()
    inherited.write_text(machine.rewritten(Path("/usr/share/uwsgi/conf/default.ini").read_text()))
    site = machine.root / "etc" / "uwsgi" / "apps-enabled" / "fileserver.ini"
    command = ["/usr/bin/uwsgi", "--ini", str(inherited), "--ini", str(site)]
    names = {"UWSGI_DEB_CONFNAMESPACE": "app", "UWSGI_DEB_CONFNAME": "fileserver"}
    with running(command, names, machine.root / "log" / "uwsgi", port) as server:
        assert_it_serves(machine, server, port)
