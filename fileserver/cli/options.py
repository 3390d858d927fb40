"""Options that several commands share."""

from pathlib import Path

import click


def _directory(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    if value == "":
        raise click.BadParameter("it is empty; an unset shell variable?")
    return Path(value) if value is not None else None


directory_option = click.option(
    "--directory", type=click.Path(file_okay=False), callback=_directory, help="The working directory."
)
