"""Dask and Ray as they are, over `s3cse://` and over the file system of pyarrow, in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from seen import keys, tamper

from arrowseal import Client
from arrowseal.exceptions import AuthenticationError
from arrowseal.fs import S3CseFileSystem, SealedFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broken_servers import BrokenServers

FRAME = pd.DataFrame({"n": range(4000), "k": np.array(["x", "y"] * 2000), "v": [n / 8 for n in range(4000)]})


@pytest.fixture
def dataframes() -> Any:
    return pytest.importorskip("dask.dataframe")


@pytest.fixture
def cluster(options: dict[str, Any]) -> Iterator[Any]:
    """Workers in two processes."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


def in_parts(dataframes: Any, lake: str, options: dict[str, Any]) -> str:
    url = f"s3cse://{lake}/t"
    dataframes.from_pandas(FRAME, npartitions=4).to_parquet(url, storage_options=options, write_index=False)
    return url


def sums(frame: Any) -> dict[str, float]:
    found: dict[str, float] = frame.groupby("k").v.sum().compute().to_dict()
    return found


SUMS = {key: float(value) for key, value in FRAME.groupby("k").v.sum().items()}


def test_dask_reads_and_writes_in_processes(dataframes: Any, cluster: Any, lake: str, options: dict[str, Any]) -> None:
    url = in_parts(dataframes, lake, options)
    ways: dict[str, dict[str, Any]] = {
        url: {"storage_options": options},
        f"{lake}/t": {"filesystem": S3CseFileSystem(**options)},
        f"{lake}/t/": {"filesystem": SealedFileSystem(Client(**options))},
    }
    for path, given in ways.items():
        assert sums(dataframes.read_parquet(path, columns=["k", "v"], **given)) == SUMS
        filtered = dataframes.read_parquet(path, filters=[("n", "<", 10)], **given)
        assert sorted(filtered.n.compute()) == list(range(10))


def test_dask_reads_text_in_blocks(dataframes: Any, lake: str, options: dict[str, Any]) -> None:
    url = f"s3cse://{lake}/text-*.csv"
    dataframes.from_pandas(FRAME, npartitions=2).to_csv(url, storage_options=options, index=False)
    frame = dataframes.read_csv(url, storage_options=options, blocksize=10_000)
    assert frame.npartitions > 2
    assert sums(frame) == SUMS
    assert len(frame) == 4000


def test_dask_overwrites_and_appends(dataframes: Any, lake: str, options: dict[str, Any]) -> None:
    url = in_parts(dataframes, lake, options)
    part = dataframes.from_pandas(FRAME.head(10), npartitions=1)
    part.to_parquet(url, storage_options=options, write_index=False, append=True, ignore_divisions=True)
    assert len(dataframes.read_parquet(url, storage_options=options)) == 4010
    part.to_parquet(url, storage_options=options, write_index=False, overwrite=True)
    assert len(dataframes.read_parquet(url, storage_options=options)) == 10


def test_a_changed_part_is_refused_in_dask(
    dataframes: Any, lake: str, options: dict[str, Any], servers: BrokenServers
) -> None:
    url = in_parts(dataframes, lake, options)
    tamper(servers, f"{lake}/{keys(servers, lake)[1]}")
    with pytest.raises(AuthenticationError):
        dataframes.read_parquet(url, storage_options=options).compute()


@pytest.mark.parametrize("way", ["fsspec", "pyarrow"])
def test_ray_reads_and_writes(lake: str, options: dict[str, Any], way: str) -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    try:
        fs: Any = S3CseFileSystem(**options) if way == "fsspec" else SealedFileSystem(Client(**options))
        ray.data.from_pandas(FRAME).write_parquet(f"{lake}/t", filesystem=fs)
        read = ray.data.read_parquet(f"{lake}/t", columns=["n"], filesystem=fs)
        assert sorted(row["n"] for row in read.take_all()) == list(range(4000))
    finally:
        ray.shutdown()
