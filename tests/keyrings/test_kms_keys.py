"""KMS keys of other Regions and accounts, grants and ReEncrypt: where each call goes, and what goes along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from keyring_kinds import ELSEWHERE, kms_of

from arrowseal import V3, Client
from arrowseal.connections import Connections
from arrowseal.counters import Operation
from arrowseal.exceptions import (
    ConfigurationError,
    KmsAccessDeniedError,
    KmsError,
    KmsKeyMismatchError,
    KmsKeyNotFoundError,
    NoKeyError,
)
from arrowseal.kms_keyring import KmsKeyring
from arrowseal.location import ObjectLocation
from arrowseal.metadata import EncryptedMetadata, parse
from arrowseal.options import ClientOptions
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3
from strict_kms import HOME_REGION
from strict_kms_server import StrictKmsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = ObjectLocation("lake", "o")
FOREIGN = "444455556666"


@pytest.fixture(scope="module")
def regions() -> Iterator[tuple[StrictKmsServer, StrictKmsServer]]:
    """KMS of two Regions, each at an endpoint of its own."""
    home = StrictKmsServer()
    away = StrictKmsServer(home.engine, ELSEWHERE)
    yield home, away
    home.close()
    away.close()


@pytest.fixture
def s3() -> Any:
    return s3_in_memory(MemoryS3())


def client_of(regions: tuple[StrictKmsServer, StrictKmsServer], s3: Any, key: str, **options: Any) -> Client:
    endpoints = {server.region: server.endpoint for server in regions}
    session = boto3.Session("TESTS", "not checked", region_name=HOME_REGION)
    return Client(key, session=session, s3=s3, kms_endpoint_url=endpoints, **options)


def operation() -> Operation:
    return Operation("get", HERE)


def written(server: MemoryS3, path: str = "/lake/o") -> EncryptedMetadata:
    headers = server.objects[path].headers
    parsed = parse({name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if "-meta-" in name})
    assert parsed is not None
    return parsed


def test_an_object_written_under_one_replica_is_read_under_the_other_in_its_region(
    regions: tuple[StrictKmsServer, StrictKmsServer], s3: Any
) -> None:
    engine = regions[0].engine
    primary = engine.create_key(multi_region=True)
    replica = engine.replicate(primary, ELSEWHERE)
    engine.calls.clear()
    result = client_of(regions, s3, primary.arn).put("s3://lake/o", b"content")
    reader = client_of(regions, s3, replica.arn)
    assert bytes(reader.get("s3://lake/o")) == b"content"
    assert [(call.action, call.region) for call in engine.calls] == [
        ("GenerateDataKey", HOME_REGION),
        ("Decrypt", ELSEWHERE),
    ]
    assert result.kms_key_arn == primary.arn
    assert reader.head("s3://lake/o").kms_key_arn == replica.arn


def test_a_replica_that_is_disabled_leaves_the_other_one_usable(
    regions: tuple[StrictKmsServer, StrictKmsServer], s3: Any
) -> None:
    engine = regions[0].engine
    primary = engine.create_key(multi_region=True)
    replica = engine.replicate(primary, ELSEWHERE)
    client_of(regions, s3, primary.arn).put("s3://lake/o", b"content")
    primary.state = "Disabled"
    with pytest.raises(KmsError, match="disabled"):
        client_of(regions, s3, primary.arn).get("s3://lake/o")
    assert bytes(client_of(regions, s3, replica.arn).get("s3://lake/o")) == b"content"


def test_a_key_of_a_single_region_is_asked_for_there_whatever_the_clients_region(
    regions: tuple[StrictKmsServer, StrictKmsServer], s3: Any
) -> None:
    engine = regions[0].engine
    key = engine.create_key(ELSEWHERE)
    client = client_of(regions, s3, key.arn)
    engine.calls.clear()
    client.put("s3://lake/o", b"content")
    client.get("s3://lake/o")
    assert {call.region for call in engine.calls} == {ELSEWHERE}
    with pytest.raises(KmsKeyNotFoundError):
        client_of(regions, s3, key.key_id).get("s3://lake/o")  # an id alone is of the client's own Region


def test_the_alias_arn_of_another_region_goes_there_too(
    regions: tuple[StrictKmsServer, StrictKmsServer], s3: Any
) -> None:
    engine = regions[0].engine
    key = engine.create_key(ELSEWHERE)
    engine.point_alias("alias/away", key.arn, ELSEWHERE)
    alias = key.arn.replace(f"key/{key.key_id}", "alias/away")
    client = client_of(regions, s3, alias)
    engine.calls.clear()
    assert client.put("s3://lake/o", b"content").kms_key_arn == key.arn
    assert bytes(client.get("s3://lake/o")) == b"content"
    assert [call.arguments["KeyId"] for call in engine.calls] == [alias, key.arn]


def test_the_region_of_an_arn_is_enough_where_none_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not checked")
    connections = Connections(ClientOptions(), None, None, None)
    assert connections.kms(ELSEWHERE).meta.region_name == ELSEWHERE
    assert connections.kms(ELSEWHERE) is connections.kms(ELSEWHERE)
    with pytest.raises(ConfigurationError, match="region"):
        connections.kms()


def test_a_kms_client_that_was_handed_in_serves_every_region_as_it_is() -> None:
    kms: Any = StrictKms()
    connections = Connections(ClientOptions(), None, None, kms)
    assert connections.kms(ELSEWHERE) is kms
    assert connections.kms() is kms


def test_a_key_of_another_account_is_used_by_its_arn(s3: Any) -> None:
    kms: Any = StrictKms(access_key="ANNA")
    key = kms.engine.create_key(account=FOREIGN)
    key.callers = {"ANNA"}
    client = Client(key.arn, kms=kms, s3=s3)
    assert client.put("s3://lake/o", b"content").kms_key_arn == key.arn
    assert f":{FOREIGN}:" in key.arn
    assert bytes(client.get("s3://lake/o")) == b"content"
    stranger: Any = StrictKms(engine=kms.engine, access_key="BERT")
    with pytest.raises(KmsAccessDeniedError):
        Client(key.arn, kms=stranger, s3=s3).get("s3://lake/o")
    with pytest.raises(KmsKeyNotFoundError):
        Client(key.key_id, kms=kms, s3=s3).get("s3://lake/o")


def test_a_grant_token_lets_a_caller_in_that_the_key_does_not_know(s3: Any) -> None:
    kms: Any = StrictKms(access_key="ANNA")
    key = kms.engine.create_key()
    key.callers = {"ROOT"}
    token = kms.engine.answer("CreateGrant", {"KeyId": key.arn, "GranteePrincipal": "ANNA"})["GrantToken"]
    with pytest.raises(KmsAccessDeniedError):
        Client(key.arn, kms=kms, s3=s3).put("s3://lake/o", b"content")
    granted = Client(key.arn, kms=kms, s3=s3, grant_tokens=[token])
    granted.put("s3://lake/o", b"content")
    assert bytes(granted.get("s3://lake/o")) == b"content"
    assert [call.arguments.get("GrantTokens") for call in kms.engine.calls[1:]] == [None, [token], [token]]
    with pytest.raises(KmsAccessDeniedError):
        Client(key.arn, kms=StrictKms(engine=kms.engine, access_key="BERT"), s3=s3, grant_tokens=[token]).get(  # type: ignore[arg-type]
            "s3://lake/o"
        )
    assert token not in repr(granted.options)


@pytest.mark.parametrize("tokens", ["token", [""], [1], ["t"] * 11])
def test_what_are_no_grant_tokens_is_refused(tokens: Any) -> None:
    with pytest.raises(ConfigurationError, match="grant"):
        Client("alias/a", grant_tokens=tokens)


def test_a_grant_token_that_is_not_valid_is_an_error_that_says_so() -> None:
    kms: Any = StrictKms()
    kms.failures.append("InvalidGrantTokenException")
    with pytest.raises(KmsError, match="grant token"):
        KmsKeyring(kms_of(kms), kms.create_key(), grant_tokens=["t"]).generate(V3, {}, HERE, operation())


def test_reencrypt_moves_a_data_key_under_another_key_and_shows_it_to_nobody() -> None:
    kms: Any = StrictKms()
    server = MemoryS3()
    s3, old, new = s3_in_memory(server), kms.create_key(), kms.create_key()
    context = {"team": "weather"}
    Client(old, kms=kms, s3=s3, encryption_context=context).put("s3://lake/o", b"content")
    found, seen = written(server), len(kms.data_keys)
    ring = KmsKeyring(kms_of(kms), old, grant_tokens=["t"])
    wrapped, arn = ring.reencrypt(found, new, HERE, operation())
    assert arn == new
    assert len(kms.data_keys) == seen
    action, arguments = kms.calls[-1]
    assert action == "ReEncrypt"
    assert arguments["SourceEncryptionContext"] == arguments["DestinationEncryptionContext"] == found.context
    assert (arguments["SourceKeyId"], arguments["GrantTokens"]) == (old, ["t"])
    assert kms.engine.unwrap(kms.engine.find(new), wrapped, dict(found.context)) == kms.data_keys[0]


def test_reencrypt_tries_the_keys_in_their_order_and_stays_within_a_region() -> None:
    home: Any = StrictKms()
    away: Any = StrictKms(engine=home.engine, region=ELSEWHERE)
    server = MemoryS3()
    other, old, new = home.create_key(), home.create_key(), home.create_key()
    Client(old, kms=home, s3=s3_in_memory(server)).put("s3://lake/o", b"content")
    ring = KmsKeyring(kms_of(home, away), other, [old])
    assert ring.reencrypt(written(server), new, HERE, operation())[1] == new
    far = home.engine.create_key(ELSEWHERE).arn
    calls = len(home.calls)
    with pytest.raises(ConfigurationError, match="one Region"):
        ring.reencrypt(written(server), far, HERE, operation())
    assert len(home.calls) == calls, "nothing was asked"
    with pytest.raises(KmsKeyMismatchError):
        KmsKeyring(kms_of(home), other).reencrypt(written(server), new, HERE, operation())
    with pytest.raises(NoKeyError):
        KmsKeyring(kms_of(home), None).reencrypt(written(server), new, HERE, operation())


def test_a_reencrypt_that_fails_names_both_keys_as_either_may_be_the_wrong_one() -> None:
    kms: Any = StrictKms()
    server, old = MemoryS3(), kms.create_key()
    Client(old, kms=kms, s3=s3_in_memory(server)).put("s3://lake/o", b"content")
    with pytest.raises(KmsKeyNotFoundError, match=f"KMS ReEncrypt from {old} to alias/nope: no such key"):
        KmsKeyring(kms_of(kms), old).reencrypt(written(server), "alias/nope", HERE, operation())


def test_calls_are_counted_by_api_and_key(s3: Any) -> None:
    kms: Any = StrictKms()
    key = kms.create_key("alias/tables")
    client = Client("alias/tables", kms=kms, s3=s3)
    client.put("s3://lake/o", b"content")
    client.get("s3://lake/o")
    client.get("s3://lake/o")
    assert list(client.counters.kms_calls_by_key()) == [("Decrypt", key, 1), ("GenerateDataKey", key, 1)]
