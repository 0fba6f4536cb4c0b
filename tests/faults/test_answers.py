"""Answers that are no answer to what was asked: each one is an error that says so, and nothing is asked in vain."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, FaultProxy
from fault_rules import always, on

import arrowseal
from arrowseal import PLAIN, Client
from arrowseal.exceptions import (
    AuthenticationError,
    ConfigurationError,
    MetadataError,
    NotEncryptedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    SecurityError,
    StoreError,
    StoreUnavailableError,
    TransferError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_bodies import Rule

    from arrowseal.local import LocalServers

    MakeClient = Callable[..., Client]

PART = 2**20
CONTENT = os.urandom(3 * PART)
FIRST, MIDDLE, LAST = 0, 1, 2


def named(value: Any) -> str:
    return f"{value.kind}-{value.at}-{value.code}" if isinstance(value, Fault) else str(value)


@pytest.fixture
def url(client: Client, bucket: str) -> str:
    """An object of three ranges; nothing else is in its bucket."""
    client.put(f"s3://{bucket}/o", CONTENT)
    return f"s3://{bucket}/o"


def at(position: int, fault: Fault, *, times: int = 1) -> Rule:
    """The fault for the first, the middle or the last range of a read."""
    return on("GetObject", fault, start=position * PART, times=times)


# --- no answer at all


@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "UploadPart", "CompleteMultipartUpload"])
def test_idle_connections_that_were_closed_are_made_anew(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, operation: str
) -> None:
    client, url, content = through_proxy(), f"s3://{bucket}/o", os.urandom(6 * PART)
    proxy.rule = always(operation, Fault("close-after"))
    for _ in range(2):
        client.put(url, content if "Upload" in operation else CONTENT)
        assert client.get(url) in (content, CONTENT)
    assert len(proxy.struck) >= 2


@pytest.mark.parametrize("lane", ["own"])
@pytest.mark.parametrize("how", ["get", "put", "put in parts", "read_table", "write_table"])
def test_a_host_that_is_not_found_for_a_moment_is_looked_for_again(
    through_proxy: MakeClient, client: Client, bucket: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    find = socket.getaddrinfo

    def fail_twice(*arguments: Any, **rest: Any) -> Any:
        asked.append(arguments)
        if len(asked) <= 2:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return find(*arguments, **rest)

    prepared(client, bucket)
    ours = through_proxy()
    monkeypatch.setattr(socket, "getaddrinfo", fail_twice)
    perform(ours, bucket, how)
    assert len(asked) >= 3


@pytest.mark.parametrize("how", ["get", "put", "put in parts", "read_table", "write_table"])
def test_a_server_that_refuses_connections_for_a_moment_is_asked_again(
    local_servers: LocalServers,
    client: Client,
    raw_kms: Any,
    impatient_session: Any,
    bucket: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared(client, bucket)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    late: list[FaultProxy] = []
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            late.append(FaultProxy(local_servers.s3_endpoint, port))

    monkeypatch.setattr(arrowseal.cancellation.time, "sleep", wait)
    ours = Client(
        local_servers.kms_key_arn, session=impatient_session, kms=raw_kms, endpoint_url=f"http://127.0.0.1:{port}"
    )
    try:
        perform(ours, bucket, how)
        assert len(pauses) >= 2
    finally:
        for server in late:
            server.close()


@pytest.mark.parametrize("how", ["get", "put", "put in parts", "read_table", "write_table"])
def test_a_server_that_stays_away_is_an_error_in_bounded_time(
    local_servers: LocalServers,
    raw_kms: Any,
    impatient_session: Any,
    bucket: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    pauses: list[float] = []
    monkeypatch.setattr(arrowseal.cancellation.time, "sleep", pauses.append)
    retries = arrowseal.RetryOptions(attempts=4)
    client = Client(
        local_servers.kms_key_arn,
        session=impatient_session,
        kms=raw_kms,
        endpoint_url=nobody,
        transfer=arrowseal.TransferOptions(retries=retries),
    )
    with pytest.raises(StoreUnavailableError, match=f"s3://{bucket}/"):
        perform(client, bucket, how)
    assert len(pauses) <= 2 * 3, "three for what was asked, three more for whether it was done nonetheless"


def prepared(client: Client, bucket: str) -> None:
    import pyarrow as pa

    client.put(f"s3://{bucket}/o", CONTENT)
    arrowseal.arrow.write_table(pa.table({"a": [1, 2]}), f"s3://{bucket}/t.parquet", client=client)


def perform(client: Client, bucket: str, how: str) -> None:
    """One operation of each kind, and whether its outcome is right."""
    import pyarrow as pa

    table = pa.table({"a": [1, 2]})
    match how:
        case "get":
            assert client.get(f"s3://{bucket}/o") == CONTENT
        case "put":
            client.put(f"s3://{bucket}/new", b"new")
            assert client.get(f"s3://{bucket}/new") == b"new"
        case "put in parts":
            large = os.urandom(9 * PART)
            client.put(f"s3://{bucket}/new", large)
            assert client.get(f"s3://{bucket}/new") == large
        case "read_table":
            assert arrowseal.arrow.read_table(f"s3://{bucket}/t.parquet", client=client).equals(table)
        case "write_table":
            arrowseal.arrow.write_table(table, f"s3://{bucket}/n.parquet", client=client)
            assert arrowseal.arrow.read_table(f"s3://{bucket}/n.parquet", client=client).equals(table)


# --- not here, not any more, not so


def test_an_object_that_is_not_there_is_asked_for_once(through_proxy: MakeClient, proxy: FaultProxy, url: str) -> None:
    proxy.rule = always("GetObject", Fault("status", 404, "NoSuchKey"))
    with pytest.raises(ObjectNotFoundError, match=url):
        through_proxy().get(url)
    assert len(proxy.log) == 1


def test_delete_markers_and_versions_that_are_gone_are_not_found(
    through_proxy: MakeClient, raw_s3: Any, bucket: str
) -> None:
    raw_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client, url = through_proxy(), f"s3://{bucket}/o"
    first = client.put(url, b"first").version_id
    client.put(url, b"second")
    raw_s3.delete_object(Bucket=bucket, Key="o", VersionId=first)
    marker = raw_s3.delete_object(Bucket=bucket, Key="o")["VersionId"]
    for version_id in (None, marker, first):
        with pytest.raises(ObjectNotFoundError, match=url):
            client.get(url, version_id=version_id)
        with pytest.raises(ObjectNotFoundError, match=url):
            client.head(url, version_id=version_id)


@pytest.mark.parametrize("position", [FIRST, MIDDLE, LAST])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", 304, "NotModified"), StoreError),
        (Fault("status", 412, "PreconditionFailed"), PreconditionFailedError),
        (Fault("status", 416, "InvalidRange"), TransferError),
        (Fault("status", 400, "SomethingNew"), StoreError),
    ],
    ids=named,
)
def test_a_status_that_refuses_is_an_error_of_its_own_wherever_it_comes(
    through_proxy: MakeClient, proxy: FaultProxy, url: str, fault: Fault, error: type[StoreError], position: int
) -> None:
    proxy.rule = at(position, fault, times=99)
    if fault.at == 416 and position == FIRST:
        assert through_proxy().get(url) == CONTENT, "without a range, as an empty object has to be asked for"
        return
    with pytest.raises(error, match=url):
        through_proxy().get(url)
    assert len(proxy.log) <= 4 * 3


@pytest.mark.parametrize("arm", [None, PLAIN])
def test_empty_objects_are_read(through_proxy: MakeClient, client: Client, raw_s3: Any, bucket: str, arm: Any) -> None:
    client.put(f"s3://{bucket}/empty", b"", encryption=arm)
    assert through_proxy().get(f"s3://{bucket}/empty", allow_plaintext=True) == b""


# --- elsewhere


@pytest.mark.parametrize("lane", ["own"])
@pytest.mark.parametrize(
    "refusal",
    [
        Fault("status", 301, "PermanentRedirect"),
        Fault("status", 307, "TemporaryRedirect"),
        Fault("status", 400, "AuthorizationHeaderMalformed"),
    ],
    ids=named,
)
@pytest.mark.parametrize("how", ["get", "put", "put in parts", "read_table", "write_table"])
def test_a_bucket_of_another_region_is_followed_there(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, refusal: Fault, how: str
) -> None:
    prepared(client, bucket)
    there = refusal._replace(headers=(("x-amz-bucket-region", "eu-west-1"),))

    def rule(_method: str, _path: str, headers: dict[str, str]) -> Fault | None:
        return None if "/eu-west-1/s3/" in headers["authorization"] else there

    proxy.rule = rule
    perform(through_proxy(), bucket, how)
    assert 1 <= len(proxy.struck) <= 6


# --- a server that knows no checksums


@pytest.mark.parametrize("lane", ["own"])
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("NotImplemented", 501),
        ("MissingContentMD5", 400),
        ("XAmzContentSHA256Mismatch", 400),
        ("MissingContentLength", 411),
    ],
)
@pytest.mark.parametrize("operation", ["PutObject", "CreateMultipartUpload", "UploadPart"])
def test_a_server_that_rejects_checksums_is_answered_with_the_setting_and_not_with_less_integrity(
    through_proxy: MakeClient, proxy: FaultProxy, raw_s3: Any, bucket: str, operation: str, code: str, status: int
) -> None:
    proxy.rule = always(operation, Fault("status", status, code))
    with pytest.raises(StoreError, match='request_checksum_calculation="when_required"') as caught:
        through_proxy().put(f"s3://{bucket}/o", b"x" if operation == "PutObject" else bytes(6 * PART))
    assert f"s3://{bucket}/o" in str(caught.value)
    sent = [seen for seen in proxy.log if seen.operation in ("PutObject", "UploadPart")]
    assert all("x-amz-checksum-crc32" in seen.headers for seen in sent)
    assert proxy.count(operation) <= 2, "parts that were on their way together, and no second try"
    assert not raw_s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


# --- metadata


V3_HEADERS = ["x-amz-c", "x-amz-3", "x-amz-w", "x-amz-d", "x-amz-i"]


@pytest.mark.parametrize("kind", ["drop", "empty"])
@pytest.mark.parametrize("name", V3_HEADERS)
def test_metadata_that_lacks_a_value_is_refused(
    through_proxy: MakeClient, proxy: FaultProxy, url: str, name: str, kind: str
) -> None:
    proxy.rule = always("GetObject", Fault(kind, code=f"x-amz-meta-{name}"))
    with pytest.raises(SecurityError, match=url) as caught:
        through_proxy().get(url)
    assert isinstance(caught.value, MetadataError | UnsupportedFormatError)


@pytest.mark.parametrize("name", ["x-amz-key-v2", "x-amz-iv", "x-amz-cek-alg"])
def test_metadata_of_two_formats_is_refused(through_proxy: MakeClient, proxy: FaultProxy, url: str, name: str) -> None:
    proxy.rule = always("GetObject", Fault("extra", code=f"x-amz-meta-{name}", message="AAAA"))
    with pytest.raises(MetadataError, match=url):
        through_proxy().get(url)


@pytest.mark.parametrize("fault", [Fault("upper"), Fault("extra", code="x-amz-meta-note", message="x")], ids=named)
def test_names_in_upper_case_and_metadata_of_others_change_nothing(
    through_proxy: MakeClient, proxy: FaultProxy, url: str, fault: Fault
) -> None:
    proxy.rule = always("GetObject", fault)
    assert through_proxy().get(url) == CONTENT


def test_metadata_that_is_too_long_is_refused_before_any_request(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str
) -> None:
    client = through_proxy()
    for write in (client.put, lambda url, data, **rest: client.open(url, "wb", **rest).write(data)):
        with pytest.raises(ConfigurationError, match="2,048"):
            write(f"s3://{bucket}/o", b"x", s3_additional_kwargs={"Metadata": {"note": "x" * 2000}})
    assert proxy.log == []


def test_an_object_whose_metadata_lies_in_an_instruction_file_is_told_from_one_that_is_not_encrypted(
    through_proxy: MakeClient, raw_s3: Any, bucket: str
) -> None:
    client, url = through_proxy(), f"s3://{bucket}/o"
    raw_s3.put_object(Bucket=bucket, Key="o", Body=b"x")
    with pytest.raises(NotEncryptedError, match=url):
        client.get(url)
    raw_s3.put_object(Bucket=bucket, Key="o.instruction", Body=b"{}")
    with pytest.raises(UnsupportedFormatError, match=f"{url}.*o.instruction"):
        client.get(url)


# --- HTTP that is legal, or nearly so


@pytest.mark.parametrize("position", [FIRST, MIDDLE, LAST])
@pytest.mark.parametrize("kind", ["chunked", "no-length"])
def test_a_body_without_a_length_is_read(
    through_proxy: MakeClient, proxy: FaultProxy, url: str, kind: str, position: int
) -> None:
    proxy.rule = at(position, Fault(kind), times=99)
    assert through_proxy().get(url) == CONTENT


@pytest.mark.parametrize("position", [FIRST, MIDDLE, LAST])
@pytest.mark.parametrize("kind", ["duplicate", "gzip"])
def test_doubled_headers_and_compressed_bodies_give_the_right_bytes_or_a_typed_error(
    through_proxy: MakeClient, proxy: FaultProxy, url: str, kind: str, position: int
) -> None:
    proxy.rule = at(position, Fault(kind), times=99)
    try:
        assert through_proxy().get(url) == CONTENT
    except (StoreError, MetadataError, AuthenticationError) as error:
        assert url in str(error)  # noqa: PT017 - either outcome is right
    assert len(proxy.log) <= 3 * 4 * 2


@pytest.mark.parametrize("lane", ["own"])
@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (operation, kind)
        for operation in ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
        for kind in ("chunked", "no-length", "duplicate", "gzip", "upper")
        if (operation, kind) != ("CreateMultipartUpload", "gzip")  # nobody learns which upload that is
    ],
)
def test_answers_to_writes_are_understood_however_they_are_written(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, raw_s3: Any, bucket: str, kind: str, operation: str
) -> None:
    url, content = f"s3://{bucket}/o", b"x" if operation == "PutObject" else os.urandom(6 * PART)
    proxy.rule = always(operation, Fault(kind))
    try:
        through_proxy().put(url, content)
    except StoreError:
        assert kind in ("duplicate", "gzip"), "boto3 asks for no compression, and does not undo it"
        assert not client.exists(url)
    else:
        assert client.get(url) == content
    assert proxy.struck
    assert not raw_s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
