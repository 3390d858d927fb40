"""multipart/form-data as a stream of files (RFC 7578), without ever holding one.

Werkzeug's decoder finds the parts. Their names are read here, because the API server sends them without any escaping:
they are taken literally, and refused where that would leave a doubt.
"""

import re
from collections.abc import Iterator

from flask import request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, Preamble

from fileserver.core.errors import IncompleteBody, InvalidName, InvalidRequest, LimitExceeded
from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.names import quoted
from fileserver.web.bodies import declared_digests, parse_length, refuse_encodings, request_body, verified
from fileserver.web.context import services

_MAX_OVERHEAD_BYTES = 64 * 1024
"""More than this between the contents of parts (headers, preamble, epilogue) is refused."""

# As both real clients write it: the name ends at the first quote that a filename, or nothing, follows.
_NAME = re.compile(r'form-data; ?name="', re.IGNORECASE)
_FILENAME_FOLLOWS = re.compile(r'"(?=; ?filename\*?=)', re.IGNORECASE)
_FILENAME = re.compile(
    r'(?:; ?filename="(?P<text>.*)"|; ?filename=[^\s";]+)?(?:; ?filename\*=[^\s";]+)?', re.IGNORECASE
)
_SECOND_READING = re.compile(r";\s*(?:file)?name\*?\s*=", re.IGNORECASE)
# As RFC 7578 allows it otherwise: parameters in any order, quoted without inner quotes and backslashes, or tokens.
_PLAIN = re.compile(r'form-data(?:\s*;\s*[\w*-]+=(?:"[^"\\]*"|[^\s";]+))*\s*', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([\w*-]+)=(?:"([^"]*)"|([^\s";]+))')
# What can follow a delimiter while its line is not complete: the first dash of two, blanks, half a line break.
_OPEN_LINE = re.compile(rb"-|[ \t\v\f]*\r?")
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:")


