"""Content by `s3cse://`: slices, ranges, lines, buffers and other caches; changed content, refused by all of them."""

from __future__ import annotations

import io
import os
import pickle
import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import fsspec
import fsspec.parquet
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seen import requests, tamper

import arrowseal
from arrowseal.exceptions import AuthenticationError, ConfigurationError, ObjectChangedError
from arrowseal.fs import S3CseFileSystem

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

TABLE = pa.table({"n": range(1000), "k": ["x", "y"] * 500})


@pytest.fixture
def fs(resident: Client, servers: BrokenServers) -> S3CseFileSystem:
    return S3CseFileSystem(client=resident)


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (0, 5), (5, None), (None, 5), (-5, None), (-5, -2), (2, -2), (7, 3), (95, 200)]
)
def test_slices_are_those_of_python(fs: S3CseFileSystem, lake: str, start: int | None, end: int | None) -> None:
    content = bytes(range(100))
    fs.pipe_file(f"{lake}/a", content)
    assert fs.cat_file(f"s3cse://{lake}/a", start, end) == content[start:end]
    assert fs.cat_ranges([f"{lake}/a"] * 2, start, end) == [content[start:end]] * 2


def test_ranges_of_many_files_are_read_side_by_side(fs: S3CseFileSystem, lake: str, servers: BrokenServers) -> None:
    contents = {f"{lake}/{at}": random.Random(at).randbytes(1000) for at in range(8)}
    fs.pipe(contents)
    fs.cat_ranges(list(contents), 0, 1)
    together = threading.Barrier(8)

    def wait_for_the_others(_: str, path: str, *__: Any) -> None:
        if ".index" not in path:
            together.wait(5)  # broken if one does not come: then no request gets its answer, nor those that follow

    servers.s3.rule = wait_for_the_others  # type: ignore[assignment]
    paths = [path for path in contents for _ in range(3)]
    starts = [10, 500, 990] * 8
    assert fs.cat_ranges(paths, starts, [start + 20 for start in starts]) == [
        contents[path][start : start + 20] for path, start in zip(paths, starts, strict=True)
    ]
    assert not together.broken


def test_a_range_that_is_refused_is_raised_unless_errors_are_asked_for(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers
) -> None:
    fs.pipe({f"{lake}/good": bytes(100), f"{lake}/bad": bytes(100)})
    tamper(servers, f"{lake}/bad", 50)
    paths = [f"{lake}/good", f"{lake}/bad", f"{lake}/none"]
    with pytest.raises(AuthenticationError):
        fs.cat_ranges(paths[:2], 0, 10)
    good, bad, none = fs.cat_ranges(paths, 0, 10, on_error="return")
    assert good == bytes(10)
    assert isinstance(bad, AuthenticationError)
    assert isinstance(none, FileNotFoundError)
    with pytest.raises(ConfigurationError, match="as many"):
        fs.cat_ranges(paths, [1], [2, 3])


CONTENT = b"".join(b"line %d %s\n" % (at, b"x" * (at % 97)) for at in range(5000)) + b"the end"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, len(CONTENT) + 10)),
        st.tuples(st.just("read"), st.integers(-1, 100_000)),
        st.tuples(st.just("readline"), st.none()),
        st.tuples(st.just("readlines"), st.sampled_from([None, -1, 0, 1, 1000])),
        st.tuples(st.just("readinto"), st.integers(0, 70_000)),
        st.tuples(st.just("tell"), st.none()),
    ),
    max_size=15,
)


@pytest.fixture(scope="module")
def text_path(resident: Client) -> str:
    resident.put("s3://lake-text/a", CONTENT)
    return "lake-text/a"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cache_type=st.sampled_from(["none", "none", "readahead", "bytes", "blockcache"]))
