"""Writes in parts through faults: a part is sent again as it was, and what fails leaves neither object nor parts."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, FaultProxy, part_of
from fault_rules import always, either, on

import arrowseal
from arrowseal import PLAIN, SSE_C, Client
from arrowseal.exceptions import ArrowSealError, PreconditionFailedError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeClient = Callable[..., Client]

PART = 5 * 2**20
CONTENT = os.urandom(2 * PART + 100_000)
FIRST, MIDDLE, LAST = 1, 2, 3
PASSING = [
    Fault("status", 503, "SlowDown"),
    Fault("status", 500, "InternalError"),
    Fault("status", 400, "BadDigest"),
    Fault("reset-before"),
    Fault("close-before"),
    Fault("cut-request", 50_000),
    Fault("lost-answer"),
]


def named(value: Any) -> str:
    return f"{value.kind}-{value.at}-{value.code}" if isinstance(value, Fault) else str(value)


@pytest.fixture
def lane() -> str:
    """Writes go one way, through boto3, whoever made its client: where tests say nothing else, it is our own."""
    return "own"


@pytest.fixture(params=["CSE V3", "PLAIN"])
def arm(request: pytest.FixtureRequest) -> Any:
    """How it is written."""
    return None if request.param == "CSE V3" else PLAIN


@pytest.fixture
def nothing_left(raw_s3: Any, bucket: str) -> Callable[[], bool]:
    """Whether no upload is open in the bucket."""
    return lambda: not raw_s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def digests(proxy: FaultProxy) -> dict[int, list[str]]:
    """What came in of each part, in order."""
    found: dict[int, list[str]] = {}
    for seen in proxy.log:
        number = part_of(seen.path)
        if number is not None and seen.body:
            found.setdefault(number, []).append(hashlib.sha256(seen.body).hexdigest())
    return found


def written(client: Client, url: str, how: str, **options: Any) -> Any:
    """The result of a write of CONTENT: from memory, from a file, or into a file."""
    if how == "open":
        with client.open(url, "wb", **options) as file:
            for start in range(0, len(CONTENT), 700_000):
                file.write(CONTENT[start : start + 700_000])
        return file.result
    return client.put(url, CONTENT if how == "bytes" else io.BytesIO(CONTENT), **options)


@pytest.mark.parametrize("lane", ["own", "given"])
@pytest.mark.parametrize("how", ["bytes", "file", "open"])
def test_without_faults_each_part_is_sent_once(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, arm: Any, how: str, nothing_left: Callable[[], bool]
) -> None:
    client, url = through_proxy(), f"s3://{bucket}/o"
    result = written(client, url, how, encryption=arm)
    assert sorted(digests(proxy)) == [1, 2, 3]
    assert list(client.counters)[-1].requests == len(proxy.log) == (5 if arm is PLAIN else 6)
    assert (client.head(url).etag, result.stored_bytes) == (result.etag, client.head(url).stored_bytes)
    assert client.get(url, allow_plaintext=True) == CONTENT
    assert nothing_left()


@pytest.mark.parametrize("fault", PASSING, ids=named)
@pytest.mark.parametrize("part", [FIRST, MIDDLE, LAST])
def test_a_part_that_fails_is_sent_again_as_it_was_and_no_other_is(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    fault: Fault,
    part: int,
    nothing_left: Callable[[], bool],
) -> None:
    url = f"s3://{bucket}/o"
    proxy.rule = on("UploadPart", fault, part=part, times=2)
    ours = through_proxy()
    written(ours, url, "open")
    assert len(proxy.struck) == 2
    sent = [part_of(seen.path) for seen in proxy.log if seen.operation == "UploadPart"]
    assert sorted(number for number in sent if number) == sorted([1, 2, 3, part, part])
    assert all(len(set(bodies)) == 1 for bodies in digests(proxy).values())
    record = list(ours.counters)[-1]
    assert (record.kms_calls, record.retries, record.requests) == (1, 2, len(proxy.log))
    assert client.get(url) == CONTENT
    assert nothing_left()


def test_a_buffer_that_is_filled_anew_after_each_write_is_stored_as_it_was(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, arm: Any
) -> None:
    url, buffer = f"s3://{bucket}/o", bytearray(PART)
    proxy.rule = either(*(on("UploadPart", Fault("lost-answer"), part=part) for part in (FIRST, MIDDLE, LAST)))
    with through_proxy().open(url, "wb", encryption=arm) as file:
        for start in range(0, len(CONTENT), PART):
            piece = CONTENT[start : start + PART]
            buffer[: len(piece)] = piece
            with memoryview(buffer)[: len(piece)] as view:
                file.write(view)
            buffer[:] = bytes(PART)
    assert {number: len(set(bodies)) for number, bodies in digests(proxy).items()} == {1: 1, 2: 1, 3: 1}
    assert client.get(url, allow_plaintext=True) == CONTENT


def test_a_buffer_that_may_change_is_sealed_from_a_snapshot_of_each_part(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, arm: Any
) -> None:
    source, url = bytearray(CONTENT), f"s3://{bucket}/o"
    lose = either(*(on("UploadPart", Fault("lost-answer"), part=part) for part in (FIRST, MIDDLE, LAST)))

    def rule(*request: Any) -> Fault | None:
        fault = lose(*request)
        if fault:
            source[:] = os.urandom(len(source))
        return fault

    proxy.rule = rule
    through_proxy().put(url, source, encryption=arm)
    assert {number: len(set(bodies)) for number, bodies in digests(proxy).items()} == {1: 1, 2: 1, 3: 1}
    client.get(url, allow_plaintext=True)  # some state of the source, and authentic


@pytest.mark.parametrize(
    ("fault", "part"),
    [(Fault("status", 503), FIRST), (Fault("reset-before"), MIDDLE), (Fault("status", 503), LAST)],
    ids=named,
)
def test_a_part_that_fails_for_good_leaves_no_object_and_no_parts(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    arm: Any,
    fault: Fault,
    part: int,
    nothing_left: Callable[[], bool],
) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, b"before")
    proxy.rule = always("UploadPart", fault, part=part)
    with pytest.raises(StoreUnavailableError, match=url):
        written(through_proxy(), url, "open", encryption=arm)
    assert sum(1 for seen in proxy.log if part_of(seen.path) == part) == 4
    assert nothing_left()
    assert client.get(url) == b"before"


@pytest.mark.parametrize("fault", [Fault("status", 503), Fault("reset-before"), Fault("close-before")], ids=named)
def test_an_upload_that_cannot_begin_at_once_begins_later(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    fault: Fault,
    nothing_left: Callable[[], bool],
) -> None:
    url = f"s3://{bucket}/o"
    proxy.rule = on("CreateMultipartUpload", fault, times=2)
    written(through_proxy(), url, "bytes")
    assert client.get(url) == CONTENT
    assert nothing_left()


def test_an_upload_that_cannot_begin_at_all_leaves_nothing(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, nothing_left: Callable[[], bool]
) -> None:
    proxy.rule = always("CreateMultipartUpload", Fault("status", 503))
    with pytest.raises(StoreUnavailableError):
        written(through_proxy(), f"s3://{bucket}/o", "open")
    assert nothing_left()
    assert not client.exists(f"s3://{bucket}/o")


COMPLETING = [
    Fault("status", 503, "SlowDown"),
    Fault("status", 500, "InternalError"),
    Fault("error-200", code="InternalError"),
    Fault("error-200-after", code="InternalError"),
    Fault("reset-before"),
    Fault("lost-answer"),
]


@pytest.mark.parametrize("lane", ["own", "given"])
@pytest.mark.parametrize("fault", COMPLETING, ids=named)
@pytest.mark.parametrize(("arm", "times", "condition"), [(None, 1, None), (None, 3, "*"), (PLAIN, 1, "*")], ids=str)
def test_a_completion_whose_outcome_is_unknown_is_settled(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    arm: Any,
    fault: Fault,
    times: int,
    condition: str | None,
    nothing_left: Callable[[], bool],
) -> None:
    url = f"s3://{bucket}/o"
    proxy.rule = on("CompleteMultipartUpload", fault, times=times)
    result = written(through_proxy(), url, "bytes", encryption=arm, if_none_match=condition)
    assert result.etag == client.head(url).etag
    assert client.get(url, allow_plaintext=True) == CONTENT
    assert nothing_left()


def test_an_upload_that_is_gone_after_a_lost_answer_is_the_object(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, arm: Any
) -> None:
    url = f"s3://{bucket}/o"
    gone = Fault("status", 404, "NoSuchUpload")
    proxy.rule = either(
        on("CompleteMultipartUpload", Fault("lost-answer")), on("CompleteMultipartUpload", gone, times=9)
    )
    result = written(through_proxy(), url, "bytes", encryption=arm)
    assert result.etag == client.head(url).etag
    assert client.get(url, allow_plaintext=True) == CONTENT


def test_after_a_lost_answer_an_object_under_a_customer_key_is_looked_at_with_that_key(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str
) -> None:
    gone = Fault("status", 404, "NoSuchUpload")
    proxy.rule = either(
        on("CompleteMultipartUpload", Fault("lost-answer")), on("CompleteMultipartUpload", gone, times=9)
    )
    assert written(through_proxy(), f"s3://{bucket}/o", "bytes", encryption=SSE_C(b"k" * 32)).etag
    heads = [seen.headers for seen in proxy.log if seen.operation == "HeadObject"]
    assert ["x-amz-server-side-encryption-customer-key" in headers for headers in heads] == [True]


def test_an_upload_that_somebody_swept_is_an_error_and_not_somebody_elses_object(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, arm: Any
) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, b"theirs")
    proxy.rule = always("CompleteMultipartUpload", Fault("status", 404, "NoSuchUpload"))
    with pytest.raises(StoreError, match=url):
        written(through_proxy(), url, "bytes", encryption=arm)
    assert client.get(url) == b"theirs"


def test_a_create_only_upload_that_was_overtaken_leaves_the_others_object_and_no_parts(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    arm: Any,
    nothing_left: Callable[[], bool],
) -> None:
    url = f"s3://{bucket}/o"
    lose = on("CompleteMultipartUpload", Fault("reset-before"))

    def rule(*request: Any) -> Fault | None:
        fault = lose(*request)
        if fault:
            client.put(url, b"theirs")
        return fault

    proxy.rule = rule
    with pytest.raises(PreconditionFailedError, match=url):
        written(through_proxy(), url, "open", encryption=arm, if_none_match="*")
    assert client.get(url) == b"theirs"
    assert nothing_left()


@pytest.mark.parametrize("fault", [Fault("status", 503), Fault("error-200", code="InternalError")], ids=named)
def test_a_completion_that_fails_for_good_leaves_no_object_and_no_parts(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    fault: Fault,
    nothing_left: Callable[[], bool],
) -> None:
    url = f"s3://{bucket}/o"
    proxy.rule = always("CompleteMultipartUpload", fault)
    with pytest.raises(StoreUnavailableError, match=url):
        written(through_proxy(), url, "bytes")
    assert not client.exists(url)
    assert nothing_left()


@pytest.mark.parametrize("part", [FIRST, LAST])
def test_a_part_that_is_acknowledged_under_a_wrong_etag_leaves_no_object_and_no_parts(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    part: int,
    nothing_left: Callable[[], bool],
) -> None:
    url = f"s3://{bucket}/o"
    proxy.rule = on("UploadPart", Fault("wrong-etag"), part=part)
    with pytest.raises(StoreError, match=url):
        written(through_proxy(), url, "bytes")
    assert not client.exists(url)
    assert nothing_left()


def test_an_abort_that_fails_for_a_moment_is_repeated(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, nothing_left: Callable[[], bool]
) -> None:
    proxy.rule = on("AbortMultipartUpload", Fault("status", 503), times=2)
    file = through_proxy().open(f"s3://{bucket}/o", "wb")
    file.write(CONTENT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file.abort()
    assert nothing_left()


def test_an_abort_that_fails_warns_of_the_upload_and_hides_no_error(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, raw_s3: Any
) -> None:
    url = f"s3://{bucket}/o"
    proxy.rule = either(
        always("AbortMultipartUpload", Fault("status", 503)), always("UploadPart", Fault("status", 403, "AccessDenied"))
    )
    with pytest.warns(ResourceWarning, match="arrowseal uploads") as caught, pytest.raises(ArrowSealError, match=url):
        written(through_proxy(), url, "bytes")
    (left,) = raw_s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert any(left["UploadId"] in str(warning.message) for warning in caught)


@pytest.mark.parametrize(("error", "after_parts"), [(ValueError, 0), (KeyboardInterrupt, 1), (SystemExit, 3)])
def test_an_error_in_the_block_leaves_nothing(
    through_proxy: MakeClient,
    client: Client,
    bucket: str,
    error: type[BaseException],
    after_parts: int,
    nothing_left: Callable[[], bool],
) -> None:
    def write() -> None:
        with through_proxy().open(f"s3://{bucket}/o", "wb") as file:
            file.write(bytes(after_parts * PART))
            raise error

    with pytest.raises(error):
        write()
    assert nothing_left()
    assert not client.exists(f"s3://{bucket}/o")


@pytest.mark.parametrize("lane", ["own", "given"])
@pytest.mark.parametrize("fault", [Fault("lost-answer"), Fault("status", 503), Fault("cut-request", 50_000)], ids=named)
def test_a_table_is_written_in_parts_through_faults(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, fault: Fault, nothing_left: Callable[[], bool]
) -> None:
    import pyarrow as pa

    url, noise = f"s3://{bucket}/t.arrow", os.urandom(9 * 10**6)
    table = pa.table({"a": pa.array([noise[i : i + 9] for i in range(0, len(noise), 9)], pa.binary(9))})
    proxy.rule = either(*(on("UploadPart", fault, part=part) for part in (FIRST, 2)))
    arrowseal.arrow.write_table(table, url, client=through_proxy())
    assert arrowseal.arrow.read_table(url, client=through_proxy()).equals(table)
    assert proxy.struck
    assert nothing_left()
