"""The loopback proxy: bytes come through as they are, and the numbers it is given are the ones of the wire."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from arrowseal import PLAIN
from arrowseal.exceptions import ConfigurationError
from arrowseal.local.proxy import GIGABIT, Proxy
from arrowseal.local.run_proxy import CATCH_UP_SECONDS, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers

CONTENT = os.urandom(2**20)


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """The endpoint of a server that answers what it is sent, up to the end of it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            while chunk := connection.recv(2**16):
                connection.sendall(chunk)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(proxy.endpoint.rpartition(":")[2])), timeout=30)


def round_trip(connection: socket.socket, content: bytes) -> bytes:
    """What comes back of what is sent."""
    sender = threading.Thread(target=connection.sendall, args=[content])
    sender.start()
    received = bytearray()
    while len(received) < len(content):
        chunk = connection.recv(2**18)
        assert chunk, "the connection ended early"
        received += chunk
    sender.join()
    return bytes(received)


def test_bytes_of_many_connections_come_through_as_they_are(echo: str) -> None:
    with Proxy(echo, latency_seconds=0.005, bytes_per_second=GIGABIT) as proxy, ThreadPoolExecutor(8) as pool:

        def exchange(number: int) -> bool:
            content = CONTENT[number:]
            with connected(proxy) as connection:
                return round_trip(connection, content) == content

        assert all(pool.map(exchange, range(16)))


def test_the_end_of_one_direction_passes_and_the_other_still_delivers(echo: str) -> None:
    with Proxy(echo) as proxy, connected(proxy) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(100):
            received += chunk
        assert received == b"last words"


def test_a_request_takes_a_round_trip_more(echo: str) -> None:
    with Proxy(echo, latency_seconds=0.05) as proxy, connected(proxy) as connection:
        round_trip(connection, b"x")
        for _ in range(3):
            started = time.perf_counter()
            round_trip(connection, b"x")
            assert time.perf_counter() - started >= 0.049  # the lower bound: the upper is the machine's


def test_bytes_take_their_time_all_connections_together(echo: str) -> None:
    with Proxy(echo, bytes_per_second=20e6) as proxy, ThreadPoolExecutor(4) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: round_trip(connected(proxy), CONTENT), range(4)))
        assert time.perf_counter() - started >= 4 * len(CONTENT) / 20e6 - CATCH_UP_SECONDS


def test_an_idle_wire_saves_up_next_to_nothing() -> None:
    wire = Wire(bytes_per_second=1000, delay_seconds=0)
    assert wire.send(1, now=100.0) == 100.0
    assert wire.send(1000, now=100.0) == pytest.approx(101.0, abs=2 * CATCH_UP_SECONDS)
    assert wire.send(1000, now=200.0) == pytest.approx(201.0, abs=2 * CATCH_UP_SECONDS)
    assert Wire(bytes_per_second=0, delay_seconds=0).send(10**12, now=7.0) == 7.0


def test_objects_go_through_and_signatures_stay_right(seaweedfs_servers: LocalServers) -> None:
    with Proxy(seaweedfs_servers.s3_endpoint, latency_seconds=0.01, bytes_per_second=GIGABIT) as proxy:
        client = seaweedfs_servers.client(endpoint_url=proxy.endpoint)
        client.put(f"s3://{seaweedfs_servers.bucket}/far", CONTENT)
        assert client.get(f"s3://{seaweedfs_servers.bucket}/far") == CONTENT


def test_a_stopped_proxy_breaks_its_connections(echo: str) -> None:
    proxy = Proxy(echo).start()
    with connected(proxy) as connection:
        assert round_trip(connection, b"x") == b"x"
        assert proxy.endpoint in repr(proxy)
        proxy.stop()
        proxy.stop()
        assert "not running" in repr(proxy)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_a_server_that_is_not_there_breaks_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with (
        Proxy(f"http://127.0.0.1:{port}") as proxy,
        connected(proxy) as connection,
        contextlib.suppress(ConnectionResetError),
    ):
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [
        ("127.0.0.1:80", {}),
        ("ftp://127.0.0.1", {}),
        ("http://127.0.0.1", {"latency_seconds": -1}),
        ("http://127.0.0.1", {"latency_seconds": float("nan")}),
        ("http://127.0.0.1", {"bytes_per_second": 0}),
        ("http://127.0.0.1", {"bytes_per_second": float("inf")}),
    ],
)
def test_endpoints_and_numbers_that_cannot_be_are_refused(endpoint: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Proxy(endpoint, **options)


def test_requests_and_bytes_are_counted(seaweedfs_servers: LocalServers) -> None:
    content = os.urandom(300_000)
    with Proxy(seaweedfs_servers.s3_endpoint) as proxy:
        client = seaweedfs_servers.client(endpoint_url=proxy.endpoint)
        url = f"s3://{seaweedfs_servers.bucket}/counted"
        client.put(url, content, encryption=PLAIN)
        written = proxy.tally()
        assert client.get(url, allow_plaintext=True) == content
        read = proxy.tally()
    records = list(client.counters)
    assert written.requests == records[0].requests == 1  # also where boto3 waits for leave to go on
    assert 300_000 < written.bytes_up < 305_000
    assert read.requests - written.requests == records[1].requests == 1
    assert 300_000 < read.bytes_down - written.bytes_down < 305_000


def test_a_proxy_that_was_not_started_has_no_tally() -> None:
    with pytest.raises(ConfigurationError, match="not started"):
        Proxy("http://127.0.0.1:1").tally()
