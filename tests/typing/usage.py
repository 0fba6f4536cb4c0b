"""How callers use the public names, for the type checker: nothing here is run."""

from __future__ import annotations

from typing import assert_type

import pandas as pd
import polars as pl

import arrowseal
from arrowseal import CSE, PLAIN, SSE_KMS, Client, ObjectHead, PlaintextBuffer, PutResult, UnauthenticatedBuffer


def objects(client: Client) -> None:
    """Objects in and out."""
    assert_type(client.put("s3://lake/o", b"x", encryption=CSE(format=arrowseal.V2)), PutResult)
    assert_type(client.put(bucket="lake", key="o", data=bytearray(b"x"), encryption=PLAIN), PutResult)
    assert_type(client.get("s3://lake/o"), PlaintextBuffer | UnauthenticatedBuffer)
    assert_type(client.head("s3://lake/o"), ObjectHead)
    assert_type(client.exists("s3://lake/o"), bool)
    assert_type(memoryview(client.get("s3://lake/o")), memoryview[int])
    for row in client.list("s3://lake"):
        assert_type(row.stored_bytes, int)


def configuration() -> None:
    """The default client."""
    assert_type(arrowseal.configure("alias/tables", region_name="eu-west-1"), Client)
    with arrowseal.using(Client(interop="analytics", encryption_context={"team": "weather"})) as client:
        assert_type(client.options.format, arrowseal.Format)
    arrowseal.reset()


def frames(frame: pd.DataFrame, table: pl.DataFrame) -> None:
    """Tables through the faces."""
    arrowseal.pandas.to_parquet(frame, "s3://lake/o.parquet", index=False, encryption=SSE_KMS("alias/a"))
    assert_type(arrowseal.pandas.read_parquet("s3://lake/o.parquet", columns=["a"]), pd.DataFrame)
    assert_type(arrowseal.polars.read_parquet("s3://lake/o.parquet"), pl.DataFrame)
    assert_type(arrowseal.polars.scan_parquet("s3://lake/o.parquet"), pl.LazyFrame)
    arrowseal.polars.write_parquet(table, "s3://lake/o.parquet", encryption_context={"team": "weather"})
