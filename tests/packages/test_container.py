"""The Containerfile: what it promises, and a container that serves."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages.building import run
from tests.packages.conftest import HTPASSWD
from tests.packages.containers import CONTAINERFILE, Stage, instructions
from tests.support.messages import basic_auth
from tests.support.servers import REPOSITORY, free_port, running

pytestmark = pytest.mark.slow

WORK = "/var/lib/recodex-fileserver"


def said(name: str) -> list[str]:
    """The values of all instructions *name*."""
    return [instruction.value for instruction in instructions() if instruction.name == name]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.prefix) / "bin" / "hadolint"
    assert run([hadolint, "--disable-ignore-pragma", "--failure-threshold=style", CONTAINERFILE], REPOSITORY) == ""


def test_the_bases_are_the_same_and_pinned() -> None:
    bases = {value.partition(" AS ")[0] for value in said("FROM")}
    assert [re.sub("[0-9]+", "N", base) for base in bases] == ["python:N.N.N-slim-bookworm"]


def test_the_network_gives_only_what_is_pinned() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel)[^&]*", " && ".join(said("RUN")))
    assert len(installs) == 4
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def test_the_instructions_fit_together() -> None:
    [entry], [command], [health] = said("ENTRYPOINT"), said("CMD"), said("HEALTHCHECK")
    assert json.loads(entry) == ["recodex-fileserver"]
    assert json.loads(command) == ["serve", "--bind", f"0.0.0.0:{said('EXPOSE')[0]}"]
    check = json.loads(health.partition(" CMD ")[2])
    assert check == [*json.loads(entry), "health", f"http://127.0.0.1:{said('EXPOSE')[0]}/healthz"]
    assert (said("VOLUME"), said("USER")) == ([WORK], ["10001:10001"])


def test_the_context_is_what_is_copied() -> None:
    copied = {name for value in said("COPY") if "--from" not in value for name in value.split()[:-1]}
    ignored = [line for line in (REPOSITORY / ".containerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored == ["*", *sorted(f"!{name}" for name in copied), "**/__pycache__"]


def test_without_a_password_file_it_tells_what_is_missing(container: Stage) -> None:
    done = subprocess.run(container.command(*container.words("CMD")), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: htpasswd_file {HTPASSWD} cannot be used: No such file or directory\n"


def test_nothing_of_the_build_is_left(container: Stage) -> None:
    names = container.machine.run("sh", "-c", "ls -d /build /opt/recodex-fileserver/bin/pip* 2>&1 || true")
    assert names.count("No such file") == 2, names


@pytest.mark.server
def test_it_serves_who_was_added_and_tells_its_health(container: Stage, tmp_path: Path) -> None:
    run(container.command("user", "add", "worker", "--password-stdin"), tmp_path, given="a long secret\n")
    port = free_port()
    serve = [word.replace(":9999", f":{port}") for word in container.words("CMD")]
    check = ["health", f"http://127.0.0.1:{port}/healthz"]
    with running(container.command(*serve), {}, tmp_path / "work", port) as server:
        headers = {"Authorization": basic_auth("worker", "a long secret")}
        assert server.put("/results/a.zip", b"result", headers).status == 200
        assert server.get("/results/a.zip").status == 401
        assert "answers 401" in run(container.command(*check), tmp_path)
    assert subprocess.run(container.command(*check), capture_output=True).returncode == 1
    assert container.machine.run("stat", "--format=%u:%g", f"{WORK}/results/a.zip") == "10001:10001\n"
