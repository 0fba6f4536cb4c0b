"""How long the parts of an upload are, within what S3 takes: 10,000 of them, each of 5 MiB to 5 GiB."""

from __future__ import annotations

from itertools import accumulate

import pytest

from arrowseal.suites import MAX_CONTENT_BYTES
from arrowseal.upload import part_bytes

MIB, GIB, TIB = 2**20, 2**30, 2**40
LENGTHS = [2**19, 5 * MIB, 8 * MIB, 100 * MIB, 5 * GIB, 64 * GIB]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_stream_becomes_as_long_as_an_object_can_be(length: int) -> None:
    parts = [part_bytes(length, number) for number in range(1, 10_001)]
    assert sum(parts) >= 5 * TIB
    assert all(5 * MIB <= part <= 5 * GIB - 16 and part % 16 == 0 for part in parts)
    assert parts == sorted(parts)


def test_the_parts_of_a_message_hold_no_more_than_three_times_the_first_one() -> None:
    parts = [part_bytes(5 * MIB, number) for number in range(1, 10_001)]
    needed = next(count for count, total in enumerate(accumulate(parts), 1) if total >= MAX_CONTENT_BYTES)
    assert max(parts[:needed]) == 15 * MIB


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", [0, 5 * GIB - 16, 5 * GIB, MAX_CONTENT_BYTES, 5 * TIB])
def test_a_content_of_known_length_goes_in_parts_that_s3_takes(length: int, size: int) -> None:
    part = part_bytes(length, 1, size)
    assert 5 * MIB <= part <= 5 * GIB - 16
    assert part % 16 == 0
    assert -(-size // part) <= 10_000
