"""What a call that failed had in its hands, buffers and keys among it, goes with its error: not when the garbage
collector comes by.
"""

from __future__ import annotations

import gc
import random
import types
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault
from fault_rules import always

from arrowseal.exceptions import (
    ArrowSealError,
    AuthenticationError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broken_servers import BrokenServers

    from arrowseal import Client

MIB = 2**20
URL, PATH = "s3://bucket/dir/o", "/bucket/dir/o"
CONTENT = random.Random(6).randbytes(11 * MIB + 12_345)
BUSY = Fault("status", 503)


@pytest.fixture
def servers(listening: BrokenServers) -> Iterator[BrokenServers]:
    listening.s3.reset()
    listening.client().put(URL, CONTENT)
    yield listening
    listening.s3.reset()


def tampered(servers: BrokenServers) -> None:
    stored = servers.s3.server.objects[PATH]
    body = bytearray(stored.body)
    body[5 * MIB] ^= 1
    servers.s3.server.objects[PATH] = stored._replace(body=bytes(body))


def changed(servers: BrokenServers, client: Client) -> None:
    with client.object(URL) as opened:
        servers.s3.server.objects[PATH] = servers.s3.server.objects[PATH]._replace(etag='"other"')
        opened.read_ranges([(at * MIB, 10) for at in range(11)])


def tampered_file(servers: BrokenServers, client: Client) -> None:
    tampered(servers)
    with client.open(URL, "rb") as file:
        while file.read(MIB):
            pass


def tampered_ranges(servers: BrokenServers, client: Client) -> None:
    tampered(servers)
    with client.object(URL) as opened:
        opened.read_ranges([(at * MIB, 10) for at in range(11)])


def busy(operation: str, call: Callable[[Client], object]) -> Callable[[BrokenServers, Client], None]:
    def failing(servers: BrokenServers, client: Client) -> None:
        servers.s3.rule = always(operation, BUSY)
        call(client)

    return failing


FAILING: dict[str, tuple[type[ArrowSealError], Callable[[BrokenServers, Client], None]]] = {
    "missing": (ObjectNotFoundError, lambda _, client: client.get("s3://bucket/none")),
    "changed": (ObjectChangedError, changed),
    "tampered ranges": (AuthenticationError, tampered_ranges),
    "tampered file": (AuthenticationError, tampered_file),
    "busy get": (StoreUnavailableError, busy("GetObject", lambda client: client.get(URL))),
    "busy part": (StoreUnavailableError, busy("UploadPart", lambda client: client.put(URL, CONTENT))),
}


@pytest.mark.parametrize("lane", ["boto3", "obstore"])
@pytest.mark.parametrize("failing", FAILING)
def test_nothing_that_a_failed_call_held_waits_for_the_garbage_collector(
    servers: BrokenServers, lane: str, failing: str
) -> None:
    expected, call = FAILING[failing]
    client = servers.client(lane=lane)
    client.get(URL)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(expected):
            call(servers, client)
        left = collected()
    finally:
        gc.enable()
    assert [each for each in left if issubclass(type(each), ArrowSealError)] == []
    modules = [frame.f_globals["__name__"] for frame in left if type(frame) is types.FrameType]
    assert [name for name in modules if name.startswith("arrowseal.")] == []


def collected() -> list[Any]:
    """What the garbage collector finds now."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [*gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
