"""HTTP messages as plain data: answers, headers and forms, written byte for byte."""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from http.client import HTTPMessage
from typing import Any, NamedTuple

HeaderPairs = Mapping[str, str] | Iterable[tuple[str, str]]
Files = Mapping[str, bytes] | Iterable[tuple[str, bytes]]


class Response(NamedTuple):
    """One answer. The headers compare without regard to case."""

    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def header_pairs(headers: HeaderPairs) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def header_map(pairs: Iterable[tuple[str, str]]) -> HTTPMessage:
    message = HTTPMessage()
    for name, value in pairs:
        message[name] = value
    return message


def has_header(pairs: list[tuple[str, str]], name: str) -> bool:
    return any(key.lower() == name.lower() for key, _ in pairs)


def chunked(body: bytes, size: int = 5000) -> bytes:
    """Return *body* in the chunked transfer coding."""
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return framed + b"0\r\n\r\n"


def part(
    name: str | None,
    content: bytes = b"x",
    *,
    filename: str | None = "file",
    headers: HeaderPairs = (),
) -> bytes:
    """Return one part of a form, its names written literally, as the API client does."""
    disposition = "form-data"
    if name is not None:
        disposition += f'; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    lines = [f"Content-Disposition: {disposition}"]
    lines += [f"{key}: {value}" for key, value in header_pairs(headers)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def file_parts(files: Files) -> list[bytes]:
    pairs = files.items() if isinstance(files, Mapping) else files
    return [part(name, content) for name, content in pairs]


def join_parts(parts: Iterable[bytes], boundary: str) -> bytes:
    marker = b"--" + boundary.encode()
    return b"".join(marker + b"\r\n" + one + b"\r\n" for one in parts) + marker + b"--\r\n"


def form(parts: Iterable[bytes], boundary: str = "") -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a form made of *parts*."""
    boundary = boundary or new_boundary()
    content_type = f"multipart/form-data; boundary={boundary}"
    return {"Content-Type": content_type}, join_parts(parts, boundary)


def new_boundary() -> str:
    return secrets.token_hex(20)


def digest_field(content: bytes, algorithm: str = "sha-256") -> str:
    """Return the value of a Content-Digest header (RFC 9530)."""
    value = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(value).decode()}:"


def md5_field(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def basic_auth(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def fresh_id(prefix: str = "job") -> str:
    """Return an id that no other test uses: the tests of a session share one server."""
    return f"{prefix}-{secrets.token_hex(8)}"


def fresh_bytes(size: int = 1000) -> bytes:
    return secrets.token_bytes(size)
