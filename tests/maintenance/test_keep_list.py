"""A keep-list that looks wrong is refused as a whole."""

import os
import time
from pathlib import Path

import pytest

from fileserver.maintenance.keep_list import BadKeepList, KeepList, read_keep_list
from tests.maintenance.collecting import keep
from tests.support.messages import sha1

ONE, TWO = sha1(b"1"), sha1(b"2")
NOW = time.time_ns()


def read(path: Path, text: str) -> KeepList:
    path.write_text(text)
    with path.open("rb") as file:
        return read_keep_list(file, NOW)


def test_a_list_has_a_hash_a_line(tmp_path: Path) -> None:
    kept = read(tmp_path / "keep", f"# exercises\n\n{ONE}\n  {TWO}  \r\n   \n#{sha1(b'3')}\n")
    assert ONE in kept
    assert TWO in kept
    assert sha1(b"3") not in kept


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{ONE}\n{TWO[:39]}\n", "line 2"),
        (f"{ONE}0\n", "line 1"),
        (f"{ONE.upper()}\n", "line 1"),
        (f"{ONE} {TWO}\n", "line 1"),
        (f"{ONE}\nERROR 2013 (HY000): Lost connection\n", "line 2"),
        ("\0\n", "line 1"),
        ("ä\n", "line 1"),
        (f"{ONE}\n{TWO}", "line 2.*cut off"),
        (f"{ONE}\n# no end", "line 2.*cut off"),
    ],
)
def test_a_bad_line_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadKeepList, match=told):
        read(tmp_path / "keep", text)


def test_a_list_knows_of_nothing_later_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "keep"
    path.write_text(f"{ONE}\n")
    for mtime_ns, made_at_ns in ((NOW - 10**15, NOW - 10**15), (NOW + 10**15, NOW)):
        os.utime(path, ns=(mtime_ns, mtime_ns))
        with path.open("rb") as file:
            assert read_keep_list(file, NOW).made_at_ns == made_at_ns


def test_a_list_from_a_pipe_is_made_now() -> None:
    reader, writer = os.pipe()
    os.write(writer, f"{ONE}\n".encode())
    os.close(writer)
    with open(reader, "rb") as file:
        kept = read_keep_list(file, NOW)
    assert kept.made_at_ns == NOW
    assert ONE in kept


@pytest.mark.parametrize(
    ("listed", "stored", "percent", "refused"),
    [
        ([], 0, 50, False),
        ([], 1, 50, True),
        ([], 1, 99, True),
        ([], 1, 100, False),
        ([0, 1], 4, 50, False),
        ([0, 1], 5, 50, True),
        ([0, 1, 2, 7, 8, 9], 4, 25, False),
        ([0, 1, 2, 7, 8, 9], 4, 24, True),
        ([0], 1, 0, False),
    ],
)
def test_a_list_that_lacks_too_much_is_refused(listed: list[int], stored: int, percent: int, refused: bool) -> None:
    kept = keep(*(str(number).encode() for number in listed))
    there = (sha1(str(number).encode()) for number in range(stored))
    if refused:
        with pytest.raises(BadKeepList, match=rf"lacks {stored - len([n for n in listed if n < stored])} of {stored} "):
            kept.require_most(there, percent)
    else:
        kept.require_most(there, percent)