def test_a_file_reads_as_a_file(resident: Client, text_path: str, steps: list[Any], cache_type: str) -> None:
    fs, expected = S3CseFileSystem(client=resident), io.BytesIO(CONTENT)
    with fs.open(text_path, "rb", cache_type=cache_type, block_size=10_000) as file:
        for name, argument in steps:
            if name == "readinto":
                given_, wanted = bytearray(argument), bytearray(argument)
                assert file.readinto(given_) == expected.readinto(wanted)
                assert given_ == wanted
            else:
                arguments = () if argument is None else (argument,)
                assert getattr(file, name)(*arguments) == getattr(expected, name)(*arguments)


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("encoding", ["utf-16", "U32", "utf-8-sig", "utf-16-le", "latin-1"])
def test_text_is_written_as_its_encoding_begins(
    fs: S3CseFileSystem, lake: str, encoding: str, compression: str | None
) -> None:
    with fs.open(f"{lake}/t", "w", encoding=encoding, compression=compression, newline="\r\n") as file:
        file.write("é\n")
        file.write("n")
    with fs.open(f"{lake}/t", "rb", compression=compression) as file:
        assert file.read() == "é\r\nn".encode(encoding)
    with fs.open(f"{lake}/t", "r", encoding=encoding, compression=compression) as file:
        assert file.read() == "é\nn"
    fs.write_text(f"{lake}/w", "ü", encoding=encoding)
    assert fs.cat_file(f"{lake}/w") == "ü".encode(encoding)


def test_lines_are_read_and_counted_in_few_requests(
    fs: S3CseFileSystem, text_path: str, servers: BrokenServers
) -> None:
    with fs.open(text_path, "rb") as file:
        requests(servers)
        assert list(file) == CONTENT.splitlines(keepends=True)
        assert len(requests(servers)) <= 3
    with fs.open(text_path, "r") as text:
        assert list(text) == CONTENT.decode().splitlines(keepends=True)
    with fs.open(text_path, "rb") as file:
        assert (file.readline(3), file.readline(), file.readlines()[-1]) == (b"lin", b"e 0 \n", b"the end")


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("content", [b"", b"\n", b"a", b"a\n\nb", b"a\n"])
def test_there_are_as_many_lines_as_in_a_local_file(
    fs: S3CseFileSystem, lake: str, content: bytes, compression: str | None
) -> None:
    with fs.open(f"{lake}/lines", "wb", compression=compression) as file:
        file.write(content)
    for hint in (None, -1, 0, 1):
        with fs.open(f"{lake}/lines", "rb", compression=compression) as file:
            assert file.readlines(hint) == io.BytesIO(content).readlines(hint)
            file.seek(0, io.SEEK_END)
            assert file.readlines() == []


def test_small_reads_here_and_there_do_not_fetch_what_lies_between(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, resident: Client
) -> None:
    fs.pipe_file(f"{lake}/a", random.Random(1).randbytes(8 * 2**20))
    resident.index(f"s3://{lake}/a")
    with fs.open(f"{lake}/a", "rb") as file:
        requests(servers)
        for at in (7, 1, 4):
            file.seek(at * 2**20)
            assert len(file.read(1000)) == 1000
        fetched = [seen.headers["Range"].removeprefix("bytes=").split("-") for seen in servers.s3.log]
        assert sum(int(end) + 1 - int(start) for start, end in fetched) <= 3 * 2**17


def test_buffers_are_read_without_a_copy(fs: S3CseFileSystem, lake: str) -> None:
    fs.pipe_file(f"{lake}/a", bytes(range(200)))
    with fs.open(f"{lake}/a", "rb") as file:
        file.seek(10)
        assert bytes(file.read_buffer(5)) == bytes(range(10, 15))
        assert file.tell() == 15
        one, other = memoryview(file.read_buffer(5)), memoryview(file.read_buffer(5))
        assert (bytes(one), bytes(other), one.readonly) == (bytes(range(15, 20)), bytes(range(20, 25)), True)
        assert pa.py_buffer(other).address - pa.py_buffer(one).address == 5
    with fs.open(f"{lake}/a", "rb", cache_type="bytes") as file:
        assert bytes(file.read_buffer(5)) == bytes(range(5))


def test_a_pickled_file_goes_on_where_it_was(options: dict[str, Any], lake: str) -> None:
    fs = S3CseFileSystem(**options)
    fs.pipe_file(f"{lake}/a", b"0123456789")
    with fs.open(f"{lake}/a", "rb") as file:
        file.read(4)
        with pickle.loads(pickle.dumps(file)) as again:
            assert again.read() == b"456789"


