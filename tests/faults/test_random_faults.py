"""Any sequence of faults: an operation has exactly the right outcome, or ends in an error and leaves nothing behind."""

from __future__ import annotations

import io
import itertools
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from broken_bodies import Fault
from broken_servers import BrokenServers
from fault_rules import in_turn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import arrowseal
from arrowseal.exceptions import ArrowSealError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal import Client

EXAMPLES = int(os.environ.get("ARROWSEAL_TEST_FAULT_EXAMPLES", "150"))
MIB = 2**20
LARGE = os.urandom(10 * MIB + 100_000)  # three parts of a write
MEDIUM = LARGE[: 3 * MIB + 12_345]  # four ranges of a read, one part of a write
SMALL = LARGE[:1000]
BEFORE = b"what was there before"
TABLE = pa.table({"a": list(range(1000)), "b": [f"row {number}" for number in range(1000)]})

PLACES = st.sampled_from([0, 1, 16, 100, 1000, MIB // 2, MIB - 1, MIB, 5 * MIB - 1, 5 * MIB])
STATUSES = [
    (503, "SlowDown"),
    (500, "InternalError"),
    (502, "BadGateway"),
    (504, "GatewayTimeout"),
    (400, "BadDigest"),
    (400, "RequestTimeout"),
    (400, "ExpiredToken"),
    (403, "AccessDenied"),
    (403, "RequestTimeTooSkewed"),
    (404, "NoSuchKey"),
    (404, "NoSuchUpload"),
    (409, "ConditionalRequestConflict"),
    (412, "PreconditionFailed"),
    (416, "InvalidRange"),
    (501, "NotImplemented"),
]
UNHEARD = (
    "lost-answer",
    "error-200-after",
    "truncate",
    "reset",
    "shorten",
    "flip",
    "gzip",
    "drop",
    "empty",
    "duplicate",
)
"""What may hide from the client that the server did what was asked."""
PASSING = [
    "cut-request",
    "truncate",
    "reset",
    "reset-before",
    "close-before",
    "close-after",
    "lost-answer",
    "chunked",
    "no-length",
    "upper",
]
PASSING_CODES = ("SlowDown", "InternalError", "BadGateway", "GatewayTimeout", "BadDigest", "RequestTimeout")
SURVIVED = 5
"""So many faults that pass are got over by whatever is done: a request has six attempts."""


def placed(kind: str, at: int) -> Fault:
    """A fault at a byte."""
    return Fault(kind, at)


def simple(*kinds: str) -> st.SearchStrategy[Fault]:
    """Faults without particulars."""
    return st.sampled_from([Fault(kind) for kind in kinds])


FAULTS = st.one_of(
    st.builds(lambda status: Fault("status", *status), st.sampled_from(STATUSES)),
    st.builds(
        lambda kind, at: Fault(kind, at),
        st.sampled_from(["cut-request", "truncate", "reset", "shorten", "flip"]),
        PLACES,
    ),
    st.sampled_from(
        [Fault(kind) for kind in ("reset-before", "close-before", "close-after", "lost-answer", "wrong-etag")]
    ),
    st.sampled_from([Fault(kind) for kind in ("gzip", "chunked", "no-length", "duplicate", "upper")]),
    st.sampled_from([Fault(kind, code="InternalError") for kind in ("error-200", "error-200-after")]),
    st.builds(
        lambda kind, name: Fault(kind, code=name),
        st.sampled_from(["drop", "empty"]),
        st.sampled_from(["ETag", "Content-Range", "x-amz-meta-x-amz-3", "x-amz-meta-x-amz-i", "x-amz-meta-x-amz-c"]),
    ),
)
PASSING_FAULTS = st.one_of(
    st.builds(placed, st.sampled_from(PASSING), PLACES),
    st.sampled_from([Fault("status", *status) for status in STATUSES if status[1] in PASSING_CODES]),
)
KMS_FAULTS = st.one_of(
    st.sampled_from(
        [Fault(kind) for kind in ("reset-before", "close-before", "lost-answer", "chunked", "close-after")]
    ),
    st.builds(
        lambda kind, at: Fault(kind, at), st.sampled_from(["truncate", "reset", "shorten"]), st.sampled_from([0, 1, 40])
    ),
    st.sampled_from(
        [
            Fault("status", 400, "ThrottlingException"),
            Fault("status", 500, "KMSInternalException"),
            Fault("status", 400, "AccessDeniedException"),
            Fault("status", 400, "ExpiredTokenException"),
        ]
    ),
)
READS = {"get small": 1, "get": 4, "read_table": 1}
WRITES = {"put small": 1, "put": 1, "put in parts": 5, "put a file": 5, "create only": 1, "write_table": 1}
NEEDED = READS | WRITES
"""The operations, and how many requests each takes."""


def sometimes(faults: st.SearchStrategy[Fault], most: int) -> Any:
    """What becomes of so many requests: a fault, or None."""
    return st.lists(st.one_of(st.none(), faults), max_size=most)


@pytest.fixture(scope="module")
def servers() -> Iterator[BrokenServers]:
    """Servers with what is read; nobody sleeps while they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: None)
        servers = BrokenServers()
        client = servers.client()
        client.put("s3://bucket/small", SMALL)
        client.put("s3://bucket/medium", MEDIUM)
        arrowseal.arrow.write_table(TABLE, "s3://bucket/t.parquet", client=client)
        yield servers
        servers.close()


@pytest.fixture(scope="module")
def clients(servers: BrokenServers) -> dict[str, Client]:
    """One for each way to S3, and one that is asked about the outcome."""
    given = servers.client(s3=servers.s3.client(), cache=None)
    lanes = {lane: servers.client(lane=lane, cache=None) for lane in ("boto3", "obstore")}
    return lanes | {"given": given, "observer": servers.client(lane="boto3")}


numbers = itertools.count()


def perform(client: Client, how: str, key: str) -> Any:
    """One operation; reads return what they read."""
    url = f"s3://bucket/{key}"
    match how:
        case "get small":
            return bytes(client.get("s3://bucket/small"))
        case "get":
            return bytes(client.get("s3://bucket/medium"))
        case "read_table":
            return arrowseal.arrow.read_table("s3://bucket/t.parquet", client=client)
        case "put small":
            client.put(url, SMALL)
        case "put":
            client.put(url, MEDIUM)
        case "put in parts":
            client.put(url, LARGE)
        case "put a file":
            client.put(url, io.BytesIO(LARGE))
        case "create only":
            client.put(url, SMALL, if_none_match="*")
        case "write_table":
            arrowseal.arrow.write_table(TABLE, url, client=client)
    return None


RIGHT: dict[str, Any] = {
    "get small": SMALL,
    "get": MEDIUM,
    "read_table": TABLE,
    "put small": SMALL,
    "put": MEDIUM,
    "put in parts": LARGE,
    "put a file": LARGE,
    "create only": SMALL,
}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lane=st.sampled_from(["boto3", "obstore", "given"]),
    how=st.sampled_from(sorted(NEEDED)),
    faults=sometimes(FAULTS, 12) | sometimes(PASSING_FAULTS, SURVIVED),
    kms_faults=st.just([]) | sometimes(KMS_FAULTS, 3),
)
@example(lane="given", how="put in parts", faults=[Fault("lost-answer")] * 6, kms_faults=[])
@example(lane="boto3", how="put a file", faults=[None, None, None, None, *[Fault("lost-answer")] * 20], kms_faults=[])
@example(lane="boto3", how="put in parts", faults=[None, *[Fault("status", 503)] * 99], kms_faults=[])
@example(lane="obstore", how="get", faults=[Fault("flip", MIB - 1), None, Fault("shorten", 1), None], kms_faults=[])
@example(lane="boto3", how="create only", faults=[Fault("lost-answer")] * 2, kms_faults=[Fault("truncate", 40)])
def test_any_sequence_of_faults_ends_in_the_right_outcome_or_in_an_error_of_ours(
    servers: BrokenServers,
    clients: dict[str, Client],
    lane: str,
    how: str,
    faults: list[Fault | None],
    kms_faults: list[Fault | None],
) -> None:
    observer, s3 = clients["observer"], servers.s3
    key = f"{next(numbers)}.parquet"
    before: Any = None
    if how in WRITES and how != "create only":
        before = observer.put(f"s3://bucket/{key}", BEFORE).etag
    s3.server.open_uploads.clear()
    s3.reset()
    servers.kms_proxy.reset()
    s3.rule, servers.kms_proxy.rule = in_turn(faults), in_turn(kms_faults)
    error: ArrowSealError | None = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            read = perform(clients[lane], how, key)
        except ArrowSealError as raised:
            error = raised
    sent, struck = len(s3.log), list(s3.struck)
    s3.rule = servers.kms_proxy.rule = lambda *_: None

    assert sent <= 2 * NEEDED[how] + 3 * len(struck) + 4, "no request without a reason"
    passing = all(
        fault.kind in PASSING or (fault.kind == "status" and fault.code in PASSING_CODES) for _, fault in struck
    )
    if passing and len(struck) <= SURVIVED and not servers.kms_proxy.struck:
        assert error is None, "what passes is got over"
    if how in READS:
        assert error is not None or read == RIGHT[how]
        return
    stored = s3.server.objects.get(f"/bucket/{key}")
    untouched = (stored.etag if stored else None) == before
    if error is None or not untouched:
        # Whole, and by any reader: also where the client could not learn that its write succeeded.
        if how == "write_table":
            assert arrowseal.arrow.read_table(f"s3://bucket/{key}", client=observer) == TABLE
        else:
            assert observer.get(f"s3://bucket/{key}") == RIGHT[how]
    if error is not None and not untouched:
        done = [name for name, fault in struck if fault.kind in UNHEARD]
        assert {"PutObject", "CompleteMultipartUpload"} & set(done), "failed, and yet it is there"
    left = set(s3.server.open_uploads)
    warned = {upload for upload in left for warning in said if upload in str(warning.message)}
    unknown = any(name == "CreateMultipartUpload" and fault.kind in UNHEARD for name, fault in struck)
    lied = any(name == "AbortMultipartUpload" and fault.code in ("NoSuchUpload", "NoSuchKey") for name, fault in struck)
    if not unknown and not lied:
        assert left == warned, "what is left over is told of"
    s3.server.objects.pop(f"/bucket/{key}", None)
