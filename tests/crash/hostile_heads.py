"""Hypothesis strategies for hostile request lines, headers and framings, as bytes."""

from typing import NamedTuple

from hypothesis import strategies as st

from tests.support.messages import digest_field, md5_field, sha1

CONTENT = b"0123456789" * 1000
READABLE = [
    "/results/stored.zip",
    "/attachments/stored",
    "/submissions/stored/dir/a.txt",
    "/submission_archives/stored.zip",
    f"/tasks/{sha1(CONTENT)}",
    f"/v1/worker-files/exercise-file/{sha1(CONTENT)}",
]
WRITABLE = ["/results/fuzzed.zip", "/attachments/fuzzed", "/v1/worker-files/result/student/fuzzed"]
BODY = b"12345"
SMUGGLED = b"PUT /results/smuggled.zip HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"


class Case(NamedTuple):
    """What a client sends on one connection before it closes its side."""

    kind: str
    data: bytes
    method: str = "GET"
    target: bytes = b""
    unclear: bool = False
    """Where the first request ends is in doubt, so that nothing behind it may be taken for another."""


def words(text: str, separator: str = " ") -> st.SearchStrategy[bytes]:
    """One of the words in *text*."""
    return st.sampled_from([word.encode() for word in text.split(separator)])


def request(
    kind: str,
    method: str,
    target: str | bytes,
    lines: list[bytes],
    body: bytes = b"",
    *,
    version: bytes = b"HTTP/1.1",
    unclear: bool = False,
) -> Case:
    target = target.encode() if isinstance(target, str) else target
    head = [b" ".join((method.encode(), target, version)), b"Host: x", *lines]
    return Case(kind, b"\r\n".join(head) + b"\r\n\r\n" + body, method, target, unclear)


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def quoted(name: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in name)


methods = st.sampled_from("GET HEAD PUT POST DELETE OPTIONS PATCH TRACE CONNECT PROPFIND get Put G=T G\x00T".split())
odd_segments = (
    words(".. . %2e%2e ..%2f..%2f..%2fescaped ..%5c..%5cescaped %2fescaped %00 a%00.zip %c0%ae%c0%ae %ff.zip %zz %")
    | words("a%0d%0ab.zip %7f con.zip ~ .zip a.zip%20 a;b.zip a#b ? a\\b.zip %e2%80%ae.zip \u010d.zip a\tb fuzzed.zip")
    | st.sampled_from([b"", b"\xff.zip", b"a" * 300, b"%41" * 100, b"a" * 251 + b".zip"])
    | st.binary(min_size=1, max_size=20).map(quoted)
)
prefixes = words(
    "/results/ /attachments/ /submissions/ /tasks/ /submission_archives/ /v1/worker-files/result/ /static/"
) | (words("//results/ /results// / http://x/results/ /results/../attachments/ results/ /submissions/stored/ /%2e%2e/"))
odd_targets = words("* x:80 http:// /% // ?") | st.sampled_from(
    [b"/" * 3000, b"/results/" + b"a" * 9000, b"/\x00", b"/ /", b""]
)
paths = st.tuples(prefixes, st.lists(odd_segments, min_size=1, max_size=3)).map(
    lambda parts: parts[0] + b"/".join(parts[1])
)
targets = paths | odd_targets
versions = st.just(b"HTTP/1.1") | words("HTTP/1.1,HTTP/1.0,HTTP/0.9,HTTP/2.0,HTTP/1.10,http/1.1,,HTTP/1.1 x", ",")


@st.composite
def request_lines(draw: st.DrawFn) -> Case:
    body = draw(st.sampled_from([b"", BODY]))
    return request("request lines", draw(methods), draw(targets), [length(body)], body, version=draw(versions))


known_names = words(
    "Host Content-Type Content-Digest Repr-Digest Content-MD5 Content-Encoding Content-Range Content-Length Connection "
    "Authorization Accept Cookie X-Forwarded-Proto X-Forwarded-For Forwarded SCRIPT_NAME PATH_INFO Upgrade TE Trailer "
    "Keep-Alive Proxy-Connection If-Match Range Content-Disposition Max-Forwards"
)
header_values = (
    words(
        "gzip|identity|close|keep-alive|upgrade|websocket|h2c|/x|bytes=0-|bytes 0-4/5|"
        "sha-256=:AAAA:|Basic AAAA|text/html",
        "|",
    )
    | st.sampled_from([digest_field(BODY).encode(), md5_field(BODY).encode(), b"a" * 9000])
    | st.binary(max_size=40)
)
header_lines = (
    st.tuples(known_names, st.just(b": "), header_values).map(b"".join)
    | st.tuples(st.binary(max_size=10), words(":| :|\t: ", "|"), header_values).map(b"".join)
    | words(" folded|\tfolded|X: a\r\n b|X: a\nY: b|X: a\rY: b|X: \x00|:||X", "|")
)


