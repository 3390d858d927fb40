"""Real servers as subprocesses: on a free port, with a log file, ready when they are handed out."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.clients import Address, CutResponse, RawClient
from tests.support.memory import processes
from tests.support.targets import HttpServer

REPOSITORY = Path(__file__).resolve().parents[2]
READY_SECONDS = 30.0
STOP_SECONDS = 15.0


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Poll until *condition* holds; False if it does not within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@contextmanager
def gunicorn_server(
    directory: Path,
    *,
    env: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    may_fail: bool = False,
    await_ready: bool = True,
) -> Iterator[HttpServer]:
    """Run the production server: gunicorn with two workers of eight threads.

    :param may_fail: stack traces in its log are expected
    :param await_ready: False hands it out while it starts
    """
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "8", "--no-control-socket"]
    command += ["-k", "fileserver.web.worker.PatientWorker", "--graceful-timeout", "3", "-b", f"127.0.0.1:{port}"]
    command += [*flags, "fileserver:create_app()"]
    settings = {"FILESERVER_WORKING_DIRECTORY": str(directory), **(env or {})}
    with running(command, settings, directory, port, may_fail=may_fail, await_ready=await_ready) as server:
        yield server


@contextmanager
def development_server(directory: Path, *, env: Mapping[str, str] | None = None) -> Iterator[HttpServer]:
    """Run ``fileserver.py runserver``."""
    port = free_port()
    command = [sys.executable, "fileserver.py", "--directory", str(directory)]
    command += ["runserver", str(port)]
    with running(command, env or {}, directory, port) as server:
        yield server


@contextmanager
def running(
    command: Sequence[str],
    settings: Mapping[str, str],
    directory: Path,
    port: int,
    *,
    folder: Path = REPOSITORY,
    may_fail: bool = False,
    await_ready: bool = True,
    credentials: tuple[str, str] | None = None,
) -> Iterator[HttpServer]:
    """Run *command* in *folder*, which serves *directory* on *port*; without the settings of this process."""
    log = directory.with_name(f"{directory.name}.log")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FILESERVER_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment | dict(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that `kill` ends this server and nobody else
        )
    server = HttpServer(directory, Address.of(port, credentials), process.pid, log)
    try:
        if await_ready:
            wait_ready(process, server)
        yield server
    finally:
        stop(process)
    logged = log.read_text(errors="replace")
    trace = logged[logged.find("Traceback") :][:5000]
    assert may_fail or "Traceback" not in logged, f"a server has logged a stack trace:\n{trace}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_ready(process: subprocess.Popen[bytes], server: HttpServer) -> None:
    def ready_or_dead() -> bool:
        return process.poll() is not None or answers(server)

    ready = wait_until(ready_or_dead, READY_SECONDS) and process.poll() is None
    assert ready, server.log.read_text(errors="replace")[-5000:]


def answers(server: HttpServer) -> bool:
    try:
        with RawClient(server.address, timeout=5) as client:
            client.request("GET", "/healthz")
    except (ConnectionRefusedError, ConnectionResetError, CutResponse):
        return False
    return True


def kill(server: HttpServer) -> None:
    """End all processes of *server* at one instant, as `kill -9` does; on return they have freed what they held."""
    with awaited(processes(server.pid)):
        os.killpg(server.pid, signal.SIGKILL)


def kill_process(process: int) -> None:
    """As `kill`, for one process of a server."""
    with awaited([process]):
        os.kill(process, signal.SIGKILL)


@contextmanager
def awaited(pids: Sequence[int]) -> Iterator[None]:
    """Wait, after the block, until the processes *pids* have ended."""
    ends = [os.pidfd_open(pid) for pid in pids]
    yield
    for end in ends:
        ended, _, _ = select.select([end], [], [], STOP_SECONDS)
        os.close(end)
        assert ended, "a process survives"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server in good order; AssertionError, and no process left, if it does not obey."""
    if process.poll() is not None:
        return
    # The workers of uWSGI answer a moment before their master, which has just started or started anew, heeds SIGTERM.
    wait_until(lambda: process.poll() is not None or not ignores(process.pid, signal.SIGTERM), STOP_SECONDS)
    family = processes(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        for descendant in family[1:]:
            with suppress(ProcessLookupError):
                os.kill(descendant, signal.SIGKILL)
        raise AssertionError(f"the server did not stop within {STOP_SECONDS} seconds of SIGTERM") from None


def ignores(pid: int, number: signal.Signals) -> bool:
    """Whether the process *pid* ignores the signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    (mask,) = re.findall(r"^SigIgn:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def kill_a_worker(server: HttpServer, worker: int) -> None:
    """Kill the process *worker*, and wait until the master has started another one."""
    workers = processes(server.pid)[1:]
    kill_process(worker)
    assert wait_until(lambda: len(set(processes(server.pid)[1:]) - set(workers)) == 1)
