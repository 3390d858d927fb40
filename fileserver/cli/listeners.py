"""The sockets that a server listens on, opened before anything else, so that what is wrong is told in one line."""

import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import click

_BACKLOG = 2048
_SOCKET_MODE = 0o660
_FIRST_PASSED = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""

Address = tuple[str, int]


def parse_addresses(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[Address]:
    """Each HOST:PORT, an IPv6 address in brackets; port 0 is any free one. Raises BadParameter."""
    return [_parse_address(value) for value in values]


def _parse_address(value: str) -> Address:
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or "@" in value or parts.netloc != value:
        raise click.BadParameter(f"{value!r} is not like 127.0.0.1:9999 or [::1]:9999")
    return host, port


def passed_listeners() -> list[socket.socket]:
    """Copies of the sockets that systemd has opened for this process, if it did."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", 0))
    return [socket.socket(fileno=os.dup(number)) for number in range(_FIRST_PASSED, _FIRST_PASSED + count)]


@contextmanager
def listeners(addresses: Sequence[Address], paths: Sequence[Path]) -> Iterator[list[socket.socket]]:
    """Sockets that listen on *addresses*, and on Unix sockets at *paths*. Raises ClickException.

    The web server of the same group may connect to a Unix socket; it is removed if the block fails.
    """
    with ExitStack() as stack:
        opened = []
        for host, port in addresses:
            opened.append(stack.enter_context(_listen(host, port)))
        for path in paths:
            opened.append(stack.enter_context(_listen_at(path)))
            stack.push(partial(_remove_after_error, path))
        yield opened


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise click.ClickException(f"{host}:{port} cannot be used: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    # What create_server says in addition is the address once more.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)


def _listen_at(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_dead(path)
        listener.bind(str(path))
        path.chmod(_SOCKET_MODE)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise click.ClickException(f"{path} cannot be used: {error.strerror or error}") from None
    return listener


def _remove_dead(path: Path) -> None:
    """Remove a socket that nobody listens on. Raises OSError if somebody does, or if it is something else."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remove_after_error(
    path: Path, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    # Gunicorn's processes leave by SystemExit, and its master removes the socket itself.
    if isinstance(error, Exception):
        path.unlink(missing_ok=True)


def shown(listener: socket.socket, scheme: str) -> str:
    """Where *listener* is reached."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
