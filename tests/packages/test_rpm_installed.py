"""The rpm, installed for real on a machine that is thrown away: users, service, upgrade and removal."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fileserver._version import __version__
from tests.packages.machines import SHARED, Machine
from tests.support.messages import basic_auth
from tests.support.servers import free_port, running
from tests.support.targets import HttpServer

pytestmark = pytest.mark.slow

PACKAGE = "recodex-fileserver"
WORK = f"/var/lib/{PACKAGE}"
CONFIGURATION = f"/etc/{PACKAGE}"
UNIT = f"/usr/lib/systemd/system/{PACKAGE}.service"


@contextmanager
def service(host: Machine, tmp_path: Path) -> Iterator[HttpServer]:
    """Run what the unit says, as its user, with its environment and umask, on another port."""
    unit = [line.partition("=") for line in host.run("cat", UNIT).splitlines()]
    values = {name: value for name, _, value in unit}
    port = free_port()
    start = values["ExecStart"].replace(":9999", f":{port}")
    env = dict(word.split("=", 1) for word in shlex.split(values["Environment"]))
    script = f"umask {values['UMask']} && exec {start}"
    command = host.command("sh", "-c", script, env=env, user=f"{values['User']}:{values['Group']}")
    with running(command, {}, tmp_path / "work", port) as server:
        yield server


def test_it_makes_the_user_once(bare: Machine, rpm: Path) -> None:
    for _ in range(2):
        bare.run("rpm", "--install", "--force", "--nodeps", SHARED / rpm.name)
        *account, comment, home, shell = bare.run("getent", "passwd", "recodex").strip().split(":")
        assert (account[0], comment, home, shell) == ("recodex", "ReCodEx fileserver", WORK, "/usr/sbin/nologin")
        assert int(account[2]) < 1000, "a user of the system"
        assert bare.run("id", "--groups", "--name", "recodex") == "recodex\n"


def test_it_takes_a_user_that_is_there(bare: Machine, rpm: Path) -> None:
    bare.run("useradd", "--system", "--user-group", "--home-dir", "/srv", "recodex")
    before = bare.run("getent", "passwd", "recodex")
    bare.run("rpm", "--install", "--nodeps", SHARED / rpm.name)
    assert bare.run("getent", "passwd", "recodex") == before


def test_rpm_finds_all_as_it_should_be(host: Machine) -> None:
    assert host.run("rpm", "--verify", "--nodeps", PACKAGE) == ""
    owned = host.run("stat", "--format", "%a %U %G", CONFIGURATION, f"{CONFIGURATION}/htpasswd", WORK)
    assert owned.splitlines() == ["750 root recodex", "640 root recodex", "750 recodex recodex"]


def test_systemd_finds_nothing_wrong_with_the_unit(host: Machine) -> None:
    host.run("systemd-analyze", "verify", "--man=no", UNIT)


def test_the_command_has_the_settings_of_the_service(host: Machine) -> None:
    assert __version__ in host.run(PACKAGE, "--version")
    assert f"{CONFIGURATION}/settings.toml" in host.run(PACKAGE, "settings")
    assert f"{CONFIGURATION}/settings.toml" not in host.run(PACKAGE, "settings", env={"FILESERVER_SETTINGS": ""})


@pytest.mark.server
def test_the_service_serves_who_was_added(host: Machine, tmp_path: Path) -> None:
    with service(host, tmp_path) as server:
        assert server.get("/results/a.zip").status == 401
        host.run(PACKAGE, "user", "add", "api", "--role", "api", "--password-stdin", given="a long secret\n")
        headers = {"Authorization": basic_auth("api", "a long secret")}
        assert server.put("/results/a.zip", b"result", headers).status == 200
        assert server.get("/results/a.zip", headers).body == b"result"
    owned = host.run("stat", "--format", "%a %U", f"{WORK}/results/a.zip", f"/var/log/{PACKAGE}/access.log")
    assert owned == "640 recodex\n640 recodex\n"
    assert host.run("stat", "--format", "%a %U %G", f"{CONFIGURATION}/htpasswd") == "640 root recodex\n"


@pytest.mark.server
def test_logs_are_turned_over(host: Machine, tmp_path: Path) -> None:
    log = f"/var/log/{PACKAGE}/access.log"
    with service(host, tmp_path) as server:
        assert server.get("/first").status == 401
        host.run("logrotate", "--force", f"/etc/logrotate.d/{PACKAGE}")
        assert server.get("/second").status == 401
    assert "/second" in host.run("cat", log)
    assert "/first" in host.run("cat", f"{log}.1")


def test_an_upgrade_and_a_removal_keep_what_is_of_the_admin(host: Machine, rpm: Path) -> None:
    settings, result = f"{CONFIGURATION}/settings.toml", f"{WORK}/results/a.zip"
    host.run("sh", "-c", f"mkdir {WORK}/results && echo result > {result} && echo '#mine' >> {settings}")
    host.run("rpm", "--upgrade", "--force", "--nodeps", SHARED / rpm.name)
    assert host.run("tail", "-n1", settings) == "#mine\n"
    host.run("rpm", "--erase", PACKAGE)
    assert host.run("tail", "-n1", f"{settings}.rpmsave") == "#mine\n"
    assert host.run("cat", result) == "result\n"
    assert host.run("find", "/usr", "/etc/systemd", "-name", f"{PACKAGE}*") == ""
