"""The server for production: gunicorn, with settings that fit this server."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fileserver.app import create_app
from fileserver.cli.gunicorn import Gunicorn
from fileserver.cli.listeners import Address, listeners, parse_addresses, passed_listeners, shown
from fileserver.cli.options import directory_option
from fileserver.configuration import load_settings
from fileserver.deploy.processes import GRACEFUL_SECONDS, KEEPALIVE_SECONDS, THREADS, processes_for_cores
from fileserver.web.exposure import require_credentials

_DEFAULT_ADDRESS: Address = ("127.0.0.1", 9999)
_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _certificate_options(certificate: Path | None, key: Path | None) -> dict[str, Any]:
    """Gunicorn's options for TLS. Raises UsageError if certificate and key are not there, or do not fit."""
    if certificate is None:
        if key:
            raise click.UsageError("--tls-key needs --tls-certificate")
        return {}
    try:
        # A key with a passphrase is refused: nobody is there to type it when the server starts by itself.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--tls-certificate, --tls-key: {certificate} cannot be used: {error}") from None
    return {"certfile": str(certificate), "keyfile": str(key) if key else None}


def _wanted(addresses: Sequence[Address], paths: Sequence[Path], are_passed: bool) -> Sequence[Address]:
    """The addresses to listen on, none if systemd passes sockets. Raises UsageError if both are wanted."""
    if not are_passed:
        return addresses or (() if paths else [_DEFAULT_ADDRESS])
    if addresses or paths:
        raise click.UsageError("--bind and --unix-socket cannot be given where systemd opens the sockets")
    return ()


@click.command(
    epilog="Exit status: 0 stopped by SIGTERM or Ctrl-C, 1 an address cannot be used, 2 wrong usage or settings, "
    "as a working directory or a certificate that cannot be used."
)
@directory_option
@click.option(
    "--bind",
    "addresses",
    metavar="HOST:PORT",
    callback=parse_addresses,
    multiple=True,
    help="Where to listen; may be repeated.  [127.0.0.1:9999]",
)
@click.option(
    "--unix-socket",
    "paths",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Listen on a Unix socket there, for processes of the same group; may be repeated.",
)
@click.option("--workers", type=click.IntRange(1, 1000), help="Processes.  [one for each core, 2 to 8]")
@click.option(
    "--threads", type=click.IntRange(1, 500), default=THREADS, show_default=True, help="Transfers at once, a process."
)
@click.option("--tls-certificate", type=_EXISTING_FILE, help="Speak TLS with this certificate chain (PEM).")
@click.option("--tls-key", type=_EXISTING_FILE, help="Its key (PEM), if that is not in the same file.")
@click.option("--insecure-no-auth", is_flag=True, help="Without htpasswd_file, listen for other machines nevertheless.")
@click.option(
    "--graceful-seconds",
    type=click.IntRange(1, 86_400),
    default=GRACEFUL_SECONDS,
    show_default=True,
    help="How long transfers may go on after SIGTERM.",
)
@click.pass_obj
def serve(
    group_directory: Path | None,
    directory: Path | None,
    addresses: Sequence[Address],
    paths: Sequence[Path],
    workers: int | None,
    threads: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    insecure_no_auth: bool,
    graceful_seconds: int,
) -> None:
    """Serve a working directory, in production.

    SIGTERM ends it when running transfers have ended, SIGINT at once.
    """
    flags = {"working_directory": directory or group_directory, "insecure_no_auth": insecure_no_auth or None}
    settings = load_settings(flags=flags)
    tls = _certificate_options(tls_certificate, tls_key)
    passed = passed_listeners()
    with listeners(_wanted(addresses, paths, bool(passed)), paths) as opened:
        require_credentials([*passed, *opened], settings)
        app = create_app(settings)
        workers = workers or processes_for_cores()
        where = ", ".join(shown(listener, "https" if tls else "http") for listener in [*passed, *opened])
        what = f"Serving {settings.storage.working_directory} on {where}, {workers} workers of {threads} threads"
        for listener in passed:
            listener.close()
        options = {
            "bind": [f"fd://{listener.detach()}" for listener in opened],
            "workers": workers,
            "threads": threads,
            "keepalive": KEEPALIVE_SECONDS,
            "graceful_timeout": graceful_seconds,
            "when_ready": lambda server: click.echo(what, err=True),
            **tls,
        }
        Gunicorn(app, options).run()
