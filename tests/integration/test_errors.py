"""What a user can get wrong, and what the world does: each has its error, which names the object and the way out."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

import arrowseal
from arrowseal import Client, RetryOptions, TransferOptions
from arrowseal.exceptions import (
    ArrowSealError,
    BucketNotFoundError,
    ConfigurationError,
    CredentialsError,
    DirectoryKeyError,
    ExpiredCredentialsError,
    KmsAccessDeniedError,
    KmsKeyMismatchError,
    KmsKeyNotFoundError,
    KmsUnavailableError,
    LocationError,
    NoKeyError,
    NotEncryptedError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
    StoreError,
    StoreUnansweredError,
    TransferError,
)
from doubles import http_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.local import LocalServers


def test_a_missing_object_is_also_file_not_found(client: Client, bucket: str) -> None:
    with pytest.raises(ObjectNotFoundError, match=f"s3://{bucket}/missing"):
        client.get(bucket=bucket, key="missing")
    with pytest.raises(FileNotFoundError):
        client.head(bucket=bucket, key="missing")
    with pytest.raises(FileNotFoundError):
        client.copy(f"s3://{bucket}/missing", f"s3://{bucket}/o")


def test_a_missing_bucket_is_named(client: Client) -> None:
    for call in (client.get, client.delete, client.list, lambda url: client.put(url, b"x")):
        with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
            call("s3://no-such-bucket/o")


def test_an_alias_that_does_not_exist_writes_nothing(client: Client, bucket: str) -> None:
    with pytest.raises(KmsKeyNotFoundError, match="alias/no-such-alias"):
        client.put(bucket=bucket, key="o", data=b"x", kms_key_id="alias/no-such-alias")
    assert not client.exists(bucket=bucket, key="o")


def test_a_read_under_another_key_is_refused_by_kms(client: Client, raw_kms: Any, bucket: str) -> None:
    client.put(bucket=bucket, key="o", data=b"x")
    other = raw_kms.create_key()["KeyMetadata"]["Arn"]
    # AWS answers IncorrectKeyException, moto AccessDeniedException.
    with pytest.raises((KmsKeyMismatchError, KmsAccessDeniedError), match=other):
        client.get(bucket=bucket, key="o", kms_key_id=other)


def test_without_any_key_a_read_and_a_write_fail_before_any_request(local_servers: LocalServers) -> None:
    keyless = local_servers.client(kms_key_id=None)
    with pytest.raises(NoKeyError, match="kms_key_id="):
        keyless.get("s3://no-such-bucket/o")
    with pytest.raises(NoKeyError, match="kms_key_id="):
        keyless.put("s3://no-such-bucket/o", b"x")


def test_without_credentials_the_error_says_how_to_give_them(local_servers: LocalServers) -> None:
    client = Client("alias/a", region_name="us-east-1", endpoint_url=local_servers.s3_endpoint)
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
        client.get("s3://lake/o")
    with pytest.raises(PermissionError):
        client.put("s3://lake/o", b"x")


def test_without_a_region_the_error_names_the_option() -> None:
    with pytest.raises(ConfigurationError, match="region_name="):
        Client("alias/a").get("s3://lake/o")


def test_a_profile_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no-such-profile"):
        Client("alias/a", profile_name="no-such-profile").get("s3://lake/o")


def test_a_session_and_a_profile_contradict_each_other(local_servers: LocalServers) -> None:
    with pytest.raises(ConfigurationError, match="session="):
        Client("alias/a", session=local_servers.session(), profile_name="default")


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_servers_that_cannot_be_reached_are_told_apart(
    local_servers: LocalServers, bucket: str, closed_port: str
) -> None:
    session = local_servers.session()
    no_s3 = local_servers.client(s3=session.client("s3", endpoint_url=closed_port))
    with pytest.raises(StoreError, match="GetObject failed"):
        no_s3.get(bucket=bucket, key="o")
    no_kms = local_servers.client(kms=session.client("kms", endpoint_url=closed_port))
    with pytest.raises(KmsUnavailableError, match="cannot be reached"):
        no_kms.put(bucket=bucket, key="o", data=b"x")
    assert not no_kms.exists(bucket=bucket, key="o")


@pytest.mark.parametrize("url", ["s3://lake/year=2013/", "s3://lake/", "s3://lake"])
def test_a_directory_like_key_is_refused_by_every_call(client: Client, url: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.get(url),
        lambda: client.put(url, b"x"),
        lambda: client.head(url),
        lambda: client.copy(url, "s3://lake/o"),
        lambda: arrowseal.pandas.read_feather(url, client=client),
    ]
    for call in calls:
        with pytest.raises(DirectoryKeyError):
            call()


def test_a_local_path_is_refused_with_the_form_that_is_expected(client: Client) -> None:
    with pytest.raises(LocationError, match="s3://bucket/key"):
        client.get("/data/flights.csv")


def test_an_empty_object_is_not_encrypted_and_not_an_empty_table(client: Client, raw_s3: Any, bucket: str) -> None:
    raw_s3.put_object(Bucket=bucket, Key="o.parquet", Body=b"")
    with pytest.raises(NotEncryptedError):
        client.get(bucket=bucket, key="o.parquet")
    with pytest.raises(NotEncryptedError):
        arrowseal.arrow.read_table(f"s3://{bucket}/o.parquet", client=client)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDenied", 403, StoreAccessDeniedError),
        ("NoSuchKey", 404, ObjectNotFoundError),
        ("NoSuchBucket", 404, BucketNotFoundError),
        ("ExpiredToken", 400, ExpiredCredentialsError),
        ("SignatureDoesNotMatch", 403, CredentialsError),
        ("SomethingNew", 400, StoreError),
    ],
)
def test_each_refusal_of_s3_is_an_error_of_its_own(
    local_servers: LocalServers, code: str, status: int, error: type[Exception]
) -> None:
    s3, body = local_servers.s3_client(), f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    s3.meta.events.register("before-send.s3.*", lambda request, **_: http_answer(request.url, status, body))
    client = local_servers.client(s3=s3)
    for call in (client.get, lambda url: client.put(url, b"x")):
        with pytest.raises(error, match="s3://lake/o") as caught:
            call("s3://lake/o")
        assert type(caught.value) is error


def test_who_may_not_list_is_told_the_one_permission_that_this_takes(local_servers: LocalServers) -> None:
    s3, body = local_servers.s3_client(), b"<Error><Code>AccessDenied</Code><Message>m</Message></Error>"
    s3.meta.events.register("before-send.s3.*", lambda request, **_: http_answer(request.url, 403, body))
    client = local_servers.client(s3=s3)
    with pytest.raises(StoreAccessDeniedError, match=r"needs s3:ListBucket$"):
        client.list("s3://lake/")
    with pytest.raises(StoreAccessDeniedError, match=r"needs s3:GetObject \(and s3:ListBucket to tell"):
        client.get("s3://lake/o")


def test_what_a_hook_of_the_caller_raises_comes_out_as_it_is_and_at_once(
    local_servers: LocalServers, bucket: str
) -> None:
    session, asked = local_servers.session(), []

    def veto(**_: Any) -> None:
        asked.append(1)
        raise ValueError("not while the market is open")

    session.events.register("before-sign.s3", veto)
    client = local_servers.client(session=session)
    for call in (client.get, lambda url: client.put(url, b"x")):
        asked.clear()
        with pytest.raises(ValueError, match="not while the market is open"):
            call(f"s3://{bucket}/o")
        assert len(asked) == 1


def test_a_date_that_is_none_is_an_answer_that_broke_off(local_servers: LocalServers, bucket: str) -> None:
    s3, seen = local_servers.session().client("s3", endpoint_url=local_servers.s3_endpoint), []

    def answer(request: Any, **_: Any) -> Any:
        seen.append(1)
        found = http_answer(request.url, 200)
        found.headers["Last-Modified"] = "the day after"
        return found

    s3.meta.events.register("before-send.s3", answer)
    options = TransferOptions(retries=RetryOptions(attempts=2, base_seconds=0.001, cap_seconds=0.01))
    with pytest.raises(StoreUnansweredError, match="broke off"):
        local_servers.client(s3=s3, transfer=options).head(f"s3://{bucket}/o")
    assert len(seen) == 2


def test_a_body_that_ends_early_hands_out_nothing(local_servers: LocalServers, client: Client, bucket: str) -> None:
    client.put(bucket=bucket, key="o", data=bytes(3 * 2**20))
    s3 = local_servers.s3_client()

    def cut(parsed: Any, **_: Any) -> None:
        parsed["ContentRange"] = f"bytes 0-1/{3 * 2**20 + 17}"  # one byte more than there is

    s3.meta.events.register("after-call.s3.GetObject", cut)
    with pytest.raises(TransferError, match=f"s3://{bucket}/o"):
        local_servers.client(s3=s3).get(bucket=bucket, key="o")


def test_every_error_is_in_the_tree_and_drawn_in_its_docstring() -> None:
    import arrowseal.exceptions as tree

    classes = [value for value in vars(tree).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) > 30
    for kind in classes:
        assert issubclass(kind, ArrowSealError)
        assert kind.__doc__
        assert kind.__name__ in str(tree.__doc__)
        assert str(kind("a message")) == "a message"
