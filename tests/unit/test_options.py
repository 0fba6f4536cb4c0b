"""The options of a client: contradictions are found when it is built, before any request."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

import arrowseal
from arrowseal import Client, CommitmentPolicy
from arrowseal.exceptions import ConfigurationError, InsecureEndpointError, PolicyConflictError
from doubles import StrictKms

if TYPE_CHECKING:
    from collections.abc import Callable

FORBID = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT


def test_a_client_writes_v3_and_requires_commitment_unless_told_otherwise() -> None:
    options = Client("alias/a").options
    assert options.format is arrowseal.V3
    assert options.commitment_policy is CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    assert options.allow_plaintext is False


@pytest.mark.parametrize("policy", [None, "REQUIRE_ENCRYPT_ALLOW_DECRYPT", "require-encrypt-require-decrypt"])
def test_v2_under_a_policy_that_requires_commitment_is_refused_by_name(policy: str | None) -> None:
    with pytest.raises(PolicyConflictError, match="FORBID_ENCRYPT_ALLOW_DECRYPT"):
        Client("alias/a", format=arrowseal.V2, commitment_policy=policy)


def test_v3_under_a_policy_that_forbids_it_is_refused_by_name() -> None:
    with pytest.raises(PolicyConflictError, match="V2"):
        Client("alias/a", commitment_policy=FORBID)


def test_interop_analytics_sets_format_and_policy() -> None:
    options = Client("alias/a", interop="analytics").options
    assert (options.format, options.commitment_policy) == (arrowseal.V2, FORBID)
    with pytest.raises(PolicyConflictError):
        Client("alias/a", interop="analytics", commitment_policy="REQUIRE_ENCRYPT_ALLOW_DECRYPT")
    with pytest.raises(ConfigurationError, match="analytics"):
        Client("alias/a", interop="athena")


def test_another_interop_decides_format_and_policy_as_if_the_client_were_new() -> None:
    plain, shared = Client("alias/a"), Client("alias/a", interop="analytics")
    for client, other in ((plain, shared), (shared, plain)):
        for started in (client, pickle.loads(pickle.dumps(client))):
            assert started.replace(interop=other.options.interop).options == other.options
    chosen = Client("alias/a", commitment_policy="REQUIRE_ENCRYPT_ALLOW_DECRYPT")
    with pytest.raises(PolicyConflictError):
        chosen.replace(interop="analytics")


def test_options_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Client("alias/a").options.allow_plaintext = True  # type: ignore[misc]


@pytest.mark.parametrize(
    "options",
    [
        {"format": "V4"},
        {"commitment_policy": "NONE"},
        {"encryption_context": {"a": 1}},
        {"encryption_context": {"aws:x-amz-cek-alg": "115"}},
        {"encryption_context": "a=b"},
        {"encryption_context": {"kms_cmk_id": "a"}},
        {"encryption_context": {"a": "\ud800"}},
        {"session": "default"},
        {"s3": "s3"},
        {"kms": "kms"},
        {"kms_key_id": ""},
        {"decrypt_key_ids": "alias/a"},
        {"kms_key_id": "arn:aws:s3:::lake"},
        {"kms_key_id": "arn:aws:kms:eu-west-1:key/1234"},
        {"kms_key_id": "alias/a\n"},
        {"kms_key_id": {"s3://lake": ""}},
        {"decrypt_key_ids": [None]},
        {"decrypt_key_ids": ["alias/a", "arn:aws:s3:::lake"]},
        {"region_name": 1},
        {"profile_name": b"work"},
        {"endpoint_url": 9000},
        {"kms_endpoint_url": ["http://127.0.0.1"]},
        {"max_plaintext_bytes": -1},
        {"max_plaintext_bytes": "1GB"},
        {"allow_plaintext": "false"},
        {"allow_plaintext": None},
        {"allow_insecure_kms_endpoint": "0"},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Client(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key", ["", " ", 5, b"alias/a", ["alias/a"], {"s3://lake": "alias/a"}, "arn:aws:s3:::lake"], ids=str
)
def test_what_names_no_kms_key_is_refused_by_each_call_and_never_stands_for_another_key(key: Any) -> None:
    client = Client("alias/a")
    for call in (
        lambda: client.put("s3://lake/o", b"x", kms_key_id=key),
        lambda: client.open("s3://lake/o", "wb", kms_key_id=key),
        lambda: client.get("s3://lake/o", kms_key_id=key),
        lambda: client.object("s3://lake/o", kms_key_id=key),
        lambda: arrowseal.arrow.read_table("s3://lake/o.parquet", client=client, kms_key_id=key),
        lambda: arrowseal.CSE(kms_key_id=key),
        lambda: arrowseal.SSE_KMS(key),
        lambda: arrowseal.operations.rewrap("s3://lake/", to_key=key, client=client),
    ):
        with pytest.raises(ConfigurationError, match="KMS key"):
            call()


@pytest.mark.parametrize(
    ("encryption", "said"),
    [("CSE", "str"), (True, "bool"), (arrowseal.CSE, "the class CSE"), (arrowseal.SSE_C, "the class SSE_C")],
)
def test_what_is_no_encryption_is_refused_by_reads_as_by_writes_before_any_request(encryption: Any, said: str) -> None:
    client = Client("alias/a", region_name="eu-west-1")
    frame = arrowseal.polars.pl.DataFrame({"a": [1]})
    for call in (
        lambda: client.put("s3://lake/o", b"x", encryption=encryption),
        lambda: client.get("s3://lake/o", encryption=encryption),
        lambda: client.object("s3://lake/o", encryption=encryption),
        lambda: client.open("s3://lake/o", encryption=encryption),
        lambda: client.head("s3://lake/o", encryption=encryption),
        lambda: client.exists("s3://lake/o", encryption=encryption),
        lambda: client.is_encrypted("s3://lake/o", encryption=encryption),
        lambda: client.copy("s3://lake/o", "s3://lake/p", encryption=encryption),
        lambda: client.copy("s3://lake/o", "s3://lake/p", source_encryption=encryption),
        lambda: client.move("s3://lake/o", "s3://lake/p", encryption=encryption),
        lambda: arrowseal.arrow.read_table("s3://lake/o.parquet", client=client, encryption=encryption),
        lambda: arrowseal.pandas.read_csv("s3://lake/o.csv", client=client, encryption=encryption),
        lambda: arrowseal.polars.write_parquet(frame, "s3://lake/o", client=client, encryption=encryption),
    ):
        with pytest.raises(ConfigurationError, match=f"^encryption= is CSE.* not {said}$"):
            call()
    assert not client._connections._made, "nothing was asked of boto3"


@pytest.mark.parametrize("told", ["no", "false", 0, None], ids=repr)
def test_a_switch_that_is_neither_true_nor_false_hands_out_nothing_unproven(told: Any) -> None:
    client = Client("alias/a", region_name="eu-west-1")
    with pytest.raises(ConfigurationError, match=r"^unauthenticated_ranges= is True or False"):
        client.object("s3://lake/o", unauthenticated_ranges=told)
    with pytest.raises(ConfigurationError, match=r"^unauthenticated_ranges= is True or False"):
        client.open("s3://lake/o", unauthenticated_ranges=told)


def test_what_is_no_client_is_refused_by_every_call_that_takes_one() -> None:
    stray: Any = "alias/tables"
    for call in (
        lambda: arrowseal.arrow.read_table("s3://lake/o.parquet", client=stray),
        lambda: arrowseal.arrow.dataset("s3://lake/", client=stray),
        lambda: arrowseal.arrow.write_dataset(None, "s3://lake/", client=stray),
        lambda: arrowseal.fs.SealedFileSystem(stray),
        lambda: arrowseal.operations.rewrap("s3://lake/", to_key="alias/a", client=stray),
        lambda: arrowseal.operations.migrate("s3://lake/", client=stray),
        lambda: arrowseal.operations.compact("s3://lake/", client=stray),
        lambda: arrowseal.athena.read_query_results("s3://lake/r.csv", client=stray),
    ):
        with pytest.raises(ConfigurationError, match=r"^client= takes an arrowseal\.Client, not str$"):
            call()


def test_what_no_listing_of_uploads_gives_is_refused_and_any_context_is_for_reads() -> None:
    client = Client("alias/a", region_name="eu-west-1")
    with pytest.raises(ConfigurationError, match=r"^abort_upload\(\) takes what uploads\(url\) lists, not str$"):
        client.abort_upload("s3://lake/o")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^encryption_context=ANY is for reads"):
        client.put("s3://lake/o", b"x", encryption_context=arrowseal.ANY)  # type: ignore[arg-type]


def test_an_error_over_a_key_that_is_no_text_does_not_show_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(b"a raw key, mistaken for a name")  # type: ignore[arg-type]
    assert "mistaken" not in str(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: arrowseal.TransferOptions(part_bytes="8MB"),  # type: ignore[arg-type]
        lambda: arrowseal.TransferOptions(concurrency=2.5),  # type: ignore[arg-type]
        lambda: arrowseal.TransferOptions(retries=3),  # type: ignore[arg-type]
        lambda: arrowseal.RetryOptions(attempts="3"),  # type: ignore[arg-type]
        lambda: arrowseal.RetryOptions(deadline_seconds=None),  # type: ignore[arg-type]
        lambda: arrowseal.DataKeyCache(max_age_seconds="60"),  # type: ignore[arg-type]
        lambda: arrowseal.SSE_KMS("alias/a", bucket_key="false"),  # type: ignore[arg-type]
    ],
)
def test_settings_of_another_type_are_refused_when_they_are_made(made: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        made()


@pytest.mark.parametrize("make", [Client, arrowseal.configure, Client("alias/a").replace])
def test_an_unknown_option_is_told_with_the_client_and_the_option_that_may_be_meant(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"^Client\(\) got an unexpected keyword argument 'kms_key': kms_key_id="):
        make(kms_key="alias/b")
    with pytest.raises(TypeError, match=r"^Client\(\) got an unexpected keyword argument 'zzz'$"):
        make(zzz=1)
    with pytest.raises(TypeError, match=r"^Client\(\) takes from 1 to 2 positional arguments"):
        Client("alias/a", "eu-west-1")  # type: ignore[call-arg, misc]


def test_a_client_pickles_by_reference_and_not_with_boto3_objects() -> None:
    client = Client("alias/a", region_name="eu-west-1", encryption_context={"team": "weather"})
    assert pickle.loads(pickle.dumps(client)).options == client.options
    assert pickle.loads(pickle.dumps(Client(interop="analytics"))).options.format is arrowseal.V2
    with pytest.raises(TypeError, match="profile_name"):
        pickle.dumps(Client("alias/a", kms=StrictKms()))  # type: ignore[arg-type]


def test_a_plain_http_kms_endpoint_off_loopback_is_refused_and_can_be_allowed_by_name() -> None:
    for endpoint in ("http://kms.example.com", "http://10.0.0.7:4566", "http://127.example.com"):
        with pytest.raises(InsecureEndpointError, match="allow_insecure_kms_endpoint"):
            Client("alias/a", kms=StrictKms(endpoint))  # type: ignore[arg-type]
        Client("alias/a", kms=StrictKms(endpoint), allow_insecure_kms_endpoint=True)  # type: ignore[arg-type]
    for endpoint in ("http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000", "https://kms.example.com"):
        Client("alias/a", kms=StrictKms(endpoint))  # type: ignore[arg-type]


def test_an_insecure_kms_endpoint_of_the_environment_is_refused_before_any_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.example.invalid")
    client = Client("alias/a", region_name="eu-west-1")
    with pytest.raises(InsecureEndpointError):
        client.get("s3://lake/a")
    with pytest.raises(InsecureEndpointError):
        client.put("s3://lake/a", b"")
