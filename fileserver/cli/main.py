"""The root of all commands, and what they share."""

import sys
from pathlib import Path

import click

from fileserver._version import __version__
from fileserver.cli.backup import backup
from fileserver.cli.check import check
from fileserver.cli.demo import demo
from fileserver.cli.documents import error_text
from fileserver.cli.gc import gc
from fileserver.cli.health import health
from fileserver.cli.options import directory_option
from fileserver.cli.reporting import EXIT_FAILED
from fileserver.cli.restore import restore
from fileserver.cli.runserver import runserver
from fileserver.cli.serve import serve
from fileserver.cli.settings import settings
from fileserver.cli.shell import shell
from fileserver.cli.stats import stats
from fileserver.cli.trash import trash
from fileserver.core.errors import FileserverError, SettingsError

EXIT_SETTINGS = 2


class _Group(click.Group):
    """A group that turns errors that are answers, and those of the system, into a message and an exit code."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BrokenPipeError:
            raise  # Nobody reads on: click ends the process without a word.
        except (FileserverError, OSError) as error:
            click.echo(f"Error: {error_text(error)}", err=True)
            sys.exit(EXIT_SETTINGS if isinstance(error, SettingsError) else EXIT_FAILED)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done or stopped by a signal, 1 failed, 2 wrong usage or settings.",
)
@directory_option
@click.version_option(__version__, prog_name="recodex-fileserver")
@click.pass_context
def cli(context: click.Context, directory: Path | None) -> None:
    """A file server for grading systems.

    Settings come from options, else from FILESERVER_... variables, else from the TOML file that FILESERVER_SETTINGS
    names.
    """
    context.obj = directory


for command in (runserver, serve, shell, demo, settings, check, gc, trash, backup, restore, stats, health):
    cli.add_command(command)
