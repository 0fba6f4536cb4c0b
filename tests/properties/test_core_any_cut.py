"""Any content, cut, order and number of threads: the bytes of pyca/cryptography."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrowseal._core import DataKey, Sealer
from arrowseal.exceptions import AuthenticationError
from core_messages import KEY, MESSAGE_IDS, V2, V3, land, open_message, opener, reference

suites = st.sampled_from([V2, V3])
contents = st.one_of(
    st.binary(max_size=300),
    st.tuples(st.binary(min_size=1, max_size=64), st.integers(1, 20_000)).map(lambda it: it[0] * it[1]),
)


@st.composite
def cuts(draw: st.DrawFn, stored: int) -> list[tuple[int, int]]:
    """Ranges that make up `stored` bytes, in any order."""
    inner = draw(st.sets(st.integers(1, max(1, stored // 16)), max_size=20))
    borders = [0, *sorted(block * 16 for block in inner if block * 16 < stored), stored]
    return draw(st.permutations(list(itertools.pairwise(borders))))


@settings(max_examples=150, deadline=None)
@given(content=contents, suite_id=suites, threads=st.integers(0, 5))
def test_sealing_equals_the_reference(content: bytes, suite_id: int, threads: int) -> None:
    message_id = MESSAGE_IDS[suite_id]
    sealer = Sealer.with_fixed_message_id(DataKey(KEY), suite_id, message_id)
    expected = reference(content, suite_id, message_id).stored
    assert bytes(sealer.seal(bytearray(content) if threads % 2 else content, threads=threads)) == expected


@settings(max_examples=150, deadline=None)
@given(content=contents, suite_id=suites, workers=st.integers(1, 4), data=st.data())
def test_ranges_that_land_in_any_order_open_to_the_content(
    content: bytes, suite_id: int, workers: int, data: st.DataObject
) -> None:
    message = reference(content, suite_id, MESSAGE_IDS[suite_id])
    ranges, target = data.draw(cuts(len(message.stored))), opener(message)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda one: land(target, message.stored, [one]), ranges))
    assert target.finish() == content


@settings(max_examples=100, deadline=None)
@given(content=contents, suite_id=suites, data=st.data())
def test_any_flipped_bit_is_refused(content: bytes, suite_id: int, data: st.DataObject) -> None:
    message = reference(content, suite_id, MESSAGE_IDS[suite_id])
    stored = bytearray(message.stored)
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(AuthenticationError):
        open_message(message._replace(stored=bytes(stored)))
