"""Ranges of an object whose index or body is not what it was: never a wrong byte, and no error without a type."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

import boto3
import numpy
import pytest
from broken_bodies import Fault
from fault_rules import on
from indexed_object import CONTENT, INDEX, MIB, PATH, SIZE, URL, S, with_object

from arrowseal import PLAIN, Client, CommitmentPolicy, TransferOptions
from arrowseal.exceptions import (
    AuthenticationError,
    NoIndexError,
    NotEncryptedError,
    ObjectChangedError,
)

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal.objects import EncryptedObject


@pytest.fixture
def servers(servers: BrokenServers) -> BrokenServers:
    """Servers with one object in parts, and its index."""
    return with_object(servers)


def replaced(servers: BrokenServers, path: str, body: bytes) -> None:
    """Other bytes under an unchanged ETag."""
    servers.s3.server.objects[path] = servers.s3.server.objects[path]._replace(body=body)


def flipped(body: bytes, place: int, bit: int = 1) -> bytes:
    return body[:place] + bytes([body[place] ^ bit]) + body[place + 1 :]


def read_everywhere(opened: EncryptedObject, seed: int = 1) -> None:
    """Ranges of all lengths, alone and together, are the content's."""
    draw = random.Random(seed)
    for _ in range(20):
        starts = [draw.choice([draw.randrange(SIZE + 5), draw.randrange(SIZE // S + 1) * S]) for _ in range(4)]
        ranges = [(start, draw.choice([0, 1, 100, S, S + 1, 3 * S, MIB])) for start in starts]
        found = opened.read_ranges(ranges)
        assert [bytes(each) for each in found] == [CONTENT[start : start + length] for start, length in ranges]
    assert opened.read_at(0, SIZE + 1) == CONTENT


@pytest.mark.parametrize("chosen", ["V3", "V2"])
def test_ranges_of_an_object_with_an_index_are_its_content(listening: BrokenServers, chosen: str) -> None:
    policies = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT, CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    client = listening.client(format=chosen, commitment_policy=policies[chosen == "V3"])
    client.put(URL, CONTENT)
    listening.s3.reset()
    with client.object(URL) as opened:
        assert not opened.in_memory
        assert (opened.size, opened.encryption) == (SIZE, f"CSE {chosen}")
        assert sorted(seen.path for seen in listening.s3.log) == sorted([PATH, INDEX])
        read_everywhere(opened)
    later = [seen for seen in listening.s3.log if seen.path == PATH][1:]
    assert later
    assert all(seen.headers.get("If-Match") for seen in later)


@pytest.mark.parametrize("lane", ["boto3", "obstore"])
def test_an_object_and_its_index_are_a_request_each_however_often_it_is_opened(
    servers: BrokenServers, lane: str
) -> None:
    client = servers.client(lane=lane)
    for _ in range(3):
        servers.s3.reset()
        with client.object(URL) as opened:
            assert sorted(seen.path for seen in servers.s3.log) == sorted([PATH, INDEX])
            assert opened.read_at(5, 10) == CONTENT[5:15]


def asked_range(seen: Any) -> str:
    return str(seen.headers.get("Range", ""))


def test_what_is_asked_for_is_the_segments_of_the_ranges_and_close_ones_are_one_request(servers: BrokenServers) -> None:
    with servers.client().object(URL) as opened:
        servers.s3.reset()
        opened.read_ranges([(10, 5), (S + 3, 2 * S), (5 * MIB, 10), (6 * MIB - 1, 2)])
        asked = sorted(asked_range(seen) for seen in servers.s3.log)
        assert asked == sorted(
            [f"bytes=0-{4 * S - 1}", f"bytes={5 * MIB}-{5 * MIB + S - 1}", f"bytes={6 * MIB - S}-{6 * MIB + S - 1}"]
        )
        servers.s3.reset()
        opened.read_ranges([(0, 4 * S), (5 * MIB + 7, 100), (SIZE - 100, 100)])
        assert not servers.s3.log, "it was held, and so is the tail"


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(lambda index: b"", id="empty"),
        pytest.param(lambda index: index[:-1], id="truncated"),
        pytest.param(lambda index: index + bytes(16), id="longer"),
        pytest.param(lambda index: index[:64], id="header only"),
        pytest.param(lambda index: bytes(len(index)), id="zeros"),
        pytest.param(lambda index: b"<Error/>", id="something else"),
        pytest.param(lambda index: flipped(index, 0), id="magic"),
        pytest.param(lambda index: flipped(index, 9), id="version"),
        pytest.param(lambda index: flipped(index, 11), id="suite"),
        pytest.param(lambda index: flipped(index, 13), id="segment size"),
        pytest.param(lambda index: flipped(index, 23), id="length"),
        pytest.param(lambda index: flipped(index, 30), id="name"),
        pytest.param(lambda index: flipped(index, 60), id="zeros of the header"),
    ],
)
def test_what_is_no_index_of_the_object_is_as_none_and_the_whole_is_read_and_proven(
    servers: BrokenServers, index: Any
) -> None:
    replaced(servers, INDEX, index(servers.s3.server.objects[INDEX].body))
    with servers.client().object(URL) as opened:
        assert opened.in_memory
        read_everywhere(opened)


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_an_index_that_is_not_there_or_may_not_be_read_is_none(servers: BrokenServers, code: str) -> None:
    status = 404 if code == "NoSuchKey" else 403
    servers.s3.rule = lambda method, path, headers: Fault("status", status, code) if path == INDEX else None
    with servers.client().object(URL) as opened:
        assert opened.in_memory
        read_everywhere(opened)


def test_a_stale_or_a_foreign_index_is_as_none(servers: BrokenServers) -> None:
    client = servers.client()
    stale = servers.s3.server.objects[INDEX]
    client.put(URL, CONTENT)  # the same bytes, another message
    client.put("s3://bucket/dir/other", CONTENT)
    for index in (stale, servers.s3.server.objects["/bucket/dir/_arrowseal.other.index"]):
        servers.s3.server.objects[INDEX] = index
        with client.object(URL) as opened:
            assert opened.in_memory
            read_everywhere(opened)


@pytest.mark.parametrize("place", [64, 64 + 15, 64 + 16 * 40 + 3, -1], ids=str)
def test_a_tampered_entry_refuses_its_segment_and_no_other(servers: BrokenServers, place: int) -> None:
    index = servers.s3.server.objects[INDEX].body
    place %= len(index)
    replaced(servers, INDEX, flipped(index, place))
    number = (place - 64) // 16
    client = servers.client()
    if number == -(-SIZE // S) - 1:  # of the tail, which comes with the first answer
        with pytest.raises(AuthenticationError, match="data key from arn:"):
            client.object(URL)
        return
    with client.object(URL) as opened:
        assert not opened.in_memory
        with pytest.raises(AuthenticationError, match=r"s3://bucket/dir/o .*arn:.*index"):
            opened.read_at(number * S + 5, 3)
        with pytest.raises(AuthenticationError):
            opened.read_ranges([(5 * MIB, 4), (number * S, 1)])
        assert opened.read_at(5 * MIB, 4) == CONTENT[5 * MIB : 5 * MIB + 4]
    assert client.get(URL) == CONTENT, "the object itself is sound"


@pytest.mark.parametrize("place", [0, S - 1, 3 * MIB, SIZE - 1, SIZE, SIZE + 15])
def test_a_flipped_bit_of_the_body_is_never_handed_out(servers: BrokenServers, place: int) -> None:
    replaced(servers, PATH, flipped(servers.s3.server.objects[PATH].body, place, 0x80))
    client = servers.client()
    if SIZE - 2 * S < place < SIZE:
        with pytest.raises(AuthenticationError):
            client.object(URL)
        return
    with client.object(URL) as opened:
        for start in range(0, SIZE, S):
            if start <= place < start + S and place < SIZE:
                with pytest.raises(AuthenticationError):
                    opened.read_at(start, S)
            else:
                assert opened.read_at(start, S) == CONTENT[start : start + S]


def test_long_ranges_that_do_not_authenticate_are_so_each_time_and_hold_no_others_up(servers: BrokenServers) -> None:
    replaced(servers, PATH, flipped(servers.s3.server.objects[PATH].body, 3 * MIB))
    with servers.client().object(URL) as opened:
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                opened.read_ranges([(0, 4 * MIB), (5 * MIB, 4 * MIB)])
            assert opened.read_at(5 * MIB, 4 * MIB) == CONTENT[5 * MIB : 9 * MIB]


@pytest.mark.parametrize("place", [S, 2**18 + 10])
def test_a_bit_of_the_tail_that_flips_on_the_way_is_read_once_more(servers: BrokenServers, place: int) -> None:
    client = servers.client()
    times = iter([Fault("flip", place)])
    servers.s3.rule = lambda method, path, headers: (
        next(times, None) if headers.get("Range", "").startswith("bytes=-") else None
    )
    with client.object(URL) as opened:
        assert opened.read_at(SIZE - S, S) == CONTENT[SIZE - S :]


def test_a_bit_of_the_index_that_flips_on_the_way_is_read_once_more(servers: BrokenServers) -> None:
    times = iter([Fault("flip", len(servers.s3.server.objects[INDEX].body) - 1)])  # what proves the tail
    servers.s3.rule = lambda method, path, headers: next(times, None) if path == INDEX else None
    with servers.client().object(URL) as opened:
        assert not opened.in_memory
        assert opened.read_at(SIZE - S, S) == CONTENT[SIZE - S :]


def test_an_object_that_is_overwritten_before_its_tail_is_read_once_more_is_told_as_that(
    servers: BrokenServers,
) -> None:
    other = servers.s3.server.objects[PATH]._replace(etag="another")
    asked: list[str] = []

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        if path != PATH:
            return None
        asked.append(headers["Range"])
        if len(asked) == 1:
            return Fault("flip", S)
        servers.s3.server.objects[PATH] = other
        return None

    servers.s3.rule = rule
    with pytest.raises(ObjectChangedError, match="overwritten or deleted while it was opened"):
        servers.client().object(URL)
    assert len(asked) == 2


@pytest.mark.parametrize("change", ["overwritten", "flipped on the way"])
def test_what_happens_during_the_first_pass_is_told_or_mended(servers: BrokenServers, change: str) -> None:
    del servers.s3.server.objects[INDEX]
    other = servers.s3.server.objects[PATH]._replace(etag="another")
    done: list[str] = []

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        if path != PATH or not headers.get("Range", "").startswith("bytes=0-") or done:
            return None
        done.append(path)
        if change == "overwritten":
            servers.s3.server.objects[PATH] = other
            return None
        return Fault("flip", 77)

    servers.s3.rule = rule
    client = limited(servers)
    if change == "overwritten":
        with pytest.raises(ObjectChangedError):
            client.object(URL, two_passes=True)
    else:
        with client.object(URL, two_passes=True) as opened:
            assert opened.read_at(0, 100) == CONTENT[:100]


def test_segments_that_changed_places_are_refused(servers: BrokenServers) -> None:
    body = servers.s3.server.objects[PATH].body
    replaced(servers, PATH, body[S : 2 * S] + body[:S] + body[2 * S :])
    with servers.client().object(URL) as opened, pytest.raises(AuthenticationError):
        opened.read_at(0, 10)


def test_a_bit_that_flips_on_the_way_is_read_once_more(servers: BrokenServers) -> None:
    client = servers.client()
    with client.object(URL) as opened:
        servers.s3.rule = on("GetObject", Fault("flip", 17))
        assert opened.read_at(0, 100) == CONTENT[:100]
    assert [record.retries for record in client.counters] == [1]


@pytest.mark.parametrize("how", ["overwritten", "deleted"])
def test_an_object_that_is_overwritten_or_deleted_between_its_ranges_is_an_error_and_never_a_mix(
    servers: BrokenServers, how: str
) -> None:
    client = servers.client()
    with client.object(URL) as opened:
        assert opened.read_at(0, 10) == CONTENT[:10]
        if how == "overwritten":
            client.put(URL, bytes(SIZE))
        else:
            client.delete(URL)
        with pytest.raises(ObjectChangedError, match="open it again"):
            opened.read_at(5 * MIB, 10)
        assert opened.read_at(0, 10) == CONTENT[:10], "what is held is of the version that it is pinned to"


def limited(servers: BrokenServers, **options: Any) -> Client:
    """A client that holds 1 MiB at most."""
    chosen = servers.client().options
    transfer = dataclasses.replace(chosen.transfer, **({"max_unindexed_bytes": MIB, "concurrency": 3} | options))
    return Client(
        chosen.kms_key_id,
        session=boto3.Session("TESTS", "not checked", region_name="eu-west-1"),
        endpoint_url=chosen.endpoint_url,
        kms_endpoint_url=chosen.kms_endpoint_url,
        transfer=transfer,
    )


def test_a_large_object_without_an_index_names_the_ways_out(servers: BrokenServers) -> None:
    del servers.s3.server.objects[INDEX]
    client = limited(servers)
    ways_out = r"client\.index.*max_unindexed_bytes.*two passes.*unauthenticated_ranges=True"
    with pytest.raises(NoIndexError, match=ways_out):
        client.object(URL)
    client.index(URL)
    with client.object(URL) as opened:
        assert not opened.in_memory
        read_everywhere(opened)


def test_a_large_old_version_names_the_ways_out_that_there_are_for_one(servers: BrokenServers) -> None:
    del servers.s3.server.objects[INDEX]
    client = limited(servers)
    ways_out = (
        r"newest version only.*max_unindexed_bytes.*'rb', version_id=\.\.\.\) reads in two passes.*unauthenticated"
    )
    with pytest.raises(NoIndexError, match=ways_out):
        client.object(URL, version_id="old")
    with client.open(URL, "rb", version_id="old") as file:
        assert file.read() == CONTENT


def test_an_index_made_later_is_the_one_that_the_writer_made(servers: BrokenServers) -> None:
    made = servers.s3.server.objects.pop(INDEX).body
    servers.client().index(URL)
    assert servers.s3.server.objects[INDEX].body == made


def test_no_index_is_made_of_what_does_not_authenticate_nor_of_a_plain_object(servers: BrokenServers) -> None:
    del servers.s3.server.objects[INDEX]
    replaced(servers, PATH, flipped(servers.s3.server.objects[PATH].body, 99))
    client = servers.client()
    with pytest.raises(AuthenticationError, match="s3://bucket/dir/o"):
        client.index(URL)
    client.put("s3://bucket/dir/plain", CONTENT, encryption=PLAIN)
    for allowed in (False, True):
        reader = servers.client(allow_plaintext=allowed)
        with pytest.raises(NotEncryptedError):
            reader.index("s3://bucket/dir/plain")
    assert not [path for path in servers.s3.server.objects if path.endswith(".index")]


def test_a_file_of_a_large_object_without_an_index_is_read_in_two_passes(servers: BrokenServers) -> None:
    del servers.s3.server.objects[INDEX]
    with limited(servers).open(URL, "rb") as file:
        assert file.read() == CONTENT
        file.seek(123)
        assert file.read(77) == CONTENT[123:200]


def test_a_body_that_changes_between_the_passes_under_an_unchanged_etag_is_refused(servers: BrokenServers) -> None:
    del servers.s3.server.objects[INDEX]
    body = servers.s3.server.objects[PATH].body
    with limited(servers).open(URL, "rb") as file:
        replaced(servers, PATH, flipped(body, 3 * MIB))
        assert file.read(MIB) == CONTENT[:MIB]
        file.seek(3 * MIB)
        with pytest.raises(AuthenticationError):
            file.read(10)


def test_the_first_pass_refuses_what_does_not_authenticate(servers: BrokenServers) -> None:
    del servers.s3.server.objects[INDEX]
    replaced(servers, PATH, flipped(servers.s3.server.objects[PATH].body, SIZE + 3))
    with pytest.raises(AuthenticationError):
        limited(servers).open(URL, "rb")


def test_unauthenticated_ranges_are_of_another_type_and_say_so(servers: BrokenServers) -> None:
    replaced(servers, PATH, flipped(servers.s3.server.objects[PATH].body, 100, 0x20))
    client = servers.client()
    with client.object(URL, unauthenticated_ranges=True) as opened:
        assert "unauthenticated" in opened.encryption
        found = opened.read_at(95, 10)
        assert type(found).__name__ == "UnauthenticatedBuffer"
        assert bytes(found) == flipped(CONTENT, 100, 0x20)[95:105]
    with pytest.raises(AuthenticationError):
        client.get(URL)


def test_a_small_object_of_known_size_is_one_request_and_of_unknown_size_two(servers: BrokenServers) -> None:
    client = servers.client()
    client.put("s3://bucket/small", b"hello")
    for hint, requests in ((21, 1), (numpy.int64(21), 1), (None, 2)):
        servers.s3.reset()
        with client.object("s3://bucket/small", size_hint=hint) as opened:
            assert opened.read_at(1, 3) == b"ell"
        assert len(servers.s3.log) == requests


def test_an_object_that_grew_since_it_was_listed_is_opened_as_what_it_is(servers: BrokenServers) -> None:
    with servers.client().object(URL, size_hint=21) as opened:
        assert not opened.in_memory
        assert opened.read_at(5, 10) == CONTENT[5:15]


def test_copies_and_moves_take_the_index_along_deletions_remove_it_and_listings_do_not_show_it(
    servers: BrokenServers,
) -> None:
    client, objects = servers.client(), servers.s3.server.objects
    client.copy(URL, "s3://bucket/copy/a=b%.bin")
    assert "/bucket/copy/_arrowseal.a%3Db%25.bin.index" in objects
    with client.object("s3://bucket/copy/a=b%.bin") as opened:
        assert not opened.in_memory
    client.move(URL, "s3://bucket/moved")
    assert PATH not in objects
    assert INDEX not in objects
    with client.object("s3://bucket/moved") as opened:
        assert not opened.in_memory
        read_everywhere(opened)
    assert [row.location.key for row in client.list("s3://bucket")] == ["copy/a=b%.bin", "moved"]
    client.delete("s3://bucket/moved")
    client.delete("s3://bucket/copy/a=b%.bin")
    assert not objects


def test_a_write_whose_index_cannot_be_published_is_there_and_warns(servers: BrokenServers) -> None:
    client = servers.client()
    servers.s3.rule = lambda method, path, headers: (
        Fault("status", 403, "AccessDenied") if method == "PUT" and path.endswith(".index") else None
    )
    with pytest.warns(RuntimeWarning, match="not its segment index"):
        client.put("s3://bucket/o", CONTENT)
    assert client.get("s3://bucket/o") == CONTENT


def test_an_index_is_written_only_for_what_is_encrypted_and_in_parts_and_where_it_is_wanted(
    servers: BrokenServers,
) -> None:
    client, objects = servers.client(), servers.s3.server.objects
    client.put("s3://bucket/small", bytes(1000))
    client.put("s3://bucket/plain", CONTENT, encryption=PLAIN)
    limited(servers, publish_index=False).put("s3://bucket/quiet", CONTENT)
    assert [path for path in objects if path.endswith(".index")] == [INDEX]


@pytest.mark.parametrize("size", [2**18 + 1, MIB, MIB + 1, 2 * MIB - 16, 2 * MIB])
def test_objects_about_as_long_as_the_first_part_are_read_whole(servers: BrokenServers, size: int) -> None:
    client = servers.client()
    client.put("s3://bucket/dir/size", CONTENT[:size])
    assert client.get("s3://bucket/dir/size") == CONTENT[:size]
    assert client.get("s3://bucket/dir/size") == CONTENT[:size]


@pytest.mark.parametrize("lane", ["obstore", "boto3"])
@pytest.mark.parametrize("kind", ["truncate", "reset"])
def test_an_index_whose_body_broke_off_is_asked_for_again(servers: BrokenServers, kind: str, lane: Any) -> None:
    client = servers.client(lane=lane, transfer=TransferOptions(max_unindexed_bytes=0))
    client.exists(URL)  # what obstore sends it learns from boto3
    served: list[str] = []

    def rule(method: str, path: str, _: object) -> Fault | None:
        if method == "GET" and path == INDEX:
            served.append(path)
            return Fault(kind, at=100) if len(served) == 1 else None
        return None

    servers.s3.rule = rule
    with client.object(URL) as source:
        assert source.read_at(S, 5) == CONTENT[S : S + 5]
    assert len(served) == 2
