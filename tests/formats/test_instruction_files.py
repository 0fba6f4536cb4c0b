"""Instruction files come before their objects, go with them, and never take anything else along."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from memory_store import unavailable

from arrowseal import CSE, PLAIN, CommitmentPolicy, TransferOptions
from arrowseal.exceptions import (
    ConfigurationError,
    LocationError,
    MetadataError,
    NotEncryptedError,
    ObjectExistsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from memory_store import Lake
    from writers import Keys

    from arrowseal import Client

BESIDE = CSE(instruction_file=True)
V2_BESIDE = CSE(format="V2", instruction_file=True)
FORBID = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
URL, OBJECT, FILE = "s3://lake/a", "a", "a.instruction"
LONG = bytes(range(256)) * (5 * 2**20 // 256 + 1)
"""Longer than a part."""


@pytest.fixture
def client(lake: Lake, keys: Keys) -> Client:
    return lake.client(keys.arn, kms=keys.kms, instruction_files=True, transfer=TransferOptions(part_bytes=5 * 2**20))


@pytest.fixture
def v2(lake: Lake, keys: Keys) -> Client:
    return lake.client(keys.arn, kms=keys.kms, instruction_files=True, format="V2", commitment_policy=FORBID)


def entries(lake: Lake, key: str = FILE) -> dict[str, str]:
    found: dict[str, str] = json.loads(lake.store.objects[key][0])
    return found


def fail(lake: Lake, name: str, key: str = OBJECT) -> None:
    lake.store.fail = unavailable(name, key)


def test_v3_keeps_algorithm_commitment_and_message_id_in_the_object_and_the_rest_in_the_file(
    client: Client, lake: Lake
) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    assert lake.store.objects[OBJECT][1].keys() == {"x-amz-c", "x-amz-d", "x-amz-i"}
    assert entries(lake).keys() == {"x-amz-3", "x-amz-w", "x-amz-t"}
    assert lake.store.objects[FILE][1] == {"x-amz-crypto-instr-file": ""}
    assert lake.store.objects[FILE][0].isascii()
    assert client.get(URL) == b"content"


def test_v2_keeps_nothing_of_the_format_in_the_object_but_its_length(v2: Client, lake: Lake) -> None:
    v2.put(URL, b"content", encryption=V2_BESIDE)
    assert lake.store.objects[OBJECT][1].keys() == {"x-amz-unencrypted-content-length", "arrowseal-write"}
    names = {"x-amz-key-v2", "x-amz-iv", "x-amz-cek-alg", "x-amz-wrap-alg", "x-amz-matdesc", "x-amz-tag-len"}
    assert entries(lake).keys() == names
    assert v2.get(URL) == b"content"


@pytest.mark.parametrize("suffix", [".instruction", ".instruction-for-partner", ".v2"])
def test_a_client_has_one_suffix_for_what_it_writes_and_reads(suffix: str, lake: Lake, keys: Keys) -> None:
    client = lake.client(keys.arn, kms=keys.kms, instruction_files=suffix)
    client.put(URL, b"content", encryption=BESIDE)
    assert lake.store.objects.keys() == {OBJECT, OBJECT + suffix}
    assert client.get(URL) == b"content"
    other = lake.client(keys.arn, kms=keys.kms, instruction_files=".another")
    with pytest.raises(ObjectNotFoundError, match=r"a\.another is not there"):
        other.get(URL)
    assert client.delete(URL) is None
    assert not lake.store.objects


def test_a_client_without_the_switch_writes_one_when_asked_to_and_does_not_read_it(lake: Lake, keys: Keys) -> None:
    client = lake.client(keys.arn, kms=keys.kms)
    client.put(URL, b"content", encryption=BESIDE)
    assert lake.store.objects.keys() == {OBJECT, FILE}
    with pytest.raises(UnsupportedFormatError, match="instruction_files=True"):
        client.get(URL)


def test_v1_and_v2_objects_leave_no_trace_and_are_still_refused_by_the_name_of_the_switch(
    lake: Lake, keys: Keys
) -> None:
    url = lake.plant(OBJECT, bytes(32), {}, b"{}")
    client = lake.client(keys.arn, kms=keys.kms)
    with pytest.raises(UnsupportedFormatError, match="instruction_files=True"):
        client.get(url)
    with pytest.raises(NotEncryptedError):
        client.get(lake.plant("plain", b"plain", {}))


def test_a_client_with_another_suffix_is_told_of_the_usual_file_and_not_to_read_the_object_as_plain(
    v2: Client, lake: Lake
) -> None:
    v2.put(URL, b"content", encryption=V2_BESIDE)
    del lake.store.objects[OBJECT][1]["x-amz-unencrypted-content-length"]  # as other writers leave it
    other = v2.replace(instruction_files=".partner")
    with pytest.raises(UnsupportedFormatError, match=r"instruction file a\.instruction.*instruction_files=True"):
        other.get(URL)
    assert other.is_encrypted(URL)


def test_an_object_that_says_all_by_itself_costs_no_request_for_a_file(client: Client, lake: Lake) -> None:
    client.put(URL, b"content")
    lake.store.calls.clear()
    assert client.get(URL) == b"content"
    assert lake.store.calls == {"get": 1}


def test_a_file_is_fetched_once_for_each_reading_of_its_object(client: Client, lake: Lake) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    lake.store.calls.clear()
    assert client.get(URL) == b"content"
    assert lake.store.calls == {"get": 2}
    lake.store.calls.clear()
    with client.object(URL) as found:  # and the index is asked for, beside the tail
        assert found.read_at(0, 3) == b"con"
    assert lake.store.calls == {"get": 3}


def test_a_plain_object_is_read_as_one_where_no_file_lies_beside_it(client: Client, lake: Lake) -> None:
    url = lake.plant("plain", b"plain", {})
    assert client.get(url, allow_plaintext=True) == b"plain"
    with pytest.raises(NotEncryptedError):
        client.get(url)


def test_the_file_is_there_before_the_object(client: Client, lake: Lake) -> None:
    seen: list[str] = []
    lake.store.fail = lambda name, key: seen.append(key)
    client.put(URL, b"content", encryption=BESIDE)
    assert seen == [FILE, OBJECT]
    seen.clear()
    client.put(URL, LONG, encryption=BESIDE)
    # Parts are no object yet: the file of the object that is there stays until the new one is about to appear.
    assert [key for key in seen if key in (OBJECT, FILE)][-2:] == [FILE, OBJECT]
    assert seen.index(FILE) == len([key for key in seen if key == OBJECT]) - 1
    assert client.get(URL) == LONG


@pytest.mark.parametrize(("content", "call"), [(b"new", "put"), (LONG, "complete_upload"), (LONG, "put_part")])
def test_a_write_that_fails_takes_its_file_back(client: Client, lake: Lake, content: bytes, call: str) -> None:
    fail(lake, call)
    with pytest.raises(PreconditionFailedError):
        client.put(URL, content, encryption=BESIDE)
    assert not lake.store.objects


@pytest.mark.parametrize(("content", "call"), [(b"new", "put"), (LONG, "complete_upload"), (LONG, "put_part")])
def test_a_write_that_fails_leaves_the_object_that_is_there_readable(
    client: Client, lake: Lake, content: bytes, call: str
) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    before = dict(lake.store.objects)
    fail(lake, call)
    with pytest.raises(PreconditionFailedError):
        client.put(URL, content, encryption=BESIDE)
    assert lake.store.objects == before
    assert client.get(URL) == b"old"


def test_a_writer_that_is_aborted_leaves_no_file(client: Client, lake: Lake) -> None:
    writer = client.open(URL, "wb", encryption=BESIDE)
    writer.write(LONG)
    writer.abort()
    assert not lake.store.objects
    with client.open(URL, "wb", encryption=BESIDE) as file:
        file.write(LONG)
    assert lake.store.objects.keys() >= {OBJECT, FILE}
    assert client.get(URL) == LONG


def test_a_create_only_write_over_an_object_leaves_it_and_its_file(client: Client, lake: Lake) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    before = dict(lake.store.objects)
    with pytest.raises(PreconditionFailedError):
        client.put(URL, b"new", encryption=BESIDE, if_none_match="*")
    assert lake.store.objects == before


def test_a_file_that_somebody_wrote_meanwhile_is_not_taken_back(client: Client, lake: Lake) -> None:
    theirs = json.dumps({"x-amz-3": "AAAA", "x-amz-w": "12"}).encode(), {}

    def race(name: str, key: str) -> None:
        if key == OBJECT:
            lake.store.objects[FILE] = theirs
            unavailable(name, key)(name, key)

    lake.store.fail = race
    with pytest.raises(PreconditionFailedError):
        client.put(URL, b"new", encryption=BESIDE)
    assert lake.store.objects == {FILE: theirs}


def test_a_file_that_cannot_be_taken_back_is_a_warning_beside_the_error(client: Client, lake: Lake) -> None:
    def broken(name: str, key: str) -> None:
        if (name, key) in (("put", OBJECT), ("delete", FILE)):
            raise PreconditionFailedError(f"{key}: refused by the test")

    lake.store.fail = broken
    with pytest.warns(RuntimeWarning, match=r"a\.instruction"), pytest.raises(PreconditionFailedError):
        client.put(URL, b"new", encryption=BESIDE)


def test_a_new_object_with_a_file_replaces_the_old_ones(client: Client, v2: Client, lake: Lake) -> None:
    for writer, encryption in ((client, BESIDE), (v2, V2_BESIDE), (client, BESIDE)):
        writer.put(URL, b"content", encryption=encryption)
        assert writer.get(URL) == b"content"


@pytest.mark.parametrize("encryption", [None, PLAIN])
@pytest.mark.parametrize("content", [b"new", LONG])
def test_an_object_without_a_file_removes_the_one_that_an_earlier_object_left(
    client: Client, lake: Lake, encryption: Any, content: bytes
) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    client.put(URL, content, encryption=encryption)
    assert FILE not in lake.store.objects
    assert client.get(URL, allow_plaintext=True) == content


def test_an_object_that_is_only_named_like_a_file_is_neither_overwritten_nor_removed(
    client: Client, lake: Lake
) -> None:
    for theirs in (b"somebody's own notes", b"{}", b'{"note": "mine"}', bytes(2**17), b'["x-amz-3"]'):
        lake.store.objects = {FILE: (theirs, {"owner": "somebody"})}
        with pytest.raises(ObjectExistsError, match="no instruction file"):
            client.put(URL, b"content", encryption=BESIDE)
        assert OBJECT not in lake.store.objects
        client.put(URL, b"content")
        client.delete(URL)
        assert lake.store.objects == {FILE: (theirs, {"owner": "somebody"})}


def test_a_removal_that_fails_is_a_warning_since_the_object_is_written(client: Client, lake: Lake) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    fail(lake, "delete", FILE)
    with pytest.warns(RuntimeWarning, match="instruction file"):
        client.put(URL, b"new")
    assert client.get(URL) == b"new"


def test_a_client_without_the_switch_leaves_other_peoples_files_alone(lake: Lake, keys: Keys, client: Client) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    lake.store.calls.clear()
    told_nothing = lake.client(keys.arn, kms=keys.kms)
    told_nothing.put(URL, b"new")
    assert lake.store.calls == {"put": 1}
    assert FILE in lake.store.objects
    assert client.get(URL) == b"new"  # what the object says by itself counts


def test_deleting_an_object_deletes_its_file_unless_a_version_is_named(client: Client, lake: Lake) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    client.delete(URL, version_id="v")
    assert lake.store.objects.keys() == {FILE}
    client.put(URL, b"content", encryption=BESIDE)
    client.delete(URL)
    assert not lake.store.objects
    client.delete(URL)


def test_files_are_in_no_listing_where_they_are_looked_at(client: Client, lake: Lake, keys: Keys) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    client.put("s3://lake/b", LONG, encryption=BESIDE)
    assert [row.location.key for row in client.list("s3://lake")] == ["a", "b"]
    told_nothing = lake.client(keys.arn, kms=keys.kms)
    assert [row.location.key for row in told_nothing.list("s3://lake")] == ["a", "a.instruction", "b", "b.instruction"]


def test_files_are_copied_and_moved_along(client: Client, lake: Lake) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    client.copy(URL, "s3://lake/b")
    assert client.get("s3://lake/b") == client.get(URL) == b"content"
    client.move("s3://lake/b", "s3://lake/c")
    assert client.get("s3://lake/c") == b"content"
    assert lake.store.objects.keys() == {OBJECT, FILE, "c", "c.instruction"}


def test_a_copy_without_a_file_removes_that_of_the_object_it_replaces(client: Client, lake: Lake) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    client.put("s3://lake/b", b"new")
    client.copy("s3://lake/b", URL)
    assert lake.store.objects.keys() == {OBJECT, "b"}
    assert client.get(URL) == b"new"


def test_a_copy_that_fails_leaves_the_target_as_it_was(client: Client, lake: Lake) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    client.put("s3://lake/b", b"new", encryption=BESIDE)
    before = dict(lake.store.objects)
    fail(lake, "copy")
    with pytest.raises(PreconditionFailedError):
        client.copy("s3://lake/b", URL)
    assert lake.store.objects == before


@pytest.mark.parametrize("encryption", [None, PLAIN, BESIDE])
def test_keys_of_instruction_files_are_not_written_by_a_client_that_looks_at_them(
    client: Client, lake: Lake, encryption: Any
) -> None:
    for write in (
        lambda: client.put("s3://lake/x.instruction", b"", encryption=encryption),
        lambda: client.open("s3://lake/x.instruction", "wb", encryption=encryption),
    ):
        with pytest.raises(LocationError, match="instruction"):
            write()
    client.put(URL, b"content")
    with pytest.raises(LocationError, match="instruction"):
        client.copy(URL, "s3://lake/x.instruction")
    assert lake.store.objects.keys() == {OBJECT}


def test_a_key_that_leaves_no_room_for_a_file_is_refused_only_where_one_is_written(lake: Lake, keys: Keys) -> None:
    client, key = lake.client(keys.arn, kms=keys.kms), "k" * 1020
    with pytest.raises(LocationError, match="1024"):
        client.put(bucket="lake", key=key, data=b"", encryption=BESIDE)
    client.put(bucket="lake", key=key, data=b"x")
    assert client.get(bucket="lake", key=key) == b"x"


def test_a_context_that_fits_no_metadata_fits_a_file(client: Client, keys: Keys, lake: Lake) -> None:
    context = {f"name-{number}": "v" * 100 for number in range(40)}
    with pytest.raises(ConfigurationError, match="instruction_file=True"):
        client.put(URL, b"content", encryption_context=context)
    client.put(URL, b"content", encryption=BESIDE, encryption_context=context)
    assert client.get(URL, encryption_context=context) == b"content"


def test_a_non_ascii_context_is_escaped_in_the_file(client: Client, lake: Lake) -> None:
    context = {"größe": "→語"}
    client.put(URL, b"content", encryption=BESIDE, encryption_context=context)
    assert lake.store.objects[FILE][0].isascii()
    assert client.get(URL, encryption_context=context) == b"content"


def test_files_of_other_writers_are_read_however_they_are_spelled(client: Client, v2: Client, lake: Lake) -> None:
    v2.put(URL, b"content", encryption=V2_BESIDE)
    found = entries(lake)
    spellings: list[Any] = [
        found | {"x-amz-tag-len": 128},
        found | {"x-amz-tag-len": 128, "x-amz-unencrypted-content-length": 7},
        found | {"x-amz-unencrypted-content-length": "7"},
        dict(reversed(found.items())),
    ]
    for spelled in spellings:
        for content in (json.dumps(spelled), json.dumps(spelled, indent=4), f"\n {json.dumps(spelled)}\r\n"):
            lake.store.objects[FILE] = content.encode(), {}
            assert v2.get(URL) == b"content"
    for wrong in (found | {"x-amz-tag-len": 96}, found | {"x-amz-tag-len": 128.0}, found | {"x-amz-iv": 7}):
        lake.store.objects[FILE] = json.dumps(wrong).encode(), {}
        with pytest.raises(MetadataError):
            v2.get(URL)
    raw = json.dumps(
        found | {"x-amz-matdesc": '{"größe":"→","aws:x-amz-cek-alg":"AES/GCM/NoPadding"}'}, ensure_ascii=False
    )
    lake.store.objects[FILE] = raw.encode(), {}
    assert v2.head(URL).context_keys == ("größe",)


def test_heads_and_questions_look_at_the_file(client: Client, lake: Lake, keys: Keys) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    head = client.head(URL)
    assert (head.encryption, head.wrap, head.plaintext_bytes, head.kms_key_arn) == (
        "CSE V3",
        "kms+context",
        7,
        keys.arn,
    )
    assert client.is_encrypted(URL)
    with client.object(URL) as found:
        assert found.kms_key_arn == keys.arn


def test_a_head_tells_what_is_left_of_an_object_whose_file_is_gone(client: Client, lake: Lake) -> None:
    client.put(URL, b"content", encryption=BESIDE)
    del lake.store.objects[FILE]
    head = client.head(URL)
    assert (head.encryption, head.wrap, head.plaintext_bytes) == ("CSE V3", None, 7)
    with pytest.raises(ObjectNotFoundError, match=r"a\.instruction"):
        client.get(URL)


def test_data_keys_that_many_objects_share_may_lie_in_files(client: Client, keys: Keys, lake: Lake) -> None:
    before = len(keys.kms.calls)
    with client.data_key_reuse():
        for number in range(5):
            client.put(f"s3://lake/{number}", b"content", encryption=BESIDE)
    assert [name for name, _ in keys.kms.calls[before:]] == ["GenerateDataKey"]
    assert all(client.get(f"s3://lake/{number}") == b"content" for number in range(5))


def test_nothing_of_all_this_warns(client: Client) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.put(URL, b"a", encryption=BESIDE)
        client.put(URL, b"b")
        client.put(URL, b"c", encryption=BESIDE)
        client.copy(URL, "s3://lake/b")
        client.delete(URL)
