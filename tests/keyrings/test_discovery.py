"""Discovery: off unless asked for, reads alone, and no data key of a foreign KMS key is ever used."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from keyring_kinds import ELSEWHERE, kms_of

from arrowseal import Client, Discovery
from arrowseal.counters import Operation
from arrowseal.data_keys import DataKeyCache, UnwrappedKeys
from arrowseal.exceptions import (
    ConfigurationError,
    ForeignKeyError,
    KmsAccessDeniedError,
    KmsKeyMismatchError,
    NoKeyError,
)
from arrowseal.kms_keyring import DiscoveryKeyring, KmsKeyring
from arrowseal.location import ObjectLocation
from arrowseal.metadata import EncryptedMetadata
from arrowseal.suites import V3
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3
from strict_kms import ACCOUNT

HERE = ObjectLocation("lake", "o")
FOREIGN = "444455556666"


@pytest.fixture
def kms() -> Any:
    return StrictKms()


@pytest.fixture
def s3() -> Any:
    return s3_in_memory(MemoryS3())


def operation() -> Operation:
    return Operation("get", HERE)


def object_under(kms: StrictKms, key: str) -> EncryptedMetadata:
    made = KmsKeyring(kms_of(kms), key).generate(V3, {}, HERE, operation())
    context = made.encryption_context
    return EncryptedMetadata("V3", "115", "kms+context", made.encrypted_data_key, bytes(28), bytes(28), context)


def test_an_object_is_read_under_whichever_accepted_key_it_has_and_no_key_is_sent(kms: Any, s3: Any) -> None:
    keys = [kms.create_key(), kms.create_key()]
    for number, key in enumerate(keys):
        Client(key, kms=kms, s3=s3).put(f"s3://lake/{number}", b"%d" % number)
    kms.calls.clear()
    kms.engine.calls.clear()
    reader = Client(kms=kms, s3=s3, discovery=Discovery([ACCOUNT]))
    for number, key in enumerate(keys):
        assert bytes(reader.get(f"s3://lake/{number}")) == b"%d" % number
        assert reader.head(f"s3://lake/{number}").kms_key_arn == key
    assert all("KeyId" not in arguments for _, arguments in kms.calls)
    assert all("aws:x-amz-cek-alg" in arguments["EncryptionContext"] for _, arguments in kms.calls)


def test_it_is_off_unless_asked_for(kms: Any, s3: Any) -> None:
    Client(kms.create_key(), kms=kms, s3=s3).put("s3://lake/o", b"content")
    kms.engine.calls.clear()
    with pytest.raises(NoKeyError):
        Client(kms=kms, s3=s3).get("s3://lake/o")
    assert kms.calls == []


def test_it_writes_nothing(kms: Any, s3: Any) -> None:
    with pytest.raises(NoKeyError, match="kms_key_id="):
        Client(kms=kms, s3=s3, discovery=Discovery([ACCOUNT])).put("s3://lake/o", b"content")
    assert kms.calls == []


@pytest.mark.parametrize(
    ("discovery", "account"),
    [
        (Discovery([FOREIGN]), ACCOUNT),
        (Discovery([ACCOUNT]), FOREIGN),
        (Discovery([ACCOUNT], partition="aws-cn"), ACCOUNT),
    ],
)
def test_a_foreign_key_is_refused_before_its_data_key_is_used(
    kms: Any, monkeypatch: pytest.MonkeyPatch, discovery: Discovery, account: str
) -> None:
    from arrowseal import kms_requests

    key = kms.engine.create_key(account=account).arn
    found = object_under(kms, key)
    taken: list[object] = []
    monkeypatch.setattr(kms_requests, "DataKey", taken.append)
    ring = DiscoveryKeyring(kms_of(kms), discovery, cache=UnwrappedKeys(DataKeyCache()))
    with pytest.raises(ForeignKeyError, match=key) as refused:
        ring.unwrap(found, HERE, operation())
    assert taken == [], "the data key in the answer was not touched"
    for frame, _ in traceback.walk_tb(refused.tb):
        assert repr(kms.data_keys[0])[2:-1] not in repr(frame.f_locals.get("answer")), "nor kept"
    assert "kms_key_id=" in str(refused.value)
    with pytest.raises(ForeignKeyError):  # nor was it remembered
        ring.unwrap(found, HERE, operation())


def test_a_foreign_key_ends_the_search_for_keys(kms: Any, s3: Any) -> None:
    Client(kms.engine.create_key(account=FOREIGN).arn, kms=kms, s3=s3).put("s3://lake/o", b"content")
    reader = Client(kms.create_key(), kms=kms, s3=s3, discovery=Discovery([ACCOUNT]))
    with pytest.raises(ForeignKeyError):
        reader.get("s3://lake/o")


def test_regions_are_asked_in_their_order_until_one_knows_the_key(kms: Any) -> None:
    away = StrictKms(engine=kms.engine, region=ELSEWHERE)
    found = object_under(away, kms.engine.create_key(ELSEWHERE).arn)
    kms.engine.calls.clear()
    both = DiscoveryKeyring(kms_of(kms, away), Discovery([ACCOUNT], regions=[kms.region, ELSEWHERE]))
    assert both.unwrap(found, HERE, operation()).key_name.startswith(f"arn:aws:kms:{ELSEWHERE}:")
    assert [call.region for call in kms.engine.calls] == [kms.region, ELSEWHERE]
    for regions in (None, [kms.region]):
        with pytest.raises((KmsAccessDeniedError, KmsKeyMismatchError)):
            DiscoveryKeyring(kms_of(kms, away), Discovery([ACCOUNT], regions=regions)).unwrap(found, HERE, operation())


def test_an_answer_of_another_region_than_was_asked_is_foreign(kms: Any) -> None:
    """A proxy, or a KMS that stands for several Regions."""
    away = StrictKms(engine=kms.engine, region=ELSEWHERE)
    found = object_under(away, kms.engine.create_key(ELSEWHERE).arn)
    with pytest.raises(ForeignKeyError):
        DiscoveryKeyring(lambda _: away, Discovery([ACCOUNT], regions=[kms.region])).unwrap(found, HERE, operation())  # type: ignore[arg-type, return-value]


def test_without_regions_the_clients_own_is_the_one(kms: Any) -> None:
    away = StrictKms(engine=kms.engine, region=ELSEWHERE)
    found = object_under(away, kms.engine.create_key(ELSEWHERE).arn)
    away.meta.region_name = kms.region
    with pytest.raises(ForeignKeyError, match=f"KMS of {kms.region}"):
        DiscoveryKeyring(kms_of(away), Discovery([ACCOUNT])).unwrap(found, HERE, operation())


def test_keys_that_are_named_come_first(kms: Any, s3: Any) -> None:
    key = kms.create_key()
    client = Client(key, kms=kms, s3=s3, discovery=Discovery([ACCOUNT]))
    client.put("s3://lake/o", b"content")
    client.get("s3://lake/o")
    assert [arguments.get("KeyId") for _, arguments in kms.calls] == [key, key]
    Client(kms.create_key(), kms=kms, s3=s3).put("s3://lake/other", b"content")
    assert bytes(client.get("s3://lake/other")) == b"content"


@pytest.mark.parametrize(
    "arguments",
    [
        {"account_ids": []},
        {"account_ids": "111122223333"},
        {"account_ids": ["1111"]},
        {"account_ids": [111122223333]},
        {"account_ids": ["١١١١٢٢٢٢٣٣٣٣"]},
        {"account_ids": [ACCOUNT], "regions": []},
        {"account_ids": [ACCOUNT], "regions": "eu-west-1"},
        {"account_ids": [ACCOUNT], "partition": ""},
    ],
)
def test_what_names_no_account_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Discovery"):
        Discovery(**arguments)
    with pytest.raises(ConfigurationError, match="discovery="):
        Client(discovery=True)  # type: ignore[arg-type]
