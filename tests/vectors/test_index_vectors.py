"""The segment index: known answers that were written down before the core made one, and its refusals through Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal._core import DataKey, PartBuffer, PlaintextBuffer, Sealer, SegmentOpener, Survey, UnauthenticatedOpener
from arrowseal.exceptions import AuthenticationError
from core_messages import V2, V3, Message, land, reference
from index_reference import VECTORS, content_of, index_of, vector

if TYPE_CHECKING:
    from collections.abc import Iterable

KNOWN: list[dict[str, Any]] = json.loads(VECTORS.read_text())
S = 65_536
KEY = bytes(range(32))


def name(known: dict[str, Any]) -> str:
    return f"{known['suite_id']:x}-{known['content_bytes']}-{known['segment_bytes']}"


def message_of(known: dict[str, Any]) -> Message:
    content = content_of(known["content_bytes"])
    return reference(content, known["suite_id"], bytes.fromhex(known["message_id"]), bytes.fromhex(known["data_key"]))


def segments(message: Message, index: bytes) -> SegmentOpener | None:
    suite_id, message_id, commitment, stored = message
    return SegmentOpener.from_index(DataKey(KEY), suite_id, message_id, commitment, len(stored), index)


def opened(opener: SegmentOpener, message: Message, start: int, end: int) -> PlaintextBuffer:
    """The range in windows of one segment, from the last one to the first."""
    target = opener.range(start, end - start)
    step = opener.segment_bytes
    land(target, message.stored, [(at, min(at + step, end)) for at in reversed(range(start, end, step))])
    return target.finish()


@pytest.mark.parametrize("known", KNOWN, ids=name)
def test_the_reference_gives_the_known_answer(known: dict[str, Any]) -> None:
    assert vector(known["suite_id"], known["content_bytes"], known["segment_bytes"]) == known


@pytest.mark.parametrize("known", KNOWN, ids=name)
def test_every_range_of_whole_segments_opens_by_a_known_index(known: dict[str, Any]) -> None:
    message, content = message_of(known), content_of(known["content_bytes"])
    opener = segments(message, bytes.fromhex(known["index"]))
    assert opener is not None
    assert opener.segment_bytes == known["segment_bytes"]
    borders = [*range(0, len(content), opener.segment_bytes), len(content)]
    for start in borders:
        for end in borders:
            if start < end:
                assert opened(opener, message, start, end) == content[start:end]
    assert opener.index().hex() == known["index"]


@pytest.mark.parametrize("known", [known for known in KNOWN if known["segment_bytes"] == S], ids=name)
def test_a_writer_and_a_survey_make_the_known_index(known: dict[str, Any]) -> None:
    content, message = content_of(known["content_bytes"]), message_of(known)
    sealer = Sealer.with_fixed_message_id(DataKey(KEY), known["suite_id"], message.message_id)
    sealed = b""
    pieces: Iterable[int] = range(0, max(len(content), 1), 48 * 1024)  # borders of parts are not those of segments
    for start in pieces:
        part = PartBuffer(48 * 1024)
        part.append(content[start : start + 48 * 1024])
        sealed += bytes(sealer.seal_part(start, part, last=start + 48 * 1024 >= len(content)))
    assert sealed == message.stored
    assert sealer.index().hex() == known["index"]
    survey = Survey(DataKey(KEY), *message[:3], len(message.stored))
    stored = len(message.stored)
    land(survey, message.stored, [(at, min(at + S, stored)) for at in reversed(range(0, stored, S))])
    opener = survey.finish()
    assert opener.index().hex() == known["index"]
    if content:
        assert opened(opener, message, 0, len(content)) == content


@pytest.mark.parametrize("suite_id", [V2, V3])
def test_a_survey_refuses_a_flipped_bit_and_then_opens_nothing(suite_id: int) -> None:
    message = reference(content_of(2 * S + 9), suite_id, bytes(range(1, 13 if suite_id == V2 else 29)))
    for place in (0, S + 5, len(message.stored) - 17, len(message.stored) - 1):
        stored = bytearray(message.stored)
        stored[place] ^= 1
        survey = Survey(DataKey(KEY), *message[:3], len(stored))
        land(survey, bytes(stored), [(at, min(at + S, len(stored))) for at in range(0, len(stored), S)])
        with pytest.raises(AuthenticationError):
            survey.finish()
        with pytest.raises(ValueError, match="finished already"):
            survey.finish()


def test_a_survey_with_a_missing_range_or_a_window_in_hand_is_not_finished() -> None:
    message = reference(content_of(2 * S), V3, bytes(range(1, 29)))
    survey = Survey(DataKey(KEY), *message[:3], len(message.stored))
    land(survey, message.stored, [(0, S)])
    held = survey.window(S, S + 16)
    with pytest.raises(ValueError, match="missing"):
        survey.finish()
    del held
    with pytest.raises(ValueError, match="missing"):
        survey.finish()


def test_a_survey_is_finished_while_somebody_holds_windows_that_were_received() -> None:
    message = reference(content_of(2 * S), V3, bytes(range(1, 29)))
    survey = Survey(DataKey(KEY), *message[:3], len(message.stored))
    held = []
    for start in (0, S):
        window = survey.window(start, S if start == 0 else S + 16)
        with memoryview(window) as view:
            view[:] = message.stored[start : start + len(view)]
        window.received()
        held.append(window)
    assert opened(survey.finish(), message, 0, 2 * S) == content_of(2 * S)
    with pytest.raises(ValueError, match="received before"):
        held[0].received()


def test_a_survey_makes_the_same_index_of_windows_of_many_segments() -> None:
    message = reference(content_of(6 * S + 7), V3, bytes(range(1, 29)))
    index = index_of(V3, KEY, message.message_id, message.stored, S)
    suite_id, message_id, commitment, stored = message
    for at_once in (True, False):
        survey = Survey(DataKey(KEY), suite_id, message_id, commitment, len(stored))
        if at_once:
            segments = survey.receive(stored)
        else:
            land(survey, stored, [(5 * S, len(stored)), (0, 5 * S)])
            segments = survey.finish()
        assert segments.index() == index


def test_a_range_that_does_not_authenticate_gives_nothing_and_the_next_one_does() -> None:
    message = reference(content_of(3 * S), V3, bytes(range(1, 29)))
    index = index_of(V3, KEY, message.message_id, message.stored, S)
    opener = segments(message, index)
    assert opener is not None
    tampered = bytearray(message.stored)
    tampered[S] ^= 0x80
    target = opener.range(0, 2 * S)
    with pytest.raises(AuthenticationError):
        land(target, bytes(tampered), [(0, 2 * S)])
    with pytest.raises(ValueError, match="missing"):
        target.finish()
    with pytest.raises(AuthenticationError):
        opener.range(0, 2 * S).receive(bytes(tampered[: 2 * S]))
    assert opener.range(2 * S, S).receive(message.stored[2 * S : 3 * S]) == content_of(3 * S)[2 * S :]


@pytest.mark.parametrize("step", [2**15, 2**16, 2**18, 2**19, 2**20])
def test_a_range_that_is_there_as_a_whole_is_proven_by_segments_of_any_size(step: int) -> None:
    content = content_of(2**21 + 2**19 + 1_000)
    message = reference(content, V3, bytes(range(1, 29)))
    opener = segments(message, index_of(V3, KEY, message.message_id, message.stored, step))
    assert opener is not None
    ciphertext = message.stored[step : len(content)]
    tampered = bytearray(ciphertext)
    tampered[-1] ^= 1
    for kind in (bytes, bytearray):
        assert opener.range(step, len(ciphertext)).receive(kind(ciphertext)) == content[step:]
        with pytest.raises(AuthenticationError):
            opener.range(step, len(ciphertext)).receive(kind(tampered))


def test_borders_inside_of_segments_and_ranges_outside_of_the_content_are_refused() -> None:
    message = reference(content_of(2 * S), V3, bytes(range(1, 29)))
    opener = segments(message, index_of(V3, KEY, message.message_id, message.stored, S))
    assert opener is not None
    for offset, length in ((0, 2 * S + 1), (2 * S, 16), (-1, 5), (0, -1)):
        with pytest.raises(ValueError, match=r"outside|negative"):
            opener.range(offset, length)
    with pytest.raises(ValueError, match="multiples of 16"):
        land(opener.range(0, 2 * S), message.stored, [(0, S // 2)])
    with pytest.raises(ValueError, match="outside"):
        opener.range(S, S).window(0, 16)


def test_slices_share_memory_and_joined_ones_are_new_proven_bytes() -> None:
    content = content_of(2 * S)
    message = reference(content, V3, bytes(range(1, 29)))
    opener = segments(message, index_of(V3, KEY, message.message_id, message.stored, S))
    assert opener is not None
    whole = opened(opener, message, 0, 2 * S)
    part = whole.slice(10, 100)
    assert part == content[10:110]
    assert part.slice(5, 5) == content[15:20]
    assert part.encryption == "CSE V3"
    assert part.joined([whole.slice(0, 3), part.slice(0, 0)]) == content[10:110] + content[:3]
    for offset, length in ((0, 101), (101, 0), (-1, 1), (1, -1), (2**62, 2**62)):
        with pytest.raises(ValueError, match=r"outside|negative"):
            part.slice(offset, length)


def test_what_is_decrypted_without_proof_has_another_type_and_says_so() -> None:
    content = content_of(1_000)
    message = reference(content, V3, bytes(range(1, 29)))
    opener = UnauthenticatedOpener(DataKey(KEY), *message[:3], len(message.stored))
    tampered = bytearray(message.stored)
    tampered[40] ^= 1
    found = opener.range(32, 968).receive(bytes(tampered[32:1_000]))
    assert found.encryption == "CSE V3, unauthenticated"
    assert found != content[32:]
    assert bytes(found)[9:] == content[41:]
    with pytest.raises(AuthenticationError):
        UnauthenticatedOpener(DataKey(bytes(32)), *message[:3], len(message.stored))
