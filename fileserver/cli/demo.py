"""One whole grading job, step by step, against a server of its own."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from fileserver.cli.runserver import HOST, free_port
from fileserver.configuration import PREFIX

_START_SECONDS = 20
_BOUNDARY = "demo-7b1f0c52d1a94be8"
_SOURCE = b'#include <stdio.h>\nint main(void) { puts("6"); return 0; }\n'
_CONFIG = b"submission:\n  job-id: student_demo\n"
_INPUT = b"1 2 3\n"


@contextmanager
def gunicorn(directory: Path) -> Iterator[str]:
    """Run the production server on *directory* and a free port; yields its address."""
    port = free_port(0)
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "8", "--no-control-socket"]
    command += ["-k", "fileserver.web.worker.PatientWorker", "-b", f"{HOST}:{port}", "--log-level", "warning"]
    command += ["fileserver:create_app()"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environ |= {f"{PREFIX}WORKING_DIRECTORY": str(directory), f"{PREFIX}ACCESS_LOG": "none"}
    with subprocess.Popen(command, env=environ) as server:
        try:
            _wait_for(port, server)
            yield f"http://{HOST}:{port}"
        finally:
            server.terminate()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise click.ClickException("the server does not start")


def _form(files: Mapping[str, bytes]) -> bytes:
    """A form as the API server sends it."""
    parts = []
    for name, content in files.items():
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{Path(name).name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


class _Client:
    """Sends requests and tells of them."""

    def __init__(self, address: str) -> None:
        self._address = address

    def send(
        self, who: str, what: str, method: str, path: str, body: bytes | None = None, *, form: bool = False
    ) -> bytes:
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"} if form else {}
        request = urllib.request.Request(self._address + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                content: bytes = response.read()
                status = response.status
        except urllib.error.HTTPError as error:
            raise click.ClickException(f"{method} {path}: {error.code} {error.read().decode()}") from None
        click.echo(f"{who:<11} {what}\n            {method} {path} -> {status}, {len(content)} bytes")
        return content


def _check(holds: bool, promise: str) -> None:
    if not holds:
        raise click.ClickException(f"broken promise: {promise}")
    click.echo(f"            checked: {promise}")


@click.command(epilog="Exit status: 0 all steps worked, 1 one did not.")
def demo() -> None:
    """Play one grading job against a server of its own, and print each step."""
    with tempfile.TemporaryDirectory(prefix="fileserver-demo-") as directory, gunicorn(Path(directory)) as address:
        _play(_Client(address))
    click.echo("The job is done.")


def _play(client: _Client) -> None:
    form = _form({"input.txt": _INPUT})
    answer = json.loads(client.send("API server", "stores exercise data", "POST", "/exercises", form, form=True))
    task_path = answer["files"]["input.txt"]
    _check(task_path.endswith(hashlib.sha1(_INPUT).hexdigest()), "its name is the SHA-1 of its content")
    form = _form({"src/main.c": _SOURCE, "job-config.yml": _CONFIG})
    answer = json.loads(
        client.send("API server", "submits a job", "POST", "/submissions/student_demo", form, form=True)
    )

    archive = client.send("Worker", "fetches the submission", "GET", answer["archive_path"])
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        _check(opened.read("student_demo/src/main.c") == _SOURCE, "the archive holds what was submitted")
    _check(client.send("Worker", "fetches the data", "GET", task_path) == _INPUT, "the data is what was stored")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("result/result.yml", "job-id: student_demo\nresults: []\n")
    client.send("Worker", "sends the result", "PUT", answer["result_path"], buffer.getvalue())

    result = client.send("API server", "reads the result", "GET", answer["result_path"])
    _check(result == buffer.getvalue(), "the result is what the worker sent")
