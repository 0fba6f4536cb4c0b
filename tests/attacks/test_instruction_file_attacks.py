"""The bucket's writer against instruction files: whatever lies beside an object, it opens as what it is or not at all.

The first part follows the cases of `InstructionFileFailures` of the official cross-language test server.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from memory_store import Lake
from rows import ROWS, Row
from writers import Keys, Made, write

from arrowseal import ANY, CommitmentPolicy
from arrowseal.exceptions import (
    AuthenticationError,
    KeyMismatchError,
    MetadataError,
    ObjectNotFoundError,
    SecurityError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from arrowseal import Client

CONTENT = b"plaintext of the victim " * 20
V3_ROWS = [row for row in ROWS if row.format == "V3" and row.storage != "metadata"]
V2_ROW = next(row for row in ROWS if str(row) == "V2 AES-256-GCM kms+context instruction file")
STRICT, *LENIENT = reversed(CommitmentPolicy)
STAYS = ("x-amz-c", "x-amz-d", "x-amz-i")
each_wrap = pytest.mark.parametrize("row", V3_ROWS, ids=str)
each_policy = pytest.mark.parametrize("policy", CommitmentPolicy, ids=lambda policy: str(policy.name))


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return Lake(monkeypatch)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def reader(lake: Lake, keys: Keys, row: Row, policy: CommitmentPolicy = STRICT, **options: Any) -> Client:
    """A client that holds every key and looks at instruction files; legacy is on where the policy lets it matter."""
    writes = "V2" if policy is CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT else "V3"
    told = {"instruction_files": True, "legacy": policy is not STRICT, "format": writes} | options
    return lake.client(keys.arn, kms=keys.kms, keyring=keys.keyring(row.wrap), commitment_policy=policy, **told)


def refused(lake: Lake, client: Client, made: Made, expected: Any = MetadataError, kms: Any = None) -> None:
    """Nothing is handed out on any way of reading, nor is KMS asked."""
    url = lake.plant("o", made.body, made.metadata, made.file)
    asked = 0 if kms is None else len(kms.calls)
    for read in (client.get, client.object, partial(client.open, mode="rb")):
        for options in ({}, {"encryption_context": ANY}, {"allow_plaintext": True}):
            with pytest.raises(expected):
                read(url, **options)
    assert kms is None or len(kms.calls) == asked


def entries(made: Made) -> dict[str, Any]:
    assert made.file is not None
    found: dict[str, Any] = json.loads(made.file)
    return found


def with_file(made: Made, content: Any, metadata: dict[str, str] | None = None) -> Made:
    file = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Made(made.body, made.metadata if metadata is None else metadata, file)


@each_wrap
@each_policy
def test_originals_and_exact_copies_open(row: Row, policy: CommitmentPolicy, lake: Lake, keys: Keys) -> None:
    made, client = write(row, CONTENT, keys), reader(lake, keys, row, policy)
    assert client.get(lake.plant("o", made.body, made.metadata, made.file)) == CONTENT
    assert client.get(lake.plant("copy", made.body, made.metadata, made.file)) == CONTENT


@each_wrap
@each_policy
def test_a_commitment_in_both_places_is_refused(row: Row, policy: CommitmentPolicy, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    doubled = with_file(made, entries(made) | {name: made.metadata[name] for name in STAYS})
    refused(lake, reader(lake, keys, row, policy), doubled, kms=keys.kms)
    for name in STAYS:
        one = with_file(made, entries(made) | {name: made.metadata[name]})
        refused(lake, reader(lake, keys, row, policy), one, kms=keys.kms)


@each_wrap
@each_policy
def test_a_commitment_in_the_instruction_file_alone_is_refused(
    row: Row, policy: CommitmentPolicy, lake: Lake, keys: Keys
) -> None:
    made = write(row, CONTENT, keys)
    moved = with_file(made, entries(made) | made.metadata, {})
    refused(lake, reader(lake, keys, row, policy), moved, kms=keys.kms)
    for name in STAYS:
        rest = {other: value for other, value in made.metadata.items() if other != name}
        refused(lake, reader(lake, keys, row, policy), with_file(made, entries(made) | {name: "115"}, rest))


@each_wrap
def test_an_object_that_says_all_by_itself_opens_whatever_lies_beside_it(row: Row, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    whole = made.metadata | entries(made)
    for file in (None, b"{", b"", json.dumps(entries(write(row, b"another", keys))).encode()):
        assert reader(lake, keys, row).get(lake.plant("o", made.body, whole, file)) == CONTENT


@each_wrap
def test_without_its_file_an_object_is_refused_with_and_without_the_switch(row: Row, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    bare = Made(made.body, made.metadata, None)
    refused(lake, reader(lake, keys, row), bare, ObjectNotFoundError, kms=keys.kms)
    refused(lake, reader(lake, keys, row, instruction_files=False), bare, UnsupportedFormatError, kms=keys.kms)
    refused(lake, reader(lake, keys, row, instruction_files=False), made, UnsupportedFormatError, kms=keys.kms)


@pytest.mark.parametrize("row", [*V3_ROWS, V2_ROW], ids=str)
def test_a_file_of_other_names_is_refused(row: Row, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    key = "x-amz-3" if row.format == "V3" else "x-amz-key-v2"
    renamed = {("x-amz-key-v2-tampered" if name == key else name): value for name, value in entries(made).items()}
    client = reader(lake, keys, row, LENIENT[0])
    for content in ({"invalid": "json"}, entries(made) | {"x-amz-c-v2": "115"}, renamed, {}):
        refused(lake, client, with_file(made, content), kms=keys.kms)


NO_FLAT_OBJECTS = {
    "empty": b"",
    "a half": b"{",
    "text": b'"x-amz-3"',
    "a list": b"[]",
    "a list of pairs": b'[["x-amz-3", "AAAA"]]',
    "null": b"null",
    "a number": b"115",
    "nested": b'{"x-amz-3": {"x-amz-3": "AAAA"}}',
    "a list in it": b'{"x-amz-3": ["AAAA"]}',
    "true in it": b'{"x-amz-3": true}',
    "null in it": b'{"x-amz-3": null}',
    "a fraction in it": b'{"x-amz-tag-len": 128.0}',
    "no number": b'{"x-amz-tag-len": NaN}',
    "deep lists": b"[" * 60_000,
    "deep objects": b'{"a":' * 12_000,
    "a mark before it": b"\xef\xbb\xbf{}",
    "utf-16": '{"x-amz-w": "12"}'.encode("utf-16"),
    "latin-1": b'{"x-amz-t": "\xfc"}',
    "a comment": b'{} // "x-amz-3"',
    "two of them": b"{}{}",
    "single quotes": b"{'x-amz-w': '12'}",
    "one byte too many": b'{"x-amz-w": "12"' + b" " * 2**16 + b"}",
}


@pytest.mark.parametrize("content", NO_FLAT_OBJECTS.values(), ids=NO_FLAT_OBJECTS)
@pytest.mark.parametrize("row", [V3_ROWS[0], V2_ROW], ids=str)
def test_a_file_that_is_no_flat_json_object_is_refused(content: bytes, row: Row, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    refused(lake, reader(lake, keys, row, LENIENT[0]), with_file(made, content), kms=keys.kms)


@pytest.mark.parametrize("row", [V3_ROWS[0], V2_ROW], ids=str)
def test_a_name_that_occurs_twice_in_a_file_is_refused(row: Row, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    text = json.dumps(entries(made))
    for name, value in entries(made).items():
        for other in (value, None):
            doubled = f"{text[:-1]}, {json.dumps(name)}: {json.dumps(other)}}}"
            refused(lake, reader(lake, keys, row, LENIENT[0]), with_file(made, doubled.encode()), kms=keys.kms)


@pytest.mark.parametrize("row", [V3_ROWS[0], V2_ROW], ids=str)
def test_null_in_place_of_what_is_needed_is_refused(row: Row, lake: Lake, keys: Keys) -> None:
    made = write(row, CONTENT, keys)
    for name in entries(made).keys() - {"x-amz-t", "x-amz-matdesc"}:
        nulled = with_file(made, entries(made) | {name: None})
        refused(lake, reader(lake, keys, row, LENIENT[0]), nulled, kms=keys.kms)


def test_a_file_of_a_gibibyte_is_given_up_after_its_first_64_kib(lake: Lake, keys: Keys) -> None:
    row = V3_ROWS[0]
    made, client = write(row, CONTENT, keys), reader(lake, keys, row)
    url = lake.plant("o", made.body, made.metadata, bytes(2**30))
    lake.store.taken = 0
    with pytest.raises(MetadataError, match="longer than"):
        client.get(url)
    assert lake.store.taken <= len(made.body) + 2**16 + 1


def test_the_file_of_another_object_opens_nothing(lake: Lake, keys: Keys) -> None:
    for row in (*V3_ROWS, V2_ROW):
        one, other = write(row, CONTENT, keys), write(row, b"another" * 100, keys)
        client = reader(lake, keys, row, LENIENT[0])
        swapped = with_file(one, other.file)
        refused(lake, client, swapped, AuthenticationError)
        if row.format == "V3":
            refused(lake, client, with_file(Made(one.body, other.metadata), one.file), AuthenticationError)
        refused(lake, client, with_file(Made(other.body, one.metadata), one.file), AuthenticationError)


def test_a_data_key_wrapped_under_somebody_elses_keys_opens_nothing(lake: Lake, keys: Keys) -> None:
    theirs = Keys(kms=keys.kms)  # a key of their own in the same KMS
    for row in V3_ROWS:
        ours, rogue = write(row, CONTENT, keys), write(row, CONTENT, theirs)
        refused(lake, reader(lake, keys, row), rogue, KeyMismatchError)
        refused(lake, reader(lake, keys, row), with_file(ours, rogue.file), KeyMismatchError)


@pytest.mark.parametrize("row", [V3_ROWS[0], V2_ROW], ids=str)
def test_a_context_in_a_file_is_compared_and_encoded_words_in_it_are_not_decoded(
    row: Row, lake: Lake, keys: Keys
) -> None:
    context = {"team": "weather"}
    made, client = write(row, CONTENT, keys, context), reader(lake, keys, row, LENIENT[0])
    url = lake.plant("o", made.body, made.metadata, made.file)
    assert client.get(url, encryption_context=context) == CONTENT
    for wrong in ({}, {"team": "sea"}):
        with pytest.raises(SecurityError):
            client.get(url, encryption_context=wrong)
    name = "x-amz-t" if row.format == "V3" else "x-amz-matdesc"
    word = "=?UTF-8?B?eyJ0ZWFtIjoid2VhdGhlciJ9?="
    refused(lake, client, with_file(made, entries(made) | {name: word}), kms=keys.kms)


def test_a_file_does_not_complete_metadata_that_is_there_in_part(lake: Lake, keys: Keys) -> None:
    made, client = write(V2_ROW, CONTENT, keys), reader(lake, keys, V2_ROW, LENIENT[0])
    for name, value in entries(made).items():
        rest = {other: value for other, value in entries(made).items() if other != name}
        refused(lake, client, with_file(made, rest, {name: value}), kms=keys.kms)
        refused(lake, client, with_file(made, entries(made), {name: value}), kms=keys.kms)


def test_a_file_of_one_format_does_not_fit_an_object_of_another(lake: Lake, keys: Keys) -> None:
    v3, v2 = write(V3_ROWS[0], CONTENT, keys), write(V2_ROW, CONTENT, keys)
    client = reader(lake, keys, V2_ROW, LENIENT[0])
    for object_of, file_of in ((v3, v2), (v2, v3)):
        refused(lake, client, with_file(object_of, file_of.file), kms=keys.kms)
    refused(lake, client, with_file(v3, entries(v3) | entries(v2)), kms=keys.kms)


def test_a_file_beside_a_plain_object_does_not_make_it_an_encrypted_one(lake: Lake, keys: Keys) -> None:
    made = write(V2_ROW, CONTENT, keys)
    refused(lake, reader(lake, keys, V2_ROW, LENIENT[0]), Made(b"plain" * 100, {}, made.file), AuthenticationError)
