"""Whether a server answers: the health check of containers and service managers, which needs no credentials."""

from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector

import click

from fileserver.cli.runserver import DEFAULT_PORT, HOST

_ALIVE = (200, 401)
"""Who asks for credentials is there, and a check that runs beside the server need not know any."""


def _checked(context: click.Context, parameter: click.Parameter, url: str) -> str:
    """*url* if it is one of a web server. Raises BadParameter, which repeats no password."""
    try:
        parts = urlsplit(url)
        usable = url.isascii() and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        with_credentials = "@" in parts.netloc
    except ValueError:
        usable = with_credentials = False
    if with_credentials:
        raise click.BadParameter("credentials are not needed, and would be seen in the list of processes")
    if not usable:
        raise click.BadParameter("it is not like http://127.0.0.1:9999/healthz")
    return url


def _status(url: str, timeout_seconds: float) -> int:
    """The status that *url* answers; neither proxies nor redirects are followed.

    Raises OSError, HTTPException, UnicodeError.
    """
    opener = OpenerDirector()
    opener.add_handler(HTTPHandler())
    opener.add_handler(HTTPSHandler())
    response = opener.open(url, timeout=timeout_seconds)
    assert response is not None
    with response:
        return int(response.status)


@click.command(epilog="Exit status: 0 it answers, 1 it does not, 2 wrong usage.")
@click.argument("url", default=f"http://{HOST}:{DEFAULT_PORT}/healthz", callback=_checked)
@click.option(
    "--timeout-seconds", type=click.FloatRange(min=0.1), default=5, show_default=True, help="How long to wait for it."
)
def health(url: str, timeout_seconds: float) -> None:
    """Tell whether the server at URL answers (default http://127.0.0.1:9999/healthz).

    One that asks for credentials answers, too, so that none are needed here.
    """
    try:
        status = _status(url, timeout_seconds)
    except (OSError, HTTPException, UnicodeError) as error:  # the last for a host name that cannot be one
        raise click.ClickException(f"{url} does not answer: {getattr(error, 'reason', error)}") from None
    if status not in _ALIVE:
        raise click.ClickException(f"{url} answers {status}")
    click.echo(f"{url} answers {status}")
