"""The development server."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from types import FrameType

import click
from werkzeug.serving import make_server

from fileserver.app import create_app
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
    with tempfile.TemporaryDirectory(prefix="fileserver-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def stop_on_sigterm() -> None:
    """Let SIGTERM end the process in good order, as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)


@click.command(epilog="Exit status: 0 stopped by Ctrl-C or SIGTERM, 1 the port is not free, 2 wrong usage or settings.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="The working directory.")
@click.argument("port", type=click.IntRange(0, 65535), default=DEFAULT_PORT)
@click.pass_obj
def runserver(group_directory: Path | None, directory: Path | None, port: int) -> None:
    """Serve on 127.0.0.1:PORT (default 9999; 0 takes a free one), for development.

    Without a directory the server works on a temporary one, which vanishes at exit.
    """
    stop_on_sigterm()
    with working_directory(directory or group_directory) as root:
        server = make_server(HOST, port, create_app(root), threaded=True)
        url = f"http://{HOST}:{server.server_port}"
        click.echo(f"Serving {root} on {url}\n\n{_TO_TRY.substitute(url=url)}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Stopped.")
        finally:
            server.server_close()
