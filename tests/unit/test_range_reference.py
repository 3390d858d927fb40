"""Ranges: for any content and any Range header the answer is that of a naive reading of RFC 9110, section 14."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from fileserver import create_app
from fileserver.core.sections import StorageSettings
from fileserver.core.settings import Settings
from fileserver.services import Services

MAX_RANGES = 16
Span = tuple[int, int]
"""First byte and last byte, as HTTP counts them."""


@dataclass(frozen=True)
class Reading:
    """What a Range header asks for, of a file of a known size."""

    spans: tuple[Span, ...]
    """What is satisfiable of it."""
    asked: int
    strict: bool
    """Whether it must be honoured. A list that does not ascend, or overlaps, may be answered whole (RFC 9110, 14.2)."""


def read_range(header: str, size: int) -> Reading | None:
    """RFC 9110, 14.1, word for word; None for what is not a valid range of bytes."""
    unit, equals, rest = header.partition("=")
    if unit.strip(" \t").lower() != "bytes" or not equals:
        return None
    spans, strict, reached = list[Span](), True, -1.0
    specs = [spec.strip(" \t") for spec in rest.split(",")]
    for spec in specs:
        if found := re.fullmatch(r"([0-9]+)[ \t]*-[ \t]*([0-9]*)", spec):
            first = int(found[1])
            last = int(found[2]) if found[2] else max(first, size - 1)
            if last < first:
                return None
        elif found := re.fullmatch(r"-[ \t]*([0-9]+)", spec):
            first, last = max(0, size - int(found[1])), size - 1
            # The last bytes of an empty file are satisfiable, but no Content-Range could tell them; the last 0 bytes
            # are not, and make a list pointless.
            strict = strict and size > 0 and (int(found[1]) > 0 or len(specs) == 1)
        else:
            return None
        strict = strict and first > reached
        # What ends with the file is the last of an ascending list.
        reached = last if found[found.re.groups] and spec[0] != "-" else math.inf
        if first <= min(last, size - 1):
            spans.append((first, min(last, size - 1)))
    return Reading(tuple(spans), len(specs), strict)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    app = create_app(Settings(storage=StorageSettings(tmp_path_factory.mktemp("ranges"))))
    yield app.test_client()
    services: Services = app.extensions["fileserver"]
    services.close()


def ask(client: FlaskClient, content: bytes, header: str) -> TestResponse:
    if stored_content(client) != content:
        assert client.put("/results/ranges.bin", data=content, content_length=len(content)).status_code == 200
    return client.get("/results/ranges.bin", headers={"Range": header}, buffered=True)


def stored_content(client: FlaskClient) -> bytes | None:
    path = Path(client.application.extensions["fileserver"].settings.storage.working_directory, "results", "ranges.bin")
    return path.read_bytes() if path.exists() else None


def assert_whole(response: TestResponse, content: bytes) -> None:
    assert (response.status_code, response.data) == (200, content)
    assert "Content-Range" not in response.headers
    assert response.headers["Content-Length"] == str(len(content))


def assert_unsatisfiable(response: TestResponse, content: bytes) -> None:
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{len(content)}"


def assert_partial(response: TestResponse, content: bytes, spans: tuple[Span, ...]) -> None:
    assert response.status_code == 206
    assert response.headers["Content-Length"] == str(len(response.data))
    if len(spans) == 1:
        pieces = [(response.headers["Content-Range"], response.data)]
    else:
        assert "Content-Range" not in response.headers
        pieces = byteranges(response)
    assert pieces == [(f"bytes {first}-{last}/{len(content)}", content[first : last + 1]) for first, last in spans]


def byteranges(response: TestResponse) -> list[tuple[str, bytes]]:
    """The parts of a multipart/byteranges: the Content-Range and the bytes of each."""
    found = re.fullmatch(r'multipart/byteranges; boundary="?([0-9A-Za-z]+)"?', response.headers["Content-Type"])
    assert found
    preamble, *parts, epilogue = (b"\r\n" + response.data).split(b"\r\n--" + found[1].encode())
    assert (preamble.strip(), epilogue.strip()) == (b"", b"--")
    pieces = []
    for part in parts:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("ascii").split("\r\n"))
        assert fields["Content-Type"] == "application/octet-stream"
        pieces.append((fields["Content-Range"], data))
    return pieces


def check(client: FlaskClient, content: bytes, header: str) -> None:
    response = ask(client, content, header)
    reading = read_range(header, len(content))
    if reading is None or reading.asked > MAX_RANGES or (not reading.strict and response.status_code == 200):
        assert_whole(response, content)
    elif reading.spans:
        assert_partial(response, content, reading.spans)
    else:
        assert_unsatisfiable(response, content)


contents = st.binary(max_size=300)
positions = st.integers(0, 400) | st.integers(0, 10**30)
specs = (
    st.builds("{}-{}".format, positions, positions)
    | st.builds("{}-".format, positions)
    | st.builds("-{}".format, positions)
)
valid_headers = st.lists(specs, min_size=1, max_size=20).map(lambda found: "bytes=" + ", ".join(found))
ascending = st.lists(st.integers(0, 320), min_size=2, max_size=30, unique=True).map(
    lambda at: "bytes=" + ",".join(f"{a}-{b}" for a, b in zip(sorted(at)[::2], sorted(at)[1::2], strict=False))
)
pieces = st.sampled_from(
    ["bytes", "Bytes", "=", "-", ",", " ", "\t", "0", "1", "17", "299", "+1", "_", "x", ".", "²", '"']
)
printable = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"])
garbage = st.lists(pieces, max_size=12).map("".join) | st.text(printable, max_size=20)
headers = valid_headers | ascending | garbage | st.builds("bytes={}".format, garbage)

in_one_folder = settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@in_one_folder
@given(content=contents, header=headers)
@example(content=b"0123456789", header="bytes=0-0")
@example(content=b"0123456789", header="bytes=9-")
@example(content=b"0123456789", header="bytes=10-")
@example(content=b"0123456789", header="bytes=-1")
@example(content=b"0123456789", header="bytes=-11")
@example(content=b"0123456789", header="bytes=-0")
@example(content=b"0123456789", header="bytes=5-4")
@example(content=b"0123456789", header="bytes=0-1,3-4,9-")
@example(content=b"0123456789", header="bytes=0-1,20-30")
@example(content=b"0123456789", header="bytes=20-30,40-")
@example(content=b"0123456789", header="bytes=0-,0-,0-,0-")
@example(content=b"0123456789", header="bytes=5-6,0-1")
@example(content=b"0123456789", header="bytes=30-40,20-")
@example(content=b"0123456789", header="bytes=0-" + "9" * 4000)
@example(content=b"0123456789", header="bytes=" + "9" * 4000 + "-")
@example(content=b"0123456789", header="lines=0-1")
@example(content=b"", header="bytes=0-")
@example(content=b"", header="bytes=-1")
@example(content=bytes(range(256)), header="bytes=" + ",".join(f"{at}-{at}" for at in range(0, 32, 2)))
@example(content=bytes(range(256)), header="bytes=" + ",".join(f"{at}-{at}" for at in range(0, 34, 2)))
def test_the_answer_to_a_range_is_that_of_the_rfc(client: FlaskClient, content: bytes, header: str) -> None:
    check(client, content, header)


@in_one_folder
@given(header=headers)
def test_a_head_request_knows_no_ranges(client: FlaskClient, header: str) -> None:
    client.put("/results/head.bin", data=b"0123456789")
    response = client.head("/results/head.bin", headers={"Range": header})
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == "10"
    assert "Content-Range" not in response.headers


@pytest.mark.parametrize("header", ["bytes=0-1", "bytes=0-1,3-4", "bytes=90-", "nonsense"])
def test_the_reference_and_the_server_agree_on_what_a_range_is(client: FlaskClient, header: str) -> None:
    content = b"0123456789"
    expected = {"bytes=0-1": 206, "bytes=0-1,3-4": 206, "bytes=90-": 416, "nonsense": 200}
    assert ask(client, content, header).status_code == expected[header]
    check(client, content, header)


@pytest.mark.parametrize("header", ["bytes={}-", "bytes=0-{}", "bytes=-{}", "bytes=0-1,{}-{}"])
def test_a_number_without_end_is_no_defect(client: FlaskClient, header: str) -> None:
    response = ask(client, b"0123456789", header.replace("{}", "9" * 6000))
    assert response.status_code in (200, 206, 416)
