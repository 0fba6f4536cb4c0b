"""Content metadata: the `x-amz-*` user metadata of formats V1, V2 and V3, in and out. Parse, don't validate.

`parse` turns an object's metadata into one value that says which format it has, or raises; whether that format may be
read is for `envelope` to decide. Source: content metadata, metadata strategy (S3 Encryption Client specification).
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import ConfigurationError, MetadataError
from arrowseal.legacy import CBC_NAMES
from arrowseal.suites import NOT_THE_USERS, RESERVED_CONTEXT_NAME, SUITES, Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal._core import AlgorithmSuite
    from arrowseal.location import ObjectLocation

V1_KEY, V2_KEY, V3_KEY = "x-amz-key", "x-amz-key-v2", "x-amz-3"
IV, CEK_ALG, WRAP_ALG, MATDESC, TAG_LEN = (
    "x-amz-iv",
    "x-amz-cek-alg",
    "x-amz-wrap-alg",
    "x-amz-matdesc",
    "x-amz-tag-len",
)
CONTENT, WRAP, COMMITMENT, MESSAGE_ID = "x-amz-c", "x-amz-w", "x-amz-d", "x-amz-i"
CONTEXT, MATERIAL_DESCRIPTION = "x-amz-t", "x-amz-m"
UNENCRYPTED_LENGTH, UNENCRYPTED_MD5 = "x-amz-unencrypted-content-length", "x-amz-unencrypted-content-md5"
INSTRUCTION_FILE = "x-amz-crypto-instr-file"

_EXCLUSIVE: Final = {V1_KEY, V2_KEY, V3_KEY}
_V2_NAMES: Final = {IV, CEK_ALG, WRAP_ALG, MATDESC, TAG_LEN}
_V3_NAMES: Final = {CONTENT, WRAP, COMMITMENT, MESSAGE_ID, CONTEXT, MATERIAL_DESCRIPTION}
_FORMAT_NAMES: Final = _EXCLUSIVE | _V2_NAMES | _V3_NAMES
RESERVED_NAMES: Final = _FORMAT_NAMES | {UNENCRYPTED_LENGTH, UNENCRYPTED_MD5, INSTRUCTION_FILE}
"""Every name of user metadata that the formats use; none of them is a caller's to set."""

