"""Users: who may come in with which password, and in which roles."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click
from passlib.hash import apr_md5_crypt, bcrypt, sha512_crypt

from fileserver.accounts.editing import change, locked, with_password, with_roles, without_user
from fileserver.accounts.passwords import read_users
from fileserver.cli.documents import json_option, printable
from fileserver.configuration import load_settings
from fileserver.core.errors import InvalidName, NotFound, SettingsError
from fileserver.core.names import quoted
from fileserver.core.passwords import check_password, check_user_name
from fileserver.core.roles import Groups, Role, parse_groups

_BCRYPT_COST = 8
"""Some 15 ms: a web server in front computes it for each request, as workers make a connection for each."""

_HASHES = {
    "bcrypt": bcrypt.using(rounds=_BCRYPT_COST, ident="2y"),
    "sha512": sha512_crypt.using(rounds=5000),  # type: ignore[no-untyped-call]
    "apr1": apr_md5_crypt,
}
"""With costs as htpasswd has them or a little more."""

_EPILOG = "Exit status: 0 done, 1 there is no such user, or there is one already, 2 wrong usage or settings."
_FILE = click.Path(dir_okay=False, path_type=Path)

_htpasswd_option = click.option(
    "--htpasswd", type=_FILE, metavar="FILE", help="The password file.  [the setting htpasswd_file]"
)
_group_option = click.option(
    "--group-file", type=_FILE, metavar="FILE", help="The group file.  [the setting group_file]"
)
_stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
_scheme_option = click.option(
    "--scheme", type=click.Choice(list(_HASHES)), default="bcrypt", show_default=True, help="How it is hashed."
)


@click.group(epilog=_EPILOG)
def user() -> None:
    """Add, change, remove and list the users of the server.

    The files are those that Apache and nginx read, too. A running server notices the change by itself.
    """


def _password_file(given: Path | None) -> Path:
    path = given or load_settings().auth.htpasswd_file
    if path is None:
        raise SettingsError("no password file is set: give --htpasswd or FILESERVER_HTPASSWD_FILE")
    return path


def _group_file(given: Path | None) -> Path | None:
    return given or load_settings().auth.group_file


def _names(path: Path) -> dict[str, str]:
    """The users in *path* with their schemes; none if there is no file yet. Raises SettingsError."""
    return read_users(path) if path.exists() else {}


def _ask_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _hash(name: str, from_stdin: bool, scheme: str) -> str:
    try:
        password = check_password(name, _ask_password(from_stdin), is_bcrypt=scheme == "bcrypt")
    except InvalidName as error:
        raise click.UsageError(str(error)) from None
    return str(_HASHES[scheme].hash(password))


def _give_roles(path: Path | None, name: str, roles: Iterable[str]) -> None:
    chosen = frozenset(map(Role, roles))
    if path is None:
        if chosen:
            raise SettingsError("roles need a group file: give --group-file or FILESERVER_GROUP_FILE")
        return
    with locked(path):
        change(path, with_roles(name, chosen))


@user.command(epilog=_EPILOG)
@click.argument("name")
@click.option(
    "--role", "roles", type=click.Choice([str(role) for role in Role]), multiple=True, help="A role; may be repeated."
)
@_htpasswd_option
@_group_option
@_stdin_option
@_scheme_option
def add(
    name: str, roles: tuple[str, ...], htpasswd: Path | None, group_file: Path | None, password_stdin: bool, scheme: str
) -> None:
    """Add the user NAME; the password is asked for."""
    path, groups = _password_file(htpasswd), _group_file(group_file)
    try:
        check_user_name(name)
    except InvalidName as error:
        raise click.UsageError(str(error)) from None
    if roles and groups is None:
        raise SettingsError("roles need a group file: give --group-file or FILESERVER_GROUP_FILE")
    password_hash = _hash(name, password_stdin, scheme)
    with locked(path):
        if name in _names(path):
            raise click.ClickException(f"there is a user {quoted(name)} already; passwd gives another password")
        change(path, with_password(name, password_hash))
    if roles:
        _give_roles(groups, name, roles)


@user.command(epilog=_EPILOG)
@click.argument("name")
@_htpasswd_option
@_stdin_option
@_scheme_option
def passwd(name: str, htpasswd: Path | None, password_stdin: bool, scheme: str) -> None:
    """Give the user NAME another password, which is asked for."""
    path = _password_file(htpasswd)
    _require(path, name)
    password_hash = _hash(name, password_stdin, scheme)
    with locked(path):
        _require(path, name)
        change(path, with_password(name, password_hash))


@user.command(epilog=_EPILOG)
@click.argument("name")
@_htpasswd_option
@_group_option
def remove(name: str, htpasswd: Path | None, group_file: Path | None) -> None:
    """Remove the user NAME, and its roles."""
    path, groups = _password_file(htpasswd), _group_file(group_file)
    with locked(path):
        _require(path, name)
        change(path, without_user(name))
    if groups and groups.exists():
        _give_roles(groups, name, ())


@user.command("list", epilog=_EPILOG)
@_htpasswd_option
@_group_option
@json_option
def list_users(htpasswd: Path | None, group_file: Path | None, as_json: bool) -> None:
    """Tell who the users are, with their roles and how their passwords are hashed."""
    groups_path = _group_file(group_file)
    groups = _groups(groups_path) if groups_path else None
    rows = [
        {"name": name, "roles": sorted(groups.of(name)) if groups else list(Role), "scheme": scheme}
        for name, scheme in sorted(_names(_password_file(htpasswd)).items())
    ]
    if as_json:
        click.echo(json.dumps({"users": rows}))
        return
    for row in rows:
        click.echo(f"{printable(str(row['name'])):<24} {' '.join(row['roles']) or '-':<40} {row['scheme']}")


def _groups(path: Path) -> Groups:
    if not path.exists():
        return Groups()
    try:
        return parse_groups(path.read_bytes().decode())
    except (OSError, ValueError) as error:
        raise SettingsError(f"group_file {path} cannot be used: {error}") from None


def _require(path: Path, name: str) -> None:
    """Raise NotFound unless there is a user *name*."""
    if name not in _names(path):
        raise NotFound(f"there is no user {quoted(name)}")
