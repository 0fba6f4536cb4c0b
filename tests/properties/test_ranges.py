"""How the reads of one object are cut: every byte once, in shares that end together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arrowseal import TransferOptions
from arrowseal.transfer import PIECE_BYTES, ranges

OPTIONS = st.builds(
    TransferOptions, part_bytes=st.sampled_from([PIECE_BYTES, 2**20, 8 * 2**20]), concurrency=st.integers(1, 16)
)


@given(size=st.integers(0, 2**36), options=OPTIONS)
def test_every_byte_is_asked_for_once_and_the_first_answer_is_used(size: int, options: TransferOptions) -> None:
    asked = ranges(size, options)
    assert asked[0] == (0, min(size, options.part_bytes))
    in_order = sorted(asked)
    assert [start for start, _ in in_order[1:]] == [end for _, end in in_order[:-1]]
    assert in_order[-1][1] == size
    assert all(start < end for start, end in asked[1:])
    assert all(start % 16 == 0 for start, _ in asked)


@given(size=st.integers(0, 2**36), options=OPTIONS)
def test_one_request_more_than_connections_in_turn_is_the_most(size: int, options: TransferOptions) -> None:
    asked = ranges(size, options)
    turns = max(1, round(size / (options.concurrency * options.part_bytes * 8)))
    assert len(asked) <= turns * options.concurrency + 1
    if len(asked) > options.concurrency + 1:
        longest = max(end - start for start, end in asked)
        assert longest <= 16 * options.part_bytes


def test_a_server_that_knows_no_ranges_answers_the_whole() -> None:
    assert ranges(2**30, TransferOptions(), ranged=False) == [(0, 2**30)]
