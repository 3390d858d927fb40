"""Groups of commands, and how their errors end the process."""

import sys

import click

from fileserver.cli.documents import error_text
from fileserver.cli.reporting import EXIT_FAILED
from fileserver.core.errors import FileserverError, SettingsError

EXIT_SETTINGS = 2


class ErrorGroup(click.Group):
    """A group that turns errors that are answers, and those of the system, into a message and an exit code."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BrokenPipeError:
            raise  # Nobody reads on: click ends the process without a word.
        except (FileserverError, OSError) as error:
            click.echo(f"Error: {error_text(error)}", err=True)
            sys.exit(EXIT_SETTINGS if isinstance(error, SettingsError) else EXIT_FAILED)
