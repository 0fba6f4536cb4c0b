"""Exactly one ciphertext exists for one key and IV, whatever failed: the server's record of every body that came in.

GCM under one key and IV must never seal two contents: their XOR would be known, and the authentication key after it.
Under V3 the encrypted data key and the message id stand for both; under V2 the encrypted data key and the IV.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pytest
from broken_bodies import Fault, part_of
from fault_rules import either, on, randomly

import arrowseal
from arrowseal import Client
from arrowseal.exceptions import ArrowSealError
from arrowseal.store import Payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_bodies import Seen
    from broken_servers import BrokenServers

    Write = Callable[[Client, int], object]

BUCKET = "s3://bucket"
PART = 5 * 2**20
REFUSED = [Fault("status", 503, "SlowDown"), Fault("status", 500, "InternalError"), Fault("reset-before")]
SENDING = [*REFUSED, Fault("lost-answer"), Fault("cut-request", 10), Fault("cut-request", 400_000)]
FAULTS = {
    "PutObject": SENDING,
    "UploadPart": SENDING,
    "CreateMultipartUpload": [*REFUSED, Fault("lost-answer")],
    "CompleteMultipartUpload": [*REFUSED, Fault("lost-answer"), Fault("error-200", code="InternalError")],
}
META = "x-amz-meta-"


class Sealed(NamedTuple):
    """What a body was sealed under, and which part of the content it is."""

    encrypted_data_key: str
    message_id: str
    part: int


class TwoCiphertextsError(AssertionError):
    """One key and IV sealed two contents."""


def bodies(servers: BrokenServers) -> dict[Sealed, list[bytes]]:
    """Every body that came in, also those of which only the beginning did."""
    found: dict[Sealed, list[bytes]] = defaultdict(list)
    for seen in servers.s3.log + servers.s3.cut:
        if seen.operation in ("PutObject", "UploadPart") and seen.body and not seen.path.endswith(".index"):
            found[_sealed(seen, servers)].append(seen.body)
    return dict(found)


def _sealed(seen: Seen, servers: BrokenServers) -> Sealed:
    number = part_of(seen.path)
    headers = {name.lower(): value for name, value in seen.headers.items()}
    if number is not None:
        headers = servers.s3.server.uploads[seen.path.partition("uploadId=")[2].partition("&")[0]]
    key = headers.get(META + "x-amz-3") or headers[META + "x-amz-key-v2"]
    return Sealed(key, headers.get(META + "x-amz-i") or headers[META + "x-amz-iv"], number or 1)


def check_one_ciphertext(servers: BrokenServers, writes: int, sent_nothing: int = 0) -> int:
    """See that each write has its own key and IV, and each of these one ciphertext, of which all that came in are the
    same parts or beginnings of them; but for so many at most that failed before they sent anything. Returns how many
    bodies came in besides the first ones.
    """
    found = bodies(servers)
    whole = {sealed: max(sent, key=len) for sealed, sent in found.items()}
    for sealed, sent in found.items():
        if not all(whole[sealed].startswith(body) for body in sent):
            raise TwoCiphertextsError(f"{sealed} has {len(set(sent))} ciphertexts")
    assert writes - sent_nothing <= len({sealed[:2] for sealed in found}) <= writes
    # What lies in the bucket is that ciphertext, part after part.
    texts: dict[tuple[str, str], bytes] = defaultdict(bytes)
    for sealed in sorted(whole):
        texts[sealed[:2]] += whole[sealed]
    stored = {stored.body for path, stored in servers.s3.server.objects.items() if not path.endswith(".index")}
    assert stored <= set(texts.values())
    return sum(len(sent) for sent in found.values()) - len(found)


def noise(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def put(client: Client, number: int) -> None:
    client.put(f"{BUCKET}/{number % 7}", noise(number, 600_000))


def put_what_changes(client: Client, number: int) -> None:
    """Another thread goes on writing into the buffer, as it must not."""
    buffer, done = bytearray(noise(number, 600_000)), threading.Event()

    def change() -> None:
        for turn in itertools.count():
            if done.wait(0.001):
                return
            buffer[:8] = turn.to_bytes(8, "big")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        client.put(f"{BUCKET}/{number % 7}", buffer)
    finally:
        done.set()
        thread.join()


def put_in_parts(client: Client, number: int) -> None:
    client.put(f"{BUCKET}/{number % 7}", noise(number, 2 * PART + 1000))


def write_into_a_file(client: Client, number: int) -> None:
    with client.open(f"{BUCKET}/{number % 7}", "wb") as file:
        for start in range(0, PART + 300_000, 500_000):
            file.write(noise(number + start, 500_000))


def write_a_table(client: Client, number: int) -> None:
    table = pa.table({"noise": pa.array([noise(number, PART + 100_000)], pa.binary())})
    arrowseal.arrow.write_table(table, f"{BUCKET}/{number % 7}.parquet", client=client)


def write_a_small_table(client: Client, number: int) -> None:
    table = pa.table({"number": [number] * 50_000, "noise": random.Random(number).choices(range(10**9), k=50_000)})
    arrowseal.arrow.write_table(table, f"{BUCKET}/{number % 7}.csv", client=client)


def create(client: Client, number: int) -> None:
    client.put(f"{BUCKET}/once/{number}", noise(number, 600_000), if_none_match="*")


WRITES: dict[str, tuple[Write, int]] = {
    "put": (put, 40),
    "put what changes": (put_what_changes, 20),
    "create": (create, 20),
    "put in parts": (put_in_parts, 6),
    "write into a file": (write_into_a_file, 8),
    "a table in parts": (write_a_table, 6),
    "a small table": (write_a_small_table, 20),
}


@pytest.fixture(scope="module", params=["V3", "V2"])
def client(request: pytest.FixtureRequest, listening: BrokenServers) -> Client:
    """One that writes that format."""
    return listening.client(**({"interop": "analytics"} if request.param == "V2" else {}))


@pytest.mark.parametrize("how", WRITES)
def test_a_write_has_one_ciphertext_however_many_of_its_requests_fail(
    servers: BrokenServers, client: Client, how: str
) -> None:
    write, times = WRITES[how]
    servers.s3.rule = either(on("PutObject", Fault("lost-answer")), randomly(len(how), 0.35, FAULTS))
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda number: _wrote(write, client, number), range(times)))
    assert sum(written) > times / 2
    # An upload in parts may fail at its beginning, when the client's budget of retries is used up.
    assert check_one_ciphertext(servers, times, written.count(False)) > 0, "something was sent again"


def test_objects_of_one_data_key_have_one_ciphertext_each(servers: BrokenServers) -> None:
    client = servers.client()
    servers.s3.rule = either(on("PutObject", Fault("lost-answer")), randomly(7, 0.35, FAULTS))
    jobs = [(put, number) for number in range(40)] + [(put_in_parts, number) for number in range(40, 44)]
    with client.data_key_reuse(), ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda job: _wrote(job[0], client, job[1]), jobs))
    assert check_one_ciphertext(servers, len(jobs), written.count(False)) > 0
    assert len({sealed.encrypted_data_key for sealed in bodies(servers)}) == 1


def test_a_write_that_fails_and_is_called_again_is_another_ciphertext(servers: BrokenServers) -> None:
    client = servers.client()
    servers.s3.rule = on("PutObject", Fault("reset-before"), times=6)
    assert not _wrote(put, client, 1)
    put(client, 1)
    servers.s3.rule = on("PutObject", Fault("cut-request", 400_000), times=6)
    assert not _wrote(put, client, 2)
    put(client, 2)
    assert check_one_ciphertext(servers, writes=4) == 10


@pytest.mark.parametrize("how", ["put", "put in parts", "a small table"])
def test_a_body_that_is_made_anew_for_a_retry_is_found(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sealed, turn = Payload.view.fget, iter(range(10**6))  # type: ignore[attr-defined]

    def sealed_anew(payload: Payload) -> memoryview:
        body = bytearray(sealed(payload))
        body[0] ^= next(turn) % 256
        return memoryview(body)

    monkeypatch.setattr(Payload, "view", property(sealed_anew))
    write, _ = WRITES[how]
    servers.s3.rule = either(
        on("PutObject", Fault("lost-answer"), times=2), on("UploadPart", Fault("cut-request", 400_000), times=2)
    )
    _wrote(write, servers.client(), 1)
    with pytest.raises(TwoCiphertextsError):
        check_one_ciphertext(servers, writes=1)


def _wrote(write: Write, client: Client, number: int) -> bool:
    try:
        write(client, number)
    except ArrowSealError:
        return False
    return True
