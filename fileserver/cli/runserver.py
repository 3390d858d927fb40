"""The server for development: gunicorn, as in production, in one small process tree."""

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from types import FrameType

import click

from fileserver.app import create_app
from fileserver.cli.gunicorn import Gunicorn
from fileserver.cli.options import directory_option
from fileserver.configuration import load_settings

HOST = "127.0.0.1"
DEFAULT_PORT = 9999

_TO_TRY = Template("""\
Submit a file, fetch the archive, store exercise data, send a result, read it:
  echo 'int main() { return 0; }' | curl -F 'main.c=@-;filename=main.c' $url/submissions/job1
  curl -o job1.zip $url/submission_archives/job1.zip
  echo '1 2 3' | curl -F 'input.txt=@-;filename=input.txt' $url/exercises
  curl -T job1.zip $url/results/job1.zip
  curl -o result.zip $url/results/job1.zip
Or look at $url/ in a browser. Ctrl-C stops the server.""")


@contextmanager
def working_directory(given: Path | None) -> Iterator[Path]:
    """The directory to work on: the given one, else that of the settings, else a temporary one, removed at the end."""
    directory = given or load_settings().storage.working_directory
    if directory is not None:
        yield directory
        return
    owner, temporary = os.getpid(), tempfile.mkdtemp(prefix="fileserver-")
    try:
        yield Path(temporary)
    finally:
        # Server processes are forks that leave through here, too.
        if os.getpid() == owner:
            shutil.rmtree(temporary, ignore_errors=True)


def exit_on_sigterm() -> None:
    """Let SIGTERM end the process in good order, as Ctrl-C does."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)


def free_port(port: int) -> int:
    """*port* if it can be had, any free one for 0. Raises ClickException."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise click.ClickException(f"port {port} cannot be used: {error.strerror}") from None
        return int(probe.getsockname()[1])


@click.command(epilog="Exit status: 0 stopped by Ctrl-C or SIGTERM, 1 the port is not free, 2 wrong usage or settings.")
@directory_option
@click.argument("port", type=click.IntRange(0, 65535), default=DEFAULT_PORT)
@click.pass_obj
def runserver(group_directory: Path | None, directory: Path | None, port: int) -> None:
    """Serve on 127.0.0.1:PORT (default 9999; 0 takes a free one), for development.

    Without a directory the server works on a temporary one, which vanishes at exit.
    """
    exit_on_sigterm()
    port = free_port(port)
    url = f"http://{HOST}:{port}"
    with working_directory(directory or group_directory) as root:

        def announce(server: object) -> None:
            click.echo(f"Serving {root} on {url}\n\n{_TO_TRY.substitute(url=url)}\n")

        options = {"bind": f"{HOST}:{port}", "threads": 8, "graceful_timeout": 5}
        Gunicorn(create_app(root), {**options, "when_ready": announce}).run()
