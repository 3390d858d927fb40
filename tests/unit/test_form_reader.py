"""A form is read the same however its bytes are cut into pieces."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserver.core.errors import IncompleteBody, InvalidRequest
from fileserver.web.forms import _FormReader

BOUNDARY = b"BBBB"
CONTENTS = [
    b"",
    b"x",
    b"xx\n",
    b"xx\r",
    b"x\r\n",
    b"x\r\nyy",
    b"\rB",
    b"x" * 30 + b"\r" + b"y" * 3,
    b"\r\n--BBB",
    b"--BBB-\r",
]


def form(contents: list[bytes], padding: bytes = b"") -> bytes:
    head = b'Content-Disposition: form-data; name="%d"; filename="x"\r\n\r\n'
    parts = [b"--" + BOUNDARY + padding + b"\r\n" + head % n + content + b"\r\n" for n, content in enumerate(contents)]
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(pieces: Iterator[bytes]) -> list[bytes]:
    files = list[bytes]()
    for number, file in enumerate(_FormReader(pieces, BOUNDARY, 100).files()):
        assert file.name == str(number)
        files.append(b"".join(file.content.chunks))
    return files


@pytest.mark.parametrize("padding", [b"", b" ", b" \t  "])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_form_cut_anywhere_is_read_alike(content: bytes, padding: bytes) -> None:
    contents = [content, b"job: x\n", content]
    body = form(contents, padding)
    for cut in range(1, len(body)):
        assert read(iter([body[:cut], body[cut:]])) == contents, (body[:cut], body[cut:])


@given(st.lists(st.sampled_from(CONTENTS), max_size=4), st.data())
def test_a_form_in_pieces_of_any_size_is_read_alike(contents: list[bytes], data: st.DataObject) -> None:
    body = form(contents, data.draw(st.sampled_from([b"", b" ", b"\t \t"])))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1))))
    pieces = [body[start:stop] for start, stop in pairwise([0, *cuts, len(body)])]
    assert read(iter(pieces)) == contents


def test_a_form_byte_by_byte() -> None:
    body = form(CONTENTS)
    assert read(body[at : at + 1] for at in range(len(body))) == CONTENTS


def test_blanks_without_end_are_refused() -> None:
    pieces = [b"--" + BOUNDARY, *[b" " * 10_000] * 10]
    with pytest.raises((InvalidRequest, IncompleteBody)):
        read(iter(pieces))
