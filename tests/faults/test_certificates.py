"""Connections that cannot be, over TLS certificates and proxies: one attempt, and an error that says what helps."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from arrowseal import Client
from arrowseal.aws_services import AwsServices
from arrowseal.connections import Connections
from arrowseal.counters import Operation
from arrowseal.exceptions import KmsError, ObjectNotFoundError, ServiceError, StoreError, UnavailableError
from arrowseal.lanes import store_of
from arrowseal.location import ObjectLocation
from arrowseal.options import ClientOptions
from arrowseal.store_obstore import ObstoreBody
from faults.certificates import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broken_bodies import FaultProxy

    from arrowseal.store import Store

URL, SEALED = "s3://bucket/key", ObjectLocation("bucket", "sealed")


class TlsServer(ThreadingHTTPServer):
    """Answers over TLS, under a certificate that it signed itself: one object that looks encrypted, and nothing else.
    `context` says how.

    `connections` counts those that were begun, `asked` has the user agents of requests.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connections = 0
        self.asked: list[str] = []
        self.certificate = folder / "certificate.pem"
        self_signed(self.certificate)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate)
        self.socket = self.context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server_port}"

    def get_request(self) -> Any:
        accepted = super().get_request()
        self.connections += 1
        return accepted

    def handle_error(self, *_: Any) -> None:
        """Clients end connections that they do not trust."""


class _Handler(BaseHTTPRequestHandler):
    server: TlsServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["User-Agent"])
        there = self.path.endswith("sealed")
        self.send_response(206 if there else 404)
        for name, value in {"x-amz-meta-x-amz-key-v2": "AAEC", "ETag": '"e"', "Content-Range": "bytes 0-2/3"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "3" if there else "0")
        self.end_headers()
        self.wfile.write(b"abc" if there else b"")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServer]:
    """Alone for each test, which counts its connections; the machine's own authorities are not named."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    server = TlsServer(tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def session() -> boto3.Session:
    return boto3.Session("TESTS", "not checked", region_name="eu-west-1")


def client_of(server: TlsServer) -> Client:
    return Client("alias/tables", session=session(), endpoint_url=server.url)


def test_a_certificate_that_s3_is_not_known_by_is_no_reason_to_try_again_and_names_the_way_out(
    server: TlsServer,
) -> None:
    ways_out = rf"{URL}: GetObject.*{server.url} is not accepted \(self.signed certificate\).*AWS_CA_BUNDLE.*verify="
    with pytest.raises(StoreError, match=ways_out) as refused:
        client_of(server).get(URL)
    assert not isinstance(refused.value, UnavailableError)
    assert server.connections == 1


def test_neither_is_that_of_kms_also_for_boto3_whose_own_attempts_end(server: TlsServer) -> None:
    ways_out = rf"{URL}: KMS GenerateDataKey under alias/tables.*{server.url} is not accepted.*AWS_CA_BUNDLE"
    with pytest.raises(KmsError, match=ways_out) as refused:
        client_of(server).put(URL, b"content")
    assert not isinstance(refused.value, UnavailableError)
    assert server.connections == 1


def test_what_is_asked_of_other_services_says_the_same(server: TlsServer) -> None:
    services = AwsServices.of(client_of(server))
    with pytest.raises(ServiceError, match=r"buckets: no answer: .*not accepted.*AWS_CA_BUNDLE"):
        services.ask("buckets", services.s3.list_buckets)


def test_the_way_out_is_one(server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.certificate))
    with pytest.raises(ObjectNotFoundError):
        client_of(server).get(URL)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_told_at_once(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with pytest.raises(StoreError, match=r"authorities cannot be read.*AWS_CA_BUNDLE") as refused:
        client_of(server).get(URL)
    assert not isinstance(refused.value, UnavailableError)


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of certificate authorities that connections made OpenSSL read."""
    read: list[str] = []
    load = ssl.SSLContext.load_verify_locations

    def noted(self: ssl.SSLContext, cafile: Any = None, *others: Any) -> None:
        read.append(cafile)
        load(self, cafile, *others)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", noted)
    return read


