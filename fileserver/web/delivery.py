"""How stored bytes leave: the one read path.

It owns HEAD, conditions (RFC 9110, section 13), ranges (section 14), entity tags, caching, digests (RFC 9530) and the
headers that keep a browser from running what is stored. Whole files and single ranges are handed to the web server as
an open file, so that it can use sendfile(2).
"""

import os
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from flask import Response, request
from werkzeug.datastructures import ETags
from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable
from werkzeug.http import dump_options_header, http_date, quote_etag

from fileserver.core.digests import format_repr_digest
from fileserver.storage.interface import StoredFile
from fileserver.web.acceleration import entity_tag, redirect_target
from fileserver.web.context import client_connection
from fileserver.web.exchange import current_exchange

BINARY = "application/octet-stream"
ZIP = "application/zip"

MAX_RANGES = 16
_READ_BYTES = 64 * 1024
_IMMUTABLE = "max-age=31536000, immutable"
_REVALIDATE = "no-cache"
_NO_BYTES = re.compile(r"bytes=\s*-0+\s*")
_SURELY_OLD = timedelta(seconds=60)
"""RFC 9110, 8.8.2.2: by then a modification time is a strong validator."""

_Span = tuple[int, int]
"""First byte, and the byte after the last."""


@dataclass
class FileSlice:
    """A file-like object of some bytes of a stored file, from where the file stands; others may move it by `seek`.

    *on_close* is called with the number of bytes that were taken.
    """

    stored: StoredFile
    left_bytes: int
    connection: socket.socket | None = None
    on_close: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        self._start = self.stored.file.tell()
        self._stop = self._start + self.left_bytes

    def read(self, size: int = -1) -> bytes:
        wanted = self.left_bytes if size < 0 else min(size, self.left_bytes)
        data = self.stored.file.read(wanted) or b""
        self.left_bytes -= len(data)
        return data

    def fileno(self) -> int:
        return self.stored.file.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        position = self.stored.file.seek(offset, whence)
        self.left_bytes = self._stop - position
        return position

    def close(self) -> None:
        # A file that somebody cut short meanwhile was sent short; what follows on the connection must not fill it up.
        if self.connection and os.fstat(self.fileno()).st_size < self.stored.size_bytes:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        self.stored.close()
        if self.on_close:
            self.on_close(self._stop - self._start - self.left_bytes)

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(_READ_BYTES):
            yield data


def deliver(stored: StoredFile, name: str, *, etag: str | None = None, immutable: bool = False) -> Response:
    """Answer the current GET or HEAD request with *stored*, which is closed in the end, under the download name *name*.

    *etag* is the entity tag without quotes, by default that of a file whose versions lie under one name. *immutable*
    content never changes under its URL.
    """
    try:
        nginx_may_tag_it = immutable or etag is None
        etag = etag or entity_tag(stored)
        response = Response(direct_passthrough=True)
        _describe(response, stored, name, etag, immutable)
        if _is_not_modified(stored, etag):
            response.status_code = 304
            stored.close()
            return response
        if nginx_may_tag_it and (target := redirect_target(stored)):
            _leave_to_nginx(response, target)
            stored.close()
            return response
        _send(response, stored, _spans(stored, etag, immutable))
    except BaseException:
        stored.close()
        raise
    return response


def _describe(response: Response, stored: StoredFile, name: str, etag: str, immutable: bool) -> None:
    headers = response.headers
    headers["Content-Type"] = ZIP if name.endswith(".zip") else BINARY
    headers["ETag"] = quote_etag(etag)
    headers["Last-Modified"] = http_date(_modified(stored))
    headers["Accept-Ranges"] = "bytes"
    headers["Cache-Control"] = _IMMUTABLE if immutable else _REVALIDATE
    headers["Content-Disposition"] = _attachment(name)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    if stored.sha256:
        headers["Repr-Digest"] = format_repr_digest(stored.sha256)


def _leave_to_nginx(response: Response, target: str) -> None:
    """Let nginx send what lies at the internal location *target*, with what it sees there for size, time and tag."""
    for name in ("ETag", "Last-Modified", "Accept-Ranges", "Repr-Digest"):
        response.headers.pop(name, None)
    response.headers["X-Accel-Redirect"] = target


def _attachment(name: str) -> str:
    """A Content-Disposition that saves under *name* (RFC 6266), which other than ASCII makes `filename*` (RFC 8187)."""
    if name.isascii():
        return dump_options_header("attachment", {"filename": name})
    fallback = name.encode("ascii", "replace").decode("ascii").replace("?", "_")
    encoded = f"UTF-8''{quote(name, safe='')}"
    return dump_options_header("attachment", {"filename": fallback, "filename*": encoded})


