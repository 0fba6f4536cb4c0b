"""IPC by ranges: what happens under a read is told as what it is, though pyarrow makes one error of everything."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal.exceptions import AuthenticationError, ColumnNotFoundError, ObjectChangedError
from arrowseal.objects import EncryptedObject
from arrowseal.tables import dataset_pieces

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

ROWS = 60_000


def numbers(one: int) -> bytes:
    """Three columns in batches, one of which is all of one number."""
    sink = io.BytesIO()
    columns = {"n": range(ROWS), "one": pa.array([one] * ROWS), "text": [f"row {n:09}" for n in range(ROWS)]}
    table = pa.table(columns)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS // 8)
    return sink.getvalue()


FIRST, SECOND = numbers(1), numbers(2)
READS: dict[str, Any] = {
    "arrow.read_table": lambda url, client: sa.read_table(url, columns=["n", "one"], client=client),
    "arrow.scan": lambda url, client: pa.table(sa.scan(url, columns=["n", "one"], client=client)),
    "arrow.dataset": lambda url, client: sa.dataset([url], format="ipc", client=client).to_table(columns=["n", "one"]),
    "arrow.dataset, all": lambda url, client: sa.dataset([url], format="ipc", client=client).to_table(),
    "pandas.read_feather": lambda url, client: spd.read_feather(url, columns=["n", "one"], client=client),
    "polars.read_ipc": lambda url, client: spl.read_ipc(url, columns=["n", "one"], client=client),
    "polars.scan_ipc": lambda url, client: spl.scan_ipc(url, client=client).select("n", "one").collect(),
}


@pytest.fixture
def url(resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(dataset_pieces, "AT_ONCE_BYTES", 2**16)
    resident.put(f"s3://{lake}/t.arrow", FIRST)
    resident.index(f"s3://{lake}/t.arrow")
    return f"s3://{lake}/t.arrow"


@pytest.mark.parametrize("read", [sa.read_table, spd.read_feather], ids=["arrow", "pandas"])
def test_a_column_that_is_not_there_is_told_and_not_left_out(url: str, resident: Client, read: Any) -> None:
    with pytest.raises(ColumnNotFoundError, match="'missing'"):
        read(url, columns=["n", "missing", "one"], client=resident)


@pytest.mark.parametrize("name", READS)
def test_a_buffer_that_was_changed_does_not_authenticate(
    name: str, url: str, resident: Client, servers_here: BrokenServers
) -> None:
    path = url.removeprefix("s3:/")
    stored = servers_here.s3.server.objects[path]
    for at in range(len(stored.body) // 3, len(stored.body) // 3 + 200_000, 50_000):  # more than a batch has
        changed = bytes([stored.body[at] ^ 1])
        servers_here.s3.server.objects[path] = stored._replace(body=stored.body[:at] + changed + stored.body[at + 1 :])
        try:
            found = pl.DataFrame(READS[name](url, resident))
        except AuthenticationError as error:
            assert "does not authenticate" in str(error)  # noqa: PT017 - columns that are not read may be wrong
            break
        assert found["one"].sum() == ROWS
    else:
        pytest.fail("none of the changes was seen")


@pytest.mark.parametrize("name", READS)
def test_an_object_that_is_overwritten_under_a_read_is_read_once_more(
    name: str, url: str, resident: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_ranges, lock = EncryptedObject.read_ranges, threading.Lock()
    reads = 0

    def overwritten(source: EncryptedObject, ranges: Any) -> Any:
        nonlocal reads
        with lock:
            reads += 1
            if reads == when:
                resident.put(url, SECOND)
                resident.index(url)
        return read_ranges(source, ranges)

    monkeypatch.setattr(EncryptedObject, "read_ranges", overwritten)
    for when in (2, 3, 4):
        resident.put(url, FIRST)
        resident.index(url)
        reads = 0
        try:
            found = pl.DataFrame(READS[name](url, resident))
        except ObjectChangedError:
            assert name == "arrow.dataset, all"  # rows of the first one were given out already
        else:
            assert found["one"].unique().to_list() == ([2] if reads >= when else [1])
