"""The bucket's writer against the strength of an object: no change of names makes it open under a weaker rule.

Every object here is made by pyca/cryptography and read by a client that allows all there is: legacy, old policies,
every keyring, any context. What is refused then is refused by what binds it, and not by a switch that is off.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from memory_store import Lake
from rows import CBC, GCM, ROWS, Row
from writers import Keys, Made, b64, write

from arrowseal import ANY, CommitmentPolicy, RawAesKeyring, RawRsaKeyring
from arrowseal.exceptions import (
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    KeyMismatchError,
    MetadataError,
    SecurityError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from arrowseal import Client

CONTENT = b"plaintext of the victim " * 20
TEAM, SEA = {"team": "weather"}, {"team": "sea"}
ALGORITHMS = ["AES/GCM/NoPadding", "AES/CBC/PKCS5Padding", "AES/CBC/PKCS7Padding", "AES/CTR/NoPadding", "115"]
BINDING = {"kms+context", "AES/GCM", "RSA-OAEP-SHA1"}
"""Wraps that bind the content algorithm to the data key."""
each_legacy = pytest.mark.parametrize("legacy", [False, True])


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return Lake(monkeypatch)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def reader(lake: Lake, keys: Keys, **options: Any) -> Client:
    told: dict[str, Any] = {
        "commitment_policy": CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT,
        "legacy": True,
        "keyring": [RawAesKeyring(keys.aes), RawRsaKeyring(keys.pem)],
        "instruction_files": True,
    }
    return lake.client(keys.arn, kms=keys.kms, **told | options)


def names(row: Row, made: Made) -> dict[str, str]:
    """Everything that an object says of itself, wherever it lies."""
    return made.metadata | (json.loads(made.file) if made.file else {})


def planted(lake: Lake, row: Row, body: bytes, fields: dict[str, str]) -> str:
    """An object with these names, stored as the row stores them."""
    if row.storage == "metadata":
        return lake.plant("o", body, fields)
    stays = {name: value for name, value in fields.items() if name in ("x-amz-c", "x-amz-d", "x-amz-i")}
    file = {name: value for name, value in fields.items() if name not in stays}
    return lake.plant("o", body, stays, json.dumps(file).encode())


def iv_for(algorithm: str) -> dict[str, str]:
    return {"x-amz-iv": b64(os.urandom(12 if algorithm == "AES/GCM/NoPadding" else 16))}


V2_ROWS = [row for row in ROWS if row.format == "V2"]
V3_ROWS = [row for row in ROWS if row.format == "V3"]


@pytest.mark.parametrize("row", V2_ROWS, ids=str)
@each_legacy
def test_no_other_content_algorithm_opens_an_object_of_v2(row: Row, legacy: bool, lake: Lake, keys: Keys) -> None:
    """Each pair of algorithms, in both storages; the context, too, is changed or left as it is."""
    made = write(row, CONTENT, keys)
    fields, client = names(row, made), reader(lake, keys, legacy=legacy)
    for algorithm in ALGORITHMS:
        if algorithm == fields["x-amz-cek-alg"] or (algorithm.startswith("AES/CBC") and row.content == CBC):
            continue
        for iv, bound in itertools.product(({}, iv_for(algorithm)), (None, algorithm)):
            changed = fields | {"x-amz-cek-alg": algorithm} | iv
            if bound and row.wrap == "kms+context":
                changed["x-amz-matdesc"] = json.dumps({"aws:x-amz-cek-alg": bound})
            url = planted(lake, row, made.body, changed)
            if row.wrap in BINDING or not legacy or algorithm not in ALGORITHMS[:3]:
                # Before the content is tried: what a padding says would be an oracle (CVE-2020-8912).
                with pytest.raises((MetadataError, KeyMismatchError, UnsupportedFormatError)):
                    client.get(url, encryption_context=ANY)
            else:  # old wraps bind nothing: what AES-CBC makes of AES-GCM finds its padding once in 256 times
                assert opened(client, url) != CONTENT


def opened(client: Client, url: str) -> bytes | None:
    try:
        return bytes(client.get(url, encryption_context=ANY))
    except SecurityError:
        return None


@pytest.mark.parametrize("row", V3_ROWS, ids=str)
@each_legacy
def test_no_other_content_algorithm_opens_an_object_of_v3(row: Row, legacy: bool, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    fields, client = names(row, made), reader(lake, keys, legacy=legacy)
    for algorithm in [*ALGORITHMS[:4], "114", "0115", "112", "0x0073", ""]:
        for context in ({}, {"x-amz-t": json.dumps({"aws:x-amz-cek-alg": algorithm})}):
            url = planted(lake, row, made.body, fields | {"x-amz-c": algorithm} | context)
            with pytest.raises(MetadataError):
                client.get(url, encryption_context=ANY)


@pytest.mark.parametrize("row", V3_ROWS, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_committing_object_does_not_open_as_one_of_v2(row: Row, algorithm: str, lake: Lake, keys: Keys) -> None:
    """Its data key in the names of V2, for AES-GCM or AES-CBC, under the same wrap or an old one."""
    made, client = write(row, CONTENT, keys), reader(lake, keys)
    fields = names(row, made)
    for wrap in (row.wrap, "kms", "AESWrap", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"):
        for described in (fields.get("x-amz-t", "{}"), "{}", json.dumps({"aws:x-amz-cek-alg": algorithm})):
            old = {"x-amz-key-v2": fields["x-amz-3"], "x-amz-wrap-alg": wrap, "x-amz-matdesc": described}
            url = planted(lake, row, made.body, old | {"x-amz-cek-alg": algorithm} | iv_for(algorithm))
            with pytest.raises(SecurityError):
                client.get(url, encryption_context=ANY)
    url = planted(lake, row, made.body, {"x-amz-key": fields["x-amz-3"], "x-amz-matdesc": "{}"} | iv_for("CBC"))
    # V1's RSA never says whether a padding fitted: a random key takes its place, and finds padding by chance.
    assert opened(client, url) != CONTENT


@pytest.mark.parametrize("row", [row for row in V2_ROWS if row.content == GCM and row.wrap in BINDING], ids=str)
def test_headers_of_v3_do_not_make_an_object_a_committing_one(row: Row, lake: Lake, keys: Keys) -> None:
    """`V3HeaderSpoofingTests` of the official test server, and every subset of V3's names on top of V2's."""
    made = write(row, CONTENT, keys)
    fields = names(row, made)
    spoofed = {"x-amz-c": "115", "x-amz-w": "12", "x-amz-d": b64(os.urandom(28)), "x-amz-i": b64(os.urandom(28))}
    spoofed |= {"x-amz-3": fields["x-amz-key-v2"], "x-amz-t": fields["x-amz-matdesc"], "x-amz-m": "{}"}
    strict, lenient = (
        reader(lake, keys, commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT),
        reader(lake, keys),
    )
    with pytest.raises(CommitmentPolicyError):
        strict.get(planted(lake, row, made.body, fields), encryption_context=ANY)
    for size in range(1, len(spoofed) + 1):
        for chosen in itertools.combinations(spoofed, size):
            url = planted(lake, row, made.body, fields | {name: spoofed[name] for name in chosen})
            for client in (strict, lenient):
                with pytest.raises(MetadataError):
                    client.get(url, encryption_context=ANY)


KMS_ROWS = [row for row in ROWS if row.wrap == "kms+context"]


@pytest.mark.parametrize("row", KMS_ROWS, ids=str)
@pytest.mark.parametrize("expected", [TEAM, SEA, {}, ANY], ids=str)
def test_a_wrap_that_compares_no_context_is_no_way_around_the_context(
    row: Row, expected: Any, lake: Lake, keys: Keys
) -> None:
    """`kms+context` renamed to `kms`: open in other clients under any context, once old wraps are allowed."""
    made, client = write(row, CONTENT, keys, TEAM), reader(lake, keys)
    fields = names(row, made)
    name = "x-amz-w" if row.format == "V3" else "x-amz-wrap-alg"
    description = "x-amz-t" if row.format == "V3" else "x-amz-matdesc"
    asked = len(keys.kms.calls)
    for wrap in ("kms", "11", "01", "21", "AESWrap", "AES", "RSA"):
        for copied in ({}, {"x-amz-m": fields[description]}):
            url = planted(lake, row, made.body, fields | {name: wrap} | (copied if row.format == "V3" else {}))
            with pytest.raises(MetadataError):
                client.get(url, encryption_context=expected)
    assert len(keys.kms.calls) == asked
    assert client.get(planted(lake, row, made.body, fields), encryption_context=TEAM) == CONTENT
    for wrong in (SEA, {}):
        with pytest.raises(EncryptionContextError):
            client.get(planted(lake, row, made.body, fields), encryption_context=wrong)


@pytest.mark.parametrize("row", [row for row in KMS_ROWS if row.format == "V2"], ids=str)
def test_a_kms_wrap_whose_reserved_entry_was_taken_out_is_refused_by_kms(row: Row, lake: Lake, keys: Keys) -> None:
    """Then nothing contradicts, and KMS itself says that the data key is not under that context."""
    made, client = write(row, CONTENT, keys, TEAM), reader(lake, keys)
    for context in (TEAM, {}, TEAM | {"kms_cmk_id": keys.arn}):
        changed = names(row, made) | {"x-amz-wrap-alg": "kms", "x-amz-matdesc": json.dumps(context)}
        with pytest.raises(KeyMismatchError):
            client.get(planted(lake, row, made.body, changed), encryption_context=ANY)


@pytest.mark.parametrize("row", [row for row in ROWS if row.wrap == "kms"], ids=str)
def test_the_context_of_an_old_wrap_cannot_be_edited(row: Row, lake: Lake, keys: Keys) -> None:
    made, client = write(row, CONTENT, keys, TEAM), reader(lake, keys)
    fields = names(row, made)
    assert client.get(planted(lake, row, made.body, fields), encryption_context=TEAM) == CONTENT
    edited = json.loads(fields["x-amz-matdesc"]) | SEA
    url = planted(lake, row, made.body, fields | {"x-amz-matdesc": json.dumps(edited)})
    with pytest.raises(EncryptionContextError):
        client.get(url, encryption_context=TEAM)
    with pytest.raises(KeyMismatchError):
        client.get(url, encryption_context=SEA)


@pytest.mark.parametrize("row", [row for row in ROWS if row.content == GCM], ids=str)
def test_an_iv_or_message_id_of_zeros_is_refused(row: Row, lake: Lake, keys: Keys) -> None:
    made, client = write(row, CONTENT, keys), reader(lake, keys)
    zeros = {"x-amz-i": b64(bytes(28))} if row.format == "V3" else {"x-amz-iv": b64(bytes(12))}
    with pytest.raises(MetadataError, match="zeros"):
        client.get(planted(lake, row, made.body, names(row, made) | zeros))


TAG_LENGTHS = ["96", "32", "0", "-128", "0128", "128 ", " 128", "128.0", "129", "16", "", "\u0661\u0662\u0668", "0x80"]


@pytest.mark.parametrize("row", [row for row in V2_ROWS if row.content == GCM], ids=str)
def test_a_tag_has_128_bits_in_every_wrap_and_storage(row: Row, lake: Lake, keys: Keys) -> None:
    made, client = write(row, CONTENT, keys), reader(lake, keys)
    fields = names(row, made)
    for length in TAG_LENGTHS:
        with pytest.raises(MetadataError):
            client.get(planted(lake, row, made.body, fields | {"x-amz-tag-len": length}))
    del fields["x-amz-tag-len"]
    assert client.get(planted(lake, row, made.body, fields)) == CONTENT
    for kept in (4, 8, 12, 15):
        with pytest.raises(AuthenticationError):
            client.get(planted(lake, row, made.body[: kept - 16], fields))


def lax(value: str) -> list[str]:
    """Two hundred spellings that lenient decoders take for the same value, or for something."""
    other = "\u200b\u00a0\t\n\r \f=!-_,.:%\\'\"\x00\u0660"
    found = {
        value[:at] + one + value[at:] for one in other for at in (0, 1, len(value) // 2, len(value) - 1, len(value))
    }
    found |= {value.replace("+", "-").replace("/", "_"), value.rstrip("="), value.lower(), value.upper(), value * 2, ""}
    found |= {f"{value}{'=' * more}" for more in range(1, 5)} | {value[:-more] for more in range(1, 5)}
    found |= {f"=?UTF-8?B?{b64(value.encode())}?=", json.dumps(value), f"0x{value}", f"+{value}", f"0{value}"}
    stripped = value.rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    if stripped != value and stripped[-1] in alphabet:
        stray = alphabet[alphabet.index(stripped[-1]) ^ 1]  # a bit that belongs to no byte
        found.add(stripped[:-1] + stray + "=" * (len(value) - len(stripped)))
    return sorted(found - {value})


def canonical(value: str) -> bool:
    try:
        return b64(base64.b64decode(value, validate=True)) == value
    except ValueError:
        return False


@pytest.mark.parametrize("row", [row for row in ROWS if row.storage == "metadata"], ids=str)
def test_every_value_has_one_spelling(row: Row, lake: Lake, keys: Keys) -> None:
    made, client = write(row, CONTENT, keys), reader(lake, keys)
    fields = names(row, made)
    exact = set(fields) - {"x-amz-t", "x-amz-m", "x-amz-matdesc", "x-amz-tag-len"}
    for name in sorted(exact):
        for spelling in lax(fields[name]):
            if row.content == CBC and canonical(spelling):
                continue  # another IV, or another data key of RSA: AES-CBC opens to something else, and proves nothing
            with pytest.raises(SecurityError):
                client.get(planted(lake, row, made.body, fields | {name: spelling}), encryption_context=ANY)


HIDDEN = [
    "=?UTF-8?B?gA==?=",
    "=?UTF-8?B?/w==?=",
    "=?UTF-8?B?YWJj/w==?=",
    "=?UTF-8?B?e30=?= {}",
    "{}=?UTF-8?B?e30=?=",
    "=?UTF-7?Q?{}?=",
    "=?ISO-8859-1?Q?{}?=",
    "=?UTF-8*en?Q?{}?=",
    "=?UTF-8?B?e30=",
    "=?UTF-8?q?=7B=7d",
    "=?UTF-8?B?!!!!?=",
    "=?UTF-8?B?e30?=",
]


@pytest.mark.parametrize("row", [row for row in ROWS if row.wrap.startswith("kms")], ids=str)
def test_no_encoded_word_hides_another_context(row: Row, lake: Lake, keys: Keys) -> None:
    made, client = write(row, CONTENT, keys, TEAM), reader(lake, keys)
    fields = names(row, made)
    name = "x-amz-t" if row.format == "V3" else "x-amz-matdesc"
    other = json.dumps(json.loads(fields[name]) | SEA)
    words = [*HIDDEN, f"=?UTF-8?B?{b64(other.encode())}?="]
    for word in words:
        url = planted(lake, row, made.body, fields | {name: word})
        with pytest.raises(SecurityError):
            client.get(url, encryption_context=TEAM)
        with pytest.raises(SecurityError):
            client.get(url, encryption_context=ANY)
    same = f"=?UTF-8?B?{b64(fields[name].encode())}?="  # as S3 returns raw UTF-8, decoded, and compared
    url = planted(lake, row, made.body, fields | {name: same})
    if row.storage == "metadata":
        assert client.get(url, encryption_context=TEAM) == CONTENT
        with pytest.raises(EncryptionContextError):
            client.get(url, encryption_context=SEA)
