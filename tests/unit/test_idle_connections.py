"""Requests over idle connections of botocore: what is sent, what is understood, and which connections serve again."""

from __future__ import annotations

import contextlib
import gc
import http.client
import io
import select
import socket
import ssl
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from arrowseal.awaited_answers import end_waits
from arrowseal.boto3_bodies import Boto3Body, PayloadBody
from arrowseal.exceptions import TransferError
from arrowseal.idle_connections import _FIELD, Answer, IdleConnections, _Measured
from arrowseal.location import ObjectLocation
from arrowseal.store_lean import _in_botocores_words
from faults.certificates import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: abc\r\n\r\nok"
CLOSE = b""


@dataclass
class AskedFor:
    """A request as the store makes it."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


class ScriptedServer:
    """Answers each request with the next of its answers, in pieces as they are given; `CLOSE` ends the connection."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.answers: list[bytes | list[bytes]] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}/bucket"
        self.ended = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for connection in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with contextlib.suppress(OSError), connection:
            while True:
                while b"\r\n\r\n" not in received:
                    received += connection.recv(2**16) or b"\r\n\r\n"
                if received == b"\r\n\r\n":
                    return
                head, _, received = received.partition(b"\r\n\r\n")
                length = int(http.client.parse_headers(_lines(head)).get("Content-Length", 0))
                while len(received) < length:
                    received += connection.recv(2**16)
                self.requests.append(head + b"\r\n\r\n" + received[:length])
                received = received[length:]
                answer = self.answers.pop(0)
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    if piece == CLOSE:
                        connection.close()
                        self.ended.set()
                        return
                    connection.sendall(piece)


def _lines(head: bytes) -> io.BytesIO:
    return io.BytesIO(head.partition(b"\r\n")[2] + b"\r\n\r\n")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


def client_of(server: ScriptedServer, **config: Any) -> Any:
    session = boto3.Session("key", "secret", region_name="us-east-1")
    config = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, "read_timeout": 0.5, **config}
    client = session.client("s3", endpoint_url=server.url.removesuffix("/bucket"), config=Config(**config))
    end_waits(client)  # as the clients that we make
    return client


@pytest.fixture
def idle(server: ScriptedServer) -> IdleConnections:
    """With one connection, which botocore has opened."""
    client = client_of(server)
    server.answers.append(OK)
    client.get_object(Bucket="bucket", Key="first")["Body"].read()
    server.requests.clear()
    return IdleConnections(client)


def ask(idle: IdleConnections, server: ScriptedServer, *answer: bytes, **request: Any) -> Answer:
    server.answers.append(list(answer))
    found = idle.send(AskedFor(f"{server.url}/key", **request), server.url)
    assert found is not None
    return found


def test_a_request_is_what_http_client_would_send_and_its_connection_serves_the_next(
    idle: IdleConnections, server: ScriptedServer
) -> None:
    for _ in range(3):
        answer = ask(idle, server, OK, headers={"Range": "bytes=0-1", "X-Amz-Date": "20260101T000000Z"})
        assert (answer.status_code, answer.fields) == (200, [("Content-Length", "2"), ("ETag", "abc")])
        assert answer.content(server.url) == b"ok"
    host = server.url.split("/")[2].encode()
    assert server.requests == 3 * [
        b"GET /bucket/key HTTP/1.1\r\nHost: " + host + b"\r\nAccept-Encoding: identity\r\n"
        b"Range: bytes=0-1\r\nX-Amz-Date: 20260101T000000Z\r\n\r\n"
    ]
    assert server.connections == 1


def test_a_body_goes_behind_the_head(idle: IdleConnections, server: ScriptedServer) -> None:
    content = bytes(range(256)) * 1_000
    headers = {"Content-Length": str(len(content))}
    body = PayloadBody(memoryview(content))
    assert ask(idle, server, OK, method="PUT", headers=headers, body=body).content(server.url) == b"ok"
    assert server.requests[0].endswith(b"\r\n\r\n" + content)


