"""The servers of a test session: each is started when it is first asked for, and then shared."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.credentials import write_htpasswd, write_keys, write_roles
from tests.support.starters import STARTERS
from tests.support.targets import FlaskServer, Server

Sections = Mapping[str, Mapping[str, Any]]
MakeServer = Callable[..., FlaskServer]

STRICT: Sections = {"limits": {"max_request_bytes": 4 * 1024 * 1024, "max_idle_seconds": 1, "min_bytes_per_second": 1}}


def make_flask_server(directory: Path, sections: Sections) -> FlaskServer:
    """Return the application in this process, with the settings in *sections*."""
    from fileserver import create_app
    from fileserver.core.settings import parse_settings

    storage = {"working_directory": str(directory), **sections.get("storage", {})}
    return FlaskServer(create_app(parse_settings({**sections, "storage": storage})), directory)


def environment(sections: Sections) -> dict[str, str]:
    """Return the settings in *sections* as environment variables."""
    settings = {name: value for section in sections.values() for name, value in section.items()}
    return {f"FILESERVER_{name.upper()}": _text(value) for name, value in settings.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


class ServerPool:
    """Servers by target (``flask``, or one of `starters.STARTERS`) and variant of the settings.

    :param folder: where their working directories and logs are made
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variants: dict[str, Sections] = {
            "default": {},
            "strict": STRICT,
            "secured": {"auth": {"htpasswd_file": write_htpasswd(folder / "htpasswd"), "max_failed_logins": 10_000}},
            "roles": {"auth": {**write_roles(folder / "roles"), "signing_key_file": write_keys(folder / "keys")}},
        }
        self._stack = ExitStack()
        self._servers: dict[tuple[str, str], Server | Exception] = {}

    def get(self, target: str, variant: str = "default") -> Server:
        key = (target, variant)
        if key not in self._servers:
            try:
                self._servers[key] = self._start(target, variant)
            except (AssertionError, OSError) as error:  # told to every test, tried only once
                self._servers[key] = error
        server = self._servers[key]
        if isinstance(server, Exception):
            raise AssertionError(f"{target} with {variant} settings did not start") from server
        return server

    def _start(self, target: str, variant: str) -> Server:
        directory = self.folder / f"{target}-{variant}"
        sections = self.variants[variant]
        if target == "flask":
            return make_flask_server(directory, sections)
        server = self._stack.enter_context(STARTERS[target](directory, env=environment(sections)))
        server.target = target
        return server

    def close(self) -> None:
        """Stop all servers; AssertionError if one has logged a stack trace."""
        self._stack.close()
