"""Clients against a KMS that is as strict as AWS's, over HTTP: key states, callers, Regions, contexts, throttling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import ANY, V2, Client
from arrowseal.exceptions import (
    CredentialsError,
    KmsAccessDeniedError,
    KmsError,
    KmsKeyMismatchError,
    KmsKeyNotFoundError,
    KmsKeyStateError,
)
from strict_kms import Key, KmsEngine, TokenBucket
from strict_kms_server import StrictKmsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeClient = Callable[..., Client]

AWAY = "us-west-2"


@pytest.fixture(scope="module")
def regions() -> Iterator[dict[str, StrictKmsServer]]:
    """One account in two Regions."""
    engine = KmsEngine()
    servers = {region: StrictKmsServer(engine, region) for region in ("eu-west-1", AWAY)}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture
def kms(regions: dict[str, StrictKmsServer]) -> KmsEngine:
    """The engine behind the servers, its log empty and nothing throttled."""
    engine = regions["eu-west-1"].engine
    engine.calls.clear()
    engine.failures.clear()
    engine.bucket, engine.latency_seconds = TokenBucket(), 0.0
    return engine


@pytest.fixture
def key(kms: KmsEngine) -> Key:
    return kms.create_key()


@pytest.fixture
def make(kms: KmsEngine, regions: dict[str, StrictKmsServer], raw_s3: Any) -> MakeClient:
    """Makes clients with real boto3 KMS clients of a Region and an access key."""

    def make(key_id: str | None, *, region: str = "eu-west-1", access_key: str = "TESTS", **options: Any) -> Client:
        return Client(key_id, s3=raw_s3, kms=regions[region].client(access_key), **options)

    return make


def test_every_call_carries_the_key_and_the_whole_context(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str
) -> None:
    client = make(key.arn, encryption_context={"team": "weather"})
    client.put(bucket=bucket, key="o", data=b"x")
    assert client.get(bucket=bucket, key="o") == b"x"
    bound = {"aws:x-amz-cek-alg": "115", "team": "weather"}
    assert [(call.action, call.arguments["KeyId"], call.arguments["EncryptionContext"]) for call in kms.calls] == [
        ("GenerateDataKey", key.arn, bound),
        ("Decrypt", key.arn, bound),
    ]


@pytest.mark.parametrize("state", ["disable_key", "schedule_key_deletion"])
def test_a_key_that_is_off_writes_and_reads_nothing_and_does_both_when_it_is_on_again(
    make: MakeClient, kms: KmsEngine, regions: dict[str, StrictKmsServer], key: Key, bucket: str, state: str
) -> None:
    raw, client = regions["eu-west-1"].client(), make(key.arn, cache=None)
    client.put(bucket=bucket, key="o", data=b"x")
    getattr(raw, state)(KeyId=key.arn)
    kms.calls.clear()
    with pytest.raises(KmsKeyStateError, match=key.arn):
        client.get(bucket=bucket, key="o")
    with pytest.raises(KmsKeyStateError, match=key.arn):
        client.put(bucket=bucket, key="new", data=b"x")
    assert [call.action for call in kms.calls] == ["Decrypt", "GenerateDataKey"], "a refusal is not repeated"
    assert not client.exists(bucket=bucket, key="new")
    if state == "schedule_key_deletion":
        raw.cancel_key_deletion(KeyId=key.arn)
    raw.enable_key(KeyId=key.arn)
    assert client.get(bucket=bucket, key="o") == b"x"


@pytest.mark.parametrize("kind", ["HMAC", "another Region"])
def test_keys_that_cannot_wrap_here_are_refused_by_name(
    make: MakeClient, kms: KmsEngine, bucket: str, kind: str
) -> None:
    if kind == "HMAC":
        arn, error = kms.create_key(usage="GENERATE_VERIFY_MAC").arn, KmsKeyStateError
    else:
        arn, error = kms.create_key(AWAY).arn, KmsKeyNotFoundError
    with pytest.raises(error, match=arn):
        make(arn).put(bucket=bucket, key="o", data=b"x")


def test_an_object_of_another_key_is_a_mismatch_and_read_when_that_key_is_among_those_given(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str
) -> None:
    make(key.arn).put(bucket=bucket, key="o", data=b"x")
    other = kms.create_key().arn
    with pytest.raises(KmsKeyMismatchError, match=other):
        make(other).get(bucket=bucket, key="o")
    assert make(other, decrypt_key_ids=[key.arn]).get(bucket=bucket, key="o") == b"x"


def test_contexts_that_only_join_to_the_same_text_are_not_the_same(
    make: MakeClient, key: Key, bucket: str, raw_s3: Any
) -> None:
    make(key.arn, encryption_context={"ab": "c"}).put(bucket=bucket, key="o", data=b"x")
    found = raw_s3.get_object(Bucket=bucket, Key="o")
    edited = found["Metadata"] | {"x-amz-t": '{"a":"bc","aws:x-amz-cek-alg":"115"}'}
    raw_s3.put_object(Bucket=bucket, Key="o", Body=found["Body"].read(), Metadata=edited)
    with pytest.raises(KmsKeyMismatchError):
        make(key.arn, encryption_context=ANY).get(bucket=bucket, key="o")


def test_a_replica_in_another_region_reads_and_writes(
    make: MakeClient, kms: KmsEngine, regions: dict[str, StrictKmsServer], bucket: str
) -> None:
    key = kms.create_key(multi_region=True)
    replica = regions["eu-west-1"].client().replicate_key(KeyId=key.arn, ReplicaRegion=AWAY)["ReplicaKeyMetadata"]
    home, away = make(key.arn), make(replica["Arn"], region=AWAY)
    home.put(bucket=bucket, key="home", data=b"home")
    away.put(bucket=bucket, key="away", data=b"away")
    assert away.get(bucket=bucket, key="home") == b"home"
    assert home.get(bucket=bucket, key="away") == b"away"
    with pytest.raises(KmsKeyNotFoundError):
        make(key.arn, region=AWAY).get(bucket=bucket, key="home")


def test_objects_from_before_a_rotation_are_read_after_it(
    make: MakeClient, regions: dict[str, StrictKmsServer], key: Key, bucket: str
) -> None:
    client = make(key.arn)
    client.put(bucket=bucket, key="before", data=b"before")
    regions["eu-west-1"].client().rotate_key_on_demand(KeyId=key.arn)
    client.put(bucket=bucket, key="after", data=b"after")
    reader = make(key.arn)
    assert reader.get(bucket=bucket, key="before") == b"before"
    assert reader.get(bucket=bucket, key="after") == b"after"


def test_an_alias_that_moves_stays_with_its_old_key_for_the_life_of_a_client(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str
) -> None:
    kms.point_alias("alias/tables", key.arn)
    client = make("alias/tables", cache=None)
    client.put(bucket=bucket, key="old", data=b"old")
    kms.point_alias("alias/tables", kms.create_key().arn)
    client.put(bucket=bucket, key="later", data=b"later")
    with pytest.raises(KmsKeyMismatchError):
        make("alias/tables").get(bucket=bucket, key="old")
    assert client.get(bucket=bucket, key="later") == b"later"
    assert client.get(bucket=bucket, key="old") == b"old"


def test_a_caller_without_the_key_gets_nothing_even_where_another_one_has_it_cached(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str
) -> None:
    key.callers = {"ANNA"}
    anna, bert = make(key.arn, access_key="ANNA"), make(key.arn, access_key="BERT")
    anna.put(bucket=bucket, key="o", data=b"x")
    assert anna.get(bucket=bucket, key="o") == b"x"
    with pytest.raises(KmsAccessDeniedError, match=key.arn):
        bert.get(bucket=bucket, key="o")
    with anna.data_key_reuse(), bert.data_key_reuse():
        anna.put(bucket=bucket, key="shared", data=b"x")
        with pytest.raises(KmsAccessDeniedError):
            bert.put(bucket=bucket, key="shared", data=b"x")
    assert {call.access_key for call in kms.calls} == {"ANNA", "BERT"}


def test_two_clients_with_other_credentials_ask_for_one_data_key_each(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str
) -> None:
    make(key.arn).put(bucket=bucket, key="o", data=b"x")
    kms.calls.clear()
    clients = [make(key.arn, access_key=name) for name in ("ANNA", "BERT")]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda turn: clients[turn % 2].get(bucket=bucket, key="o") == b"x", range(32)))
    assert sorted((call.action, call.access_key) for call in kms.calls) == [("Decrypt", "ANNA"), ("Decrypt", "BERT")]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", KmsAccessDeniedError),
        ("NotFoundException", KmsKeyNotFoundError),
        ("DisabledException", KmsKeyStateError),
        ("KMSInvalidStateException", KmsKeyStateError),
        ("InvalidKeyUsageException", KmsKeyStateError),
        ("IncorrectKeyException", KmsKeyMismatchError),
        ("InvalidCiphertextException", KmsKeyMismatchError),
        ("InvalidGrantTokenException", KmsError),
        ("UnrecognizedClientException", CredentialsError),
    ],
)
def test_a_refusal_is_typed_names_the_key_hides_the_context_and_is_not_repeated(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str, code: str, error: type[Exception]
) -> None:
    client = make(key.arn, encryption_context={"patient": "canary-value"})
    client.put(bucket=bucket, key="o", data=b"x")
    kms.calls.clear()
    kms.failures.append(code)
    with pytest.raises(error, match=key.arn) as caught:
        client.get(bucket=bucket, key="o")
    assert type(caught.value) is error
    assert "canary" not in f"{caught.value!r}{caught.value}{caught.value.__cause__}"
    assert len(kms.calls) == 1


@pytest.mark.parametrize("code", ["KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"])
def test_answers_of_a_kms_in_trouble_are_asked_for_again(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str, code: str
) -> None:
    client = make(key.arn)
    kms.failures += [code] * 2
    client.put(bucket=bucket, key="o", data=b"x")
    kms.failures += [code] * 2
    assert client.get(bucket=bucket, key="o") == b"x"


def test_a_throttled_kms_gives_all_keys_in_the_end(
    make: MakeClient, kms: KmsEngine, key: Key, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 data keys through a bucket of 40 a second; test_data_key_counts.py does 1,000 through 50 a second."""
    client = make(key.arn, cache=None)
    kms.bucket = TokenBucket(40)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: client.put(bucket=bucket, key=f"{number}", data=b"%d" % number), range(60)))
    assert {call.action for call in kms.calls} == {"GenerateDataKey"}
    assert len(kms.data_keys) >= 60
    assert all(client.get(bucket=bucket, key=f"{number}") == b"%d" % number for number in (0, 30, 59))


def test_v2_binds_its_own_content_algorithm(make: MakeClient, kms: KmsEngine, key: Key, bucket: str) -> None:
    client = make(key.arn, interop="analytics")
    client.put(bucket=bucket, key="o", data=b"x")
    assert kms.calls[0].arguments["EncryptionContext"] == {"aws:x-amz-cek-alg": V2.content_algorithm}
