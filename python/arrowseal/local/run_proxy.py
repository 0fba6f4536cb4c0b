"""The process of the loopback proxy: `run_proxy.py LISTENER TALLY HOST PORT LATENCY_SECONDS BYTES_PER_SECOND`, by path.

Forwards TCP between clients and one server as a longer, thinner wire would: bytes leave at the given rate, first come,
first served among all connections of a direction, and arrive half a round trip later. What passed is counted in a file
that the parent looks into. Standard library only.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import re
import socket
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 2**18
FLYING_CHUNKS = 64  # of one connection and direction, not yet delivered: 16 MiB, more than any wire here holds
# Sleeps end late by some milliseconds: so much of the time that a busy wire lost in them is made up for.
CATCH_UP_SECONDS = 0.005
CLOSED = b""
TALLY = struct.Struct("=QQQ")  # requests, bytes up, bytes down
REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.")


@dataclass
class Wire:
    """One direction, shared by all connections."""

    bytes_per_second: float
    delay_seconds: float
    free_at: float = 0.0

    def send(self, count: int, now: float) -> float:
        """When the last of `count` bytes has left. A rate of 0 means no limit."""
        if not self.bytes_per_second:
            return now
        self.free_at = max(self.free_at, now - CATCH_UP_SECONDS) + count / self.bytes_per_second
        return max(now, self.free_at)


class Tally:
    """What passed, in memory that the parent maps too. This process has one thread that writes it."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, TALLY.size)
        self._counted = [0, 0, 0]

    def add(self, requests: int, up: int, down: int) -> None:
        self._counted = [old + new for old, new in zip(self._counted, (requests, up, down), strict=True)]
        TALLY.pack_into(self._memory, 0, *self._counted)


class Turns:
    """Whose turn it is on one connection: a request starts where a client speaks after the server did."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._answered = True

    def up(self, chunk: bytes) -> None:
        # Who was told to go on (100) speaks after the server, too, but does not begin with a request line.
        begun = self._answered and REQUEST_LINE.match(chunk) is not None
        self._answered = False
        self._tally.add(int(begun), len(chunk), 0)

    def down(self, chunk: bytes) -> None:
        self._answered = True
        self._tally.add(0, 0, len(chunk))


async def sleep_until(moment: float) -> None:
    """Sleep on the clock of the event loop."""
    seconds = moment - asyncio.get_running_loop().time()
    if seconds > 0:
        await asyncio.sleep(seconds)


async def carry(source: socket.socket, target: socket.socket, wire: Wire, count: Callable[[bytes], None]) -> None:
    """Move bytes from one socket to the other until the source ends, and pass its end on."""
    loop = asyncio.get_running_loop()
    flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(FLYING_CHUNKS)

    async def deliver() -> None:
        while True:
            due, chunk = await flying.get()
            await sleep_until(due)
            if chunk == CLOSED:
                target.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(target, chunk)

    delivery = asyncio.create_task(deliver())
    try:
        chunk = None
        while chunk != CLOSED and not delivery.done():
            chunk = await loop.sock_recv(source, CHUNK_BYTES)
            count(chunk)
            left = wire.send(len(chunk), loop.time())
            await flying.put((left + wire.delay_seconds, chunk))
            await sleep_until(left)  # the sender of a busy wire has to wait, and notices by TCP's own means
        await delivery
    finally:
        delivery.cancel()


async def serve_one(client: socket.socket, server: tuple[str, int], up: Wire, down: Wire, tally: Tally) -> None:
    """One connection. One that breaks on either side breaks on both."""
    loop, turns = asyncio.get_running_loop(), Turns(tally)
    upstream = socket.socket()
    try:
        for end in (client, upstream):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.sleep(up.delay_seconds + down.delay_seconds)  # TCP's own handshake
        await loop.sock_connect(upstream, server)
        async with asyncio.TaskGroup() as both:
            both.create_task(carry(client, upstream, up, turns.up))
            both.create_task(carry(upstream, client, down, turns.down))
    except* OSError:
        with suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, sys.byteorder) + bytes(4))
    finally:
        upstream.close()
        client.close()


async def serve(listener: socket.socket, server: tuple[str, int], up: Wire, down: Wire, tally: Tally) -> None:
    """Accept for ever."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    connections = set()
    while True:
        client, _ = await loop.sock_accept(listener)
        connection = asyncio.create_task(serve_one(client, server, up, down, tally))
        connections.add(connection)
        connection.add_done_callback(connections.discard)


def main() -> None:
    """Serve until standard input ends: that is how the proxy learns that its parent is gone, however it went."""

    def leave_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    listener, tally, host, port, latency, rate = sys.argv[1:]
    up, down = (Wire(float(rate), float(latency) / 2) for _ in range(2))
    asyncio.run(serve(socket.socket(fileno=int(listener)), (host, int(port)), up, down, Tally(int(tally))))


if __name__ == "__main__":
    main()