def _modified(stored: StoredFile) -> datetime:
    """The modification time in whole seconds, as HTTP dates tell it."""
    return datetime.fromtimestamp(stored.mtime_ns // 1_000_000_000, UTC)


def _matches(tags: ETags, etag: str) -> bool:
    return bool(tags.star_tag or tags.is_strong(etag))


def _is_not_modified(stored: StoredFile, etag: str) -> bool:
    """Evaluate the conditions in the order of RFC 9110, 13.2.2. Raises PreconditionFailed."""
    modified = _modified(stored)
    if request.if_match:
        if not _matches(request.if_match, etag):
            raise PreconditionFailed("If-Match: the stored version is another one")
    elif request.if_unmodified_since and modified > request.if_unmodified_since:
        raise PreconditionFailed("If-Unmodified-Since: it was modified later")
    if request.if_none_match:
        return bool(request.if_none_match.contains_weak(etag))
    return bool(request.if_modified_since and modified <= request.if_modified_since)


def _spans(stored: StoredFile, etag: str, immutable: bool) -> list[_Span] | None:
    """The ranges asked for, each within the file; None for the whole file. Raises RequestedRangeNotSatisfiable."""
    wanted = _wanted_ranges()
    if wanted is None or len(wanted) > MAX_RANGES or not _may_be_partial(stored, etag, immutable):
        return None
    size_bytes, spans = stored.size_bytes, []
    for first, end in wanted:
        start = max(0, size_bytes + first) if first < 0 else first
        stop = size_bytes if end is None else min(end, size_bytes)
        if start < stop:
            spans.append((start, stop))
    if not spans:
        raise RequestedRangeNotSatisfiable(size_bytes, description=f"the file has {size_bytes} bytes")
    # More than the file has, in pieces that overlap, is a way to waste a server's time: RFC 9110, 14.2.
    return spans if sum(stop - start for start, stop in spans) <= size_bytes else None


def _wanted_ranges() -> Sequence[tuple[int, int | None]] | None:
    """What the Range header says, the last bytes as a negative start; None where it says nothing or nonsense."""
    if request.method != "GET":
        return None
    if _NO_BYTES.fullmatch(request.headers.get("Range", "")):
        return []  # Werkzeug does not parse "the last 0 bytes", which cannot be satisfied.
    if "--" in request.headers.get("Range", ""):
        return None  # Werkzeug takes it for a negative number.
    wanted = request.range
    return wanted.ranges if wanted and wanted.units == "bytes" else None


def _may_be_partial(stored: StoredFile, etag: str, immutable: bool) -> bool:
    """Whether If-Range holds. Its date counts only if the file cannot have changed twice in that second."""
    condition = request.if_range
    if condition.etag is not None:
        return bool(request.headers["If-Range"].strip() == quote_etag(etag))
    if condition.date is None:
        return True
    modified = _modified(stored)
    return condition.date == modified and (immutable or datetime.now(UTC) - modified > _SURELY_OLD)


def _send(response: Response, stored: StoredFile, spans: list[_Span] | None) -> None:
    start, stop = spans[0] if spans else (0, stored.size_bytes)
    if spans:
        response.status_code = 206
    if spans and len(spans) > 1:
        parts = _multipart(response, stored, spans)
        response.response = _Closing(parts, FileSlice(stored, 0, client_connection()).close)
        return
    if spans:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{stored.size_bytes}"
    response.headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        stored.close()
        return
    stored.file.seek(start)
    response.response = _wrap(FileSlice(stored, stop - start, client_connection()))


def _wrap(piece: FileSlice) -> Iterable[bytes]:
    """Hand *piece* to the server's own file sending, where that respects its end and not only its file's."""
    # uWSGI sends the file that it is given from its beginning to its end, by a thread that does nothing else.
    if piece.connection or ("uwsgi.version" in request.environ and piece.left_bytes == piece.stored.size_bytes):
        wrapper: Callable[[FileSlice, int], Iterable[bytes]] = request.environ["wsgi.file_wrapper"]
        exchange, whole_bytes = current_exchange(), piece.left_bytes
        # What uWSGI's thread sends is not seen here: it is counted when it is handed over.
        piece.on_close = exchange.end if piece.connection else lambda _: exchange.end(whole_bytes)
        exchange.file = wrapped = wrapper(piece, _READ_BYTES)
        return wrapped
    return _Closing(iter(piece), piece.close)


@dataclass
class _Closing:
    """An iterable that closes something when the server is done with it, even if it was never started."""

    parts: Iterator[bytes]
    close: Callable[[], None]

    def __iter__(self) -> Iterator[bytes]:
        return self.parts


def _multipart(response: Response, stored: StoredFile, spans: list[_Span]) -> Iterator[bytes]:
    """Several ranges as multipart/byteranges (RFC 9110, 14.6)."""
    boundary = secrets.token_hex(16)
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {response.headers['Content-Type']}\r\n"
        f"Content-Range: bytes {start}-{stop - 1}/{stored.size_bytes}\r\n\r\n".encode("ascii")
        for start, stop in spans
    ]
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(stop - start for start, stop in spans) + sum(map(len, heads)) + len(tail)
    response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    response.headers["Content-Length"] = str(length)

    def parts() -> Iterator[bytes]:
        for head, (start, stop) in zip(heads, spans, strict=True):
            yield head
            stored.file.seek(start)
            yield from FileSlice(stored, stop - start)
        yield tail

    return parts()
