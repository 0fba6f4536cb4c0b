"""AES-CBC of old clients: against pyca/cryptography, in pieces, and failures that are all alike."""

from __future__ import annotations

import copy
import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from arrowseal._core import CbcOpener, DataKey, UnauthenticatedBuffer
from arrowseal.exceptions import AuthenticationError
from core_messages import KEY, MIB, land

if TYPE_CHECKING:
    from collections.abc import Iterable

IV = bytes(range(0xB0, 0xC0))
REFUSAL = "^the object or its key commitment does not authenticate$"


def encrypted(content: bytes, *, padded: bool = True) -> bytes:
    padder = padding.PKCS7(128).padder()
    blocks = padder.update(content) + padder.finalize() if padded else content
    cipher = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    return cipher.update(blocks) + cipher.finalize()


def opener(stored_bytes: int) -> CbcOpener:
    return CbcOpener(DataKey(KEY), IV, stored_bytes)


def decrypted(stored: bytes, ranges: Iterable[tuple[int, int]]) -> UnauthenticatedBuffer:
    target = opener(len(stored))
    land(target, stored, ranges)
    return target.finish()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 1000, MIB, 5 * MIB + 3])
def test_what_pyca_cryptography_encrypted_is_decrypted(length: int) -> None:
    content = np.random.default_rng(length).bytes(length)
    stored = encrypted(content)
    whole = opener(len(stored)).receive(stored)
    assert isinstance(whole, UnauthenticatedBuffer)
    assert whole == content
    assert len(whole) == length
    assert decrypted(stored, [(0, len(stored))]) == content


@given(content=st.binary(max_size=600), data=st.data())
def test_pieces_come_in_any_order(content: bytes, data: st.DataObject) -> None:
    stored = encrypted(content)
    inner = data.draw(st.sets(st.integers(0, len(stored) // 16)))
    borders = sorted({0, len(stored), *(16 * block for block in inner)})
    assert decrypted(stored, data.draw(st.permutations(list(itertools.pairwise(borders))))) == content


def test_pieces_land_side_by_side_on_many_threads() -> None:
    content = np.random.default_rng(1).bytes(8 * MIB + 5)
    stored = encrypted(content)
    borders = [*range(0, len(stored), 48 * 1024), len(stored)]
    target = opener(len(stored))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: land(target, stored, [one]), list(itertools.pairwise(borders))[::-1]))
    assert target.finish() == content


def test_it_says_which_format_it_was_and_nothing_else() -> None:
    stored = encrypted(b"content")
    assert opener(len(stored)).receive(stored).encryption == "CSE V1"
    for label in ("CSE V1", "CSE V2"):
        named = CbcOpener(DataKey(KEY), IV, len(stored), encryption=label)  # type: ignore[arg-type]
        assert named.receive(stored).encryption == label
    with pytest.raises(ValueError, match="of CSE V1 or of CSE V2"):
        CbcOpener(DataKey(KEY), IV, len(stored), encryption="CSE V3")  # type: ignore[arg-type]


def failure(key: bytes, iv: bytes, stored: bytes) -> tuple[object, ...] | None:
    """All that a caller sees of it; None if there is none."""
    try:
        CbcOpener(DataKey(key), iv, len(stored)).receive(stored)
    except AuthenticationError as error:
        return type(error), str(error), error.args, error.__cause__, error.__context__
    return None


def test_all_probes_of_two_bytes_of_padding_fail_alike() -> None:
    stored = encrypted(b"\xaa" * 27)
    seen = [
        failure(KEY, IV, stored[:14] + bytes([(probe >> 8) ^ stored[14], (probe & 255) ^ stored[15]]) + stored[16:])
        for probe in range(65536)
    ]
    # 05 05 as it was, 02 02, and 01 behind any byte.
    assert seen.count(None) == 1 + 1 + 256
    assert len(set(seen) - {None}) == 1


def test_every_other_failure_is_that_one_too() -> None:
    stored = encrypted(bytes(1000))
    damaged = [b"", stored[:-1], stored[:15], stored + b"\0", bytes(len(stored)), encrypted(bytes(16), padded=False)]
    seen = {failure(KEY, IV, content) for content in damaged} | {failure(bytes(32), IV, stored)}
    assert seen == {(AuthenticationError, REFUSAL[1:-1], (REFUSAL[1:-1],), None, None)}


@pytest.mark.parametrize("padding_bytes", [b"\0", b"\x11" * 17, b"\2\1\2", b"\4\4\5\4", b"\xff"])
def test_padding_that_is_none_is_refused(padding_bytes: bytes) -> None:
    stored = encrypted((b"\xaa" * 32 + padding_bytes)[-32:], padded=False)
    with pytest.raises(AuthenticationError, match=REFUSAL):
        opener(32).receive(stored)


@pytest.mark.parametrize("length", [0, 12, 15, 17, 32])
def test_an_iv_has_16_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=r"^the IV of CBC has 16 bytes$"):
        CbcOpener(DataKey(KEY), bytes(length), 16)
    with pytest.raises(ValueError, match="stored_bytes is negative"):
        CbcOpener(DataKey(KEY), IV, -16)


def test_missing_ranges_are_an_error_and_it_is_finished_once() -> None:
    stored = encrypted(bytes(100))
    target = opener(len(stored))
    land(target, stored, [(64, 112)])
    with pytest.raises(ValueError, match="missing"):
        target.finish()
    land(target, stored, [(0, 64)])
    assert target.finish() == bytes(100)
    with pytest.raises(ValueError, match="finished already"):
        target.finish()


def test_an_opener_stays_where_it_is() -> None:
    target = opener(16)
    assert repr(target) == "<CbcOpener>"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            leave(target)
