"""Hypothesis strategies for hostile requests of all kinds; those about heads and framing are in `hostile_heads`."""

import json

from hypothesis import strategies as st

from tests.crash import hostile_heads as heads
from tests.crash.hostile_heads import CONTENT, READABLE, Case, length, request, words
from tests.support.messages import chunked, file_parts, join_parts, sha1

BOUNDARY = "boundary"
FORMS = ["/submissions/fuzzed", "/tasks", "/exercises"]
MANY_PARTS = 10_000

part_names = st.text(max_size=10) | st.sampled_from(
    [
        "a",
        "dir/a",
        "../../../../escaped",
        "/escaped",
        "a/../b",
        "a\\b",
        "",
        "a" * 300,
        'q"uote',
        "x;name=y",
        "\u010d",
        ".",
    ]
)
form_types = st.just(f"multipart/form-data; boundary={BOUNDARY}".encode()) | words(
    "multipart/form-data|multipart/form-data; boundary=|multipart/form-data; boundary=\u00ff|"
    "multipart/mixed; boundary=boundary||text/plain",
    "|",
)


def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """*data* with some pieces cut out, repeated, or replaced."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 80)))
        pieces = st.sampled_from([b"", data[start:end] * 2, b"\r\n", b"--", b'"', b"\n", b"\r\n--" + BOUNDARY.encode()])
        data = data[:start] + draw(pieces | st.binary(max_size=8)) + data[end:]
    return data


@st.composite
def forms(draw: st.DrawFn) -> Case:
    names = draw(st.lists(part_names, max_size=4)) or ["a"]
    parts = file_parts([(name, b"content") for name in names])
    if draw(st.booleans()):
        parts.append(b"Content-Type: multipart/mixed; boundary=inner\r\n\r\n" + join_parts(parts[:2], "inner"))
    if draw(st.integers(0, 40)) == 0:
        parts *= MANY_PARTS
    body = mutated(draw, join_parts(parts, BOUNDARY))
    lines = [b"Content-Type: " + draw(form_types), length(body)]
    return request("forms", "POST", draw(st.sampled_from(FORMS)), lines, body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["a" * 40, sha1(CONTENT)]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["hashes", "a", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
questions = (
    json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps({"hashes": value}).encode())
    | st.sampled_from(
        [b"[" * 100_000, b'{"hashes":' * 50_000, b'{"hashes": [1' + b"0" * 5000 + b"]}", b'{"hashes": ["\\ud800"]}']
    )
    | st.binary(max_size=60)
)


@st.composite
def asked_questions(draw: st.DrawFn) -> Case:
    body = mutated(draw, draw(questions))
    if draw(st.booleans()):
        return request("questions", "POST", "/tasks/missing", [length(body)], body)
    return request("questions", "POST", "/tasks/missing", [b"Transfer-Encoding: chunked"], chunked(body))


spans = st.tuples(st.integers(-2, 12_000), st.integers(-2, 12_000)).map(lambda span: f"{span[0]}-{span[1]}")
ranges = (
    st.lists(spans, max_size=20).map(lambda several: "bytes=" + ",".join(several))
    | st.text("bytes=-,0123456789 \t", max_size=20)
    | st.sampled_from(
        ["bytes=-0", "bytes=9-5", "bytes=--5", "bytes=0-0,-1", "bytes=" + "0-1," * 500, f"bytes={'9' * 500}-"]
    )
)
tags = st.sampled_from(['"x"', "*", 'W/"x"', f'"{sha1(CONTENT)}"', '"', "", '"a", "b", W/"c"', "\xff", '"' * 3000])
dates = st.sampled_from(
    ["Fri, 20 Nov 2020 10:00:00 GMT", "Fri, 20 Nov 2099 10:00:00 GMT", "Fri, 99 Nov 2020 10:00:00 GMT", "0", "x" * 2000]
)
condition_names = st.sampled_from(["If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "If-Unmodified-Since"])
conditions = st.tuples(condition_names, tags | dates).map(": ".join)


@st.composite
def readings(draw: st.DrawFn) -> Case:
    lines = [*draw(st.lists(conditions, max_size=3)), *draw(st.lists(ranges.map("Range: {}".format), max_size=2))]
    method = draw(st.sampled_from(["GET", "GET", "HEAD"]))
    return request("readings", method, draw(st.sampled_from(READABLE)), [line.encode("latin-1") for line in lines])


noise = (
    st.binary(max_size=200)
    | words(
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n|"
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n|GET /\r\n|GET / HTTP/1.1\n\n",
        "|",
    )
    | st.sampled_from([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n" * 5000, bytes(9000), b"a" * 70_000])
).map(lambda data: Case("noise", data))

KINDS: list[st.SearchStrategy[Case]] = [
    heads.request_lines(),
    heads.headers(),
    heads.lying_lengths(),
    heads.broken_chunks(),
    heads.smuggling(),
    heads.expectations(),
    forms(),
    asked_questions(),
    readings(),
    noise,
]
