"""Sealing and opening: what comes out, and what is refused when."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from arrowseal import _core
from arrowseal._core import SUITES, AlgorithmSuite, DataKey, Opener, PlainReceiver, Sealer
from arrowseal.exceptions import AuthenticationError
from core_messages import KEY, MESSAGE_IDS, MIB, V2, V3, land, open_message, opener, reference, seal

SIZES = [0, 1, 15, 16, 17, MIB - 1, MIB, MIB + 1, 64 * MIB + 1]
REFUSAL = "^the object or its key commitment does not authenticate$"


def pattern(length: int) -> bytes:
    return np.random.default_rng(length).bytes(length)


@pytest.mark.parametrize("suite_id", [V2, V3])
@pytest.mark.parametrize("length", SIZES)
def test_sealing_gives_the_bytes_of_pyca_cryptography_on_any_number_of_threads(length: int, suite_id: int) -> None:
    content, message_id = pattern(length), MESSAGE_IDS[suite_id]
    expected = reference(content, suite_id, message_id)
    for threads in (0, 1, 2, 7):
        sealer = Sealer.with_fixed_message_id(DataKey(KEY), suite_id, message_id)
        assert bytes(sealer.seal(content, threads=threads)) == expected.stored, threads
        assert sealer.commitment == expected.commitment


@pytest.mark.parametrize("suite_id", [V2, V3])
@pytest.mark.parametrize("length", SIZES)
def test_opening_gives_what_pyca_cryptography_has_sealed(length: int, suite_id: int) -> None:
    content = pattern(length)
    plaintext = open_message(reference(content, suite_id, MESSAGE_IDS[suite_id]))
    assert plaintext == content
    assert len(plaintext) == length
    assert plaintext.encryption == {V2: "CSE V2", V3: "CSE V3"}[suite_id]


def test_ranges_land_in_any_order_on_many_threads() -> None:
    content = pattern(8 * MIB + 5)
    message = reference(content, V3, MESSAGE_IDS[V3])
    borders = [*range(0, len(message.stored), 48 * 1024), len(message.stored)]
    ranges = list(itertools.pairwise(borders))[::-1]
    target = opener(message)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: land(target, message.stored, [one]), ranges))
    assert target.finish() == content


@pytest.mark.parametrize("cut", [(0, 96, 116), (0, 112, 116), (0, 16, 32, 116)])
def test_a_border_may_lie_inside_the_tag(cut: tuple[int, ...]) -> None:
    message = seal(bytes(100))
    target = opener(message)
    land(target, message.stored, itertools.pairwise(cut))
    assert target.finish() == bytes(100)


@pytest.mark.parametrize("place", [0, 50, 99, 100, 115])
@pytest.mark.parametrize("suite_id", [V2, V3])
def test_a_flipped_bit_in_content_or_tag_is_refused(place: int, suite_id: int) -> None:
    message = seal(bytes(100), suite_id)
    stored = bytearray(message.stored)
    stored[place] ^= 1
    with pytest.raises(AuthenticationError, match=REFUSAL):
        open_message(message._replace(stored=bytes(stored)))


@pytest.mark.parametrize("stored", [slice(0, -1), slice(0, 16), slice(16, None)], ids=["one", "most", "front"])
def test_a_truncated_message_is_refused(stored: slice) -> None:
    message = seal(bytes(100))
    with pytest.raises(AuthenticationError, match=REFUSAL):
        open_message(message._replace(stored=message.stored[stored]))


def test_another_key_is_refused_by_the_commitment_before_any_byte_is_taken_in() -> None:
    with pytest.raises(AuthenticationError, match=REFUSAL):
        opener(seal(b"content"), key=bytes(32))


def test_another_key_is_refused_by_the_tag_where_there_is_no_commitment() -> None:
    with pytest.raises(AuthenticationError, match=REFUSAL):
        open_message(seal(b"content", V2), key=bytes(32))


@pytest.mark.parametrize("bit", range(0, 224, 13))
def test_a_flipped_bit_in_the_commitment_is_refused(bit: int) -> None:
    message = seal(b"content")
    assert message.commitment is not None
    changed = int.from_bytes(message.commitment, "big") ^ 1 << bit
    with pytest.raises(AuthenticationError, match=REFUSAL):
        opener(message._replace(commitment=changed.to_bytes(28, "big")))


def test_a_sealer_seals_once() -> None:
    sealer = Sealer(DataKey(KEY), V3)
    sealer.seal(b"one")
    with pytest.raises(ValueError, match="finished already"):
        sealer.seal(b"two")


def test_message_ids_are_drawn_anew() -> None:
    assert len({Sealer(DataKey(KEY), V3).message_id for _ in range(100)}) == 100
    assert len({Sealer(DataKey(KEY), V2).message_id for _ in range(100)}) == 100


def test_a_window_is_received_once_and_not_while_it_is_exported() -> None:
    message = seal(bytes(100))
    window = opener(message).window(0, 116)
    view = memoryview(window)
    with pytest.raises(BufferError, match="release the exports"):
        window.received()
    view[:] = message.stored
    view.release()
    window.received()
    with pytest.raises(ValueError, match="received before"):
        window.received()


def test_overlapping_windows_are_refused() -> None:
    target = opener(seal(bytes(1000)))
    window = target.window(160, 160)
    for offset, length in [(160, 160), (0, 176), (304, 32), (176, 16), (0, 1016)]:
        with pytest.raises(ValueError, match="overlaps"):
            target.window(offset, length)
    assert len(window) == 160


def test_a_dropped_window_gives_its_range_back() -> None:
    message = seal(bytes(100))
    target = opener(message)
    window = target.window(0, 64)
    del window
    land(target, message.stored, [(0, 116)])
    assert target.finish() == bytes(100)


def test_a_received_window_keeps_its_range() -> None:
    message = seal(bytes(100))
    target = opener(message)
    land(target, message.stored, [(0, 64)])
    with pytest.raises(ValueError, match="overlaps"):
        target.window(0, 64)


@pytest.mark.parametrize(
    "offset_length", [(0, 117), (116, 1), (128, 16), (0, 0), (-16, 16), (0, -1), (1 << 62, 1 << 62)]
)
def test_windows_outside_the_object_are_refused(offset_length: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"outside the object|is negative"):
        opener(seal(bytes(100))).window(*offset_length)


@pytest.mark.parametrize("offset_length", [(8, 16), (0, 17), (1, 115)])
def test_windows_off_the_blocks_are_refused(offset_length: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        opener(seal(bytes(100))).window(*offset_length)


def test_missing_ranges_are_an_error_and_can_still_arrive() -> None:
    message = seal(bytes(100))
    target = opener(message)
    land(target, message.stored, [(64, 116)])
    with pytest.raises(ValueError, match="missing"):
        target.finish()
    window = target.window(0, 64)
    with pytest.raises(ValueError, match="missing"):
        target.finish()
    with memoryview(window) as view:
        view[:] = message.stored[:64]
    window.received()
    assert target.finish() == bytes(100)


def test_finishing_twice_is_an_error_also_after_a_refusal() -> None:
    message = seal(bytes(100))
    target = opener(message)
    land(target, message.stored, [(0, 116)])
    target.finish()
    forged = opener(message)
    land(forged, bytes(116), [(0, 116)])
    with pytest.raises(AuthenticationError, match=REFUSAL):
        forged.finish()
    for done in (target, forged):
        with pytest.raises(ValueError, match="finished already"):
            done.finish()


def test_wrong_lengths_and_suites_are_refused() -> None:
    key, message_id, commitment = DataKey(KEY), MESSAGE_IDS[V3], bytes(28)
    for length in (0, 16, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            DataKey(bytes(length))
    for suite_id in (0x70, 0x71, 0x74, 0):
        with pytest.raises(ValueError, match="neither sealed nor opened"):
            Sealer(key, suite_id)
        with pytest.raises(ValueError, match="neither sealed nor opened"):
            Opener(key, suite_id, message_id, None, 100)
    for wrong in (b"", message_id[1:], message_id + b"1", bytes(12)):
        with pytest.raises(ValueError, match="28 bytes"):
            Sealer.with_fixed_message_id(key, V3, wrong)
        with pytest.raises(ValueError, match="28 bytes"):
            Opener(key, V3, wrong, commitment, 100)
    with pytest.raises(ValueError, match="zeros only"):
        Sealer.with_fixed_message_id(key, V2, bytes(12))
    for wrong_commitment in (None, b"", bytes(27), bytes(29)):
        with pytest.raises(ValueError, match="key commitment has 28 bytes"):
            Opener(key, V3, message_id, wrong_commitment, 100)
    with pytest.raises(ValueError, match="does not exist in V2"):
        Opener(key, V2, MESSAGE_IDS[V2], commitment, 100)


@pytest.mark.parametrize("stored_bytes", [-1, 0, 15, 2**36 - 32 + 16 + 1, 2**63 - 1])
def test_sizes_that_no_message_has_are_refused(stored_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"larger than the format|is negative|16 bytes at least"):
        Opener(DataKey(KEY), V2, MESSAGE_IDS[V2], None, stored_bytes)


def test_memory_that_the_system_does_not_have_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="no memory for a buffer"):
        PlainReceiver(2**62)


def test_negative_threads_are_refused_and_the_sealer_stays_usable() -> None:
    sealer = Sealer(DataKey(KEY), V3)
    with pytest.raises(ValueError, match="threads is negative"):
        sealer.seal(b"content", threads=-1)
    assert len(sealer.seal(b"content")) == 23


def test_a_plain_receiver_hands_out_what_it_got_and_says_so() -> None:
    content = pattern(100_000)
    receiver = PlainReceiver(len(content))
    land(receiver, content, [(65536, 100_000), (0, 65536)])
    buffer = receiver.finish()
    assert buffer == content
    assert buffer.encryption == "PLAIN"
    with pytest.raises(ValueError, match="finished already"):
        receiver.finish()


def test_a_plain_receiver_misses_ranges_too() -> None:
    with pytest.raises(ValueError, match="missing"):
        PlainReceiver(10).finish()
    assert PlainReceiver(0).finish() == b""


def test_content_is_opened_by_the_switch_on_this_processor() -> None:
    assert _core.open_engine() == "switched"


def test_the_suites_are_those_of_the_specification() -> None:
    assert [suite.id for suite in SUITES] == [0x70, 0x71, 0x72, 0x73, 0x74]
    gcm, committing = SUITES[2], SUITES[3]
    assert (gcm.content_algorithm, gcm.iv_bytes, gcm.message_id_bytes) == ("AES/GCM/NoPadding", 12, 0)
    assert (committing.content_algorithm, committing.iv_bytes, committing.message_id_bytes) == ("115", 0, 28)
    assert [suite.committing for suite in SUITES] == [False, False, False, True, False]
    assert [suite.supported for suite in SUITES] == [False, False, True, True, False]
    assert {suite.max_content_bytes for suite in SUITES if suite.tag_bytes == 16} == {2**36 - 32}


def test_suites_compare_hash_and_pickle_by_their_id() -> None:
    assert AlgorithmSuite(0x73) == SUITES[3] != SUITES[2]
    assert pickle.loads(pickle.dumps(SUITES)) == SUITES
    assert len({*SUITES, AlgorithmSuite(0x70)}) == 5
    with pytest.raises(ValueError, match="no algorithm suite"):
        AlgorithmSuite(0x75)


@pytest.mark.parametrize("length", [0, 1, 10_000, 2**18 - 16, 2**18 - 1, 2**18, 2**18 + 1, 900_000])
def test_a_message_that_is_there_as_a_whole_is_opened_at_once(length: int) -> None:
    content = pattern(length)
    message = reference(content, V3, MESSAGE_IDS[V3])
    for stored in (message.stored, bytearray(message.stored), memoryview(bytearray(message.stored)).toreadonly()):
        assert opener(message).receive(stored) == content
        assert PlainReceiver(len(stored)).receive(stored) == stored


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("place", [0, 9_999, 300_000, 899_999, 900_000, 900_015])
def test_a_flipped_bit_is_refused_at_once_too(place: int, kind: type[bytes | bytearray]) -> None:
    message = seal(pattern(900_000))
    stored = bytearray(message.stored)
    stored[place] ^= 1
    with pytest.raises(AuthenticationError):
        opener(message).receive(kind(stored))


def test_what_is_not_the_whole_object_is_not_taken_at_once() -> None:
    message = seal(pattern(10_000))
    with pytest.raises(ValueError, match="whole object"):
        opener(message).receive(message.stored[:-1])
    with pytest.raises(ValueError, match="whole object"):
        opener(message).receive(memoryview(message.stored + message.stored)[::2])
    begun = opener(message)
    land(begun, message.stored, [(0, 16)])
    with pytest.raises(ValueError, match=r"claimed|overlap|taken"):
        begun.receive(message.stored)
    with pytest.raises(ValueError, match="whole object"):
        PlainReceiver(3).receive(b"four")
    assert PlainReceiver(4).receive(b"four") == b"four"