def test_a_pickled_file_does_not_go_on_in_other_content(options: dict[str, Any], lake: str) -> None:
    fs = S3CseFileSystem(**options)
    fs.pipe_file(f"{lake}/a", b"0123456789")
    with fs.open(f"{lake}/a", "rb") as file:
        file.read(4)
        carried = pickle.dumps(file)
    fs.pipe_file(f"{lake}/a", b"abcdefghij")
    with pytest.raises(ObjectChangedError, match=f"s3://{lake}/a: overwritten"):
        pickle.loads(carried)


def test_keywords_of_a_call_reach_the_client(fs: S3CseFileSystem, lake: str, resident: Client) -> None:
    with fs.open(f"{lake}/a", "wb", encryption_context={"team": "a"}) as file:
        file.write(b"1")
    assert resident.head(f"s3://{lake}/a").context_keys == ("team",)
    assert fs.cat_file(f"{lake}/a", encryption_context={"team": "a"}) == b"1"
    with fs.open(f"{lake}/a", "rb", encryption_context=arrowseal.ANY) as file:
        assert file.read() == b"1"


# Through others


@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_local_caches_of_fsspec_go_over_it(options: dict[str, Any], lake: str, tmp_path: Any, cache: str) -> None:
    content = random.Random(2).randbytes(300_000)
    S3CseFileSystem(**options).pipe_file(f"{lake}/a", content)
    local = {"cache_storage": str(tmp_path)}
    for _ in range(2):
        with fsspec.open(f"{cache}::s3cse://{lake}/a", s3cse=options, **{cache: local}) as file:
            file.seek(100_000)
            assert file.read(50) == content[100_000:100_050]


@pytest.mark.parametrize("cache", ["simplecache", "filecache"])
def test_a_read_that_fails_midway_leaves_no_half_of_a_file_in_a_cache(
    options: dict[str, Any], lake: str, servers: BrokenServers, tmp_path: Any, cache: str
) -> None:
    content = bytes(12 * 2**20)
    with S3CseFileSystem(**options).open(f"{lake}/a", "wb") as file:
        file.write(content)
    tamper(servers, f"{lake}/a", len(content) - 2**20)
    caches = {cache: {"cache_storage": str(tmp_path)}}
    for _ in range(2):  # the second one found what the first had left
        with (
            pytest.raises(AuthenticationError, match=f"{lake}/a"),
            fsspec.open(f"{cache}::s3cse://{lake}/a", s3cse=options, **caches) as file,
        ):
            file.read()
    tamper(servers, f"{lake}/a", len(content) - 2**20)
    with fsspec.open(f"{cache}::s3cse://{lake}/a", s3cse=options, **caches) as file:
        assert file.read() == content