class _Decoder(MultipartDecoder):
    """Werkzeug's decoder, but strict about the headers of parts.

    It would unfold a folded header, which changes a name with a line break in it, and it would take a part without
    headers, or without content, for the beginning of the next one.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        if len(data) > _MAX_OVERHEAD_BYTES:
            raise ValueError(f"the headers of a part have more than {_MAX_OVERHEAD_BYTES} bytes")
        for line in re.split(rb"\r\n|\r|\n", data):
            if not _HEADER.match(line) or line.startswith(b"--" + self.boundary):
                raise ValueError("the headers of a part are not lines of the form 'name: value'")
        headers = super()._parse_headers(data)
        if len(headers.getlist("Content-Disposition")) != 1:
            raise ValueError("a part must have one header Content-Disposition")
        return headers


def form_files() -> Iterator[IncomingFile]:
    """The parts of the current request's form, in order; each is read, or dropped, before the next is asked for.

    Raises UnsupportedMediaType if there is no form, and while it is read InvalidRequest, LimitExceeded and what the
    body raises.
    """
    refuse_encodings()
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("the body must be multipart/form-data")
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or not boundary.isascii() or len(boundary) > 200:
        raise InvalidRequest("Content-Type has no usable boundary")
    body = request_body()
    body.check_announced()
    chunks = verified(body.chunks(), declared_digests(request.headers))
    return _FormReader(chunks, boundary.encode("ascii"), services().settings.limits.max_parts).files()


class _FormReader:
    def __init__(self, chunks: Iterator[bytes], boundary: bytes, max_parts: int) -> None:
        self._chunks = chunks
        self._decoder = _Decoder(boundary)
        self._max_parts = max_parts
        self._in_content = False
        self._delimiter = b"--" + boundary
        self._delimiter_ends = b"- \t\v\f\r" + boundary[-1:]

    def files(self) -> Iterator[IncomingFile]:
        parts = 0
        for event in iter(self._next, None):
            if isinstance(event, Field | File):
                parts += 1
                if parts > self._max_parts:
                    raise LimitExceeded("max_parts", f"the form has more than {self._max_parts} parts")
                yield self._file(event)

    def _file(self, event: Field | File) -> IncomingFile:
        name = literal_name(event.headers.get("Content-Disposition", ""))
        what = f"the file {quoted(name)}"
        size_bytes = _announced_size(event.headers)
        return IncomingFile(name, Incoming(self._content(), declared_digests(event.headers), size_bytes, what))

    def _content(self) -> Iterator[bytes]:
        for event in iter(self._next, None):
            assert isinstance(event, Data), "the content of a part follows its headers"
            if event.data:
                yield event.data
            if not event.more_data:
                return

    def _next(self) -> Event | None:
        """The next event that matters; None at the end of the form."""
        while True:
            try:
                event = self._decoder.next_event()
            except UnicodeDecodeError:
                raise InvalidName("a header of a part is not UTF-8") from None
            except ValueError as error:
                if self._decoder.complete:
                    raise IncompleteBody("the form ends before its closing boundary") from None
                raise InvalidRequest(f"the form is malformed: {error}") from None
            if isinstance(event, Epilogue):
                if self._delimiter in event.data:
                    raise InvalidRequest("the form goes on after its closing boundary")
                return None
            if isinstance(event, NeedData):
                self._feed()
            elif isinstance(event, Preamble):
                continue
            else:
                self._in_content = not isinstance(event, Data) or event.more_data
                return event

    def _feed(self) -> None:
        """Give the decoder the next piece; never one that ends within a delimiter, which it would misread."""
        if not self._in_content and len(self._decoder.buffer) > _MAX_OVERHEAD_BYTES:
            raise InvalidRequest(f"the form has more than {_MAX_OVERHEAD_BYTES} bytes between its contents")
        piece = next(self._chunks, None)
        while piece is not None and self._ends_in_delimiter(piece):
            if (more := next(self._chunks, None)) is None:
                break
            piece += more
        self._decoder.receive_data(piece)

    def _ends_in_delimiter(self, piece: bytes) -> bool:
        if piece[-1] not in self._delimiter_ends:
            return False
        # The delimiter may have begun in what the decoder still holds.
        seen = bytes(self._decoder.buffer[-len(self._delimiter) :]) + piece
        _, found, rest = seen.rpartition(self._delimiter)
        if not found or not _OPEN_LINE.fullmatch(rest):
            return False
        if len(rest) > _MAX_OVERHEAD_BYTES:
            raise InvalidRequest("a delimiter of the form is followed by too many blanks")
        return True


def _announced_size(headers: Headers) -> int | None:
    """The Content-Length of a part, which the API server sends. Raises InvalidRequest."""
    value = headers.get("Content-Length")
    if value is None:
        return None
    size_bytes = parse_length(value)
    if size_bytes is None:
        raise InvalidRequest("the Content-Length of a part is not a number")
    return size_bytes


def literal_name(disposition: str) -> str:
    """The name in the Content-Disposition of a part, as it stands between its quotes.

    `q"uote.c`, `per%22cent.c` and `back\\slash.c` are what they are. Raises InvalidRequest where there are two
    readings.
    """
    between_quotes = _name_between_quotes(disposition)
    readings = set() if between_quotes is None else {between_quotes}
    if _PLAIN.fullmatch(disposition):
        parameters = _PARAMETER.findall(disposition)
        readings.update(quoted_text or token for key, quoted_text, token in parameters if key.lower() == "name")
    if len(readings) != 1:
        raise _unclear(disposition)
    return readings.pop()


def _name_between_quotes(disposition: str) -> str | None:
    """The name as both real clients mean it; None if neither sends such a header.

    Raises InvalidRequest where the name or the filename looks like more than one parameter.
    """
    if not (start := _NAME.match(disposition)):
        return None
    end = _FILENAME_FOLLOWS.search(disposition, start.end())
    name, quote, rest = disposition[start.end() :].rpartition('"')
    if end:
        name, quote, rest = disposition[start.end() : end.start()], '"', disposition[end.end() :]
    filename = _FILENAME.fullmatch(rest)
    if not quote or not filename:
        return None
    if any(_SECOND_READING.search(text or "") for text in (name, filename["text"])):
        raise _unclear(disposition)
    return name


def _unclear(disposition: str) -> InvalidRequest:
    return InvalidRequest(f"Content-Disposition {quoted(disposition)} does not tell the name of the part for sure")
