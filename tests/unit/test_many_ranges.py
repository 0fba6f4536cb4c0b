"""Many ranges of one object: finding what is held of each must not take longer than asking for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from arrowseal.objects import HOLE_BYTES, EncryptedObject

STEP = 2 * HOLE_BYTES  # apart, so that each range is a request
RANGES = 2_000


class Counted:
    """Content of zeros. Whoever looks at where it ends is counted."""

    looks = 0

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        Counted.looks += 1
        return self.length

    def slice(self, offset: int, length: int) -> tuple[int, int]:
        return offset, length


class Elsewhere(EncryptedObject):
    """Whatever is not held is fetched at once."""

    def _fetched(self, runs: Any, turns: Any, opener: Any, transfer: Any) -> Any:
        del turns, opener, transfer
        yield [Counted(end - begin) for begin, end in runs]


def elsewhere(size: int) -> EncryptedObject:
    """An object of which nothing is held."""
    ranges: Any = SimpleNamespace(segment_bytes=16), None
    stored, nothing = SimpleNamespace(location="s3://lake/a"), Counted(0)
    return Elsewhere(stored, size, ("CSE V3", lambda: None), ranges, (size, nothing))  # type: ignore[arg-type]


def test_the_work_for_thousands_of_ranges_grows_as_their_number() -> None:
    wanted = [(STEP * number + 3, 100) for number in range(RANGES)]
    source = elsewhere(STEP * RANGES)
    Counted.looks = 0
    first = source.read_ranges(wanted)
    again = source.read_ranges(list(reversed(wanted)))
    assert first == again[::-1] == [(3, 100)] * RANGES
    assert Counted.looks < 40 * RANGES


@pytest.mark.parametrize("asked", [(-1, 3), (3, -1)])
def test_a_negative_offset_or_length_is_refused(asked: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="neither negative"):
        elsewhere(STEP).read_at(*asked)
