"""Raw keys and instruction files: other wraps of the same data keys, new files beside objects that stay as they are."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import mixed
import pytest
import rows
import writers

from arrowseal import CSE, CommitmentPolicy, RawAesKeyring, RawRsaKeyring
from arrowseal.exceptions import ArrowSealError, EncryptionContextError
from arrowseal.operations import rewrap

if TYPE_CHECKING:
    from arrowseal import Client
    from lake import Lake

URL = "s3://lake/a/o"
READING = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT


@pytest.fixture
def keys(lake: Lake) -> writers.Keys:
    return mixed.keys_of(lake)


def raw(lake: Lake, keyring: Any, **options: Any) -> Client:
    return lake.make_client(kms_key_id=None, keyring=keyring, commitment_policy=READING, **options)


def fails(client: Client, url: str = URL) -> bool:
    try:
        client.get(url)
    except ArrowSealError:
        return True
    return False


@pytest.mark.parametrize("told", ["V2", "V3"])
@pytest.mark.parametrize("source", ["AES/GCM", "RSA-OAEP-SHA1"])
@pytest.mark.parametrize("target", ["aes", "rsa", "kms"])
def test_every_wrap_becomes_every_other_and_the_old_key_opens_it_no_more(
    lake: Lake, keys: writers.Keys, told: str, source: str, target: str
) -> None:
    row = next(
        row
        for row in rows.ROWS
        if (row.format, row.wrap, row.storage) == (told, source, "metadata") and "GCM" in row.content
    )
    mixed.put(lake, "a/o", writers.write(row, b"content", keys))
    old, new_aes = raw(lake, keys.keyring(source)), os.urandom(32)
    new_rsa = writers.Keys().pem
    to_key: Any = {"aes": RawAesKeyring(new_aes), "rsa": RawRsaKeyring(new_rsa), "kms": keys.arn}[target]
    plan = rewrap(URL, to_key=to_key, client=old, dry_run=True)
    assert plan.summary()["kms_calls"] == ({"Encrypt": 1} if target == "kms" else {})
    before = lake.s3.server.objects["/lake/a/o"]
    (result,) = rewrap(URL, to_key=to_key, client=old).results
    after = lake.s3.server.objects["/lake/a/o"]
    assert (result.state, result.not_kept, after.body, after.etag) == ("done", "", before.body, before.etag)
    new = lake.make_client(kms_key_id=keys.arn, commitment_policy=READING) if target == "kms" else raw(lake, to_key)
    assert new.get(URL) == b"content"
    assert fails(raw(lake, keys.keyring(source)))
    assert after.headers.items() >= (mixed.HEADERS | mixed.MINE).items()
    fresh = lake.make_client(kms_key_id=None, keyring=keys.keyring(source), commitment_policy=READING)
    (again,) = rewrap(URL, to_key=to_key, client=fresh).results
    assert again.state == "already", again.reason


def test_kms_is_told_the_context_and_what_it_was_given_is_wiped(lake: Lake, keys: writers.Keys) -> None:
    client = raw(lake, keys.keyring("AES/GCM"))
    client.put(URL, b"content")
    rewrap(URL, to_key=keys.arn, client=client)
    ((action, given),) = lake.kms.calls
    assert action == "Encrypt"
    assert given["EncryptionContext"] == {"aws:x-amz-cek-alg": "115"}
    assert set(given["Plaintext"]) == {0}, "what was handed to boto3 is wiped"
    assert lake.make_client(kms_key_id=keys.arn).get(URL) == b"content"


@pytest.mark.parametrize("in_file", [False, True], ids=["metadata", "instruction file"])
@pytest.mark.parametrize("by", ["call", "client"])
def test_from_raw_keys_to_kms_and_back_the_context_is_that_of_the_kms_side(lake: Lake, by: str, in_file: bool) -> None:
    context = {"team": "weather"}
    told: dict[str, Any] = {"encryption_context": context} if by == "call" else {}
    old, new = RawAesKeyring(os.urandom(32)), RawAesKeyring(os.urandom(32))
    beside = {"instruction_files": True, "cache": None}
    raw(lake, old, **beside).put(URL, b"content", encryption=CSE(instruction_file=in_file))
    options = beside if by == "call" else beside | {"encryption_context": context}
    for state in ("done", "already"):
        source = lake.make_client(keyring=old, commitment_policy=READING, **options)
        (result,) = rewrap(URL, to_key=lake.key_arn, client=source, **told).results
        assert result.state == state, result.reason
    assert lake.make_client(**beside).get(URL, encryption_context=context) == b"content"
    for state in ("done", "already"):
        (result,) = rewrap(URL, to_key=new, client=lake.make_client(**options), **told).results
        assert result.state == state, result.reason
    assert raw(lake, new, **beside).get(URL) == b"content"


def test_a_read_that_expects_a_context_refuses_an_object_under_a_raw_key(lake: Lake) -> None:
    keyring = RawAesKeyring(os.urandom(32))
    raw(lake, keyring).put(URL, b"content")
    with pytest.raises(EncryptionContextError, match=r"expects \['team'\]"):
        raw(lake, keyring).get(URL, encryption_context={"team": "weather"})


def test_aes_cbc_keeps_its_raw_wrap_and_is_for_migrate(lake: Lake, keys: writers.Keys) -> None:
    row = next(row for row in rows.ROWS if row.format == "V1" and row.storage == "metadata" and row.wrap == "AES")
    mixed.put(lake, "a/o", writers.write(row, b"content", keys))
    (result,) = rewrap(URL, to_key=keys.arn, client=raw(lake, keys.keyring("AES"))).results
    assert result.state == "refused"
    assert "migrate" in result.reason


@pytest.mark.parametrize("told", ["V2", "V3"])
def test_an_instruction_file_is_written_anew_and_the_object_is_not_touched(
    lake: Lake, keys: writers.Keys, new_key: str, told: str
) -> None:
    wanted = (told, "kms+context", "instruction file")
    row = next(row for row in rows.ROWS if (row.format, row.wrap, row.storage) == wanted and "GCM" in row.content)
    mixed.put(lake, "a/o", writers.write(row, b"content", keys))
    before = dict(lake.s3.server.objects)
    options: dict[str, Any] = {"commitment_policy": READING, "instruction_files": True, "cache": None}
    (result,) = rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client(kms_key_id=keys.arn, **options)).results
    assert (result.state, result.way) == ("done", "instruction file")
    assert lake.s3.server.objects["/lake/a/o"] is before["/lake/a/o"]
    file = lake.s3.server.objects["/lake/a/o.instruction"]
    was = json.loads(before["/lake/a/o.instruction"].body)
    changed = {name for name, value in json.loads(file.body).items() if was.get(name) != value}
    assert changed == {"x-amz-3" if told == "V3" else "x-amz-key-v2"}
    assert file.headers == before["/lake/a/o.instruction"].headers
    assert lake.make_client(kms_key_id=new_key, **options).get(URL) == b"content"
    assert fails(lake.make_client(kms_key_id=keys.arn, **options))


def test_another_instruction_file_shares_an_object_with_somebody_and_ours_stays(
    lake: Lake, keys: writers.Keys, new_key: str
) -> None:
    ours = lake.make_client(instruction_files=True)
    ours.put(URL, b"content", encryption=CSE(instruction_file=True))
    partner = RawAesKeyring(os.urandom(32))
    before = dict(lake.s3.server.objects)
    for _ in range(2):
        (result,) = rewrap(URL, to_key=partner, client=ours, instruction_file=".partner").results
        assert result.state == "done"
    assert {key: lake.s3.server.objects[key] for key in before} == before
    assert raw(lake, partner, instruction_files=".partner").get(URL) == b"content"
    assert ours.get(URL) == b"content"
    lake.client.put("s3://lake/b", b"x")
    (result,) = rewrap("s3://lake/b", to_key=partner, client=ours, instruction_file=".partner").results
    assert (result.state, result.reason[:13]) == ("refused", "s3://lake/b: ")


def test_a_file_that_somebody_writes_meanwhile_is_left_to_them(lake: Lake, new_key: str) -> None:
    ours = lake.make_client(instruction_files=True)
    ours.put(URL, b"before", encryption=CSE(instruction_file=True))

    def overwrite(method: str, path: str, headers: dict[str, str]) -> None:
        if method == "PUT" and path.endswith("/a/o.instruction"):
            lake.s3.rule = lambda *_: None
            ours.put(URL, b"theirs", encryption=CSE(instruction_file=True))

    lake.s3.rule = overwrite
    (result,) = rewrap(URL, to_key=new_key, client=ours).results
    assert result.state == "changed"
    assert ours.get(URL) == b"theirs"