@st.composite
def headers(draw: st.DrawFn) -> Case:
    lines = draw(st.lists(header_lines, min_size=1, max_size=6)) * draw(st.sampled_from([1] * 10 + [2, 60, 200]))
    if draw(st.booleans()):
        return request("headers", "PUT", draw(st.sampled_from(WRITABLE)), [*lines, length(BODY)], BODY)
    return request("headers", "GET", draw(st.sampled_from(READABLE)), lines)


lengths = words("0|4|5|6|500|-1|+5|5 |0x5|5, 5|5,6|05|99999999999||\u00b2", "|") | st.just(b"9" * 4000)
length_lines = lengths.map(lambda value: b"Content-Length: " + value)
codings = words(
    "chunked|Chunked|xchunked|gzip|gzip, chunked|chunked, gzip|chunked, identity|identity, chunked|chunked;x=1|"
    "chunked\x0b|\x00chunked|"
    '"chunked"|chunked\r\nTransfer-Encoding: x|x\r\nTransfer-Encoding: chunked|'
    "chunked\r\nTransfer-Encoding: chunked|\r\n chunked",
    "|",
)
unclear_lines = words(
    "Transfer-Encoding : chunked| Transfer-Encoding: chunked|X: x\nTransfer-Encoding: chunked|"
    "X: x\rTransfer-Encoding: chunked|"
    "Transfer-Encoding: chunked\nX: y|Transfer-Encoding\t: chunked|Transfer-Encoding\x00: chunked",
    "|",
) | codings.filter(lambda coding: coding.lower() != b"chunked").map(lambda coding: b"Transfer-Encoding: " + coding)
unclear_length_lines = words(
    "Content-Length : %d|Content-Length: %d\x00|Content-Length: %d\nX: y| Content-Length: %d|Content-Length: +%d", "|"
)


@st.composite
def lying_lengths(draw: st.DrawFn) -> Case:
    lines = draw(st.lists(length_lines, min_size=1, max_size=2))
    return request(
        "lengths", "PUT", draw(st.sampled_from(WRITABLE)), lines, draw(st.sampled_from([b"", BODY, bytes(70_000)]))
    )


chunk_sizes = (
    st.just(b"5")
    | words('05|5;a=b|5;a="\r\n"|5 | 5|0x5|-5|+5|5g||4|6|ffffffffffffffffffff', "|")
    | st.just(b"5;" + b"a" * 9000)
)
chunk_ends = st.just(b"\r\n") | st.sampled_from([b"\n", b"", b"\r", b"\r\n\r\n"])
last_chunks = st.just(b"0\r\n\r\n") | st.sampled_from(
    [
        b"0\r\nX: y\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\n",
        b"",
        b"0\n\n",
        b"0\r\nX" + b"y" * 9000 + b"\r\n\r\n",
    ]
)


@st.composite
def broken_chunks(draw: st.DrawFn) -> Case:
    chunks = draw(st.lists(st.tuples(chunk_sizes, st.just(b"\r\n" + BODY), chunk_ends).map(b"".join), max_size=4))
    body = b"".join(chunks) + draw(last_chunks)
    return request("chunks", "PUT", draw(st.sampled_from(WRITABLE)), [b"Transfer-Encoding: chunked"], body)


@st.composite
def smuggling(draw: st.DrawFn) -> Case:
    """Two readings of where a request ends, and another request behind one of the ends."""
    body = draw(st.sampled_from([b"0\r\n\r\n", b"5\r\n12345\r\n0\r\n\r\n", BODY]))
    everything = body + SMUGGLED
    chunked = st.just(b"Transfer-Encoding: chunked")
    one_length = st.sampled_from([length(body), length(everything)])
    framing = draw(
        st.one_of(
            st.tuples(length_lines, chunked),
            st.tuples(unclear_lines),
            st.tuples(unclear_lines, one_length),
            st.just((b"Content-Length: 0", length(everything))),
            st.tuples(unclear_length_lines.map(lambda line: line % len(everything))),
        ).flatmap(st.permutations)
    )
    method, target = draw(st.sampled_from([("PUT", WRITABLE[0]), ("POST", "/tasks/missing"), ("GET", READABLE[0])]))
    return request("smuggling probes", method, target, framing, everything, unclear=True)


@st.composite
def expectations(draw: st.DrawFn) -> Case:
    values = words("100-continue|100-Continue|200-ok||100-continue, x|\u00ff|100-continue;q=1", "|")
    lines = draw(st.lists(values.map(lambda value: b"Expect: " + value), min_size=1, max_size=2))
    return request("expectations", "PUT", draw(paths | words(" ".join(WRITABLE))), [*lines, length(BODY)], BODY)