def test_the_authorities_are_read_once_for_all_connections_of_a_client_and_again_when_they_change(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files_read: list[str]
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(server.certificate.read_bytes())
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    client = client_of(server)

    def ask() -> None:
        with pytest.raises(ObjectNotFoundError):
            client.get(URL)

    for _ in range(3):
        ask()
    assert (server.connections, files_read) == (3, [str(bundle)])

    self_signed(server.certificate)
    server.context.load_cert_chain(server.certificate)
    with pytest.raises(StoreError, match="not accepted"):
        client.get(URL)
    bundle.write_bytes(server.certificate.read_bytes())
    ask()
    assert files_read == [str(bundle)] * 2


def test_so_they_are_for_connections_through_a_proxy(server: TlsServer, files_read: list[str]) -> None:
    s3: Any = Connections(ClientOptions(endpoint_url=server.url), session(), None, None).s3()
    context = s3._endpoint.http_session._get_proxy_manager("http://proxy").connection_pool_kw["ssl_context"]
    for _ in range(2):
        context.load_verify_locations(str(server.certificate), None, None)
    assert files_read == [str(server.certificate)]
    assert context.verify_mode == ssl.CERT_REQUIRED


def refused_by_both(url: str, words: str) -> None:
    """S3 and KMS under an endpoint say that no connection to it can be, and why."""
    with pytest.raises(StoreError, match=words) as s3:
        Client("alias/tables", session=session(), endpoint_url=url).get(URL)
    with pytest.raises(KmsError, match=words) as kms:
        Client("alias/tables", session=session(), kms_endpoint_url=url).put(URL, b"content")
    assert not isinstance(s3.value, UnavailableError)
    assert not isinstance(kms.value, UnavailableError)


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ({"host": "10.0.0.1"}, "not accepted.*doesn't match.*by a name that its certificate has"),
        ({"days": -1}, "not accepted.*has expired.*needs a new one.*clock"),
    ],
)
def test_a_certificate_of_another_host_or_time_is_told_as_that(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, certificate: dict[str, Any], words: str
) -> None:
    self_signed(server.certificate, **certificate)
    server.context.load_cert_chain(server.certificate)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.certificate))
    refused_by_both(server.url, words)
    assert server.connections == 2


def test_a_server_that_wants_a_certificate_of_the_client_is_told_as_one(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.certificate))
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones tell it behind the handshake, or just hang up
    refused_by_both(server.url, "certificate of the client.*client_cert=")


def test_a_server_without_tls_is_told_as_one(proxy: FaultProxy) -> None:
    refused_by_both(proxy.endpoint.replace("http:", "https:"), "does not answer in TLS: is it http://")


def test_a_file_of_the_clients_certificate_that_is_not_there_is_told_at_once(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.certificate))
    gone = session()
    gone._session.set_default_client_config(Config(client_cert=str(tmp_path / "gone.pem")))
    with pytest.raises(StoreError, match=r"cannot be read, or one of the client's.*client_cert=") as refused:
        Client("alias/tables", session=gone, endpoint_url=server.url).get(URL)
    assert not isinstance(refused.value, UnavailableError)


@pytest.fixture
def refusing_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """HTTPS goes through a proxy, which wants other credentials; gives what it is asked for."""
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(407)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{proxy.server_port}")
    yield asked
    proxy.shutdown()
    proxy.server_close()


def test_a_proxy_that_refuses_is_asked_once_and_told_without_its_password(refusing_proxy: list[str]) -> None:
    refused_by_both(
        "https://s3.example", r"proxy http://\*\*\*:\*\*\*@127.0.0.1:\d+ refuses.*\(407 .*HTTPS_PROXY.*NO_PROXY"
    )
    assert refusing_proxy == ["s3.example:443"] * 2


def read(store: Store) -> bool:
    """Reads the object; whether obstore did. It is what gives bytes of its own."""
    _, body = store.get(SEALED, Operation("get", SEALED), byte_range=(0, 3), arguments={})
    assert bytes(body.take(3)) == b"abc"
    body.close()
    return isinstance(body, ObstoreBody)


@pytest.fixture
def by_obstore(server: TlsServer) -> Store:
    return store_of(Connections(ClientOptions(endpoint_url=server.url), session(), None, None), "obstore")


@pytest.mark.parametrize("named", ["AWS_CA_BUNDLE", "the list that boto3 comes with"])
def test_obstore_accepts_the_certificate_that_boto3_does(
    server: TlsServer, by_obstore: Store, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    if named == "AWS_CA_BUNDLE":
        monkeypatch.setenv(named, str(server.certificate))
    else:
        monkeypatch.setattr("botocore.httpsession.where", lambda: str(server.certificate))
    assert [read(by_obstore) for _ in range(4)] == [False, True, True, True]


def test_obstore_trusts_nobody_whom_the_machine_trusts_and_boto3_does_not(
    server: TlsServer, by_obstore: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("botocore.httpsession.where", lambda: str(server.certificate))
    assert not read(by_obstore)  # which shows where the bucket is
    foreign = tmp_path / "foreign.pem"
    self_signed(foreign)
    monkeypatch.setenv("SSL_CERT_FILE", str(foreign))
    server.context.load_cert_chain(foreign)
    with pytest.raises(StoreError, match="not accepted"):
        read(by_obstore)
    assert len(server.asked) == 1


def test_a_server_that_only_boto3_can_talk_to_is_tried_by_obstore_once(
    server: TlsServer, by_obstore: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.certificate))
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    server.context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    assert not any(read(by_obstore) for _ in range(5))
    assert (len(server.asked), server.connections) == (5, 6)
