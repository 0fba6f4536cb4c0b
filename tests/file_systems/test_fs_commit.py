"""When a file becomes an object: whole, at its end; never by an exception, nor by being dropped."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from seen import Unfortunate, keys, kinds

from arrowseal.exceptions import ObjectExistsError, StoreError
from arrowseal.fs import S3CseFileSystem, SealedFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

    from arrowseal import Client

TABLE = pa.table({"n": range(1000), "k": ["x", "y"] * 500})


@pytest.fixture
def fs(resident: Client, servers: BrokenServers) -> SealedFileSystem:
    return SealedFileSystem(resident)


@pytest.fixture
def s3cse(resident: Client, servers: BrokenServers) -> S3CseFileSystem:
    return S3CseFileSystem(client=resident)


# Of pyarrow


def raise_in_stream(fs: SealedFileSystem, path: str) -> None:
    with fs.open_output_stream(path) as file:
        file.write(b"half")
        raise Unfortunate


def raise_in_parquet_writer(fs: SealedFileSystem, path: str) -> None:
    with pq.ParquetWriter(path, TABLE.schema, filesystem=fs) as writer:
        writer.write_table(TABLE)
        raise Unfortunate


def raise_in_compressed_stream(fs: SealedFileSystem, path: str) -> None:
    with fs.open_output_stream(path, compression="gzip") as file:
        file.write(b"half")
        raise Unfortunate


def raise_in_dataset(fs: SealedFileSystem, path: str) -> None:
    def batches() -> Any:
        yield TABLE.to_batches()[0]
        raise Unfortunate

    reader = pa.RecordBatchReader.from_batches(TABLE.schema, batches())
    ds.write_dataset(reader, path, filesystem=fs, format="parquet", basename_template="{i}.parquet")


def write_with_an_unknown_option(fs: SealedFileSystem, path: str) -> None:
    pq.write_table(TABLE, path, filesystem=fs, compression="none such")


def write_what_the_format_does_not_take(fs: SealedFileSystem, path: str) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    pq.write_table(pa.table({"a": union}), path, filesystem=fs)


def drop_a_stream(fs: SealedFileSystem, path: str) -> None:
    file = fs.open_output_stream(path)
    file.write(b"half")
    del file
    gc.collect()
    raise Unfortunate


def drop_a_parquet_writer(fs: SealedFileSystem, path: str) -> None:
    writer = pq.ParquetWriter(path, TABLE.schema, filesystem=fs)
    writer.write_table(TABLE)
    del writer  # its own finalizer closes it
    gc.collect()
    raise Unfortunate


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    "failing",
    [
        raise_in_stream,
        raise_in_parquet_writer,
        raise_in_compressed_stream,
        raise_in_dataset,
        write_with_an_unknown_option,
        write_what_the_format_does_not_take,
        drop_a_stream,
        drop_a_parquet_writer,
    ],
)
def test_what_fails_leaves_no_object(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, failing: Callable[[SealedFileSystem, str], None]
) -> None:
    with pytest.raises((Unfortunate, pa.ArrowException)):
        failing(fs, f"{lake}/a")
    gc.collect()
    assert keys(servers, lake) == []
    assert not servers.s3.server.open_uploads


def test_a_stream_that_an_exception_closes_says_that_it_was_given_up(fs: SealedFileSystem, lake: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"s3://{lake}/a: closed while Unfortunate"), suppress(Unfortunate):
        raise_in_stream(fs, f"{lake}/a")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_that_is_dropped_says_that_it_was_given_up(
    s3cse: S3CseFileSystem, lake: str, compression: str | None
) -> None:
    s3cse.open(f"{lake}/z", "wb")  # nothing was written, nothing is told
    file = s3cse.open(f"{lake}/a", "wb", compression=compression)
    file.write(b"all that its library had to say")
    with pytest.warns(RuntimeWarning, match=f"s3://{lake}/a: dropped and not closed"):
        del file
    assert not s3cse.exists(f"{lake}/a")


def test_a_stream_that_is_opened_and_closed_while_an_exception_is_handled_is_committed(
    fs: SealedFileSystem, lake: str
) -> None:
    try:
        raise Unfortunate
    except Unfortunate:
        with fs.open_output_stream(f"{lake}/a") as file:
            file.write(b"a report of it")
    assert fs.open_input_file(f"{lake}/a").read() == b"a report of it"


def test_a_stream_that_is_opened_and_closed_by_a_finalizer_is_committed(fs: SealedFileSystem, lake: str) -> None:
    class Report:
        def __del__(self) -> None:
            with fs.open_output_stream(f"{lake}/a") as file:
                file.write(b"a report of it")

    Report()
    gc.collect()
    assert fs.open_input_file(f"{lake}/a").read() == b"a report of it"


def test_nothing_is_visible_before_the_end_and_all_of_it_after(
    fs: SealedFileSystem, lake: str, servers: BrokenServers
) -> None:
    with fs.open_output_stream(f"{lake}/a") as file:
        for _ in range(3):
            file.write(bytes(4 * 2**20))
        assert kinds(fs, f"{lake}/a") == ["NotFound"]
    assert fs.get_file_info(f"{lake}/a").size == 12 * 2**20


# Of fsspec


def raise_in_file(fs: S3CseFileSystem, path: str) -> None:
    with fs.open(path, "wb") as file:
        file.write(b"half")
        raise Unfortunate


def raise_in_text(fs: S3CseFileSystem, path: str) -> None:
    with fs.open(path, "w") as file:
        file.write("half")
        raise Unfortunate


def raise_in_compressed_file(fs: S3CseFileSystem, path: str) -> None:
    with fs.open(path, "wb", compression="gzip") as file:
        file.write(b"half")
        raise Unfortunate


def raise_in_compressed_text(fs: S3CseFileSystem, path: str) -> None:
    with fs.open(path, "wt", compression="bz2") as file:
        file.write("half")
        raise Unfortunate


def raise_while_files_are_open(fs: S3CseFileSystem, path: str) -> None:
    with fsspec.core.OpenFile(fs, path, "w", compression="gzip") as file:
        file.write("half")
        raise Unfortunate


def raise_while_a_frame_is_written(fs: S3CseFileSystem, path: str) -> None:
    class Cell:
        def __str__(self) -> str:
            raise Unfortunate

    frame = pd.DataFrame({"a": ["x" * 100] * 10_000 + [Cell()]}, dtype=object)
    with fs.open(path, "w") as file:
        frame.to_csv(file)


def raise_in_a_transaction(fs: S3CseFileSystem, path: str) -> None:
    with fs.transaction:
        fs.pipe_file(path, b"whole")
        raise Unfortunate


def raise_in_a_multipart_file(fs: S3CseFileSystem, path: str) -> None:
    with fs.open(path, "wb") as file:
        for _ in range(3):
            file.write(bytes(4 * 2**20))
        raise Unfortunate


def drop_a_file(fs: S3CseFileSystem, path: str) -> None:
    fs.open(path, "wb").write(b"half")
    gc.collect()
    raise Unfortunate


def drop_text(fs: S3CseFileSystem, path: str) -> None:
    fs.open(path, "w").write("half")
    gc.collect()
    raise Unfortunate


def drop_text_in_a_cycle(fs: S3CseFileSystem, path: str) -> None:
    file = fs.open(path, "w")
    file.write("half")
    cycle: list[Any] = [file]
    cycle.append(cycle)
    del file, cycle
    gc.collect()
    raise Unfortunate


def drop_compressed_text(fs: S3CseFileSystem, path: str) -> None:
    fs.open(path, "w", compression="xz").write("half")
    gc.collect()
    raise Unfortunate


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    "failing",
    [
        raise_in_file,
        raise_in_text,
        raise_in_compressed_file,
        raise_in_compressed_text,
        raise_while_files_are_open,
        raise_while_a_frame_is_written,
        raise_in_a_transaction,
        raise_in_a_multipart_file,
        drop_a_file,
        drop_text,
        drop_text_in_a_cycle,
        drop_compressed_text,
    ],
)
def test_a_file_of_fsspec_that_fails_leaves_no_object(
    s3cse: S3CseFileSystem, lake: str, servers: BrokenServers, failing: Callable[[S3CseFileSystem, str], None]
) -> None:
    with pytest.raises(Unfortunate):
        failing(s3cse, f"{lake}/a")
    gc.collect()
    assert keys(servers, lake) == []
    assert not servers.s3.server.open_uploads


@pytest.mark.parametrize("compression", [None, "gzip", "bz2", "xz"])
@pytest.mark.parametrize("mode", ["w", "wb", "x"])
def test_a_file_of_fsspec_is_committed_at_its_end(
    s3cse: S3CseFileSystem, lake: str, mode: str, compression: str | None
) -> None:
    content = "some text\n" * 1000
    with s3cse.open(f"{lake}/a", mode, compression=compression) as file:
        file.write(content.encode() if "b" in mode else content)
        assert not s3cse.exists(f"{lake}/a")
    with s3cse.open(f"{lake}/a", "r", compression=compression) as file:
        assert file.read() == content


def test_a_file_of_fsspec_is_committed_by_close_too(s3cse: S3CseFileSystem, lake: str) -> None:
    file = s3cse.open(f"{lake}/a", "wb")
    assert file.write(b"all of it") == 9
    assert file.tell() == 9
    file.close()
    file.close()
    assert file.closed
    assert s3cse.cat_file(f"{lake}/a") == b"all of it"
    with pytest.raises(ValueError, match="committed"):
        file.write(b"more")


def test_a_transaction_commits_all_of_its_files_at_its_end(s3cse: S3CseFileSystem, lake: str, tmp_path: Any) -> None:
    (tmp_path / "local").write_bytes(b"4")
    with s3cse.transaction:
        with s3cse.open(f"{lake}/1", "wb") as file:
            file.write(b"1")
        with s3cse.open(f"{lake}/2", "w", compression="gzip") as file:
            file.write("2")
        s3cse.pipe_file(f"{lake}/3", b"3")
        s3cse.put_file(str(tmp_path / "local"), f"{lake}/4")
        with suppress(Unfortunate):
            raise_in_file(s3cse, f"{lake}/5")
        assert s3cse.ls(lake) == []
    assert s3cse.ls(lake, detail=False) == [f"{lake}/{number}" for number in (1, 2, 3, 4)]
    assert s3cse.open(f"{lake}/2", "r", compression="gzip").read() == "2"
    s3cse.pipe_file(f"{lake}/6", b"6")
    assert s3cse.exists(f"{lake}/6")


def test_a_new_file_is_not_made_over_one_that_is_there(s3cse: S3CseFileSystem, lake: str) -> None:
    s3cse.pipe_file(f"{lake}/a", b"first", mode="create")
    for creating in (lambda: s3cse.open(f"{lake}/a", "xb"), lambda: s3cse.pipe_file(f"{lake}/a", b"2", mode="create")):
        with pytest.raises(FileExistsError) as caught:
            creating()
        assert isinstance(caught.value, ObjectExistsError)
    late = s3cse.open(f"{lake}/b", "xb")
    late.write(b"late")
    s3cse.pipe_file(f"{lake}/b", b"first")
    with pytest.raises(FileExistsError):
        late.close()
    assert s3cse.cat(f"{lake}/*") == {f"{lake}/a": b"first", f"{lake}/b": b"first"}


def test_a_commit_that_fails_raises_and_leaves_nothing(
    s3cse: S3CseFileSystem, lake: str, servers: BrokenServers
) -> None:
    from broken_bodies import Fault

    servers.s3.rule = lambda method, *_: Fault("status", 403, "AccessDenied") if method == "PUT" else None
    with pytest.raises(StoreError), s3cse.open(f"{lake}/a", "w") as file:
        file.write("all of it")
    servers.s3.reset()
    assert not s3cse.exists(f"{lake}/a")


@pytest.mark.parametrize("mode", ["ab", "r+b", "a"])
def test_files_are_not_changed_in_place(s3cse: S3CseFileSystem, lake: str, mode: str) -> None:
    with pytest.raises(NotImplementedError, match="written whole"):
        s3cse.open(f"{lake}/a", mode)


def test_a_file_to_write_is_a_binary_file(s3cse: S3CseFileSystem, lake: str) -> None:
    with s3cse.open(f"{lake}/a", "wb") as file:
        assert (file.writable(), file.readable(), file.seekable()) == (True, False, False)
