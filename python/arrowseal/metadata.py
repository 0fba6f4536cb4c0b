"""Content metadata: the `x-amz-*` user metadata of formats V1, V2 and V3, in and out. Parse, don't validate.

`parse` turns an object's metadata into one value that says which format it has, or raises; whether that format may be
read is for `envelope` to decide. Source: content metadata, metadata strategy (S3 Encryption Client specification).
"""

from __future__ import annotations

import binascii
import functools
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from arrowseal.exceptions import ConfigurationError, MetadataError
from arrowseal.flat_json import parse_flat, undo_latin_1
from arrowseal.legacy import CBC_NAMES
from arrowseal.materials import KEY_ARN
from arrowseal.suites import NOT_THE_USERS, RESERVED_CONTEXT_NAME, SUITES, Format

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

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

_EXCLUSIVE: Final = frozenset({V1_KEY, V2_KEY, V3_KEY})
_V2_NAMES: Final = frozenset({IV, CEK_ALG, WRAP_ALG, MATDESC, TAG_LEN})
_V3_NAMES: Final = frozenset({CONTENT, WRAP, COMMITMENT, MESSAGE_ID, CONTEXT, MATERIAL_DESCRIPTION})
_FORMAT_NAMES: Final = _EXCLUSIVE | _V2_NAMES | _V3_NAMES
RESERVED_NAMES: Final = _FORMAT_NAMES | {UNENCRYPTED_LENGTH, UNENCRYPTED_MD5, INSTRUCTION_FILE}
"""Every name of user metadata that the formats use; none of them is a caller's to set."""

_IN_THE_OBJECT: Final = {CONTENT, COMMITMENT, MESSAGE_ID}
"""What V3 keeps in the object whatever lies in an instruction file: there it would be swapped with the data key."""
_LENGTHS: Final = {UNENCRYPTED_LENGTH, UNENCRYPTED_MD5}
INSTRUCTION_NAMES: Final = (_FORMAT_NAMES - _IN_THE_OBJECT) | _LENGTHS
"""Every name that an instruction file may hold."""