def test_a_local_file_appears_whole_and_stays_as_it_was_where_the_read_fails(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, tmp_path: Any
) -> None:
    fs.pipe_file(f"{lake}/d/a", b"new")
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    fs.get_file(f"{lake}/d/a", str(tmp_path / "link"))
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "link").is_symlink()) == (b"new", True)
    fs.get_file(f"{lake}/d", str(tmp_path / "d"))
    assert (tmp_path / "d").is_dir()
    fs.get_file(f"{lake}/d/a", os.devnull)
    assert not os.path.isfile(os.devnull)  # noqa: PTH113
    with fs.open(f"{lake}/large", "wb") as file:
        file.write(bytes(12 * 2**20))
    tamper(servers, f"{lake}/large", 11 * 2**20)
    with pytest.raises(AuthenticationError):
        fs.get_file(f"{lake}/large", str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d", "link"]


def test_a_mapping_of_fsspec_is_over_it(fs: S3CseFileSystem, lake: str) -> None:
    mapping = fs.get_mapper(f"{lake}/zarr")
    mapping["a/0.0"] = b"1"
    mapping.setitems({"a/0.1": b"2", "b": b"3"})
    assert dict(mapping) == {"a/0.0": b"1", "a/0.1": b"2", "b": b"3"}
    assert mapping.getitems(["b", "none"], on_error="omit") == {"b": b"3"}
    del mapping["b"]
    with pytest.raises(KeyError):
        mapping["b"]


def test_pyarrow_takes_it_by_url_and_as_it_is(options: dict[str, Any], lake: str, resident: Client) -> None:
    fs = S3CseFileSystem(**options)
    pq.write_table(TABLE, f"{lake}/t/a.parquet", filesystem=fs)
    assert ds.dataset(f"{lake}/t", filesystem=fs).count_rows() == 1000
    with arrowseal.using(resident):
        theirs, path = pyarrow.fs.FileSystem.from_uri(f"fsspec+s3cse://{lake}/t/a.parquet")
    assert theirs.type_name == "py::fsspec+s3cse"
    assert pq.read_table(path, filesystem=theirs, use_threads=False).equals(TABLE)
    assert theirs.get_file_info(path).size == fs.size(path)


@pytest.mark.parametrize("at", [0, 100, -30])
def test_what_was_changed_is_refused_by_all_ways_to_read(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, tmp_path: Any, at: int
) -> None:
    path = f"{lake}/a.parquet"
    pq.write_table(TABLE, path, filesystem=fs)
    tamper(servers, path, at)
    ways: dict[str, Any] = {
        "open": lambda: fs.open(path).read(),
        "text": lambda: fs.open(path, "r", encoding="latin-1").read(),
        "readahead": lambda: fs.open(path, cache_type="readahead").read(10),
        "cat_file": lambda: fs.cat_file(path),
        "range": lambda: fs.cat_file(path, 0, 4),
        "cat": lambda: fs.cat([path]),
        "head": lambda: fs.head(path, 4),
        "tail": lambda: fs.tail(path, 4),
        "get": lambda: fs.get_file(path, str(tmp_path / "got")),
        "pyarrow": lambda: pq.read_table(path, filesystem=fs, use_threads=False),
        "fsspec.parquet": lambda: fsspec.parquet.open_parquet_file(path, fs=fs, columns=["n"], engine="pyarrow").read(),
    }
    for read in ways.values():
        with pytest.raises(AuthenticationError):
            read()


def test_parts_that_were_not_fetched_are_not_made_up(fs: S3CseFileSystem, lake: str) -> None:
    pq.write_table(TABLE, f"{lake}/a.parquet", filesystem=fs)
    with fsspec.parquet.open_parquet_file(f"{lake}/a.parquet", fs=fs, columns=["n"], engine="pyarrow") as file:
        assert pq.ParquetFile(file).read(columns=["n"]).equals(TABLE.select(["n"]))
    known = {(0, 10): fs.cat_file(f"{lake}/a.parquet", 0, 10)}
    with fs.open(f"{lake}/a.parquet", cache_type="parts", cache_options={"data": known}) as file:
        assert file.read(4) == b"PAR1"
        with suppress(ValueError):  # some versions of fsspec refuse, some fetch
            assert file.read(20) == fs.cat_file(f"{lake}/a.parquet", 4, 24)


def test_it_works_on_a_server_of_others(client: Client, bucket: str) -> None:
    fs = S3CseFileSystem(client=client)
    fs.pipe({f"{bucket}/t/{name}": name.encode() for name in ("a", "b/c", "b/d e&ü")})
    assert fs.glob(f"{bucket}/t/**") == [
        f"{bucket}/t",
        *(f"{bucket}/t/{name}" for name in ("a", "b", "b/c", "b/d e&ü")),
    ]
    assert fs.cat_ranges([f"{bucket}/t/a", f"{bucket}/t/b/d e&ü"], [0, 2], [1, 5]) == [b"a", b"d e"]
    fs.mv(f"{bucket}/t/b", f"{bucket}/u", recursive=True)
    assert fs.find(bucket) == [f"{bucket}/t/a", f"{bucket}/u/c", f"{bucket}/u/d e&ü"]
    assert fs.isdir(bucket)
    assert not fs.exists("no-such-bucket")
    assert fs.find("no-such-bucket") == []
    with pytest.raises(FileNotFoundError):
        fs.ls("no-such-bucket/a")