KMS_CONTEXT: Final = "kms+context"
KMS_WRAPS: Final = frozenset({KMS_CONTEXT, "kms"})
"""The wraps that carry an encryption context; all others may carry a material description."""
V3_WRAPS: Final = {"12": KMS_CONTEXT, "02": "AES/GCM", "22": "RSA-OAEP-SHA1"}
_WRITTEN_WRAPS: Final = {wrap: code for code, wrap in V3_WRAPS.items()}
_V2_WRAPS: Final = {*V3_WRAPS.values(), "kms", "AESWrap", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"}
_LONGEST_AES_WRAP: Final = 48  # of V1, which does not say: a 32-byte key and its padding; RSA makes 128 bytes and more
_ENCODED_WORD: Final = re.compile(r"=\?[Uu][Tt][Ff]-8\?([BbQq])\?([^?\s]*)\?=")
_MAX_METADATA_BYTES: Final = 2048
_KMS_BLOB_BYTES: Final = 184  # what KMS answers for a 32-byte data key
_MAX_JSON_CHARACTERS: Final = 65_536  # S3 allows 2 KB of metadata; some servers more, none this much


@dataclass(frozen=True, slots=True)
class EncryptedMetadata:
    """The encryption of an object, as its metadata claims it. Nothing in it is proven.

    `format` is "V1", "V2" or "V3"; `wrap` the wrapping algorithm by the name that V2 gives it ("AES" and "RSA" are
    V1's); `message_id` V3's message id or V2's and V1's IV; `context` the stored encryption context, reserved entry
    included (empty for raw keys); `material_description` what a raw key's owner wrote down to find it again.
    """

    format: str
    content_algorithm: str
    wrap: str
    encrypted_data_key: bytes = field(repr=False)
    message_id: bytes
    commitment: bytes | None
    context: Mapping[str, str] = field(repr=False)
    instruction_file: bool = False
    material_description: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def suite(self) -> AlgorithmSuite | None:
        """The algorithm suite of the content; None where the metadata at hand does not say."""
        if self.content_algorithm in CBC_NAMES:
            return SUITES[0x0070]
        known = {Format.V2.content_algorithm: Format.V2.suite, Format.V3.content_algorithm: Format.V3.suite}
        return known.get(self.content_algorithm)

    @property
    def user_context(self) -> dict[str, str]:
        """The stored encryption context without the entries that clients add themselves."""
        return {name: value for name, value in self.context.items() if name not in NOT_THE_USERS}

    @property
    def user_context_names(self) -> tuple[str, ...]:
        """The names of `user_context`, sorted: what may be shown of it."""
        return tuple(sorted(self.user_context))


def parse(metadata: Mapping[str, str]) -> EncryptedMetadata | None:
    """What user metadata says about an object's encryption; None if it says nothing.

    Raises `MetadataError` for names that are mixed between formats, doubled or missing, and for values that are not
    spelled exactly as the formats spell them. Liberal only where writers differ: case of names, absent or empty
    descriptions, a missing tag length, non-ASCII contexts that S3 returned as RFC 2047 words.
    """
    fields = {name.lower(): value for name, value in metadata.items()}
    if len(fields) < len(metadata):
        doubled = Counter(name.lower() for name in metadata).most_common(1)[0][0]
        raise MetadataError(f"the metadata name {doubled} occurs twice")
    present = fields.keys() & _FORMAT_NAMES
    exclusive = present & _EXCLUSIVE
    if len(exclusive) > 1:
        raise MetadataError(f"the metadata mixes formats: {_listed(exclusive)}")
    if exclusive == {V3_KEY}:
        return _parse_v3(fields, present)
    if exclusive == {V2_KEY}:
        return _parse_v2(fields, present)
    if exclusive == {V1_KEY}:
        return _parse_v1(fields, present)
    if present == {CONTENT, COMMITMENT, MESSAGE_ID}:
        return EncryptedMetadata("V3", fields[CONTENT], "", b"", b"", None, {}, instruction_file=True)
    if present:
        raise MetadataError(f"the metadata is incomplete: {_listed(present)} without an encrypted data key")
    if UNENCRYPTED_LENGTH in fields or UNENCRYPTED_MD5 in fields:
        # The one trace that V1 and V2 writers with instruction files leave in the object itself.
        return EncryptedMetadata("V2", "", "", b"", b"", None, {}, instruction_file=True)
    return None


def parse_at(location: ObjectLocation, metadata: Mapping[str, str]) -> EncryptedMetadata | None:
    """`parse`, with the object named in the error."""
    try:
        return parse(metadata)
    except MetadataError as error:
        raise MetadataError(
            f"{location}: {error}. It may have been tampered with, or written by an unknown client"
        ) from None


def _parse_v1(fields: Mapping[str, str], present: set[str]) -> EncryptedMetadata:
    _demand(present, "V1", required={IV}, forbidden=_FORMAT_NAMES - {V1_KEY, IV, MATDESC})
    encrypted_data_key = _decode(fields, V1_KEY)
    return EncryptedMetadata(
        "V1",
        "AES/CBC/PKCS5Padding",
        "RSA" if len(encrypted_data_key) > _LONGEST_AES_WRAP else "AES",
        encrypted_data_key,
        _decode(fields, IV, 16),
        None,
        {},
        material_description=_string_map(fields, MATDESC),
    )


def _parse_v3(fields: Mapping[str, str], present: set[str]) -> EncryptedMetadata:
    _demand(present, "V3", required={CONTENT, WRAP, COMMITMENT, MESSAGE_ID}, forbidden=_V2_NAMES)
    suite = Format.V3.suite
    if fields[CONTENT] != Format.V3.content_algorithm:
        raise MetadataError(f"{CONTENT} names no content algorithm of format V3")
    wrap = V3_WRAPS.get(fields[WRAP])
    if wrap is None:
        raise MetadataError(f"{WRAP} names no wrapping algorithm of format V3")
    return EncryptedMetadata(
        "V3",
        fields[CONTENT],
        wrap,
        _decode(fields, V3_KEY),
        _decode(fields, MESSAGE_ID, suite.message_id_bytes),
        _decode(fields, COMMITMENT, suite.commitment_bytes),
        # Chosen by the wrapping algorithm: writers may fill the other one too, and it means nothing.
        _string_map(fields, CONTEXT) if wrap == KMS_CONTEXT else {},
        material_description={} if wrap == KMS_CONTEXT else _string_map(fields, MATERIAL_DESCRIPTION),
    )


def _parse_v2(fields: Mapping[str, str], present: set[str]) -> EncryptedMetadata:
    _demand(present, "V2", required={IV, CEK_ALG, WRAP_ALG}, forbidden=_V3_NAMES)
    algorithm, wrap = fields[CEK_ALG], fields[WRAP_ALG]
    # A stored CTR algorithm is refused with all others: reading GCM as CTR made an oracle once (CVE-2020-8912).
    if algorithm != Format.V2.content_algorithm and algorithm not in CBC_NAMES:
        raise MetadataError(f"{CEK_ALG} names no content algorithm of format V2")
    if wrap not in _V2_WRAPS:
        raise MetadataError(f"{WRAP_ALG} names no wrapping algorithm of format V2")
    cbc, by_kms = algorithm in CBC_NAMES, wrap in KMS_WRAPS
    if not cbc and fields.get(TAG_LEN, "128") != "128":
        raise MetadataError(f"{TAG_LEN} is not 128")
    return EncryptedMetadata(
        "V2",
        algorithm,
        wrap,
        _decode(fields, V2_KEY),
        _decode(fields, IV, 16 if cbc else Format.V2.suite.iv_bytes),
        None,
        _string_map(fields, MATDESC) if by_kms else {},
        material_description={} if by_kms else _string_map(fields, MATDESC),
    )


def render(
    format: Format,  # noqa: A002 - the public word for it
    *,
    encrypted_data_key: bytes,
    message_id: bytes,
    commitment: bytes | None,
    context: Mapping[str, str],
    wrap: str = KMS_CONTEXT,
    material_description: Mapping[str, str] = MappingProxyType({}),
    plaintext_bytes: int | None = None,
) -> dict[str, str]:
    """The user metadata of an object whose data key is wrapped as `wrap` says, names in lower case, JSON in ASCII.

    Under KMS the encryption context is stored, under raw keys the material description. V2 says its plaintext length
    where it is known (`plaintext_bytes`): Athena and Presto look at it, nothing trusts it. Raises `ConfigurationError`
    for a wrap that is only read.
    """
    if wrap not in _WRITTEN_WRAPS:
        raise ConfigurationError(f"wrapping algorithm {wrap!r} is not written: one of {_listed(set(_WRITTEN_WRAPS))}")
    key, identifier = _encode(encrypted_data_key), _encode(message_id)
    described = dict(context) if wrap == KMS_CONTEXT else dict(material_description)
    if format is Format.V3:
        description = CONTEXT if wrap == KMS_CONTEXT else MATERIAL_DESCRIPTION
        return {
            CONTENT: format.content_algorithm,
            V3_KEY: key,
            WRAP: _WRITTEN_WRAPS[wrap],
            COMMITMENT: _encode(commitment or b""),
            MESSAGE_ID: identifier,
        } | ({description: json.dumps(described)} if described else {})
    length = {} if plaintext_bytes is None else {UNENCRYPTED_LENGTH: str(plaintext_bytes)}
    return {
        V2_KEY: key,
        IV: identifier,
        CEK_ALG: format.content_algorithm,
        WRAP_ALG: wrap,
        MATDESC: json.dumps(described),
        TAG_LEN: str(8 * format.suite.tag_bytes),
    } | length


def check_room(
    location: ObjectLocation,
    format: Format,  # noqa: A002
    context: Mapping[str, str],
    user_metadata: Mapping[str, str],
) -> None:
    """Raise `ConfigurationError` if a write's metadata would not fit into the 2 KB that S3 allows: no stand-in server
    enforces it, and S3 only after the body was sent.
    """
    suite = format.suite
    metadata = render(
        format,
        encrypted_data_key=bytes(_KMS_BLOB_BYTES),
        message_id=bytes(suite.message_id_bytes or suite.iv_bytes),
        commitment=bytes(suite.commitment_bytes),
        context=bound_context(context, format),
        plaintext_bytes=suite.max_content_bytes,
    )
    everything = {**user_metadata, **metadata}
    size = sum(len(name.encode()) + len(str(value).encode()) for name, value in everything.items())
    if size > _MAX_METADATA_BYTES:
        raise ConfigurationError(
            f"{location}: the encryption metadata and the user metadata take {size:,} bytes, and S3 allows "
            f"{_MAX_METADATA_BYTES:,}: shorten the encryption context or the user metadata"
        )


def bound_context(context: Mapping[str, str], format: Format) -> dict[str, str]:  # noqa: A002
    """A user's encryption context with the reserved entry that binds the content algorithm: what KMS gets."""
    return dict(context) | {RESERVED_CONTEXT_NAME: format.content_algorithm}


def _demand(present: set[str], format: str, *, required: set[str], forbidden: set[str]) -> None:  # noqa: A002
    if missing := required - present:
        raise MetadataError(f"the metadata of format {format} lacks {_listed(missing)}")
    if mixed := present & forbidden:
        raise MetadataError(
            f"the metadata of format {format} also has {_listed(mixed)}, which belongs to another format"
        )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _encode(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _decode(fields: Mapping[str, str], name: str, size: int | None = None) -> bytes:
    """Canonical base64 only: no spaces, no URL alphabet, no stray bits, so that one value has one spelling."""
    try:
        decoded = binascii.a2b_base64(fields[name], strict_mode=True)
    except ValueError:
        raise MetadataError(f"{name} is not base64") from None
    if not decoded or _encode(decoded) != fields[name]:
        raise MetadataError(f"{name} is empty or not canonical base64")
    if size is not None and len(decoded) != size:
        raise MetadataError(f"{name} has {len(decoded)} bytes, not {size}")
    return decoded


def _string_map(fields: Mapping[str, str], name: str) -> dict[str, str]:
    """A flat JSON object of strings; absent, empty and `null` are writers' ways to say that there is nothing."""
    return dict(_entries(fields.get(name, ""), name))


@functools.lru_cache(maxsize=1024)
def _entries(text: str, name: str) -> tuple[tuple[str, str], ...]:
    """Those of a text that mostly is the same for many objects."""
    if text.startswith("=?"):
        text = _undo_double_encoding(text, name)
    if text in ("", "null"):
        return ()
    if len(text) > _MAX_JSON_CHARACTERS:
        raise MetadataError(f"{name} is too long")
    try:
        pairs = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise MetadataError(f"{name} is not JSON") from None
    if not isinstance(pairs, _Pairs):
        raise MetadataError(f"{name} is not a JSON object")
    entries: dict[str, str] = {}
    for entry, value in pairs:
        if not isinstance(value, str):
            raise MetadataError(f"{name} is not a flat JSON object of strings")
        if entry in entries:
            raise MetadataError(f"{name} names an entry twice")
        entries[entry] = value
    return tuple(entries.items())


class _Pairs(list[tuple[str, object]]):
    """The entries of a JSON object in order, doubled names kept: a dict would hide them."""


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_Pairs)


def _undo_double_encoding(text: str, name: str) -> str:
    """What a writer sent as raw UTF-8 and S3 gave back as RFC 2047 words of the UTF-8 of its Latin-1 reading."""
    try:
        decoded = b"".join(_encoded_word(word) for word in text.split()).decode()
        return re.sub("[\x80-\xff]+", lambda run: run[0].encode("latin-1").decode(), decoded)
    except ValueError:
        raise MetadataError(f"{name} is not an encoded word that S3 makes of UTF-8") from None


def _encoded_word(word: str) -> bytes:
    """The payload of one RFC 2047 word. Raises `ValueError`; stricter than the parsers made for mail."""
    match = _ENCODED_WORD.fullmatch(word)
    if match is None:
        raise ValueError
    payload = match[2].encode("ascii")
    if match[1] in "Bb":
        return base64.b64decode(payload, validate=True)
    return binascii.a2b_qp(payload, header=True)
