"""Digests: what senders declare is understood, refused or ignored, as RFC 9530 says."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserver.core.digests import DeclaredDigests, Hasher, format_repr_digest, parse_digest_fields
from fileserver.core.errors import DigestMismatch, InvalidRequest

CONTENT = b"int main() { return 0; }"
ALGORITHMS = {"sha256": "sha-256", "sha512": "sha-512"}


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


SHA256 = hashlib.sha256(CONTENT).digest()
SHA512 = hashlib.sha512(CONTENT).digest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).digest()
FIELD_256 = f"sha-256=:{encoded(SHA256)}:"
FIELD_512 = f"sha-512=:{encoded(SHA512)}:"


def parsed(fields: dict[str, str]) -> set[tuple[str, bytes]]:
    return set(parse_digest_fields(fields.get).declared)


@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (FIELD_256, {("sha256", SHA256)}),
        (FIELD_512, {("sha512", SHA512)}),
        (f"{FIELD_256}, {FIELD_512}", {("sha256", SHA256), ("sha512", SHA512)}),
        (f"{FIELD_512},{FIELD_256}", {("sha256", SHA256), ("sha512", SHA512)}),
        (f"{FIELD_256};parameter=1", {("sha256", SHA256)}),
        (f"sha=:AAAA:, {FIELD_256}", {("sha256", SHA256)}),
        ("md5=:AAAA:, unixsum=30637, crc32c=:AAAA:, other", set()),
        ("sha-256=:AAAA:, " + FIELD_256, {("sha256", SHA256)}),  # RFC 8941: the last of equal keys counts
        ("", set()),
    ],
)
def test_a_digest_field_is_understood(name: str, value: str, expected: set[tuple[str, bytes]]) -> None:
    assert parsed({name: value}) == expected


@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize(
    "value",
    [
        "sha-256",
        "sha-256=abc",
        'sha-256="abc"',
        f"sha-256={encoded(SHA256)}",
        "sha-256=:not base64!:",
        f"sha-256=(:{encoded(SHA256)}:)",
        "sha-256=::",
        f"sha-256=:{encoded(SHA256[:-1])}:",
        f"sha-256=:{encoded(SHA512)}:",
        f"sha-512=:{encoded(SHA256)}:",
        FIELD_256 + ",",
        f"{FIELD_256} {FIELD_512}",
        "=:AAAA:",
        "ä=1",
        "中",
        "\udcff",
        "sha-256=:\0:",
    ],
)
def test_a_malformed_digest_field_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest):
        parsed({name: value})


def test_a_content_md5_is_understood() -> None:
    assert parsed({"Content-MD5": encoded(MD5)}) == {("md5", MD5)}


@pytest.mark.parametrize(
    "value", ["x", "!!!!", encoded(MD5[:-1]), encoded(SHA256), MD5.hex(), "中", f":{encoded(MD5)}:"]
)
def test_a_malformed_content_md5_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        parsed({"Content-MD5": value})


def test_all_fields_count_together() -> None:
    fields = {"Content-Digest": FIELD_256, "Repr-Digest": FIELD_512, "Content-MD5": encoded(MD5)}
    assert parsed(fields) == {("sha256", SHA256), ("sha512", SHA512), ("md5", MD5)}
    assert parse_digest_fields(fields.get).algorithms == {"sha256", "sha512", "md5"}


def assert_understood_or_refused(name: str, value: str) -> None:
    try:
        found = parsed({name: value})
    except InvalidRequest:
        return
    assert all(len(digest) == hashlib.new(algorithm).digest_size for algorithm, digest in found)


@given(name=st.sampled_from(["Content-Digest", "Repr-Digest", "Content-MD5"]), value=st.text())
def test_no_text_breaks_the_parser(name: str, value: str) -> None:
    assert_understood_or_refused(name, value)


members = st.sampled_from([encoded(SHA256), encoded(SHA512), "AAAA", "a"]) | st.sampled_from(
    [
        "sha-256",
        "sha-512",
        "md5",
        "=",
        ":",
        ";",
        ",",
        " ",
        "(",
        ")",
        '"',
        "?1",
        "@1",
        "*",
        "1.",
        "-",
        "\t",
        "%",
        "é",
        "\x00",
    ]
)


@given(value=st.lists(members, max_size=12).map("".join))
def test_no_broken_structured_field_breaks_the_parser(value: str) -> None:
    assert_understood_or_refused("Content-Digest", value)


@given(content=st.binary(), other=st.binary(), algorithm=st.sampled_from(sorted(ALGORITHMS)))
def test_a_declared_digest_fits_its_content_and_no_other(content: bytes, other: bytes, algorithm: str) -> None:
    field = f"{ALGORITHMS[algorithm]}=:{encoded(hashlib.new(algorithm, content).digest())}:"
    declared = parse_digest_fields({"Repr-Digest": field}.get)
    hasher = Hasher(declared.algorithms)
    hasher.update(other)
    if content == other:
        declared.verify(hasher.digests(), "the body")
    else:
        with pytest.raises(DigestMismatch, match="the body"):
            declared.verify(hasher.digests(), "the body")


def test_one_wrong_digest_of_several_is_enough() -> None:
    declared = DeclaredDigests((("sha256", SHA256), ("md5", MD5[::-1])))
    with pytest.raises(DigestMismatch, match="md5"):
        declared.verify({"sha256": SHA256, "md5": MD5}, "the body")


@given(chunks=st.lists(st.binary()))
def test_digests_do_not_depend_on_the_pieces(chunks: list[bytes]) -> None:
    hasher = Hasher(["sha1", "sha256", "sha512", "md5"])
    for chunk in chunks:
        hasher.update(chunk)
    content = b"".join(chunks)
    assert hasher.digests() == {
        name: hashlib.new(name, content).digest() for name in ("sha1", "sha256", "sha512", "md5")
    }


@given(digest=st.binary(min_size=32, max_size=32))
def test_the_digest_in_an_answer_can_be_read_back(digest: bytes) -> None:
    assert parsed({"Repr-Digest": format_repr_digest(digest)}) == {("sha256", digest)}
