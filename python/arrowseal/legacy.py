"""What is read only when a caller asks for it by name: wraps and content that no client should write any more.

`legacy="wrapping"` admits data keys that were wrapped without a bound to the content algorithm; `legacy="content"`
admits AES-CBC, which proves nothing about what it opens to; `legacy=True` both. Nothing here, nor in the core, writes
either. Source: legacy flags, algorithm suites (S3 Encryption Client specification).
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Literal, TypeAlias, get_args

from arrowseal.exceptions import ConfigurationError

LegacyWord: TypeAlias = Literal["wrapping", "content"]

Legacy: TypeAlias = bool | LegacyWord | Sequence[LegacyWord] | AbstractSet[LegacyWord]
"""The values of `legacy=`."""

LEGACY_WRAPS: Final = frozenset({"kms", "AESWrap", "AES", "RSA", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"})
"""Wrapping algorithms that `legacy="wrapping"` admits, by the names of format V2; V1 does not write its two down."""

CBC_NAMES: Final = frozenset({"AES/CBC/PKCS5Padding", "AES/CBC/PKCS7Padding"})
"""Content algorithms that `legacy="content"` admits: two names of one."""

CBC_BLOCK_BYTES: Final = 16
"""AES-CBC content is a multiple of it, and never empty: its padding has a byte at least."""


def check_legacy(value: Legacy) -> frozenset[LegacyWord]:
    """The words of a `legacy=`. Raises `ConfigurationError` for anything but False, True, a word or several.

    >>> sorted(check_legacy(True)), sorted(check_legacy("wrapping")), sorted(check_legacy(False))
    (['content', 'wrapping'], ['wrapping'], [])
    """
    if isinstance(value, bool):
        return frozenset(get_args(LegacyWord) if value else ())
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, tuple | list | set | frozenset) or not set(words) <= set(get_args(LegacyWord)):
        raise ConfigurationError(
            f"legacy={value!r} is not known: True, 'wrapping' (old wraps of data keys), 'content' (AES-CBC), or a "
            "tuple of the two words"
        )
    return frozenset(words)