KMS_CONTEXT: Final = "kms+context"
KMS_WRAPS: Final = frozenset({KMS_CONTEXT, "kms"})
"""The wraps that carry an encryption context; all others may carry a material description."""
V3_WRAPS: Final = {"12": KMS_CONTEXT, "02": "AES/GCM", "22": "RSA-OAEP-SHA1"}
_WRITTEN_WRAPS: Final = {wrap: code for code, wrap in V3_WRAPS.items()}
_V2_WRAPS: Final = {*V3_WRAPS.values(), "kms", "AESWrap", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"}
_WRAPPED_BYTES: Final = {"AES/GCM": 60, "AESWrap": 40, "AES": 48}
"""What these wraps make of a 32-byte data key. V1 does not name its wrap: what is longer than 48 bytes is of RSA."""
_GCM_SUITES: Final = {one.content_algorithm: one.suite for one in Format}
_MAX_METADATA_BYTES: Final = 2048
_KMS_BLOB_BYTES: Final = 184  # what KMS answers for a 32-byte data key


@dataclass(slots=True)  # not frozen, which takes four times as long, for each object that is read
class EncryptedMetadata:
    """The encryption of an object, as its metadata claims it. Nothing in it is proven. Nobody changes it.

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
    def pending(self) -> bool:
        """Whether the rest of it lies in an instruction file that was not looked at."""
        return self.instruction_file and not self.encrypted_data_key

    @property
    def cbc(self) -> bool:
        """Whether the content is AES-CBC, which proves nothing."""
        return self.content_algorithm in CBC_NAMES

    @property
    def suite(self) -> AlgorithmSuite | None:
        """The algorithm suite of the content; None where the metadata at hand does not say."""
        if self.content_algorithm in CBC_NAMES:
            return SUITES[0x0070]
        return _GCM_SUITES.get(self.content_algorithm)

    @property
    def named_key(self) -> str | None:
        """The ARN of the KMS key, where a writer of V1's time put it into the context; no key is chosen by it."""
        named = self.context.get("kms_cmk_id", "") if self.wrap == "kms" else ""
        return named if KEY_ARN.fullmatch(named) else None

    @property
    def user_context(self) -> dict[str, str]:
        """The stored encryption context without the entries that clients add themselves."""
        return {name: value for name, value in self.context.items() if name not in NOT_THE_USERS}

    @property
    def user_context_names(self) -> tuple[str, ...]:
        """The names of `user_context`, sorted: what may be shown of it."""
        return tuple(sorted(self.user_context))


def parse(metadata: Mapping[str, str], instruction: Mapping[str, str] | None = None) -> EncryptedMetadata | None:
    """What user metadata says about an object's encryption, with what lies in its instruction file if that was looked
    at; None if it says nothing.

    Raises `MetadataError` for names that are mixed between formats, doubled or missing, and for values that are not
    spelled exactly as the formats spell them. Liberal only where writers differ: case of names, absent or empty
    descriptions, a missing tag length, non-ASCII contexts that came as raw UTF-8 or that S3 returned as RFC 2047 words.
    """
    fields = {name.lower(): value for name, value in metadata.items()}
    if len(fields) < len(metadata):
        doubled = Counter(name.lower() for name in metadata).most_common(1)[0][0]
        raise MetadataError(f"the metadata name {doubled} occurs twice")
    if instruction is not None:
        joined = _with_instruction(fields, instruction)
        parser = _parser(frozenset(joined))
        return None if parser is None else replace(parser(joined, words=False), instruction_file=True)
    parser = _parser(frozenset(fields))
    return None if parser is None else parser(fields, words=True)


def parse_at(
    location: ObjectLocation, metadata: Mapping[str, str], instruction: Mapping[str, str] | None = None
) -> EncryptedMetadata | None:
    """`parse`, with the object named in the error."""
    try:
        return parse(metadata, instruction)
    except MetadataError as error:
        raise MetadataError(
            f"{location}: {error}. It may have been tampered with, or written by an unknown client"
        ) from None


def parse_file(instruction: Mapping[str, str]) -> EncryptedMetadata:
    """What an instruction file says of its data key, whichever object it belongs to: of V3 it has neither message id
    nor commitment then. Raises `MetadataError`.
    """
    if V3_KEY not in instruction:
        found = parse({}, instruction)
    else:
        suite = Format.V3.suite
        stand_in = {
            MESSAGE_ID: _encode(b"-" * suite.message_id_bytes),
            COMMITMENT: _encode(bytes(suite.commitment_bytes)),
        }
        found = parse({CONTENT: Format.V3.content_algorithm, **stand_in}, instruction)
        found = found and replace(found, message_id=b"", commitment=None)
    assert found is not None  # noqa: S101 - a file without a data key is an error
    return found


def _with_instruction(fields: Mapping[str, str], instruction: Mapping[str, str]) -> dict[str, str]:
    """The metadata of an object joined with its instruction file: each name has one place, and one only."""
    if strange := instruction.keys() - INSTRUCTION_NAMES:
        held = strange & _IN_THE_OBJECT
        raise MetadataError(
            f"the instruction file holds {_listed(held)}, which V3 keeps in the object"
            if held
            else "the instruction file holds names that no format has"
        )
    present = fields.keys() & _FORMAT_NAMES
    if present not in (set(), _IN_THE_OBJECT):
        raise MetadataError(f"the metadata has {_listed(present)} although there is an instruction file")
    if not instruction.keys() & _EXCLUSIVE:
        raise MetadataError("the instruction file holds no encrypted data key")
    return {**fields, **instruction}


class _Parser(Protocol):
    """What parses the fields of one format. `words`: as in `_string_map`."""

    def __call__(self, fields: Mapping[str, str], *, words: bool) -> EncryptedMetadata: ...


@functools.lru_cache(maxsize=256)
def _parser(names: frozenset[str]) -> _Parser | None:
    """What parses fields of these names, which mostly are the same for many objects, and alone say what format it is;
    None for names of no format. Raises `MetadataError` for those that are mixed or missing.
    """
    present = _FORMAT_NAMES & names
    exclusive = present & _EXCLUSIVE
    if len(exclusive) > 1:
        raise MetadataError(f"the metadata mixes formats: {_listed(exclusive)}")
    if V1_KEY in exclusive:
        _demand(present, "V1", required={IV}, forbidden=_FORMAT_NAMES - {V1_KEY, IV, MATDESC})
        return _parse_v1
    if V2_KEY in exclusive:
        _demand(present, "V2", required={IV, CEK_ALG, WRAP_ALG}, forbidden=_V3_NAMES)
        return _parse_v2
    if V3_KEY in exclusive:
        _demand(present, "V3", required={CONTENT, WRAP, COMMITMENT, MESSAGE_ID}, forbidden=_V2_NAMES)
        return _parse_v3
    if present == _IN_THE_OBJECT:
        return lambda fields, **_: EncryptedMetadata("V3", fields[CONTENT], "", b"", b"", None, {}, True)
    if present:
        raise MetadataError(f"the metadata is incomplete: {_listed(present)} without an encrypted data key")
    if _LENGTHS & names:
        # The one trace that V1 and V2 writers with instruction files leave in the object itself.
        return lambda *_, **__: EncryptedMetadata("V2", "", "", b"", b"", None, {}, True)
    return None


def _parse_v1(fields: Mapping[str, str], *, words: bool) -> EncryptedMetadata:
    encrypted_data_key = _decode(fields, V1_KEY)
    wrap = "RSA" if len(encrypted_data_key) > _WRAPPED_BYTES["AES"] else "AES"
    return EncryptedMetadata(
        "V1",
        "AES/CBC/PKCS5Padding",
        wrap,
        _of_wrap(encrypted_data_key, wrap),
        _decode(fields, IV, 16),
        None,
        {},
        material_description=_string_map(fields, MATDESC, words=words),
    )


def _parse_v2(fields: Mapping[str, str], *, words: bool) -> EncryptedMetadata:
    algorithm, wrap = fields[CEK_ALG], fields[WRAP_ALG]
    # A stored CTR algorithm is refused with all others: reading GCM as CTR made an oracle once (CVE-2020-8912).
    if algorithm != Format.V2.content_algorithm and algorithm not in CBC_NAMES:
        raise MetadataError(f"{CEK_ALG} names no content algorithm of format V2")
    if wrap not in _V2_WRAPS:
        raise MetadataError(f"{WRAP_ALG} names no wrapping algorithm of format V2")
    cbc, by_kms = algorithm in CBC_NAMES, wrap in KMS_WRAPS
    if not cbc and fields.get(TAG_LEN, "128") != "128":
        raise MetadataError(f"{TAG_LEN} is not 128")
    described = _string_map(fields, MATDESC, words=words)
    return EncryptedMetadata(
        "V2",
        algorithm,
        wrap,
        _of_wrap(_decode(fields, V2_KEY), wrap),
        _decode(fields, IV, 16) if cbc else _drawn(fields, IV, Format.V2.suite.iv_bytes),
        None,
        described if by_kms else {},
        material_description={} if by_kms else described,
    )


def _parse_v3(fields: Mapping[str, str], *, words: bool) -> EncryptedMetadata:
    suite = Format.V3.suite
    if fields[CONTENT] != Format.V3.content_algorithm:
        raise MetadataError(f"{CONTENT} names no content algorithm of format V3")
    wrap = V3_WRAPS.get(fields[WRAP])
    if wrap is None:
        raise MetadataError(f"{WRAP} names no wrapping algorithm of format V3")
    by_kms = wrap == KMS_CONTEXT
    # Chosen by the wrapping algorithm: writers may fill the other one too, and it means nothing.
    described = _string_map(fields, CONTEXT if by_kms else MATERIAL_DESCRIPTION, words=words)
    return EncryptedMetadata(
        "V3",
        fields[CONTENT],
        wrap,
        _of_wrap(_decode(fields, V3_KEY), wrap),
        _drawn(fields, MESSAGE_ID, suite.message_id_bytes),
        _decode(fields, COMMITMENT, suite.commitment_bytes),
        described if by_kms else {},
        material_description={} if by_kms else described,
    )


def _of_wrap(encrypted_data_key: bytes, wrap: str) -> bytes:
    """An encrypted data key of the length that its wrap makes of a 32-byte data key; KMS and RSA say none."""
    size = _WRAPPED_BYTES.get(wrap, len(encrypted_data_key))
    if len(encrypted_data_key) != size:
        raise MetadataError(f"the encrypted data key has {len(encrypted_data_key)} bytes, and {wrap} makes {size}")
    return encrypted_data_key


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
    *,
    beside: bool = False,
) -> None:
    """Raise `ConfigurationError` if a write's metadata would not fit into the 2 KB that S3 allows, for a data key as
    KMS wraps it, and unless that lies `beside` the object in an instruction file.
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
    check_size(location, {**user_metadata, **(split(metadata)[0] if beside else metadata)})


def check_size(location: ObjectLocation, metadata: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` for user metadata of more than 2 KB: no stand-in server refuses it, and S3 only after
    the body was sent.
    """
    size = sum(len(name.encode()) + len(str(value).encode()) for name, value in metadata.items())
    if size > _MAX_METADATA_BYTES:
        raise ConfigurationError(
            f"{location}: the encryption metadata and the user metadata take {size:,} bytes, and S3 allows "
            f"{_MAX_METADATA_BYTES:,}: shorten the encryption context or the user metadata, or write with "
            "CSE(instruction_file=True)"
        )


