"""The awaited forms: the loop goes on meanwhile, and a cancelled `await` ends the work and leaves nothing behind."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest

import arrowseal.aio
import arrowseal.aio.arrow
import arrowseal.aio.pandas
import arrowseal.aio.polars
from arrowseal import PLAIN, Client
from arrowseal.aio import AsyncClient, threads
from arrowseal.cancellation import CancelledWork, cancellation
from arrowseal.exceptions import ColumnNotFoundError, ConfigurationError, ObjectNotFoundError, PreconditionFailedError
from arrowseal.transfer import PIECE_BYTES, TransferOptions

if TYPE_CHECKING:
    from arrowseal.local import LocalServers

PART = 5 * 2**20
PATIENCE = 60
"""Seconds until a test that hangs fails."""


class Sent:
    """A client with a hook of ours in boto3: it counts what is sent, and may hold it back."""

    def __init__(self, servers: LocalServers, **options: Any) -> None:
        s3 = servers.s3_client()
        s3.meta.events.register("before-send.s3", self._send)
        self.client: Client = servers.client(s3=s3, **options)
        self.methods: list[str] = []
        self.hold: str | None = None
        self.held = threading.Event()
        self.released = threading.Event()

    def _send(self, request: Any, **_: Any) -> None:
        self.methods.append(request.method)
        if request.method == self.hold:
            self.held.set()
            assert self.released.wait(PATIENCE)


def left_over(raw_s3: Any, bucket: str) -> tuple[list[str], int]:
    """Keys in a bucket, and how many uploads are open there."""
    objects = raw_s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [row["Key"] for row in objects], len(raw_s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


class Cancels:
    """A `progress=` that has the task cancelled after the first piece, and goes on when that has reached the work."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.task: asyncio.Task[Any] | None = None
        self.reached = False

    def __call__(self, done: int, *_: object) -> None:
        if done and self.task is not None:
            self.loop.call_soon_threadsafe(self.task.cancel)
            with pytest.raises(CancelledWork):
                cancellation().sleep(PATIENCE)
            self.reached = True


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled `await` waits for its call, however slow this machine is at the moment."""
    monkeypatch.setattr(threads, "GRACE_SECONDS", PATIENCE)


def test_objects_go_through_the_awaited_calls(client: Client, bucket: str) -> None:
    url, other = f"s3://{bucket}/o", f"s3://{bucket}/p"

    async def main() -> None:
        async with AsyncClient(client) as calls:
            result = await calls.put(url, b"content", if_none_match="*")
            assert await calls.get(url) == b"content"
            assert (await calls.head(url)).encryption == result.encryption == "CSE V3"
            await calls.copy(url, other)
            assert [row.location.key for row in await calls.list(f"s3://{bucket}")] == ["o", "p"]
            await calls.delete(url)
            assert (await calls.exists(url), await calls.exists(other)) == (False, True)
            assert await calls.is_encrypted(other)
            assert await calls.uploads(f"s3://{bucket}") == []
            with calls.data_key_reuse():
                await asyncio.gather(*(calls.put(f"{url}{number}", b"x") for number in range(4)))

    asyncio.run(main())
    assert sum(record.kms_calls for record in list(client.counters)[-4:]) == 1


def test_the_loop_goes_on_while_an_object_moves(local_servers: LocalServers, bucket: str) -> None:
    client = local_servers.client(transfer=TransferOptions(part_bytes=PIECE_BYTES))
    data, url = os.urandom(8 * PIECE_BYTES), f"s3://{bucket}/o"
    ticked = threading.Event()

    async def tick() -> None:
        for _ in range(20):
            await asyncio.sleep(0.001)
        ticked.set()

    def waits_for_the_ticks(done: int, *_: object) -> None:
        assert not done or ticked.wait(PATIENCE)  # for ever, if the loop waits for the transfer

    async def main() -> None:
        calls = AsyncClient(client)
        await asyncio.gather(calls.put(url, data, progress=waits_for_the_ticks), tick())
        ticked.clear()
        content, _ = await asyncio.gather(calls.get(url, progress=waits_for_the_ticks), tick())
        assert content == data

    asyncio.run(main())


def test_500_gets_at_once_are_served(client: Client, bucket: str) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, b"content")

    async def main() -> None:
        async with AsyncClient(client) as calls:
            contents = await asyncio.gather(*(calls.get(url) for _ in range(500)))
        assert all(content == b"content" for content in contents)

    asyncio.run(main())
    assert len(client.counters) == 501
    assert sum(thread.name.startswith("arrowseal-aio") for thread in threading.enumerate()) <= 2 * threads.CONCURRENCY


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("encryption", [None, PLAIN], ids=["CSE", "PLAIN"])
def test_a_cancelled_get_sends_no_more_requests(local_servers: LocalServers, bucket: str, encryption: Any) -> None:
    sent = Sent(local_servers, transfer=TransferOptions(part_bytes=PIECE_BYTES, concurrency=1))
    url = f"s3://{bucket}/o"
    sent.client.put(url, bytes(64 * PIECE_BYTES), encryption=encryption)
    sent.methods.clear()

    async def main() -> None:
        cancels = Cancels()
        get = AsyncClient(sent.client).get
        cancels.task = asyncio.create_task(get(url, encryption=encryption, progress=cancels))
        with pytest.raises(asyncio.CancelledError):
            await cancels.task
        assert cancels.reached
        assert sent.methods == ["GET"], "of nine"

    asyncio.run(main())
    assert [record.operation for record in sent.client.counters] == ["put"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("encryption", [None, PLAIN], ids=["CSE", "PLAIN"])
def test_a_cancelled_put_in_parts_leaves_no_object_and_no_parts(
    local_servers: LocalServers, raw_s3: Any, bucket: str, encryption: Any
) -> None:
    sent = Sent(local_servers, transfer=TransferOptions(part_bytes=PART, concurrency=1))
    sent.hold = "DELETE"

    async def main() -> None:
        cancels = Cancels()
        put = AsyncClient(sent.client).put(f"s3://{bucket}/o", bytes(4 * PART), encryption=encryption, progress=cancels)
        cancels.task = asyncio.create_task(put)
        # The abort takes its time, and the await waits for it.
        held = asyncio.create_task(asyncio.to_thread(sent.held.wait, PATIENCE))
        held.add_done_callback(lambda _: sent.released.set())
        with pytest.raises(asyncio.CancelledError):
            await cancels.task
        assert cancels.reached
        assert sent.released.is_set()
        assert left_over(raw_s3, bucket) == ([], 0)
        assert sent.methods == ["POST", "PUT", "DELETE"]

    asyncio.run(main())


def test_a_call_that_waits_for_a_thread_is_never_begun_when_it_is_cancelled(
    local_servers: LocalServers, raw_s3: Any, bucket: str
) -> None:
    sent = Sent(local_servers)
    sent.hold = "PUT"

    async def main() -> None:
        async with AsyncClient(sent.client, concurrency=1) as calls:
            first = asyncio.create_task(calls.put(f"s3://{bucket}/first", b"1"))
            await asyncio.to_thread(sent.held.wait, PATIENCE)
            second = asyncio.create_task(calls.put(f"s3://{bucket}/second", b"2"))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            sent.released.set()
            await first

    asyncio.run(main())
    assert left_over(raw_s3, bucket) == (["first"], 0)


def test_an_await_does_not_wait_for_a_server_that_does_not_answer_and_the_thread_cleans_up(
    local_servers: LocalServers, raw_s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "GRACE_SECONDS", 0.05)
    sent = Sent(local_servers, transfer=TransferOptions(part_bytes=PART))
    sent.hold = "PUT"

    async def main() -> None:
        calls = AsyncClient(sent.client, concurrency=1)
        put = asyncio.create_task(calls.put(f"s3://{bucket}/o", bytes(2 * PART)))
        await asyncio.to_thread(sent.held.wait, PATIENCE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(put, 0.01)
        assert put.cancelled()
        sent.released.set()
        assert not await calls.exists(f"s3://{bucket}/o")  # its turn comes when the thread of the put has ended

    asyncio.run(main())
    assert left_over(raw_s3, bucket) == ([], 0)


def test_a_writer_commits_at_the_end_of_its_block(client: Client, raw_s3: Any, bucket: str) -> None:
    async def main() -> None:
        calls = AsyncClient(client)
        async with calls.open(f"s3://{bucket}/o", "wb") as file:
            assert await file.write(b"con") == 3
            await file.write(bytearray(b"tent"))
            assert file.result is None
        assert file.result is not None
        assert await calls.get(f"s3://{bucket}/o") == b"content"
        async with calls.open(f"s3://{bucket}/early", "wb") as file:
            await file.write(b"x")
            assert (await file.commit()) is file.result

    asyncio.run(main())
    assert left_over(raw_s3, bucket) == (["early", "o"], 0)


def test_a_writer_is_not_pickled_before_it_has_begun_nor_after(client: Client, bucket: str) -> None:
    async def run() -> None:
        async with AsyncClient(client) as calls:
            file = calls.open(f"s3://{bucket}/o", "wb")
            for copied in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="an AsyncObjectWriter cannot be pickled"):
                    copied(file)
            await file.write(b"secret")
            with pytest.raises(TypeError, match="an AsyncObjectWriter cannot be pickled"):
                pickle.dumps(file)
            await file.abort()

    asyncio.run(run())


def test_pieces_that_are_written_at_once_go_into_one_object(client: Client, bucket: str) -> None:
    async def main() -> None:
        file = AsyncClient(client).open(f"s3://{bucket}/o", "wb")
        await asyncio.gather(*(file.write(b"x" * 10) for _ in range(20)))
        assert (await file.commit()).plaintext_bytes == 200

    asyncio.run(main())


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_writer_whose_block_raises_or_is_cancelled_leaves_nothing(
    local_servers: LocalServers, raw_s3: Any, bucket: str, cancelled: bool
) -> None:
    client = local_servers.client(transfer=TransferOptions(part_bytes=PART))
    begun = asyncio.Event()

    async def write() -> None:
        async with AsyncClient(client).open(f"s3://{bucket}/o", "wb") as file:
            await file.write(bytes(2 * PART + 1))
            begun.set()
            if not cancelled:
                raise LookupError
            await asyncio.sleep(PATIENCE)

    async def main() -> None:
        task = asyncio.create_task(write())
        await begun.wait()
        if cancelled:
            task.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else LookupError):
            await task

    asyncio.run(main())
    assert left_over(raw_s3, bucket) == ([], 0)


def test_tables_are_awaited_with_either_kind_of_client_and_with_the_default_one(client: Client, bucket: str) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    url = f"s3://{bucket}/t.parquet"

    async def main() -> None:
        calls = AsyncClient(client)
        await arrowseal.aio.pandas.to_parquet(frame, url, client=calls)
        read = arrowseal.aio.pandas.read_parquet, arrowseal.aio.polars.read_parquet, arrowseal.aio.arrow.read_table
        with arrowseal.using(client):
            tables = await asyncio.gather(*(each(url) for each in read))
        assert [len(table) for table in tables] == [2, 2, 2]
        assert (await arrowseal.aio.pandas.read_parquet(url, columns=["a"], client=client)).equals(frame)
        lazy = arrowseal.aio.polars.scan_parquet(url, client=client)
        assert (await arrowseal.aio.to_thread(lazy.collect)).equals(pl.from_pandas(frame))

    asyncio.run(main())
    rows = [record for record in client.counters if record.operation == "read_parquet"]
    # With columns ranges are read: the index is asked for beside the first one.
    assert [(record.rows, record.requests) for record in rows] == [(2, 1), (2, 1), (2, 2)]
    assert all(record.decode_seconds > 0 for record in rows)


def test_errors_are_those_of_the_other_calls(client: Client, bucket: str) -> None:
    url = f"s3://{bucket}/t.csv"

    async def main() -> None:
        calls = AsyncClient(client)
        with pytest.raises(ObjectNotFoundError):
            await calls.get(url)
        with pytest.raises(ConfigurationError, match="AsyncClient"):
            calls.open(url, "rb")
        with pytest.raises(ConfigurationError, match="'wb' or 'xb'"):
            calls.open(url)
        with pytest.raises(ConfigurationError, match="mode 'ab' is not known"):
            await calls.open(url, "ab").write(b"")
        with pytest.raises(TypeError, match="unexpected keyword argument 'colums'"):
            await arrowseal.aio.pandas.read_csv(url, colums=["a"], client=calls)
        await arrowseal.aio.pandas.to_csv(pd.DataFrame({"a": [1]}), url, client=calls)
        with pytest.raises(PreconditionFailedError):
            await calls.put(url, b"", if_none_match="*")
        with pytest.raises(ColumnNotFoundError):
            await arrowseal.aio.pandas.read_csv(url, usecols=["b"], client=calls)

    asyncio.run(main())


def test_what_is_no_client_or_no_number_of_calls_is_refused(client: Client) -> None:
    with pytest.raises(ConfigurationError, match=r"takes an arrowseal\.Client, not AsyncClient"):
        AsyncClient(AsyncClient(client))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="1 or more"):
        AsyncClient(client, concurrency=0)


def test_a_call_is_taken_though_another_loop_closes_the_client_at_that_moment(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, submit = AsyncClient(client), ThreadPoolExecutor.submit
    closers = []

    def closed_before(pool: ThreadPoolExecutor, *call: Any) -> Any:
        closers.append(threading.Thread(target=calls.close))
        closers[-1].start()
        closers[-1].join(0.2)
        return submit(pool, *call)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", closed_before)
    assert asyncio.run(calls.threads.run(int)) == 0
    for closer in closers:
        closer.join()


def test_one_client_serves_loop_after_loop_and_travels_by_reference(client: Client, bucket: str) -> None:
    calls = AsyncClient(client, concurrency=3)
    asyncio.run(calls.put(f"s3://{bucket}/o", b"content"))
    calls.close()
    other = pickle.loads(pickle.dumps(AsyncClient(Client("alias/a"), concurrency=3)))
    assert repr(other) == repr(AsyncClient(Client("alias/a")))
    assert asyncio.run(calls.get(f"s3://{bucket}/o")) == b"content"
