"""What the server writes about itself: a line for each request, and its messages, as text or as JSON."""

import json
import logging
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, unquote_plus

from fileserver.core.sections import LogSettings
from fileserver.web.exchange import Exchange, Observer, request_id, trace_id

log = logging.getLogger(__name__)

_SECRET_PARAMETERS = ("signature",)
_MAX_TARGET_CHARACTERS = 2048
_MAX_AGENT_CHARACTERS = 512
_PATH_SAFE = "/:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "%?[]"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]*")
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _File:
    """A file to append lines to; it is opened anew when its name leads to another one, as after logrotate."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        # Without a buffer: a line is one write, and what a full disk does not take is gone, and not tried again.
        self._file = open(self._path, "ab", buffering=0)
        self._identity = _identity(os.fstat(self._file.fileno()))

    def write(self, line: str) -> None:
        with self._lock:
            if not self._is_current():
                self._file.close()
                self._open()
            self._file.write(f"{line}\n".encode("ascii"))

    def _is_current(self) -> bool:
        try:
            return not self._file.closed and _identity(os.stat(self._path)) == self._identity
        except FileNotFoundError:
            return False

    def close(self) -> None:
        self._file.close()


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def access_log(settings: LogSettings) -> Observer | None:
    """What writes a line for each exchange; None if none is wanted. Raises OSError if there can be no such file."""
    formats: dict[str, Callable[[Exchange], str]] = {"text": _text_line, "json": _json_line}
    form = formats.get(settings.access_log)
    if form is None:
        return None
    file = _File(settings.access_log_file) if settings.access_log_file else None
    put = file.write if file else _print

    def write(exchange: Exchange) -> None:
        line = form(exchange)
        try:
            put(line)
        except OSError as error:
            log.warning("the access log cannot be written: %s", error)

    if file:
        weakref.finalize(write, file.close)  # with the application
    return write


def _text_line(exchange: Exchange) -> str:
    """The combined format of Apache and nginx, without the referrer, and what it has no place for behind it."""
    environ, now = exchange.environ, datetime.now(UTC)
    user = _escaped(exchange.user).replace(" ", r"\x20") if exchange.user else "-"
    when = f"{now.day:02}/{_MONTHS[now.month - 1]}/{now.year}:{now.hour:02}:{now.minute:02}:{now.second:02} +0000"
    request = f"{environ['REQUEST_METHOD']} {_target(environ)} {environ.get('SERVER_PROTOCOL', '-')}"
    return (
        f'{_escaped(environ.get("REMOTE_ADDR") or "-")} - {user} [{when}] "{_escaped(request)}" '
        f'{exchange.status or "-"} {exchange.sent_bytes} "-" "{_escaped(_agent(environ) or "-")}" '
        f"received={exchange.received_bytes} seconds={exchange.seconds:.6f} id={exchange.request_id}"
    )


def _json_line(exchange: Exchange) -> str:
    environ = exchange.environ
    return json.dumps(
        {
            "time": _now(),
            "request_id": exchange.request_id,
            "address": environ.get("REMOTE_ADDR") or None,
            "user": exchange.user,
            "method": environ["REQUEST_METHOD"],
            "target": _target(environ),
            "route": exchange.route,
            "status": exchange.status or None,
            "received_bytes": exchange.received_bytes,
            "sent_bytes": exchange.sent_bytes,
            "seconds": round(exchange.seconds, 6),
            "user_agent": _agent(environ),
            **_trace(),
        }
    )


def _trace() -> dict[str, str]:
    """The member that tells the current trace, where there is one."""
    current = trace_id.get()
    return {"trace_id": current} if current else {}


def _target(environ: dict[str, Any]) -> str:
    """Path and query, percent-encoded, without what would let a reader of the log in."""
    path = encoded_path(environ)
    if query := environ.get("QUERY_STRING", ""):
        pairs = quote("&".join(map(_without_secret, query.split("&"))).encode("latin-1"), safe=_QUERY_SAFE)
        path = f"{path}?{pairs}"
    return path[:_MAX_TARGET_CHARACTERS]


def encoded_path(environ: dict[str, Any]) -> str:
    """The path of a request, percent-encoded."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if _PLAIN_PATH.fullmatch(path) else quote(path.encode("latin-1"), safe=_PATH_SAFE)


def _without_secret(pair: str) -> str:
    name = pair.partition("=")[0]
    return f"{name}=-" if unquote_plus(name) in _SECRET_PARAMETERS else pair


def _agent(environ: dict[str, Any]) -> str | None:
    agent = environ.get("HTTP_USER_AGENT")
    return agent.encode("latin-1").decode("utf-8", "replace")[:_MAX_AGENT_CHARACTERS] if agent else None


def _escaped(text: str) -> str:
    """*text* for a place between quotes: nothing in it ends that place, or the line."""
    return _UNSAFE.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class _Messages(logging.StreamHandler[TextIO]):
    """Standard error, whatever that is by now."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        current = request_id.get()
        where = f"{record.name} [{current}]" if current else record.name
        return f"{_now()} {record.levelname} {where}: {super().format(record)}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        members = {
            "time": _now(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": request_id.get(),
            "message": record.getMessage(),
            **_trace(),
        }
        if record.exc_info:
            members["traceback"] = self.formatException(record.exc_info)
        return json.dumps(members)


def log_messages(settings: LogSettings) -> None:
    """Write the messages of this package to standard error, unless the program around it takes care of them."""
    logger = logging.getLogger(__name__.partition(".")[0])
    ours = next((handler for handler in logger.handlers if isinstance(handler, _Messages)), None)
    if ours is None:
        if logger.hasHandlers():
            return
        logger.addHandler(ours := _Messages())
    ours.setFormatter(_JsonFormatter() if settings.log_format == "json" else _TextFormatter())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
