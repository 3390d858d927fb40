"""Guessing passwords gets slower and slower, and locks nobody else out."""

import logging
import os
from pathlib import Path

import pytest
from passlib.context import CryptContext

from fileserver.accounts.throttle import LoginThrottle
from fileserver.core.errors import SettingsError
from tests.support.checks import assert_problem
from tests.support.credentials import PEOPLE, write_htpasswd
from tests.support.messages import basic_auth
from tests.support.pool import MakeServer

GOOD = {"Authorization": basic_auth("worker", PEOPLE["worker"])}
BAD = {"Authorization": basic_auth("worker", "guessed")}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_user_is_throttled_by_address_until_the_time_is_over():
    clock = Clock()
    throttle = LoginThrottle(2, 100, 60, clock)
    assert not throttle.failed("10.0.0.1", "a")
    assert throttle.failed("10.0.0.1", "a")
    assert throttle.wait_seconds("10.0.0.1", "a") == 60
    assert throttle.wait_seconds("10.0.0.1", "b") == 0
    assert throttle.wait_seconds("10.0.0.2", "a") == 0
    clock.now += 59
    assert throttle.wait_seconds("10.0.0.1", "a") == 1
    clock.now += 1
    assert throttle.wait_seconds("10.0.0.1", "a") == 0


def test_an_address_is_throttled_but_not_for_those_who_work_there():
    throttle = LoginThrottle(10, 3, 60, Clock())
    throttle.succeeded("10.0.0.1", "colleague")
    for name in "abc":
        throttle.failed("10.0.0.1", name)
    assert throttle.wait_seconds("10.0.0.1", "d") == 60
    assert throttle.wait_seconds("10.0.0.1", "colleague") == 0


def test_one_client_has_a_whole_network_of_ipv6():
    throttle = LoginThrottle(2, 100, 60, Clock())
    for number in range(2):
        throttle.failed(f"2001:db8::{number}", "a")
    assert throttle.wait_seconds("2001:db8::ffff", "a") == 60
    assert throttle.wait_seconds("2001:db8:0:1::1", "a") == 0


def test_long_passwords_cost_nothing(make_server: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server = make_server(auth={"htpasswd_file": write_htpasswd(tmp_path / "htpasswd")})
    computed = []
    monkeypatch.setattr(CryptContext, "verify", lambda self, secret, *_: computed.append(secret))
    for length in (257, 100_000):
        assert server.get("/", {"Authorization": basic_auth("worker", "x" * length)}).status in (401, 431)
    assert computed == []
    server.get("/", {"Authorization": basic_auth("worker", "x" * 256)})
    assert len(computed) == 1


@pytest.mark.parametrize(
    "line", [f"a:$2y$31${'.' * 53}\n", f"a:$6$rounds=999999999${'a' * 16}${'a' * 86}\n"], ids=["bcrypt", "sha512"]
)
def test_hashes_that_take_for_ever_are_refused(make_server: MakeServer, tmp_path: Path, line: str):
    (tmp_path / "htpasswd").write_text(line)
    with pytest.raises(SettingsError, match="rounds"):
        make_server(auth={"htpasswd_file": tmp_path / "htpasswd"})


def test_what_is_no_file_of_passwords_is_refused(make_server: MakeServer, tmp_path: Path):
    os.mkfifo(tmp_path / "htpasswd")
    with pytest.raises(SettingsError, match="not a regular file"):
        make_server(auth={"htpasswd_file": tmp_path / "htpasswd"})


def test_memory_is_bounded():
    throttle = LoginThrottle(10, 10**9, 60, Clock())
    for number in range(12_000):
        throttle.failed("10.0.0.1", str(number))
    assert len(throttle._counts) <= 10_000


def test_failed_logins_are_logged_and_refused_for_a_while(
    make_server: MakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    auth = {"htpasswd_file": str(write_htpasswd(tmp_path / "htpasswd")), "max_failed_logins": 3}
    server = make_server(auth=auth)
    with caplog.at_level(logging.WARNING, "fileserver"):
        statuses = [server.get("/", BAD).status for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert "worker" in caplog.text
    assert "127.0.0.1" in caplog.text
    assert "guessed" not in caplog.text
    response = server.get("/", GOOD)
    assert_problem(response, "too-many-requests", server)
    assert 0 < int(response.headers["Retry-After"]) <= 300
    assert server.get("/", {"Authorization": basic_auth("api", PEOPLE["api"])}).status == 200


def test_who_is_logged_in_is_not_locked_out(make_server: MakeServer, tmp_path: Path):
    auth = {"htpasswd_file": str(write_htpasswd(tmp_path / "htpasswd")), "max_failed_logins": 1}
    server = make_server(auth=auth)
    assert server.get("/", GOOD).status == 200
    assert [server.get("/", BAD).status for _ in range(3)] == [401, 429, 429]
    assert server.get("/", GOOD).status == 200


def test_a_name_of_a_user_cannot_forge_a_line_of_the_log(
    make_server: MakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    server = make_server(auth={"htpasswd_file": str(write_htpasswd(tmp_path / "htpasswd"))})
    with caplog.at_level(logging.WARNING, "fileserver"):
        server.get("/", {"Authorization": basic_auth("a\nroot logged in", "x")})
    assert "\nroot" not in caplog.text
