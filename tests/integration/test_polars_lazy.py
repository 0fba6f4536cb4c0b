"""Lazy frames of polars over encrypted text and IPC, and their results sunk into encrypted objects."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import traceback
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.testing as plt
import pytest

import arrowseal.polars as spl
from arrowseal import V2, Client, CommitmentPolicy
from arrowseal.exceptions import ConfigurationError, LocationError, NotATableError, ObjectNotFoundError
from arrowseal.objects import EncryptedObject

if TYPE_CHECKING:
    from broken_servers import BrokenServers

ROWS = 3_000
FRAME = pl.DataFrame(
    {
        "n": range(ROWS),
        "half": [n // 2 for n in range(ROWS)],
        "text": [None if n % 5 == 0 else f"row {n}" for n in range(ROWS)],
        "x": [n / 7 for n in range(ROWS)],
    }
)
TEXTS: dict[str, tuple[Any, Any, Any]] = {
    "a.csv": (spl.write_csv, spl.scan_csv, {}),
    "a.csv.gz": (spl.write_csv, spl.scan_csv, {"compression": "gzip"}),
    "a.ndjson": (spl.write_ndjson, spl.scan_ndjson, {}),
    "a.arrow": (spl.write_ipc, spl.scan_ipc, {}),
    "a.parquet": (spl.write_parquet, spl.scan_parquet, {"row_group_size": 100}),
}
QUERIES: list[Any] = [
    lambda frame: frame,
    lambda frame: frame.select("text"),
    lambda frame: frame.head(3),
    lambda frame: frame.tail(3),
    lambda frame: frame.slice(500, 3),
    lambda frame: frame.filter(pl.col("n") > 2990).select("half", "text"),
    lambda frame: frame.filter(pl.col("text").str.ends_with("99")).head(2),
    lambda frame: frame.head(100).filter(pl.col("text").is_null()),
    lambda frame: frame.with_row_index().filter(pl.col("half") == 700),
    lambda frame: frame.select(pl.len(), pl.col("x").sum()),
    lambda frame: frame.with_row_index().select("index"),
    lambda frame: frame.with_row_index().select(pl.len()),
    lambda frame: frame.with_row_index().slice(10, 5).select("index"),
    lambda frame: frame.with_row_index().slice(ROWS - 3, 5).select("index"),
    lambda frame: frame.slice(-10, 5).with_row_index().select("index"),
    lambda frame: frame.with_row_index().tail(5).select("index"),
    lambda frame: frame.filter(pl.lit(True)).with_row_index().select("index"),
    lambda frame: frame.with_row_index().select("index", "x"),
    lambda frame: frame.with_row_index().filter(pl.col("text") == "row 7").head(1).select("index", "half"),
    lambda frame: frame.with_columns(r=pl.col("x").rank().over("half")).filter(pl.col("r") == 1).select("n").sort("n"),
    lambda frame: frame.with_row_index().drop("n").tail(3),
    lambda frame: frame.filter(pl.col("half") > 700).sort("x", descending=True).head(3).select("text", "n"),
    lambda frame: frame.bottom_k(4, by="n").sort("n"),
    lambda frame: frame.with_columns(one=pl.lit(1)).select("one"),
    lambda frame: frame.group_by("half").agg(pl.col("n").sum()).sort("half"),
    lambda frame: frame.join(frame, left_on="n", right_on="half", how="inner").sort("n", "n_right"),
]


@pytest.fixture(params=list(TEXTS))
def stored(request: pytest.FixtureRequest, resident: Client, lake: str) -> Any:
    """A scan of an object of each kind."""
    write, scan, options = TEXTS[request.param]
    write(FRAME, f"s3://{lake}/{request.param}", client=resident, **options)
    resident.counters.clear()
    return lambda **arguments: scan(f"s3://{lake}/{request.param}", client=resident, **arguments)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("before", [True, False], ids=["2.1", "before 2.1"])
def test_scans_answer_as_frames_do(stored: Any, engine: Any, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not before:
        monkeypatch.setitem(sys.modules, "polars.io.external_reader", None)
    for query in QUERIES:
        plt.assert_frame_equal(query(stored()).collect(engine=engine), query(FRAME.lazy()).collect())


def test_a_scan_requests_nothing_until_it_is_collected_and_its_schema_serves_the_collection(
    stored: Any, resident: Client
) -> None:
    lazy = stored().filter(pl.col("n") > 5).select("half")
    assert len(resident.counters) == 0
    assert lazy.collect_schema() == {"half": pl.Int64}
    assert len(resident.counters) == 1
    assert lazy.collect().height == ROWS - 6
    assert len(resident.counters) == 1
    assert lazy.collect().height == ROWS - 6
    assert len(resident.counters) == 2
    assert {record.operation for record in resident.counters} <= {
        "scan_csv", "scan_ndjson", "scan_ipc", "scan_parquet"
    }  # fmt: skip


def test_the_arguments_of_polars_work(stored: Any, lake: str, resident: Client) -> None:
    lazy = stored(n_rows=7, row_index_name="row", row_index_offset=1)
    plt.assert_frame_equal(lazy.collect(), FRAME.head(7).with_row_index("row", 1))
    spl.write_csv(FRAME, f"s3://{lake}/b.csv", separator=";", include_header=False, client=resident)
    lazy = spl.scan_csv(
        f"s3://{lake}/b.csv",
        separator=";",
        has_header=False,
        new_columns=list("abcd"),
        null_values="row 1",
        client=resident,
    )
    assert lazy.select("a", "b").collect().rows()[1] == (1, 0)
    spl.write_parquet(FRAME, f"s3://{lake}/b.parquet", client=resident)
    more = spl.scan_parquet(
        f"s3://{lake}/b.parquet", schema={**FRAME.schema, "more": pl.Int8}, missing_columns="insert", client=resident
    )
    assert more.select("more", "n").head(1).collect().rows() == [(None, 0)]


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("other", ["b", "column_0", "0"])
def test_a_column_without_a_name_has_none_in_frames(
    engine: Any, other: str, lake: str, resident: Client, tmp_path: Any
) -> None:
    plain, ours = tmp_path / "a.parquet", f"s3://{lake}/a.parquet"
    pl.DataFrame({"": [1.0, 2.0], other: [3.0, 4.0]}).write_parquet(plain)
    pl.DataFrame({other: [5.0]}).write_parquet(tmp_path / "b.parquet")
    for name in ("a", "b"):
        resident.put(f"s3://{lake}/{name}.parquet", (tmp_path / f"{name}.parquet").read_bytes())
    for query in (
        lambda scan, one, two: scan(one),
        lambda scan, one, two: scan(one).filter(pl.col("") > 1).select(""),
        lambda scan, one, two: scan([one]),
        lambda scan, one, two: scan([one]).slice(1, 2),
        lambda scan, one, two: scan([one, two], missing_columns="insert"),
    ):
        expected = query(pl.scan_parquet, plain, tmp_path / "b.parquet").collect()
        read = query(partial(spl.scan_parquet, client=resident), ours, f"s3://{lake}/b.parquet").collect(engine=engine)
        plt.assert_frame_equal(read, expected)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("held", [True, False], ids=["in memory", "by ranges"])
def test_names_that_look_like_patterns_are_names_of_columns(
    engine: Any, held: bool, lake: str, resident: Client, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncryptedObject, "in_memory", held)
    frame = pl.DataFrame({"a": [1, 2, 3], "^a$": [3, 2, 1], "*": ["x", "y", "z"]})
    plain, ours = tmp_path / "a.parquet", f"s3://{lake}/a.parquet"
    frame.write_parquet(plain, row_group_size=1)
    resident.put(ours, plain.read_bytes())
    exactly = pl.selectors.by_name
    for query in (
        lambda scan: scan,
        lambda scan: scan.slice(1, 1),
        lambda scan: scan.select(exactly("*")),
        lambda scan: scan.select("^a.*$"),
        lambda scan: scan.filter(exactly("^a$") == 3).select("a"),
        lambda scan: scan.filter(exactly("*") == "nowhere"),
    ):
        expected = query(pl.scan_parquet(plain)).collect()
        for where in (ours, [ours]):
            read = query(spl.scan_parquet(where, client=resident)).collect(engine=engine)
            plt.assert_frame_equal(read, expected)
    for columns in (["*"], ["^a$"], ["^a.*$"], ["^nowhere$", "a"]):
        plt.assert_frame_equal(
            spl.read_parquet(ours, columns=columns, client=resident), pl.read_parquet(plain, columns=columns)
        )


HINT = "a prefix is read with a slash at its end, or with dataset=True"


def test_errors_of_a_scan_are_those_of_a_read(lake: str, resident: Client) -> None:
    for name, (_, scan, _) in TEXTS.items():
        with pytest.raises(ObjectNotFoundError, match=f"no such object; {HINT}$"):
            scan(f"s3://{lake}/{name}", client=resident).collect()
        with pytest.raises(ObjectNotFoundError, match=r"no such version$|no such object$"):
            scan(f"s3://{lake}/{name}", client=resident, version_id="0" * 32).collect()
    with pytest.raises(ObjectNotFoundError, match=f"no such object; {HINT}$"):
        spl.read_parquet(f"s3://{lake}/a", columns=["n"], client=resident)
    resident.put(f"s3://{lake}/a", b"no table at all\xff\n,,,\n")
    for scan in (spl.scan_ipc, spl.scan_ndjson, spl.scan_parquet):
        with pytest.raises(NotATableError):
            scan(f"s3://{lake}/a", client=resident).collect()
    spl.write_csv(FRAME, f"s3://{lake}/a.csv", client=resident)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        spl.scan_csv(f"s3://{lake}/a.csv", client=resident).select("zz").collect()


@pytest.mark.parametrize("kind", ["parquet", "ipc", "csv", "ndjson"])
def test_a_filter_that_fails_is_the_error_of_polars_and_not_one_of_the_object(
    kind: str, lake: str, resident: Client
) -> None:
    url, frame = f"s3://{lake}/t.{kind}", pl.DataFrame({"a": [3, 1, 2], "b": ["x", None, "z"]})
    getattr(spl, f"write_{kind}")(frame, url, client=resident)
    scanned = getattr(spl, f"scan_{kind}")(url, client=resident)
    with pytest.raises(pl.exceptions.ComputeError, match="cannot compare string with numeric"):
        scanned.filter(pl.col("b") > 1).collect()
    with pytest.raises(pl.exceptions.InvalidOperationError, match="conversion from `str` to `i64` failed"):
        scanned.filter(pl.col("b").cast(pl.Int64) > 1, pl.col("a") > 0).select("a").collect()


def test_an_error_of_a_scan_says_nothing_of_the_plan_that_it_stands_in(lake: str, resident: Client) -> None:
    scan = spl.scan_parquet(f"s3://{lake}/a", client=resident)
    for asks in (scan.collect, scan.collect_schema, scan.select("n").collect, scan.join(scan, on="n").collect):
        with pytest.raises(ObjectNotFoundError, match=f"^s3://{lake}/a: no such object; {HINT}$"):
            asks()


def test_whatever_ends_a_scan_comes_as_it_is(lake: str, resident: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class VaultSealedError(Exception):
        def __init__(self, vault: str, *, until: int) -> None:
            super().__init__(f"{vault} is sealed")
            self.until = until

    sealed = VaultSealedError("vault", until=7)
    spl.write_parquet(FRAME, f"s3://{lake}/a.parquet", client=resident)
    scan = spl.scan_parquet(f"s3://{lake}/a.parquet", client=resident)

    def refuse(*_: object, **__: object) -> None:
        raise sealed

    monkeypatch.setattr(Client, "object", refuse)
    with pytest.raises(VaultSealedError) as raised:
        scan.select("n").collect()
    assert raised.value is sealed


SINKS: dict[str, tuple[Any, Any]] = {
    "parquet": (spl.sink_parquet, spl.read_parquet),
    "csv": (spl.sink_csv, spl.read_csv),
    "arrow": (spl.sink_ipc, spl.read_ipc),
    "ndjson": (spl.sink_ndjson, spl.read_ndjson),
}


@pytest.mark.parametrize("kind", SINKS)
def test_a_query_is_sunk_into_one_object(kind: str, lake: str, resident: Client) -> None:
    sink, read = SINKS[kind]
    query = FRAME.lazy().filter(pl.col("n") > 100)
    resident.counters.clear()
    result = sink(query, f"s3://{lake}/a.{kind}", client=resident)
    assert result.encryption == "CSE V3"
    assert [record.operation for record in resident.counters] == [sink.__name__]
    plt.assert_frame_equal(read(f"s3://{lake}/a.{kind}", client=resident), query.collect())


def test_a_scan_of_one_object_is_sunk_into_another(lake: str, resident: Client) -> None:
    spl.write_parquet(FRAME, f"s3://{lake}/a.parquet", row_group_size=100, client=resident)
    query = spl.scan_parquet(f"s3://{lake}/a.parquet", client=resident).filter(pl.col("n") > 2_500)
    spl.sink_csv(query, f"s3://{lake}/b.csv.gz", compression="gzip", client=resident)
    plt.assert_frame_equal(spl.read_csv(f"s3://{lake}/b.csv.gz", client=resident), FRAME.filter(pl.col("n") > 2_500))


KEYED = pl.DataFrame(
    {
        "key": ["a", "b", None, "a", "x/y z"],
        "day": [dt.date(2020, 1, 1), None, dt.date(2020, 1, 1), dt.date(2020, 1, 1), dt.date(2020, 1, 2)],
        "n": range(5),
    }
)


@pytest.mark.parametrize("kind", SINKS)
def test_partitions_are_objects_in_the_places_where_polars_puts_files(
    kind: str, lake: str, resident: Client, tmp_path: Any
) -> None:
    sink, _ = SINKS[kind]
    results = sink(KEYED.lazy(), pl.PartitionBy(f"s3://{lake}/out", key=["key", "day"]), client=resident)
    getattr(KEYED.lazy(), sink.__name__)(pl.PartitionBy(tmp_path, key=["key", "day"]))
    files = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*") if path.is_file()}
    keys = {row.location.key.removeprefix("out/"): row.location for row in resident.list(f"s3://{lake}/out/")}
    assert set(keys) == set(files)
    assert {str(result.location) for result in results} == {str(location) for location in keys.values()}
    for key, location in keys.items():
        assert bytes(resident.get(location)) == files[key].read_bytes()


# Of each type two or more values, of which some are alike but for their last digits, and a null.
KEYS: dict[str, pl.Series] = {
    "datetimes": pl.Series([1, 2, 1_577_836_800_000_000_000, None]).cast(pl.Datetime("ns")),
    "microseconds": pl.Series([0, 1, None]).cast(pl.Datetime("us")),
    "milliseconds": pl.Series([0, 1, None]).cast(pl.Datetime("ms")),
    "zoned": pl.Series([0, 1, None]).cast(pl.Datetime("us", "Europe/Paris")),
    "seconds of a day": pl.Series([0, 10**9, None]).cast(pl.Time),
    "binary": pl.Series([b"ab", b"a'b", b"", None]),
    "floats": pl.Series([1.0, 0.1, 1e300, 1e-10, -0.5, float("inf"), float("nan"), None]),
    "single": pl.Series([0.1, 1.5, None], dtype=pl.Float32),
    "decimals": pl.Series([Decimal("1.50"), Decimal("-2.00"), None]),
    "long": pl.Series([10**30, None], dtype=pl.Int128),
    "yes": pl.Series([True, False, None]),
    "categories": pl.Series(["a b", "c", None], dtype=pl.Categorical),
    "text": pl.Series([*("x" + chr(code) for code in range(32, 127)), "ü", "", None]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_type_are_named_as_polars_names_them(
    kind: str, lake: str, resident: Client, tmp_path: Any
) -> None:
    frame = pl.DataFrame({"key": KEYS[kind], "n": range(len(KEYS[kind]))})
    spl.sink_parquet(frame.lazy(), pl.PartitionBy(f"s3://{lake}/out", key="key"), client=resident)
    frame.lazy().sink_parquet(pl.PartitionBy(tmp_path, key="key"))
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    assert len(files) == frame.height
    keys = {row.location.key.removeprefix("out/"): row.location for row in resident.list(f"s3://{lake}/out/")}
    assert {key: bytes(resident.get(location)) for key, location in keys.items()} == files


@pytest.mark.parametrize("name", ["São Paulo", "a b:", '"q"', "50 %", "a/b", "a=b", "a%20b"])
def test_keys_of_every_name_are_read_back_and_named_as_polars_names_them_if_it_can_be_read(
    name: str, lake: str, resident: Client, tmp_path: Any
) -> None:
    frame = pl.DataFrame({name: ["x", "y"], "n": [1, 2]})
    spl.sink_parquet(frame.lazy(), pl.PartitionBy(f"s3://{lake}/out", key=name, include_key=False), client=resident)
    read = spl.read_parquet(f"s3://{lake}/out/", client=resident)
    assert read.select(frame.columns).sort("n").equals(frame)
    frame.lazy().sink_parquet(pl.PartitionBy(tmp_path, key=name))
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")}
    keys = {row.location.key.removeprefix("out/") for row in resident.list(f"s3://{lake}/out/")}
    assert (keys == files) is not any(part in name for part in ("/", "=", "%20"))


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize(
    "keys",
    [
        pl.Series([1, 2, 1_000_000_001, None]).cast(pl.Time),
        pl.Series([1, 2, 86_400_000_000_000, None]).cast(pl.Duration("ns")),
        pl.Series([b"\xff", b"\xfe", b"x", None]),
        pl.Series([[1, 2], [1], [], None]),
    ],
    ids=lambda keys: str(keys.dtype),
)
def test_no_row_is_lost_to_keys_of_which_polars_would_write_a_part_or_nothing(
    keys: pl.Series, kind: str, lake: str, resident: Client
) -> None:
    sink, read = SINKS[kind]
    frame = pl.DataFrame({"key": keys, "n": range(4)})
    results = sink(frame.lazy(), pl.PartitionBy(f"s3://{lake}/out", key="key", include_key=False), client=resident)
    rows = [read(str(result.location), client=resident)["n"].to_list() for result in results]
    assert sorted(rows) == [[0], [1], [2], [3]]


def test_files_of_one_name_are_refused_and_nothing_is_written(lake: str, resident: Client) -> None:
    where = pl.PartitionBy(f"s3://{lake}/out", key="key", file_path_provider=lambda _: "all.pq")
    for sink, _ in SINKS.values():
        with pytest.raises(ConfigurationError, match=r"out/all\.pq, and one of them lost"):
            sink(KEYED.lazy(), where, client=resident)
    null = pl.DataFrame({"key": ["__HIVE_DEFAULT_PARTITION__", None]})
    with pytest.raises(ConfigurationError, match="one of them lost"):
        spl.sink_parquet(null.lazy(), pl.PartitionBy(f"s3://{lake}/out", key="key"), client=resident)
    assert resident.list(f"s3://{lake}") == []
    assert resident.uploads(f"s3://{lake}") == []


def test_files_of_at_most_so_many_rows_under_names_of_ones_own(lake: str, resident: Client) -> None:
    where = pl.PartitionBy(
        f"s3://{lake}/out/",
        max_rows_per_file=1_000,
        file_path_provider=lambda args: f"part-{args.index_in_partition}.pq",
    )
    results = spl.sink_parquet(FRAME.lazy(), where, maintain_order=True, client=resident)
    assert [result.location.key for result in results] == [f"out/part-{number}.pq" for number in range(3)]
    parts = [spl.read_parquet(str(result.location), client=resident) for result in results]
    plt.assert_frame_equal(pl.concat(parts), FRAME)


def test_a_query_that_fails_leaves_nothing(lake: str, resident: Client) -> None:
    def broken(frame: pl.DataFrame) -> pl.DataFrame:
        if frame["n"][-1] == 4:
            raise ZeroDivisionError
        return frame

    query = KEYED.lazy().map_batches(broken, schema=KEYED.schema)
    for sink, _ in SINKS.values():
        with pytest.raises(ZeroDivisionError):
            sink(query, f"s3://{lake}/a.x", client=resident)
        with pytest.raises(ZeroDivisionError):
            sink(query, pl.PartitionBy(f"s3://{lake}/out", key="key"), client=resident)
    assert resident.list(f"s3://{lake}") == []
    assert resident.uploads(f"s3://{lake}") == []


def test_partitions_share_a_data_key_where_the_format_allows_it(servers_here: BrokenServers, lake: str) -> None:
    client = servers_here.client()
    calls = {}
    for name, keywords in {"V3": {}, "V2": {"format": V2}}.items():
        policy = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT if name == "V2" else None
        client = servers_here.client(commitment_policy=policy, **keywords)
        spl.sink_parquet(KEYED.lazy(), pl.PartitionBy(f"s3://{lake}/{name}", key="key"), client=client)
        calls[name] = sum(record.kms_calls for record in client.counters)
    assert calls == {"V3": 1, "V2": 4}


def test_what_cannot_be_is_refused_before_any_request(lake: str, resident: Client) -> None:
    resident.counters.clear()
    with pytest.raises(ConfigurationError, match="takes no lazy="):
        spl.sink_parquet(FRAME.lazy(), f"s3://{lake}/a.parquet", lazy=True, client=resident)
    with pytest.raises(ConfigurationError, match=r"give frame\.lazy\(\)"):
        spl.sink_parquet(FRAME, f"s3://{lake}/a.parquet", client=resident)
    with pytest.raises(ConfigurationError, match="does not say"):
        spl.sink_csv(FRAME.lazy(), f"s3://{lake}/a.csv.gz", client=resident)
    where = pl.PartitionBy(f"s3://{lake}/out", key="half", file_path_provider=lambda _: 3)  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigurationError, match="a path below the base path"):
        spl.sink_parquet(FRAME.lazy(), where, client=resident)
    with pytest.raises(LocationError):
        spl.sink_parquet(FRAME.lazy(), pl.PartitionBy("a/local/path", key="half"), client=resident)
    assert resident.list(f"s3://{lake}") == []


def test_a_query_ends_whatever_frames_an_exception_of_its_read_keeps(
    resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spl.write_parquet(FRAME, f"s3://{lake}/a.parquet", client=resident, compression="uncompressed")
    read_ranges, kept, results = EncryptedObject.read_ranges, [], []

    def keeping(source: EncryptedObject, ranges: Any) -> Any:
        kept.extend(frame for frame, _ in traceback.walk_stack(None))
        return read_ranges(source, ranges)

    monkeypatch.setattr(EncryptedObject, "read_ranges", keeping)
    query = spl.scan_parquet(f"s3://{lake}/a.parquet", client=resident).select("n")
    thread = threading.Thread(target=lambda: results.append(query.collect()), daemon=True)
    thread.start()
    thread.join(60)
    assert len(kept) > 0
    still_there = thread.is_alive()
    kept.clear()
    thread.join()
    assert not still_there
    plt.assert_frame_equal(results[0], FRAME.select("n"))
