"""Which lane is taken, and what a lane does where boto3 would have done something of its own."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from broken_bodies import Fault, FaultProxy
from conformance_servers import LANES, Server, lane_over

from arrowseal import Client
from arrowseal.connections import Connections
from arrowseal.counters import Operation
from arrowseal.exceptions import ConfigurationError, ObjectNotFoundError
from arrowseal.lanes import store_of
from arrowseal.location import ObjectLocation
from arrowseal.options import ClientOptions
from arrowseal.store import Payload
from arrowseal.store_boto3 import Boto3Store
from arrowseal.store_lean import LeanStore
from arrowseal.store_obstore import ObstoreStore, _Company

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers
    from arrowseal.store import Store

SHORT_WAYS = ["boto3", "obstore"]
CONTENT = b"content of the object"
LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


def read(store: Store, location: ObjectLocation, operation: Operation | None = None) -> bytes:
    operation = operation or Operation("get", location)
    _, body = store.get(location, operation, byte_range=(0, 2**23), arguments={})
    content = bytearray(100)
    count = body.readinto(memoryview(content))
    assert body.readinto(memoryview(bytearray(1))) == 0
    body.close()
    return bytes(content[:count])


@pytest.fixture
def moto(local_servers: LocalServers) -> Server:
    return Server("moto", local_servers.s3_endpoint, local_servers.session)


@pytest.fixture
def sealed(raw_s3: Any) -> ObjectLocation:
    """An object on moto that looks client-side encrypted."""
    bucket = f"bucket-{secrets.token_hex(6)}"
    raw_s3.create_bucket(Bucket=bucket)
    raw_s3.put_object(Bucket=bucket, Key="sealed", Body=CONTENT, Metadata={"x-amz-key-v2": "AAEC"}, ACL="public-read")
    return ObjectLocation(bucket, "sealed")


def test_obstore_is_the_lane_where_it_is_installed_and_boto3_where_that_is_said(moto: Server) -> None:
    connections = moto.connections()
    assert type(store_of(connections, "auto")) is ObstoreStore
    assert type(store_of(connections, "obstore")) is ObstoreStore
    assert type(store_of(connections, "boto3")) is LeanStore


def test_a_read_alone_goes_over_boto3s_connections_and_those_beside_others_by_obstore(
    moto: Server, sealed: ObjectLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    by_obstore: list[str] = []
    get = obstore.get
    monkeypatch.setattr(
        "arrowseal.store_obstore._obstore",
        lambda: (lambda *a, **k: by_obstore.append(a[1]) or get(*a, **k), (OSError,)),
    )
    store = store_of(moto.connections(), "auto")
    for _ in range(5):
        assert read(store, sealed) == CONTENT
    assert by_obstore == []

    answer, beside = LeanStore.answer, []

    def answered(*arguments: Any) -> Any:
        if not beside:  # while the first is under way
            beside.append(None)
            beside.append(read(store, sealed))
        return answer(*arguments)

    monkeypatch.setattr(LeanStore, "answer", answered)
    assert read(store, sealed) == CONTENT
    assert (beside, by_obstore) == ([None, CONTENT], ["sealed"])

    for _ in range(2 * 64):
        assert read(store, sealed) == CONTENT
    assert len(by_obstore) == 1 + 64, "then it was seen to be alone again"


def test_reads_that_count_down_at_once_do_not_put_the_next_look_off_for_ever() -> None:
    company = _Company()
    company._beside_others = -1  # what two of them leave that both saw a one
    assert company.alone()
    company.left()


def test_an_s3_client_that_was_handed_in_is_used_as_it_is(moto: Server) -> None:
    connections = Connections(ClientOptions(), None, moto.s3(), None)
    assert type(store_of(connections, "auto")) is Boto3Store
    with pytest.raises(ConfigurationError, match="handed in"):
        store_of(connections, "obstore")


def test_an_unknown_lane_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="lane='curl' is not known"):
        Client("alias/a", lane="curl")  # type: ignore[arg-type]


@pytest.mark.parametrize("lane", SHORT_WAYS)
def test_hooks_on_the_session_see_every_request(moto: Server, lane: str, sealed: ObjectLocation) -> None:
    session, seen = moto.session(), []
    session.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    store = moto.store(lane, session)
    for _ in range(4):
        assert read(store, sealed) == CONTENT
    assert len(seen) == 4


@pytest.mark.parametrize("lane", SHORT_WAYS)
def test_anonymous_requests_stay_anonymous(moto: Server, lane: str, sealed: ObjectLocation) -> None:
    from botocore import UNSIGNED
    from botocore.config import Config

    session = moto.session()
    session._session.set_default_client_config(Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}))
    connections = moto.connections(session)
    store = lane_over(connections, lane)
    assert [read(store, sealed), read(store, sealed)] == [CONTENT] * 2
    assert connections.endpoints().of(sealed.bucket) is None


def test_refreshed_credentials_sign_the_next_request(
    moto: Server, sealed: ObjectLocation, local_servers: LocalServers
) -> None:
    from botocore.credentials import Credentials

    proxy = FaultProxy(local_servers.s3_endpoint)
    session = moto.session()
    rotating = Credentials("FIRST", "secret", "first-token")
    session._session._credentials = rotating
    store = moto._replace(endpoint=proxy.endpoint).store("boto3", session)
    read(store, sealed)
    read(store, sealed)
    rotating.access_key, rotating.token = "SECOND", "second-token"
    read(store, sealed)
    headers = [{name.lower(): value for name, value in seen.headers.items()} for seen in proxy.log]
    proxy.close()
    assert [each["x-amz-security-token"] for each in headers] == ["first-token", "first-token", "second-token"]
    assert ["Credential=SECOND" in each["authorization"] for each in headers] == [False, False, True]


def test_credentials_that_cannot_be_refreshed_after_a_request_do_not_take_its_answer_back(
    moto: Server, sealed: ObjectLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = moto.connections(moto.session())
    store, endpoints = lane_over(connections, "boto3"), connections.endpoints()

    def refuse() -> Any:
        raise RuntimeError

    with monkeypatch.context() as once:
        once.setattr(endpoints, "frozen_credentials", refuse)
        assert read(store, sealed) == CONTENT
    assert endpoints.of(sealed.bucket) is None
    assert read(store, sealed) == CONTENT
    assert endpoints.of(sealed.bucket) is not None


@pytest.mark.parametrize("lane", LANES)
def test_a_connection_that_the_server_closed_meanwhile_costs_no_attempt(
    local_servers: LocalServers, moto: Server, lane: str, sealed: ObjectLocation
) -> None:
    proxy = FaultProxy(local_servers.s3_endpoint)
    store, operation = moto._replace(endpoint=proxy.endpoint).store(lane), Operation("get", sealed)
    read(store, sealed, operation)
    proxy.rule = lambda *_: Fault("close-after")
    for _ in range(3):
        assert read(store, sealed, operation) == CONTENT
        threading.Event().wait(0.05)  # the end of the connection arrives
    proxy.close()
    assert operation.requests == 4


class _Regions(BaseHTTPRequestHandler):
    """An S3 whose bucket lives in eu-west-1, once `moved` is set; with `tersely` it says so in bodies only."""

    protocol_version = "HTTP/1.1"
    moved = tersely = False
    asked: list[str]

    def do_GET(self) -> None:
        region = self.headers["Authorization"].split("/")[2]
        type(self).asked.append(region)
        if type(self).moved and region != "eu-west-1":
            body = (
                b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting "
                b"'eu-west-1'</Message><Region>eu-west-1</Region></Error>"
            )
            self.answer(400, body, {} if type(self).tersely else {"x-amz-bucket-region": "eu-west-1"})
        else:
            size, content = len(CONTENT), LISTING if "list-type=2" in self.path else CONTENT
            headers = {"Content-Range": f"bytes 0-{size - 1}/{size}", "ETag": '"etag"', "x-amz-meta-x-amz-key-v2": "AA"}
            self.answer(
                206,
                b"" if self.command == "PUT" else content,
                headers | {"Last-Modified": "Tue, 17 Nov 2026 10:00:00 GMT"},
            )

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        assert self.rfile.read(int(self.headers["Content-Length"])) == CONTENT
        self.do_GET()

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def regions() -> Iterator[tuple[str, type[_Regions]]]:
    handler = type("Regions", (_Regions,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("lane", LANES)
def test_a_bucket_in_another_region_is_followed_there_and_then_asked_there(
    regions: tuple[str, type[_Regions]], lane: str
) -> None:
    endpoint, handler = regions
    store = Server("", endpoint, lambda: boto3.Session("access", "secret", region_name="us-east-1")).store(lane)
    location = ObjectLocation("bucket", "directory/key")
    assert [read(store, location), read(store, location)] == [CONTENT] * 2
    handler.moved = True
    assert read(store, location) == CONTENT
    handler.asked.clear()
    assert [read(store, location), read(store, location)] == [CONTENT] * 2
    assert handler.asked == ["eu-west-1"] * 2


@pytest.mark.parametrize("tersely", [False, True], ids=["in headers", "in bodies"])
@pytest.mark.parametrize("lane", LANES)
def test_a_head_is_the_first_request_to_a_bucket_in_another_region(
    regions: tuple[str, type[_Regions]], lane: str, tersely: bool
) -> None:
    endpoint, handler = regions
    handler.moved, handler.tersely = True, tersely
    store = Server("", endpoint, lambda: boto3.Session("access", "secret", region_name="us-east-1")).store(lane)
    location = ObjectLocation("bucket", "directory/key")
    assert store.head(location, Operation("head", location), arguments={}).etag == "etag"


@pytest.mark.parametrize("lane", LANES)
def test_a_bucket_in_another_region_is_written_to_there(regions: tuple[str, type[_Regions]], lane: str) -> None:
    endpoint, handler = regions
    store = Server("", endpoint, lambda: boto3.Session("access", "secret", region_name="us-east-1")).store(lane)
    location = ObjectLocation("bucket", "directory/key")

    def write() -> str:
        return store.put(location, Operation("put", location), Payload(CONTENT), metadata={}, arguments={}).etag

    assert [write(), write()] == ["etag"] * 2
    handler.moved = True
    assert write() == "etag"
    handler.asked.clear()
    assert [write(), write()] == ["etag"] * 2
    assert handler.asked == ["eu-west-1"] * 2


@pytest.mark.parametrize("lane", LANES)
def test_a_bucket_in_another_region_is_listed_there(regions: tuple[str, type[_Regions]], lane: str) -> None:
    endpoint, handler = regions
    store = Server("", endpoint, lambda: boto3.Session("access", "secret", region_name="us-east-1")).store(lane)
    operation = Operation("list", ObjectLocation("bucket", ""))

    def listed() -> object:
        return store.list_page("bucket", "", operation, delimiter=None, token=None)

    assert [listed(), listed()] == [([], None)] * 2
    handler.moved = True
    assert listed() == ([], None)
    handler.asked.clear()
    assert [listed(), listed()] == [([], None)] * 2
    assert handler.asked == ["eu-west-1"] * 2


@pytest.mark.parametrize("lane", LANES)
def test_a_refusal_is_asked_for_once(moto: Server, lane: str, sealed: ObjectLocation) -> None:
    store, missing = moto.store(lane), ObjectLocation(sealed.bucket, "missing")
    assert read(store, sealed) == CONTENT
    operation = Operation("get", missing)
    with pytest.raises(ObjectNotFoundError):
        read(store, missing, operation)
    assert operation.requests == 1
    with pytest.raises(ObjectNotFoundError):
        store.head(missing, operation, arguments={})
    assert operation.requests == 2


@pytest.mark.parametrize("lane", LANES)
def test_a_forked_child_reads_on(moto: Server, lane: str, sealed: ObjectLocation) -> None:
    store = moto.store(lane)
    assert [read(store, sealed), read(store, sealed)] == [CONTENT] * 2
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            found = [read(store, sealed).decode(), read(store, sealed).decode()]
            os.write(writable, json.dumps(found).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as answers:
        found = json.loads(answers.read() or "null")
    os.waitpid(child, 0)
    assert found == [CONTENT.decode()] * 2
    assert read(store, sealed) == CONTENT


@pytest.mark.parametrize("lane", LANES)
def test_no_lane_logs_the_secret_key(
    moto: Server, lane: str, sealed: ObjectLocation, caplog: pytest.LogCaptureFixture
) -> None:
    session = moto.session()
    credentials = session.get_credentials()
    assert credentials is not None
    with caplog.at_level(logging.DEBUG):
        store = moto.store(lane, session)
        for _ in range(3):
            read(store, sealed)
    assert credentials.secret_key
    assert credentials.secret_key not in caplog.text


@pytest.mark.parametrize("lane", SHORT_WAYS)
def test_heads_give_their_connection_back(local_servers: LocalServers, sealed: ObjectLocation, lane: str) -> None:
    connections = Server("moto", local_servers.s3_endpoint, local_servers.session).connections()
    store, operation = lane_over(connections, lane), Operation("head", sealed)
    read(store, sealed)
    for _ in range(5):
        store.head(sealed, operation, arguments={})
    pools = connections.s3()._endpoint.http_session._manager.pools  # type: ignore[attr-defined]
    (pool,) = (pools[key] for key in pools.keys())  # noqa: SIM118 - urllib3's container iterates nothing else
    assert pool.num_connections == 1


@pytest.mark.parametrize("name", ["AWS_CHECKSUM_ALGORITHM", "AWS_CONDITIONAL_PUT", "AWS_COPY_IF_NOT_EXISTS"])
def test_settings_that_obstore_does_not_know_leave_reads_to_boto3(
    moto: Server, sealed: ObjectLocation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "of-another-tool")
    store = moto.store("obstore")
    assert [read(store, sealed) for _ in range(3)] == [CONTENT] * 3


class _OddHeaders(BaseHTTPRequestHandler):
    """Answers every request with an object that looks encrypted, and a line among the headers that is none."""

    protocol_version = "HTTP/1.1"
    line = b""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(206)
        for name, value in {"x-amz-meta-x-amz-key-v2": "AAEC", "ETag": '"e"'}.items():
            self.send_header(name, value)
        self.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT)))
        self._headers_buffer.append(self.line)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(CONTENT)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("line", [b"x name: 1\r\n", b"x-a: b\r\n folded\r\n", b"Via: \x01\r\n", b"none\r\n"])
def test_headers_that_are_none_are_read_by_every_lane(line: bytes, lane: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Odd", (_OddHeaders,), {"line": line}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    session = boto3.Session("TESTS", "not checked", region_name="eu-west-1")
    store = Server("odd", f"http://127.0.0.1:{server.server_port}", lambda: session).store(lane)
    try:
        assert [read(store, ObjectLocation("bucket", "key")) for _ in range(3)] == [CONTENT] * 3
    finally:
        server.shutdown()
        server.server_close()
