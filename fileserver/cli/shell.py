"""A Python shell with the services at hand."""

import code
from dataclasses import fields
from pathlib import Path

import click

from fileserver.app import create_app
from fileserver.cli.options import directory_option
from fileserver.cli.runserver import exit_on_sigterm, working_directory
from fileserver.services import Services
from fileserver.web.context import services


@click.command(epilog="Exit status: 0 left, 2 wrong usage or settings.")
@directory_option
@click.pass_obj
def shell(group_directory: Path | None, directory: Path | None) -> None:
    """Open a Python shell in the application context.

    It holds `app` and the services: `submissions`, `task_files`, `results`, `attachments`, `staging`, `ledger`,
    `settings`.
    """
    exit_on_sigterm()
    with working_directory(directory or group_directory) as root:
        app = create_app(root)
        with app.app_context():
            names = {field.name: getattr(services(), field.name) for field in fields(Services)}
            banner = f"Working directory: {root}\nAt hand: app, {', '.join(names)}"
            code.interact(banner, local={"app": app, **names}, exitmsg="")
