"""The end of the interpreter right after a read or in the midst of a write: a clean exit, and no half of an object.

How often each read is tried: ARROWSEAL_TEST_EXITS, once unless it is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seen import keys

from arrowseal.fs import SealedFileSystem, exit_guard

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

RUNS = int(os.environ.get("ARROWSEAL_TEST_EXITS", "1"))
READS = {
    "pyarrow dataset": """
        import pyarrow.dataset as ds
        ds.dataset(f"{lake}/t", filesystem=arrowseal.fs.SealedFileSystem()).to_table()""",
    "pyarrow read_table": """
        import pyarrow.parquet as pq
        pq.read_table(f"{lake}/t", filesystem=arrowseal.fs.SealedFileSystem(), columns=["n"])""",
    "pyarrow file that stays open": """
        import pyarrow.parquet as pq
        file = pq.ParquetFile(f"{lake}/t/0.parquet", filesystem=arrowseal.fs.SealedFileSystem())
        table = file.read()""",
    "fsspec by pyarrow": """
        import fsspec, pyarrow.dataset as ds
        ds.dataset(f"{lake}/t", filesystem=fsspec.filesystem("s3cse")).to_table(columns=["text"])""",
    "fsspec by pandas": """
        import pandas
        pandas.read_parquet(f"s3cse://{lake}/t/1.parquet")""",
    "fsspec by DuckDB": """
        import duckdb, fsspec
        connection = duckdb.connect()
        connection.register_filesystem(fsspec.filesystem("s3cse"))
        connection.sql(f"select sum(n) from 's3cse://{lake}/t/*.parquet'").fetchall()""",
    "fsspec file": """
        import fsspec
        file = fsspec.open(f"s3cse://{lake}/t/1.parquet").open()
        file.read(10)""",
    "client": """
        file = client.open(f"s3://{lake}/t/1.parquet", "rb")
        file.read(10)""",
    "arrowseal.arrow": """
        arrowseal.arrow.read_table(f"s3://{lake}/t/1.parquet", columns=["n"])""",
    "arrowseal.pandas": """
        arrowseal.pandas.read_parquet(f"s3://{lake}/t/1.parquet")""",
    "arrowseal.polars": """
        arrowseal.polars.scan_parquet(f"s3://{lake}/t/1.parquet").select("n").collect()""",
    "arrowseal.arrow dataset": """
        arrowseal.arrow.dataset(f"s3://{lake}/t/").to_table(columns=["n"])""",
    "arrowseal.polars dataset that stops early": """
        frames = arrowseal.polars.scan_parquet(f"s3://{lake}/t/").collect_batches(chunk_size=10)
        first = next(iter(frames))""",
    "arrowseal.polars dataset": """
        arrowseal.polars.scan_parquet(f"s3://{lake}/t/").select("n").collect()""",
}
WRITES = {
    "pyarrow stream": """
        stream = arrowseal.fs.SealedFileSystem().open_output_stream(f"{lake}/a")
        stream.write(content)""",
    "pyarrow writer": """
        import pyarrow, pyarrow.parquet as pq
        table = pyarrow.table({"n": [1]})
        writer = pq.ParquetWriter(f"{lake}/a", table.schema, filesystem=arrowseal.fs.SealedFileSystem())
        writer.write_table(table)""",
    "fsspec file": """
        import fsspec
        file = fsspec.filesystem("s3cse").open(f"{lake}/a", "wb")
        file.write(content)""",
    "fsspec text": """
        import fsspec
        file = fsspec.filesystem("s3cse").open(f"{lake}/a", "w")
        file.write("half")""",
    "fsspec transaction": """
        import fsspec
        fs = fsspec.filesystem("s3cse")
        fs.start_transaction()
        fs.pipe_file(f"{lake}/a", content)""",
    "exit within a block": """
        import fsspec, sys
        with fsspec.filesystem("s3cse").open(f"{lake}/a", "wb") as file:
            file.write(content)
            sys.exit(0)""",
}


def run(body: str, lake: str, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """A program of its own, whose last statement is the last of `body`."""
    begin = f"import arrowseal, arrowseal.fs\nlake, content = {lake!r}, bytes(12 * 2**20)\n"
    configured = f"client = arrowseal.configure(**{options!r})\n"
    lines = [line.removeprefix(" " * 8) for line in body.splitlines()]
    code = begin + configured + "\n".join(lines)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.fixture
def parts(resident: Client, lake: str) -> str:
    """A bucket with a dataset in it, of more row groups than there are threads."""
    table = pa.table({"n": range(100_000), "text": [f"row {n % 1000}" for n in range(100_000)]})
    for part in range(3):
        filesystem = SealedFileSystem(resident)
        pq.write_table(table, f"{lake}/t/{part}.parquet", filesystem=filesystem, row_group_size=10_000)
    return lake


@pytest.mark.parametrize("face", READS)
def test_the_interpreter_exits_cleanly_right_after_a_read(parts: str, options: dict[str, Any], face: str) -> None:
    if "DuckDB" in face:
        pytest.importorskip("duckdb")
    ended = [run(READS[face], parts, options) for _ in range(RUNS)]
    failed = [each for each in ended if each.returncode]
    assert Counter(each.returncode for each in ended) == {0: RUNS}, failed[0].stderr


def test_the_end_waits_for_what_was_read_where_the_file_is_gone(
    parts: str, resident: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_guard, "_MOST_SECONDS", 60)
    held = [SealedFileSystem(resident).open_input_file(f"{parts}/t/0.parquet").read_buffer(1000)]
    order: list[str] = []

    def let_go() -> None:
        time.sleep(0.2)
        order.append("let go")
        held.clear()

    thread = threading.Thread(target=let_go)
    thread.start()
    exit_guard._end()
    order.append("ended")
    thread.join()
    assert order == ["let go", "ended"]


@pytest.mark.parametrize("face", WRITES)
def test_the_interpreter_ends_in_a_write_and_there_is_no_object(
    lake: str, options: dict[str, Any], servers: BrokenServers, face: str
) -> None:
    ended = run(WRITES[face], lake, options)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert keys(servers, lake) == []
    assert not servers.s3.server.open_uploads