def check_sent(location: ObjectLocation, metadata: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` for the metadata of an object that cannot be sent again: more than 2 KB, and what
    other tools sent as raw bytes. boto3 sends ASCII alone.
    """
    if raw := {name for name, value in metadata.items() if not (name + value).isascii()}:
        raise ConfigurationError(
            f"{location}: its user metadata {_listed(raw)} is not ASCII, and boto3 sends no other: the object stays as "
            "it is. Write that metadata in ASCII first, with the tool that wrote it"
        )
    check_size(location, metadata)


def in_ascii(metadata: Mapping[str, str], encrypted: EncryptedMetadata) -> dict[str, str]:
    """Metadata that `encrypted` was parsed from, its description in ASCII, of writers too that sent it as it was."""
    by_kms = encrypted.wrap in KMS_WRAPS
    described = encrypted.context if by_kms else encrypted.material_description
    names = {MATDESC, CONTEXT if by_kms else MATERIAL_DESCRIPTION}
    return {
        name: value if value.isascii() or name.lower() not in names else json.dumps(dict(described))
        for name, value in metadata.items()
    }


def split(rendered: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Rendered metadata as what stays in the object, and what goes into its instruction file."""
    stays = _IN_THE_OBJECT | _LENGTHS
    kept = {name: value for name, value in rendered.items() if name in stays}
    return kept, {name: value for name, value in rendered.items() if name not in stays}


def bound_context(context: Mapping[str, str], format: Format) -> dict[str, str]:  # noqa: A002
    """A user's encryption context with the reserved entry that binds the content algorithm: what KMS gets."""
    return dict(context) | {RESERVED_CONTEXT_NAME: format.content_algorithm}


def _demand(
    present: AbstractSet[str],
    format: str,  # noqa: A002
    *,
    required: AbstractSet[str],
    forbidden: AbstractSet[str],
) -> None:
    if missing := required - present:
        raise MetadataError(f"the metadata of format {format} lacks {_listed(missing)}")
    if mixed := present & forbidden:
        raise MetadataError(
            f"the metadata of format {format} also has {_listed(mixed)}, which belongs to another format"
        )


def _listed(names: AbstractSet[str]) -> str:
    return ", ".join(sorted(names))


def _encode(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _decode(fields: Mapping[str, str], name: str, size: int | None = None) -> bytes:
    """Canonical base64 only: no spaces, no URL alphabet, no stray bits, so that one value has one spelling."""
    text = fields[name]
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise MetadataError(f"{name} is not base64") from None
    if not decoded or binascii.b2a_base64(decoded, newline=False) != text.encode():
        raise MetadataError(f"{name} is empty or not canonical base64")
    if size is not None and len(decoded) != size:
        raise MetadataError(f"{name} has {len(decoded)} bytes, not {size}")
    return decoded


def _drawn(fields: Mapping[str, str], name: str, size: int) -> bytes:
    """A value that its writer drew at random: zeros are what a writer leaves whose source of it failed."""
    value = _decode(fields, name, size)
    if not any(value):
        raise MetadataError(f"{name} is all zeros")
    return value


def _string_map(fields: Mapping[str, str], name: str, *, words: bool = True) -> dict[str, str]:
    """A flat JSON object of strings; absent, empty and `null` are writers' ways to say that there is nothing.

    `words`: it came in a header, so that non-ASCII text was read as Latin-1, and S3 may have put it into encoded words.
    Those of instruction files did not: a file that has such words has them as they are, and they are no JSON.
    """
    return dict(_entries(fields.get(name, ""), name, words))


@functools.lru_cache(maxsize=1024)
def _entries(text: str, name: str, words: bool) -> tuple[tuple[str, str], ...]:
    """Those of a text that mostly is the same for many objects."""
    if words and (text.startswith("=?") or not text.isascii()):
        text = undo_latin_1(text, name)
    return () if text in ("", "null") else tuple(parse_flat(text, name).items())
