"""Partitionings of datasets: what pyarrow takes for one, and the types that it infers of paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
from lake import Lake, named, trips

if TYPE_CHECKING:
    from pathlib import Path


def parted(lake: Lake, directory: Path, flavor: str | None) -> None:
    """Trips by year and city in a directory, as pyarrow writes them, and sealed at `t/`."""
    table = trips(60).filter(pc.field("year").is_valid() & pc.field("city").isin(["Paris", "São Paulo"]))
    kinds = ds.partitioning(pa.schema([table.schema.field("year"), table.schema.field("city")]), flavor=flavor)
    ds.write_dataset(table, directory, format="parquet", partitioning=kinds)
    lake.seal(directory, "t/")


@pytest.mark.parametrize(
    ("partitioning", "flavor"),
    [
        ("hive", "hive"),
        (["year", "city"], None),
        (ds.partitioning(pa.schema([("year", pa.int16()), ("city", pa.string())]), flavor="hive"), "hive"),
        (ds.partitioning(pa.schema([("year", pa.int64()), ("city", pa.string())])), None),
        (ds.partitioning(pa.schema([("year", pa.int64()), ("city", pa.string())]), flavor="filename"), "filename"),
        (ds.partitioning(flavor="hive"), "hive"),
        (ds.partitioning(field_names=["year", "city"]), None),
        (None, "hive"),
    ],
    ids=named,
)
def test_partitionings_are_those_of_pyarrow(lake: Lake, tmp_path: Path, partitioning: Any, flavor: str | None) -> None:
    parted(lake, tmp_path, flavor)
    ours = sa.dataset("s3://lake/t/", partitioning=partitioning, client=lake.client)
    plain = ds.dataset(tmp_path, partitioning=partitioning)
    assert ours.schema == plain.schema
    assert ours.to_table().sort_by("n").equals(plain.to_table().sort_by("n"))
    if partitioning is not None:
        chosen = pc.field("year") == 2013
        assert ours.to_table(filter=chosen).sort_by("n").equals(plain.to_table(filter=chosen).sort_by("n"))


@pytest.mark.parametrize(
    "partitioning",
    [
        ds.HivePartitioning.discover(infer_dictionary=True),
        ds.HivePartitioning.discover(null_fallback="Paris"),
        ds.HivePartitioning.discover(segment_encoding="none"),
        ds.HivePartitioning.discover(
            schema=pa.schema([("year", pa.dictionary(pa.int8(), pa.int16())), ("city", pa.string())])
        ),
        ds.DirectoryPartitioning.discover(["year", "city"], infer_dictionary=True),
        ds.DirectoryPartitioning.discover(["year", "city"], segment_encoding="none"),
    ],
    ids=lambda one: f"{one.type_name}{one.__reduce__()[1]}",
)
def test_what_a_partitioning_is_to_discover_is_what_pyarrow_does(
    lake: Lake, tmp_path: Path, partitioning: ds.PartitioningFactory
) -> None:
    parted(lake, tmp_path, "hive" if partitioning.type_name == "hive" else None)
    ours = sa.dataset("s3://lake/t/", partitioning=partitioning, client=lake.client)
    plain = ds.dataset(tmp_path, partitioning=partitioning)
    assert ours.schema == plain.schema
    chosen = pc.field("year") == 2013
    for rows in (None, chosen, chosen & pc.field("city").is_null()):
        found, expected = ours.to_table(filter=rows), plain.to_table(filter=rows)
        assert found.sort_by("n").to_pylist() == expected.sort_by("n").to_pylist()
    assert len(ours.get_fragments(chosen)) == len([*plain.get_fragments(chosen)])


def test_types_of_partitions_in_names_of_files_are_inferred(lake: Lake, tmp_path: Path) -> None:
    parted(lake, tmp_path, "filename")
    kinds = ds.partitioning(pa.schema([("year", pa.int32()), ("city", pa.string())]), flavor="filename")
    inferred = ds.partitioning(field_names=["year", "city"], flavor="filename")
    ours = sa.dataset("s3://lake/t/", partitioning=inferred, client=lake.client).to_table()
    assert ours.sort_by("n").equals(ds.dataset(tmp_path, partitioning=kinds).to_table().sort_by("n"))


@pytest.mark.parametrize(
    "values",
    [
        ["01", "2"],
        ["٣"],
        ["-1", "+2"],
        ["99999999999"],
        ["1", "a"],
        ["", "1"],
        ["true"],
        ["1.5"],
        ["a%20b"],
        ["1", HIVE_NULL := "__HIVE_DEFAULT_PARTITION__"],
    ],
)
def test_types_of_partitions_are_inferred_as_by_pyarrow(lake: Lake, tmp_path: Path, values: list[str]) -> None:
    for value in values:
        (tmp_path / f"k={value}").mkdir()
        pq.write_table(pa.table({"n": [1]}), tmp_path / f"k={value}" / "a.parquet")
    lake.seal(tmp_path, "t/")
    ours = sa.dataset("s3://lake/t/", client=lake.client)
    assert ours.to_table().equals(ds.dataset(tmp_path, partitioning="hive").to_table())
