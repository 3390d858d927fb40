"""The root of all commands, and what they share."""

from pathlib import Path

import click

from fileserver._version import __version__
from fileserver.cli.backup import backup
from fileserver.cli.check import check
from fileserver.cli.demo import demo
from fileserver.cli.gc import gc
from fileserver.cli.groups import ErrorGroup
from fileserver.cli.health import health
from fileserver.cli.mkconfig import mkconfig
from fileserver.cli.options import directory_option
from fileserver.cli.restore import restore
from fileserver.cli.runserver import runserver
from fileserver.cli.serve import serve
from fileserver.cli.settings import settings
from fileserver.cli.shell import shell
from fileserver.cli.sign import sign
from fileserver.cli.stats import stats
from fileserver.cli.trash import trash
from fileserver.cli.user import user


@click.group(
    cls=ErrorGroup,
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


for command in (
    runserver,
    serve,
    shell,
    demo,
    settings,
    mkconfig,
    check,
    gc,
    trash,
    backup,
    restore,
    stats,
    health,
    user,
    sign,
):
    cli.add_command(command)
