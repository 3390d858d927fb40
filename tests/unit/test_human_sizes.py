"""Sizes as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserver.maintenance.statistics import human_size

UNITS = {"bytes": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40, "PiB": 50}


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (2000 << 50, "2000.0 PiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_leaves_a_whole_part(size_bytes: int, shown: str) -> None:
    assert human_size(size_bytes) == shown


@given(size_bytes=st.integers(0, 1 << 60))
def test_a_told_size_is_close_to_the_size(size_bytes: int) -> None:
    number, unit = human_size(size_bytes).split()
    assert abs(float(number) * (1 << UNITS[unit]) - size_bytes) <= size_bytes * 0.06
