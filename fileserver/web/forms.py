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
from fileserver.web.bodies import declared_digests, refuse_encodings, request_body, verified
from fileserver.web.context import services

_MAX_OVERHEAD_BYTES = 64 * 1024
"""More than this between the contents of parts (headers, preamble, epilogue) is refused."""

# As both real clients write it: the name ends at the first quote that the parameter `filename`, or nothing, follows.
_LITERAL = re.compile(r'form-data; ?name="(?P<name>.*?)"(?P<rest>; ?filename\*?=.*)?', re.IGNORECASE)
_SECOND_READING = re.compile(r'"; ?(file)?name=', re.IGNORECASE)
# As RFC 7578 allows it otherwise: parameters in any order, quoted without inner quotes and backslashes, or tokens.
_PLAIN = re.compile(r'form-data(?:\s*;\s*[\w*-]+=(?:"[^"\\]*"|[^\s";]+))*\s*', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([\w*-]+)=(?:"([^"]*)"|([^\s";]+))')
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
        return IncomingFile(name, Incoming(self._content(), declared_digests(event.headers), what=what))

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
                if b"--" + self._decoder.boundary in event.data:
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
        if not self._in_content and len(self._decoder.buffer) > _MAX_OVERHEAD_BYTES:
            raise InvalidRequest(f"the form has more than {_MAX_OVERHEAD_BYTES} bytes between its contents")
        self._decoder.receive_data(next(self._chunks, None))


def literal_name(disposition: str) -> str:
    """The name in the Content-Disposition of a part, as it stands between its quotes.

    `q"uote.c`, `per%22cent.c` and `back\\slash.c` are what they are. Raises InvalidRequest where there are two
    readings.
    """
    literal = _LITERAL.fullmatch(disposition)
    readings = {literal["name"]} if literal else set()
    if _PLAIN.fullmatch(disposition):
        parameters = _PARAMETER.findall(disposition)
        readings.update(quoted_text or token for key, quoted_text, token in parameters if key.lower() == "name")
    if len(readings) == 1 and not (literal and _SECOND_READING.search(literal["rest"] or "")):
        return readings.pop()
    raise InvalidRequest(f"Content-Disposition {quoted(disposition)} does not tell the name of the part for sure")
