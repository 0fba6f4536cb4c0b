"""Answers to something else than was asked for, as caches give them: of another range, version or size."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault
from fault_rules import always

from arrowseal import PLAIN, TransferOptions
from arrowseal.exceptions import ObjectChangedError, StoreError, TransferError
from arrowseal.fs import S3CseFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broken_servers import BrokenServers

    from arrowseal import Client

MIB = 2**20
URL, PATH = "s3://lake/dir/o", "/lake/dir/o"
CONTENT = random.Random(9).randbytes(3 * MIB + 77)
ARMS = pytest.mark.parametrize("arm", [None, PLAIN], ids=["sealed", "plain"])


@pytest.fixture(params=["boto3", "obstore", "given"])
def client(servers: BrokenServers, request: pytest.FixtureRequest) -> Client:
    if request.param == "given":
        return servers.client(s3=servers.s3.client(), allow_plaintext=True)
    return servers.client(lane=request.param, allow_plaintext=True)


@pytest.fixture
def heedless(servers: BrokenServers) -> Iterator[BrokenServers]:
    """A server that looks at no condition of a read."""
    servers.s3.server.ignored = {"GetObject"}
    yield servers
    servers.s3.server.ignored = set()


def shifted(servers: BrokenServers, asked: str, times: int = 1) -> None:
    """The server answers a range that begins 16 bytes later than the one that is asked for, so many times."""
    left = [None] * times

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        given = headers.get("Range", "")
        if method == "GET" and path == PATH and given.startswith(asked) and left:
            left.pop()
            begin, _, last = given.removeprefix("bytes=").partition("-")
            headers["range"] = f"bytes={int(begin) + 16}-{int(last) + 16}" if begin else f"bytes=-{int(last) - 16}"
        return None

    servers.s3.rule = rule


@ARMS
@pytest.mark.parametrize("position", [0, 1, 2], ids=["first", "middle", "last"])
def test_another_range_than_was_asked_for_is_asked_for_again(
    servers: BrokenServers, client: Client, arm: Any, position: int
) -> None:
    client.put(URL, CONTENT, encryption=arm)
    shifted(servers, f"bytes={position * MIB}-")
    assert client.get(URL) == CONTENT
    shifted(servers, "bytes=-" if position == 0 else f"bytes={position * MIB}-")
    with client.object(URL, unauthenticated_ranges=arm is None) as opened:
        assert bytes(opened.read_at(position * MIB, 100_000)) == CONTENT[position * MIB :][:100_000]


def test_a_plain_object_of_which_another_range_is_always_answered_is_an_error_that_says_so(
    servers: BrokenServers, client: Client
) -> None:
    client.put(URL, CONTENT, encryption=PLAIN)
    shifted(servers, f"bytes={MIB}-", times=99)
    told = rf"^{URL}: the server answered another range than was asked for \(bytes {MIB + 16}-"
    with pytest.raises(TransferError, match=told):
        client.get(URL)
    with client.object(URL) as opened, pytest.raises(TransferError, match=told):
        opened.read_at(MIB, 100)


@ARMS
def test_an_object_that_is_overwritten_is_not_mixed_where_a_server_heeds_no_condition(
    heedless: BrokenServers, client: Client, arm: Any
) -> None:
    client.put(URL, CONTENT, encryption=arm)
    with client.object(URL, unauthenticated_ranges=arm is None) as opened:
        client.put(URL, CONTENT[::-1], encryption=arm)
        with pytest.raises(ObjectChangedError, match=f"^{URL}: overwritten or deleted since it was opened"):
            opened.read_at(MIB, 100)
    old, new = heedless.s3.server.objects[PATH], CONTENT
    client.put(URL, new, encryption=arm)
    newest, heedless.s3.server.objects[PATH] = heedless.s3.server.objects[PATH], old

    def overwrite(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        if headers.get("Range", "").startswith(f"bytes={2 * MIB}-"):
            heedless.s3.server.objects[PATH] = newest
        return None

    heedless.s3.rule = overwrite
    assert client.get(URL) == new


@pytest.mark.parametrize("change", [1, 16, -1, -16, -MIB], ids=lambda change: f"{change:+}")
@pytest.mark.parametrize("call", ["index", "open"])
def test_a_body_of_another_size_under_the_same_etag_is_no_pass_over_the_object(
    servers: BrokenServers, change: int, call: str
) -> None:
    servers.client(transfer=TransferOptions(publish_index=False)).put(URL, CONTENT)
    whole = servers.s3.server.objects[PATH]
    other = whole._replace(body=whole.body + bytes(change) if change > 0 else whole.body[:change])
    times: list[str] = []
    others = range(2, 99)

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        if path == PATH:
            times.append(method)
            servers.s3.server.objects[PATH] = other if len(times) in others else whole
        return None

    servers.s3.rule = rule
    options = servers.client().options.transfer
    client = servers.client(transfer=TransferOptions(MIB, retries=options.retries, max_unindexed_bytes=MIB))
    told = f"^{URL}: its {len(whole.body):,} bytes are {len(other.body):,} by now, under one ETag"
    with pytest.raises(TransferError, match=told):
        client.index(URL) if call == "index" else client.open(URL, "rb")
    assert list(servers.s3.server.objects) == [PATH]
    others = range(2, 3)  # of what passes it is got over
    times.clear()
    client.index(URL)
    with client.open(URL, "rb") as file:
        assert file.read() == CONTENT


def test_a_listing_that_is_not_taken_is_no_missing_object_nor_an_empty_directory(
    servers: BrokenServers, client: Client
) -> None:
    client.put(URL, CONTENT)
    servers.s3.rule = always("ListObjectsV2", Fault("status", 405, "MethodNotAllowed"))
    told = r"^s3://lake/dir/: ListBucket failed \(MethodNotAllowed\)"
    with pytest.raises(StoreError, match=told) as refused:
        client.list("s3://lake/dir/")
    assert not isinstance(refused.value, FileNotFoundError)
    with pytest.raises(StoreError, match=told):
        S3CseFileSystem(client=client, skip_instance_cache=True).glob("lake/dir/*")