def test_where_no_connection_is_idle_nothing_is_sent(idle: IdleConnections, server: ScriptedServer) -> None:
    taken = ask(idle, server, OK)
    assert idle.send(AskedFor(f"{server.url}/key"), server.url) is None
    taken.content(server.url)
    assert ask(idle, server, OK).content(server.url) == b"ok"
    assert len(server.requests) == 2


def test_where_requests_go_through_a_proxy_nothing_is_sent(server: ScriptedServer) -> None:
    proxied = IdleConnections(client_of(server, proxies={"http": server.url}))
    assert proxied.send(AskedFor(f"{server.url}/key"), server.url) is None


def test_a_connection_that_the_server_has_closed_is_not_used(idle: IdleConnections, server: ScriptedServer) -> None:
    ask(idle, server, OK, CLOSE).content(server.url)
    server.ended.wait(5)
    assert idle.send(AskedFor(f"{server.url}/key"), server.url) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["If-Match", "X-Amz-Meta-A"])
@pytest.mark.parametrize("value", ["a\r\nX-Amz-Acl: public-read", "a\nb", "a\rb", "käse", "\N{SNOWMAN}"])
def test_a_header_that_is_no_line_of_plain_text_is_not_sent(
    idle: IdleConnections, server: ScriptedServer, name: str, value: str
) -> None:
    assert idle.send(AskedFor(f"{server.url}/key", headers={name: value}), server.url) is None
    assert ask(idle, server, OK).content(server.url) == b"ok"
    assert len(server.requests) == 1


HELLO = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 1, id="of a length"),
    pytest.param(b"HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", 1, id="without a reason"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 1, id="chunks"
    ),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 1, id="continued"),
    pytest.param(
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        1,
        id="after hints",
    ),
    pytest.param(b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: 5\r\n\r\nhello", 1, id="a name twice"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello", 1, id="two lengths"),
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 1, id="bare line feeds"),
    pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\nhello", 1, id="a folded line"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 2, id="closing"),
    pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 2, id="HTTP/1.0"),
]


@pytest.mark.parametrize(("answer", "connections"), HELLO)
@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_answers_of_all_forms_are_read_however_they_arrive(
    idle: IdleConnections, server: ScriptedServer, answer: bytes, connections: int, cut: int
) -> None:
    pieces = [answer[at : at + cut] for at in range(0, len(answer), cut)]
    assert ask(idle, server, *pieces).content(server.url) == b"hello"
    server.answers.append(OK)
    if connections == 1:
        again = idle.send(AskedFor(f"{server.url}/key"), server.url)
        assert again is not None
        assert again.content(server.url) == b"ok"
    else:
        assert idle.send(AskedFor(f"{server.url}/key"), server.url) is None


