"""The commands `user` and `sign`, with the real htpasswd of Apache at the other end."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.test_commands import EXIT_FAILED, EXIT_USAGE, run
from tests.support.pool import make_flask_server

pytestmark = [pytest.mark.server, pytest.mark.slow]


def user(folder: Path, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    files = {"FILESERVER_HTPASSWD_FILE": str(folder / "htpasswd"), "FILESERVER_GROUP_FILE": str(folder / "groups")}
    return run("user", *arguments, env=files, given=given)


def add(folder: Path, name: str, password: str, *options: str) -> None:
    done = user(folder, "add", name, "--password-stdin", *options, given=f"{password}\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def verified(folder: Path, name: str, password: str) -> bool:
    """What Apache's own tool says."""
    command = ["htpasswd", "-vb", str(folder / "htpasswd"), name, password]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("scheme", ["bcrypt", "sha512", "apr1"])
def test_apache_reads_what_was_added(tmp_path: Path, scheme: str) -> None:
    add(tmp_path, "alice", "a pass: wörd", "--scheme", scheme)
    assert verified(tmp_path, "alice", "a pass: wörd")
    assert not verified(tmp_path, "alice", "another")
    assert (tmp_path / "htpasswd").stat().st_mode & 0o777 == 0o640


def test_users_are_added_changed_listed_and_removed(tmp_path: Path) -> None:
    subprocess.run(
        ["htpasswd", "-cbB", str(tmp_path / "htpasswd"), "old", "old secret"], check=True, capture_output=True
    )
    (tmp_path / "htpasswd").chmod(0o604)
    (tmp_path / "groups").write_text("# ours\nother: x\nworker: old\n")
    add(tmp_path, "alice", "secret one", "--role", "api", "--role", "worker")
    done = user(tmp_path, "passwd", "alice", "--password-stdin", given="secret two\n")
    assert done.returncode == 0
    assert verified(tmp_path, "alice", "secret two")
    assert verified(tmp_path, "old", "old secret")
    assert (tmp_path / "htpasswd").stat().st_mode & 0o777 == 0o604
    assert (tmp_path / "groups").read_text() == "# ours\nother: x\nworker: old alice\napi: alice\n"
    listed = json.loads(user(tmp_path, "list", "--json").stdout)["users"]
    assert listed == [
        {"name": "alice", "roles": ["api", "worker"], "scheme": "bcrypt"},
        {"name": "old", "roles": ["worker"], "scheme": "bcrypt"},
    ]
    assert user(tmp_path, "remove", "alice").returncode == 0
    assert (tmp_path / "groups").read_text() == "# ours\nother: x\nworker: old\napi:\n"
    assert not verified(tmp_path, "alice", "secret two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["groups", "htpasswd"]


def test_a_removed_user_is_gone_however_often_it_was_there(tmp_path: Path) -> None:
    add(tmp_path, "alice", "secret one")
    line = (tmp_path / "htpasswd").read_text()
    (tmp_path / "htpasswd").write_text(line * 3)
    assert user(tmp_path, "remove", "alice").returncode == 0
    assert (tmp_path / "htpasswd").read_text() == ""


def test_what_is_wrong_is_told_and_changes_nothing(tmp_path: Path) -> None:
    add(tmp_path, "alice", "secret one")
    before = (tmp_path / "htpasswd").read_bytes()
    cases = [
        (EXIT_FAILED, ["add", "alice", "--password-stdin"], "x y z\n"),
        (EXIT_FAILED, ["passwd", "bob", "--password-stdin"], "x y z\n"),
        (EXIT_FAILED, ["remove", "bob"], ""),
        (EXIT_USAGE, ["add", "re", "--password-stdin"], "codex\n"),
        (EXIT_USAGE, ["add", "bob", "--password-stdin"], "bob\n"),
        (EXIT_USAGE, ["add", "bob", "--password-stdin"], "\n"),
        (EXIT_USAGE, ["add", "bob", "--password-stdin"], "x" * 73 + "\n"),
        (EXIT_USAGE, ["add", "b:ob", "--password-stdin"], "secret\n"),
        (EXIT_USAGE, ["add", "bob", "--role", "king", "--password-stdin"], "secret\n"),
    ]
    for status, arguments, given in cases:
        done = user(tmp_path, *arguments, given=given)
        assert (done.returncode, done.stdout) == (status, ""), (arguments, done)
        assert "Traceback" not in done.stderr
    assert (tmp_path / "htpasswd").read_bytes() == before


def test_admins_at_once_lose_nothing(tmp_path: Path) -> None:
    names = [f"user{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda name: add(tmp_path, name, f"secret {name}", "--scheme", "apr1", "--role", "worker"), names)
        )
    assert all(verified(tmp_path, name, f"secret {name}") for name in names)
    assert sorted((tmp_path / "groups").read_text().split()[1:]) == names


def test_a_link_that_was_signed_on_the_command_line_is_accepted(tmp_path: Path) -> None:
    key = run("sign", "--new-key").stdout
    assert len(key.strip()) == 64
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text(key)
    env = {"FILESERVER_SIGNING_KEY_FILE": str(keys)}
    done = run("sign", "put", "/results/x y.zip", "--expires", "30m", env=env)
    assert done.stdout.startswith("/results/x%20y.zip?expires=")
    server = make_flask_server(tmp_path / "work", {"auth": {"signing_key_file": str(keys)}})
    assert server.put(done.stdout.strip(), b"1").status == 200
    server.app.extensions["fileserver"].close()
    for arguments in (["GET", "/healthz"], ["GET", "/results/x.zip", "--expires", "forever"], ["GET"]):
        assert run("sign", *arguments, env=env).returncode == EXIT_USAGE
    assert run("sign", "GET", "/results/x.zip").returncode == EXIT_USAGE
    keys.chmod(0o644)
    assert run("sign", "GET", "/results/x.zip", env=env).returncode == EXIT_USAGE
