"""Small writes by the short way: what boto3 would have sent, and nothing that it would have sent otherwise."""

from __future__ import annotations

import io
import secrets
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from conformance_servers import Server, lane_over
from urllib3 import HTTPResponse

from arrowseal.counters import Operation
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import ObjectLocation
from arrowseal.store import Payload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.store import Store

LANES = ["boto3", "obstore"]
CONTENT = b"content of the object"
METADATA = {"x-amz-3": "AAEC", "x-amz-t": '{"who": "us"}', "note": "two  words"}
OF_ONE_CALL = {"amz-sdk-invocation-id", "amz-sdk-request", "authorization", "expect", "x-amz-date"}


class Wire:
    """Takes the place of the network under a boto3 client: keeps what is sent, and says that it was written."""

    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []
        self.bodies: list[bytes] = []

    def send(self, request: Any) -> AWSResponse:
        told = {name.lower(): value for name, value in dict(request.headers).items()}
        self.sent.append({name: value if isinstance(value, str) else value.decode() for name, value in told.items()})
        self.sent[-1]["the url"] = request.url
        self.bodies.append(bytes(request.body.read(-1)))
        headers = {"ETag": '"etag"', "x-amz-version-id": "v1"}
        raw: Any = HTTPResponse(io.BytesIO(), headers, 200, preload_content=False)
        return AWSResponse(request.url, 200, raw.headers, raw)


def wired(
    lane: str, monkeypatch: pytest.MonkeyPatch, config: Config | None = None, endpoint: str | None = None
) -> tuple[Store, Wire]:
    def session() -> boto3.Session:
        made = boto3.Session("access", "secret", "token", region_name="eu-central-1")
        if config is not None:
            made._session.set_default_client_config(config)  # type: ignore[attr-defined]
        return made

    connections, wire = Server("", endpoint or "", session)._replace(endpoint=endpoint).connections(), Wire()  # type: ignore[arg-type]
    monkeypatch.setattr(connections.s3()._endpoint.http_session, "send", wire.send)  # type: ignore[attr-defined]
    return lane_over(connections, lane), wire


def put(
    store: Store,
    content: bytes = CONTENT,
    metadata: Mapping[str, str] = METADATA,
    key: str = "d/ünder a+key%2F",
    **arguments: Any,
) -> Operation:
    location = ObjectLocation("bucket", key)
    operation = Operation("put", location)
    written = store.put(location, operation, Payload(content), metadata=metadata, arguments=arguments)
    assert (written.etag, written.version_id) == ("etag", "v1")
    assert operation.requests == 1
    return operation


CONFIGS = {
    "as usual": Config(),
    "bodies signed": Config(s3={"payload_signing_enabled": True}),
    "no checksums": Config(request_checksum_calculation="when_required"),
    "path style": Config(s3={"addressing_style": "path"}),
}


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"], ids=["AWS", "without TLS"])
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    "arguments", [{}, {"IfNoneMatch": "*", "ContentType": "text/csv"}, {"IfMatch": '"e"'}], ids=str
)
def test_the_second_write_says_what_the_first_said_by_boto3(
    monkeypatch: pytest.MonkeyPatch, lane: str, config: str, endpoint: str | None, arguments: dict[str, Any]
) -> None:
    store, wire = wired(lane, monkeypatch, CONFIGS[config], endpoint)
    put(store, **arguments)
    put(store, **arguments)
    by_boto3, by_us = wire.sent
    assert "amz-sdk-invocation-id" in by_boto3
    assert "amz-sdk-invocation-id" not in by_us
    for name in OF_ONE_CALL:
        by_boto3.pop(name, None)
        by_us.pop(name, None)
    assert by_us == by_boto3
    assert wire.bodies == [CONTENT] * 2


OTHERS: dict[str, dict[str, Any]] = {
    "long": {"content": bytes(2**20 + 1)},
    "another argument": {"StorageClass": "STANDARD_IA"},
    "a name in capitals": {"metadata": {"Note": "x"}},
    "an empty value": {"metadata": {"note": ""}},
    "a value with spaces around": {"metadata": {"note": " x "}},
}


@pytest.mark.parametrize("given", OTHERS)
@pytest.mark.parametrize("lane", LANES)
def test_what_the_short_way_does_not_carry_goes_by_boto3(
    monkeypatch: pytest.MonkeyPatch, lane: str, given: str
) -> None:
    store, wire = wired(lane, monkeypatch)
    for _ in range(2):
        put(store)
        put(store, **OTHERS[given])
    assert ["amz-sdk-invocation-id" in each for each in wire.sent] == [True, True, False, True]


@pytest.mark.parametrize("lane", LANES)
def test_metadata_that_http_cannot_carry_is_refused_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, lane: str
) -> None:
    store, wire = wired(lane, monkeypatch)
    put(store)
    with pytest.raises(ConfigurationError, match=r"(?i)non.ascii"):
        put(store, metadata={"note": "ü"})
    assert len(wire.sent) == 1


def test_two_writes_are_stored_alike(s3: Any, store: Store, bucket: str) -> None:
    stored = []
    for _ in range(2):
        location = ObjectLocation(bucket, f"alike/{secrets.token_hex(4)} ü+%2F")
        operation = Operation("put", location)
        store.put(location, operation, Payload(CONTENT), metadata=METADATA, arguments={"ContentType": "text/csv"})
        answer = s3.get_object(Bucket=bucket, Key=location.key, ChecksumMode="ENABLED")
        assert answer["Body"].read() == CONTENT
        stored.append([answer.get(name) for name in ("Metadata", "ContentType", "ETag", "ChecksumCRC32")])
    assert stored[0] == stored[1]
    assert stored[0][0] == METADATA
