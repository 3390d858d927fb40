"""The name of a part: literally what stands between its quotes, or refused."""

import re
import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fileserver.core.errors import InvalidRequest
from fileserver.web.forms import literal_name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="main.c"', "main.c"),
        ('form-data; name="main.c"; filename="main.c"', "main.c"),
        ('form-data; name="dir/main.c"; filename="other"', "dir/main.c"),
        ('form-data; name="a"; filename=""', "a"),
        ('form-data; name="a";filename="b"', "a"),
        ('form-data;name="a"', "a"),
        ('Form-Data; Name="a"; FileName="b"', "a"),
        ('form-data; name="q"uote.c"; filename="q"uote.c"', 'q"uote.c'),
        ('form-data; name="per%22cent.c"; filename="x"', "per%22cent.c"),
        ('form-data; name="back\\slash.c"; filename="x"', "back\\slash.c"),
        ('form-data; name="semi;colon.c"; filename="x"', "semi;colon.c"),
        ('form-data; name=" a "; filename="x"', " a "),
        ('form-data; name="žluťoučký kůň.c"; filename="x"', "žluťoučký kůň.c"),
        ("form-data; name=\"a\"; filename*=UTF-8''b", "a"),
        ('form-data; filename="b"; name="a"', "a"),
        ("form-data; name=a", "a"),
        ("form-data; name=a; filename=b", "a"),
        ('form-data ; name="a" ; filename="b"', "a"),
        ('form-data; name=""', ""),
    ],
)
def test_a_name_is_taken_literally(disposition: str, name: str) -> None:
    assert literal_name(disposition) == name


@pytest.mark.parametrize(
    "disposition",
    [
        "",
        "form-data",
        "form-data;",
        "form-data; name",
        "form-data; name=",
        'form-data; name="a',
        'form-data; filename="a"',
        'attachment; name="a"',
        'form-data; name="a"; name="b"',
        'form-data; name="a"; filename="b"; name="c"',
        'form-data; name="a"; filename="b"; filename="c"',
        'form-data; name="a"; filename="b"; name="c"; filename="d"',
        'form-data; filename="x"; name="a"; name="b"',
        'form-data; name="a" b',
        "form-data; name=a b",
        "form-data, name=a",
    ],
)
def test_what_has_no_or_two_readings_is_refused(disposition: str) -> None:
    with pytest.raises(InvalidRequest):
        literal_name(disposition)


line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)
pieces = st.sampled_from(
    [
        "form-data",
        ";",
        " ",
        "name",
        "filename",
        "filename*",
        "=",
        '"',
        "\\",
        "a",
        "; name=",
        '"; filename="',
        "%22",
        "\t",
    ]
)


@given(name=line, filename=line)
@example(name='a"; filename="b', filename="c")
@example(name='a"', filename="b")
@example(name="a", filename='b"; name="c')
def test_a_name_as_the_clients_write_it_is_itself_or_refused(name: str, filename: str) -> None:
    try:
        assert literal_name(f'form-data; name="{name}"; filename="{filename}"') == name
    except InvalidRequest:
        assert '"' in name or '"' in filename


@given(name=line.filter(lambda text: '"' not in text))
def test_a_name_without_quotes_is_never_refused(name: str) -> None:
    assert literal_name(f'form-data; name="{name}"; filename="x"') == name
    assert literal_name(f'form-data; name="{name}"') == name


@given(disposition=line | st.lists(pieces, max_size=14).map("".join) | line.map('form-data; name="{}"'.format))
def test_any_header_gives_a_name_that_stands_in_it_or_is_refused(disposition: str) -> None:
    try:
        name = literal_name(disposition)
    except InvalidRequest:
        return
    written = re.escape(name)
    assert re.search(rf'name="{written}"|name={written}(?:\s*;|\s*$)', disposition, re.IGNORECASE)


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="' + '"; filename=' * 5000,
        "form-data" + "; a=b" * 12000 + "; name",
        "form-data" + " " * 60000 + "!",
        "form-data; name=" + '"' * 60000,
        "form-data" + ";" * 60000,
        'form-data; name="a"; filename=' + '"; name' * 8000,
        "form-data; " + "a" * 60000,
        'form-data; name="' + "a" * 60000,
    ],
    ids=range(8),
)
def test_no_header_costs_much_time(disposition: str) -> None:
    began = time.process_time()
    with suppress(InvalidRequest):
        literal_name(disposition)
    assert time.process_time() - began < 1
