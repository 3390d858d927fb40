"""Links that stand for one request, and the keys that sign them."""

import re
import secrets

import click

from fileserver.accounts.keys import read_keys
from fileserver.configuration import load_settings
from fileserver.core.errors import InvalidRequest, SettingsError
from fileserver.core.signing import MIN_KEY_BYTES
from fileserver.web.rules import ROUTE_METHODS
from fileserver.web.signed_urls import signed_url

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd]?)", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not like 90s, 30m, 1h or 7d")
    return int(match[1]) * _UNITS[match[2]]


@click.command(epilog="Exit status: 0 done, 2 wrong usage or settings, or what cannot be signed.")
@click.argument("method", type=click.Choice(ROUTE_METHODS, case_sensitive=False), required=False)
@click.argument("path", required=False)
@click.option("--expires", callback=_seconds, default="1h", show_default=True, help="How long it holds: 90s, 30m, 7d.")
@click.option("--new-key", is_flag=True, help="Print a new key instead, for the first line of signing_key_file.")
def sign(method: str | None, path: str | None, expires: int, new_key: bool) -> None:
    """Print a link that stands for METHOD of PATH until it expires.

    Whoever has it needs no password. The key is the first one in the file that the setting signing_key_file names.
    """
    if new_key:
        click.echo(secrets.token_hex(MIN_KEY_BYTES))
        return
    if method is None or path is None:
        raise click.UsageError("METHOD and PATH are missing")
    settings = load_settings()
    if settings.auth.signing_key_file is None:
        raise SettingsError("signing_key_file is not set: there is no key to sign with")
    key = read_keys(settings.auth.signing_key_file)[0]
    try:
        click.echo(signed_url(key, settings, method.upper(), path, expires)[0])
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from None