def test_an_answer_without_a_length_ends_with_the_connection(idle: IdleConnections, server: ScriptedServer) -> None:
    assert ask(idle, server, b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", CLOSE).content(server.url) == b"hello"
    assert idle.send(AskedFor(f"{server.url}/key"), server.url) is None


def test_the_answer_to_a_head_has_a_length_and_no_body(idle: IdleConnections, server: ScriptedServer) -> None:
    answer = ask(idle, server, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", method="HEAD")
    assert answer.content(server.url) == b""
    assert ask(idle, server, OK).content(server.url) == b"ok"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_what_has_no_body_is_not_waited_for_by_its_length(
    idle: IdleConnections, server: ScriptedServer, status: str
) -> None:
    answer = ask(idle, server, b"HTTP/1.1 " + status.encode() + b"\r\nContent-Length: 1000\r\n\r\n")
    assert answer.content(server.url) == b""
    assert ask(idle, server, OK).content(server.url) == b"ok"


def test_an_answer_that_is_longer_than_its_length_ends_the_connection(
    idle: IdleConnections, server: ScriptedServer
) -> None:
    assert ask(idle, server, OK + OK).content(server.url) == b"ok"
    assert idle.send(AskedFor(f"{server.url}/key"), server.url) is None


def test_a_head_that_does_not_end_is_no_answer(idle: IdleConnections, server: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nX: " + bytes([65]) * 2**20
    with pytest.raises(ConnectionClosedError):
        ask(idle, server, head + b"\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize(
    ("said", "length"),
    [(["5"], 5), (["5", "5"], 5), (["5, 5"], 5), (["5", "6"], None), (["five"], None), (["-5"], None), ([], None)],
)
def test_a_length_counts_if_it_is_one(said: list[str], length: int | None) -> None:
    answer = Answer(None, None, 200, [("Content-Length", value) for value in said], Mock(), persists=False)
    assert _in_botocores_words(answer).get("ContentLength") == length


def test_a_body_behind_the_answer_to_a_head_ends_the_connection(idle: IdleConnections, server: ScriptedServer) -> None:
    assert ask(idle, server, OK, method="HEAD").content(server.url) == b""
    assert idle.send(AskedFor(f"{server.url}/key"), server.url) is None


def test_a_host_is_sent_as_it_is_signed(server: ScriptedServer) -> None:
    server.url = server.url.replace("127.0.0.1", "LocalHost")
    client = client_of(server)
    server.answers.append(OK)
    client.get_object(Bucket="bucket", Key="key")["Body"].read()
    assert ask(IdleConnections(client), server, OK).content(server.url) == b"ok"
    by_botocore, ours = (http.client.parse_headers(_lines(request))["Host"] for request in server.requests)
    assert ours == by_botocore == server.url.split("/")[2].lower()


def test_a_body_that_was_not_read_to_its_end_ends_its_connection(idle: IdleConnections, server: ScriptedServer) -> None:
    answer = ask(idle, server, OK)
    [(pool, _)], connection = idle._pools.values(), answer._connection
    places = pool.pool.qsize()
    assert bytes(answer.read(1)) == b"o"
    answer.close()
    assert idle.send(AskedFor(f"{server.url}/key"), server.url) is None
    assert (connection.sock, pool.pool.qsize()) == (None, places + 1)  # closed, and its place is left for another


def test_no_answer_is_the_error_of_botocores_own_session(idle: IdleConnections, server: ScriptedServer) -> None:
    with pytest.raises(ConnectionClosedError):
        ask(idle, server, b"HTTP/1.1 200", CLOSE)


def test_a_server_that_says_nothing_is_waited_for_as_long_as_botocore_would(
    idle: IdleConnections, server: ScriptedServer
) -> None:
    with pytest.raises(ReadTimeoutError):
        ask(idle, server)


def test_of_a_body_that_breaks_off_what_was_received_counts(idle: IdleConnections, server: ScriptedServer) -> None:
    answer = ask(idle, server, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    body = Boto3Body(ObjectLocation("bucket", "key"), answer)
    target = bytearray(9)
    assert body.readinto(memoryview(target)) == 3
    assert target == b"abc" + bytes(6)
    with pytest.raises(TransferError, match=r"s3://bucket/key: the body broke off \(TimeoutError\)"):
        body.readinto(memoryview(target))
    body.close()
    left = weakref.ref(answer._body)
    gc.disable()
    try:
        del body, answer
        assert left() is None, "what broke off is gone at once"
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ConnectionResetError])
def test_an_error_ends_the_connection_and_leaves_its_place_in_the_pool(
    monkeypatch: pytest.MonkeyPatch, idle: IdleConnections, server: ScriptedServer, error: type[BaseException]
) -> None:
    taken: list[Any] = []

    def interrupted(connection: Any, *_: Any) -> None:
        taken.append(connection)
        raise error

    pool = idle._client._endpoint.http_session._manager.connection_from_url(server.url).pool
    places = pool.qsize()
    monkeypatch.setattr("arrowseal.idle_connections._answer", interrupted)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else ConnectionClosedError):
        ask(idle, server, OK)
    assert pool.qsize() == places
    assert taken[0].sock is None


def test_where_a_url_names_a_user_nothing_is_sent(idle: IdleConnections, server: ScriptedServer) -> None:
    base = server.url.replace("://", "://user:password@")
    assert idle.send(AskedFor(f"{base}/key"), base) is None
    assert server.requests == []


def test_after_a_client_was_closed_the_connections_that_it_opens_anew_serve(
    idle: IdleConnections, server: ScriptedServer
) -> None:
    assert ask(idle, server, OK).content(server.url) == b"ok"
    [(pool, _)] = idle._pools.values()
    idle._client.close()
    pool.close()  # which urllib3 before 2.0 does by itself
    server.answers.append(OK)
    idle._client.get_object(Bucket="bucket", Key="first")["Body"].read()
    assert ask(idle, server, OK).content(server.url) == b"ok"
    assert server.connections == 2


def test_who_ends_an_answer_that_was_closed_ends_nothing(idle: IdleConnections, server: ScriptedServer) -> None:
    answer = ask(idle, server, OK)
    answer.content(server.url)
    answer.interrupt()
    assert ask(idle, server, OK).content(server.url) == b"ok"
    assert server.connections == 1


def test_an_answer_that_ends_before_its_length_is_none(idle: IdleConnections, server: ScriptedServer) -> None:
    answer = ask(idle, server, OK.replace(b": 2", b": 5"), CLOSE)
    with pytest.raises(ConnectionClosedError):
        answer.content(server.url)


def test_a_body_that_timed_out_is_not_waited_for_a_second_time() -> None:
    connection = Mock()
    connection.recv_into.side_effect = [2, TimeoutError]
    body = _Measured(connection, memoryview(b"ab"), 9)
    target = memoryview(bytearray(9))
    assert body.readinto(target) == 4
    with pytest.raises(TimeoutError):
        body.readinto(target)
    assert connection.recv_into.call_count == 2


def test_a_body_that_times_out_under_one_read_is_no_shorter_one() -> None:
    connection = Mock()
    connection.recv_into.side_effect = [2, TimeoutError]
    with pytest.raises(TimeoutError):
        _Measured(connection, memoryview(b"ab"), 9).read(9)


@pytest.fixture
def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    self_signed(tmp_path / "certificate.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    server = ScriptedServer(context)
    yield server
    server.close()


def tls_idle(server: ScriptedServer) -> IdleConnections:
    client = client_of(server)
    server.answers.append(OK)
    client.get_object(Bucket="bucket", Key="first")["Body"].read()
    return IdleConnections(client)


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 17000\r\n\r\n" + bytes(17_000)


def test_requests_over_tls_share_a_connection_too(tls_server: ScriptedServer) -> None:
    idle = tls_idle(tls_server)
    for _ in range(3):
        assert ask(idle, tls_server, LONG).content(tls_server.url) == bytes(17_000)
    assert tls_server.connections == 1


def test_what_tls_holds_of_a_longer_answer_is_no_answer_to_the_next_request(tls_server: ScriptedServer) -> None:
    idle = tls_idle(tls_server)
    assert ask(idle, tls_server, LONG + OK).content(tls_server.url) == bytes(17_000)  # both in the second record
    assert idle.send(AskedFor(f"{tls_server.url}/key"), tls_server.url) is None


def test_who_is_interrupted_over_tls_is_given_nothing_that_is_still_encrypted(tls_server: ScriptedServer) -> None:
    answer = ask(tls_idle(tls_server), tls_server, LONG.replace(b"17000", b"50000"), bytes(30_000))
    target = bytearray(50_000)
    assert answer.readinto(memoryview(target)[:10]) == 10
    select.select([answer._connection.sock], [], [], 5)  # the rest is there, and waits to be opened
    answer.interrupt()
    with contextlib.suppress(OSError):
        while answer.readinto(memoryview(target)):
            assert not any(target)
    answer.close()


NAMES = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
VALUES = st.from_regex(r"([\x21-\x7e\x80-\xff]([\x20-\x7e\x80-\xff\t]{0,12}[\x21-\x7e\x80-\xff])?)?", fullmatch=True)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_headers_are_understood_as_http_client_does(fields: list[tuple[str, str]]) -> None:
    head = "".join(f"\r\n{name}: {value}" for name, value in fields)
    parsed = http.client.parse_headers(_lines(b"HTTP/1.1 200 OK" + head.encode("latin-1")))
    assert [(name, value.rstrip()) for name, value in _FIELD.findall("HTTP/1.1 200 OK" + head)] == parsed.items()
