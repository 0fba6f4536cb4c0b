"""Flat JSON objects of strings: how the formats spell encryption contexts, descriptions and instruction files.

Stricter than JSON parsers are: a name that occurs twice, anything nested and anything but a string is refused, since
two readers that disagree about a text would disagree about what it binds.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import MetadataError

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_CHARACTERS: Final = 65_536
"""S3 allows 2 KB of metadata, some servers more, none this much; an instruction file has no other bound."""
_NOT_ASCII: Final = re.compile("[\x80-\xff]+")
_ENCODED_WORD: Final = re.compile(r"=\?[Uu][Tt][Ff]-8\?([BbQq])\?([^?\s]*)\?=")


def parse_flat(
    text: str, name: str, *, numbers: Collection[str] = (), nullable: Collection[str] = ()
) -> dict[str, str]:
    """The entries of a flat JSON object of strings; those named in `numbers` may also be whole numbers, and those in
    `nullable` null, which is left out.

    Raises `MetadataError`, which calls the text by `name` and repeats nothing of it.
    """
    if len(text) > MAX_CHARACTERS:
        raise MetadataError(f"{name} is too long")
    try:
        pairs = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise MetadataError(f"{name} is not JSON") from None
    if not isinstance(pairs, _Pairs):
        raise MetadataError(f"{name} is not a JSON object")
    if len({entry for entry, _ in pairs}) < len(pairs):
        raise MetadataError(f"{name} names an entry twice")
    entries: dict[str, str] = {}
    for entry, value in pairs:
        if isinstance(value, _Number) and entry in numbers:
            entries[entry] = value.text
        elif isinstance(value, str):
            entries[entry] = value
        elif value is not None or entry not in nullable:
            raise MetadataError(f"{name} is not a flat JSON object of strings")
    try:
        "".join(chain.from_iterable(entries.items())).encode()
    except UnicodeEncodeError:  # half a surrogate pair, by its escape
        raise MetadataError(f"{name} is not Unicode text") from None
    return entries


def undo_latin_1(text: str, name: str) -> str:
    """What a writer sent as raw UTF-8 in a header, where everybody on the way reads Latin-1: HTTP clients do, and S3,
    which gives back RFC 2047 words of the UTF-8 of what it read. What is no UTF-8 was sent in Latin-1, as Java's
    clients do, and is as it should be.
    """
    if text.startswith("=?"):
        try:
            text = b"".join(_encoded_word(word) for word in text.split()).decode()
        except ValueError:
            raise MetadataError(f"{name} is not an encoded word that S3 makes of UTF-8") from None
    try:
        return _NOT_ASCII.sub(lambda run: run[0].encode("latin-1").decode(), text)
    except UnicodeDecodeError:
        return text


class _Pairs(list[tuple[str, Any]]):
    """The entries of a JSON object in order, doubled names kept: a dict would hide them."""


class _Number:
    """A whole number as it is written: of however many digits, and never computed with."""

    def __init__(self, text: str) -> None:
        self.text = text


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=_Number)


def _encoded_word(word: str) -> bytes:
    """The payload of one RFC 2047 word. Raises `ValueError`; stricter than the parsers made for mail."""
    match = _ENCODED_WORD.fullmatch(word)
    if match is None:
        raise ValueError
    payload = match[2].encode("ascii")
    if match[1] in "Bb":
        return base64.b64decode(payload, validate=True)
    return binascii.a2b_qp(payload, header=True)
