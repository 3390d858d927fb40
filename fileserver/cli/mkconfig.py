"""Configurations for web servers and services: one command a program."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fileserver.cli.groups import ErrorGroup
from fileserver.configuration import load_settings
from fileserver.deploy.deployment import make_deployment
from fileserver.deploy.rendering import render

_MODE = 0o644

_Command = Callable[..., None]

_OPTIONS = {
    "working_directory": click.option("--working-directory", metavar="DIR", help="The folder that holds everything."),
    "address": click.option(
        "--address",
        metavar="IP",
        multiple=True,
        help="Where to listen; may be repeated.  [all addresses; without --htpasswd 127.0.0.1]",
    ),
    "port": click.option("--port", metavar="PORT", help="The port to listen on.  [80, with TLS 443]"),
    "socket": click.option("--socket", metavar="SOCKET", help="Listen on a Unix socket there, instead."),
    "user": click.option("--user", metavar="USER", help="The user that the server runs as."),
    "htpasswd": click.option("--htpasswd", metavar="FILE", help="The password file; everybody in it may come in."),
    "group_file": click.option("--group-file", metavar="FILE", help="Who has which role (AuthGroupFile of Apache)."),
    "server_name": click.option("--server-name", metavar="NAME", multiple=True, help="A name that clients use."),
    "tls_certificate": click.option("--tls-certificate", metavar="FILE", help="Speak TLS with this chain (PEM)."),
    "tls_key": click.option("--tls-key", metavar="FILE", help="Its key (PEM)."),
    "public_url": click.option("--public-url", metavar="URL", help="The address that clients use, for absolute links."),
    "virtualenv": click.option(
        "--virtualenv", metavar="DIR", help="Where the fileserver is installed.  [where this command is]"
    ),
    "upstream": click.option(
        "--upstream", metavar="ADDRESS", help="Where the application listens.  [127.0.0.1:9999; or unix:PATH]"
    ),
    "upstream_protocol": click.option(
        "--upstream-protocol", type=click.Choice(["http", "uwsgi"]), help="What it speaks there.  [http]"
    ),
    "access_log": click.option("--access-log", metavar="FILE", help="The access log.  [the setting access_log_file]"),
    "insecure_no_auth": click.option(
        "--insecure-no-auth", is_flag=True, help="Listen for other machines without --htpasswd nevertheless."
    ),
}

_EPILOG = "Exit status: 0 done, 1 the file cannot be written, 2 wrong usage or settings."


@click.group(cls=ErrorGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
def mkconfig() -> None:
    """Make the configuration of a web server or a service.

    It begins with how to install it, on Debian and Fedora, and how to check it. Limits, and what no option says, come
    from the settings.
    """


def _command(name: str, options: str, summary: str) -> None:
    """Add the command *name*, which fills the format of that name from *options*."""

    def make(output: Path | None, **given: Any) -> None:
        settings = load_settings()
        deployment = make_deployment(given, settings, Path(sys.prefix))
        text = render(name, deployment)
        program = deployment.virtualenv / "bin" / "recodex-fileserver"
        if name == "systemd" and not program.exists():
            click.echo(f"Warning: {program} is not there: install the fileserver, or say --virtualenv", err=True)
        if output:
            _replace(output, text)
        else:
            click.echo(text, nl=False)

    make.__doc__ = summary
    command: Any = make
    command = click.option(
        "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it there."
    )(command)
    for option in reversed(options.split()):
        command = _OPTIONS[option](command)
    mkconfig.add_command(click.command(name, epilog=_EPILOG)(command))


def _replace(path: Path, text: str) -> None:
    """Write *text* to *path*, in one step. Raises OSError."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, _MODE)
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


_command(
    "nginx",
    "working_directory address port server_name tls_certificate tls_key htpasswd group_file upstream upstream_protocol "
    "insecure_no_auth",
    "A site of nginx, in front of the application.",
)
_command(
    "apache",
    "working_directory address port server_name user virtualenv tls_certificate tls_key htpasswd group_file public_url "
    "insecure_no_auth",
    "A site of Apache that runs the application by mod_wsgi.",
)
_command(
    "uwsgi",
    "working_directory address port socket user virtualenv htpasswd group_file public_url insecure_no_auth",
    "uWSGI, which runs the application, alone or behind nginx.",
)


_SERVICE = (
    "working_directory address port socket user htpasswd group_file public_url tls_certificate tls_key virtualenv "
    "insecure_no_auth"
)
_command("gunicorn", _SERVICE, "A configuration file of gunicorn, for the application.")
_command("systemd", f"{_SERVICE} access_log", "A unit of systemd that runs `serve`, with few rights.")
_command("logrotate", "access_log user", "How logrotate turns the access log over.")
