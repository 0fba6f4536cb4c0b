"""How callers use the public names, for the type checker: nothing here is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import pandas as pd
import polars as pl
from pandas.io.parsers import TextFileReader

import arrowseal
import arrowseal.aio.arrow
import arrowseal.aio.pandas
import arrowseal.aio.polars
import arrowseal.fs
from arrowseal import (
    CSE,
    PLAIN,
    SSE_KMS,
    Client,
    Discovery,
    Keyring,
    ObjectHead,
    PlaintextBuffer,
    PutResult,
    RawAesKeyring,
    RawRsaKeyring,
    UnauthenticatedBuffer,
)
from arrowseal.aio import AsyncClient
from arrowseal.object_reader import ObjectReader
from arrowseal.object_writer import ObjectWriter
from arrowseal.operations import migrate
from arrowseal.tables.dataset_written import WrittenDataset


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
    assert_type(client.open("s3://lake/o"), ObjectReader)
    assert_type(client.open(bucket="lake", key="o", mode="rb"), ObjectReader)
    assert_type(client.open(bucket="lake", key="o", mode="wb"), ObjectWriter)
    with client.open("s3://lake/o", "xb", progress=lambda done, total, location: None) as file:
        assert_type(file.write(memoryview(b"x")), int)
    assert_type(file.result, PutResult | None)


def mistyped(client: Client) -> None:
    """What a type checker tells before anything runs: where one of these is no error, its comment is one."""
    assert_type(arrowseal.configure("alias/a", region_name="eu-west-1"), Client)
    assert_type(arrowseal.configure(client), Client)
    arrowseal.configure(kms_key="alias/a")  # type: ignore[call-overload]
    arrowseal.Cilent("alias/a")  # type: ignore[attr-defined]
    arrowseal.aio.panda  # type: ignore[attr-defined]  # noqa: B018
    arrowseal.fs.SealedFilesystem(client)  # type: ignore[attr-defined]


async def awaited(client: Client, frame: pd.DataFrame) -> None:
    """The same, awaited."""
    async with AsyncClient(client, concurrency=4) as calls:
        assert_type(await calls.put("s3://lake/o", b"x", if_none_match="*"), PutResult)
        assert_type(await calls.get("s3://lake/o"), PlaintextBuffer | UnauthenticatedBuffer)
        assert_type(await calls.exists(bucket="lake", key="o"), bool)
        async with calls.open("s3://lake/o", "wb") as file:
            assert_type(await file.write(b"x"), int)
        assert_type(file.result, PutResult | None)
        assert_type(await arrowseal.aio.pandas.to_parquet(frame, "s3://lake/o.parquet", client=calls), PutResult)
        (await arrowseal.aio.pandas.read_csv("s3://lake/o.csv", client=calls)).head()
        assert_type(await arrowseal.aio.polars.read_parquet("s3://lake/o.parquet", client=calls), pl.DataFrame)
        assert_type(await arrowseal.aio.arrow.write_table(frame, "s3://lake/o.parquet", client=calls), PutResult)
        assert_type(await arrowseal.aio.arrow.write_dataset(frame, "s3://lake/o/", client=client), WrittenDataset)
        await arrowseal.aio.arrow.read_table("s3://lake/o.parquet", client="calls")  # type: ignore[call-overload]


def configuration() -> None:
    """The default client."""
    assert_type(arrowseal.configure("alias/tables", region_name="eu-west-1"), Client)
    with arrowseal.using(
        Client(commitment_policy="REQUIRE_ENCRYPT_ALLOW_DECRYPT", encryption_context={"team": "weather"})
    ) as client:
        assert_type(client.options.format, arrowseal.Format)
    arrowseal.reset()


def keys() -> None:
    """Keys of every kind."""
    raw = RawAesKeyring(Path("archive.key"), name="archive", additional=[({"kek": "2025"}, lambda: bytes(32))])
    partner = RawRsaKeyring(public_key=b"-----BEGIN PUBLIC KEY-----")
    each: list[Keyring] = [raw, partner]
    client = Client({"s3://lake/tenant-1": "alias/one"}, keyring=each, grant_tokens=["token"], bind_location=None)
    assert_type(client.replace(discovery=Discovery(["111122223333"]), legacy="wrapping"), Client)
    Client("alias/tables", legacy=["wrapping", "content"])
    migrate("s3://lake/old/", legacy=["content"], client=client)
    Client(keyring=partner, instruction_files=".instruction-2", kms_endpoint_url={"eu-west-1": "https://kms"})
    Client("alias/tables", bind_location="prefix", legacy=("wrapping", "content"), instruction_files=True)


def frames(frame: pd.DataFrame, table: pl.DataFrame) -> None:
    """Tables through the faces."""
    arrowseal.pandas.to_parquet(frame, "s3://lake/o.parquet", index=False, encryption=SSE_KMS("alias/a"))
    assert_type(arrowseal.pandas.read_parquet("s3://lake/o.parquet", columns=["a"]), pd.DataFrame)
    assert_type(arrowseal.pandas.read_csv("s3://lake/o.csv", usecols=["a"], allow_plaintext=True), pd.DataFrame)
    assert_type(arrowseal.pandas.read_csv("s3://lake/o.csv").head()["a"], pd.Series[Any])
    assert_type(arrowseal.pandas.read_csv(bucket="lake", key="o.csv", chunksize=10), TextFileReader)
    assert_type(arrowseal.pandas.read_csv("s3://lake/o.csv", iterator=True), TextFileReader)
    assert_type(arrowseal.pandas.read_csv("s3://lake/o/", chunked=True), Iterator[pd.DataFrame])
    assert_type(arrowseal.pandas.read_parquet("s3://lake/o/", chunked=1000), Iterator[pd.DataFrame])
    assert_type(arrowseal.pandas.read_orc("s3://lake/o/", ["a"], chunked=True), Iterator[pd.DataFrame])
    assert_type(arrowseal.pandas.to_parquet(frame, "s3://lake/o.parquet"), PutResult)
    assert_type(arrowseal.pandas.to_parquet(frame, "s3://lake/o/", partition_cols=["a"]), WrittenDataset)
    assert_type(arrowseal.pandas.to_parquet(frame, "s3://lake/o/", dataset=True), WrittenDataset)
    assert_type(arrowseal.pandas.to_parquet(frame, "s3://lake/o/", mode="append"), WrittenDataset)
    assert_type(arrowseal.pandas.read_json("s3://lake/o.json"), pd.DataFrame)
    assert_type(arrowseal.pandas.read_json("s3://lake/o.json", typ="series"), pd.Series[Any])
    for chunk in arrowseal.pandas.read_json("s3://lake/o.json", lines=True, chunksize=10):
        assert_type(chunk, pd.DataFrame)
    assert_type(arrowseal.polars.read_parquet("s3://lake/o.parquet"), pl.DataFrame)
    assert_type(arrowseal.polars.write_parquet(table, "s3://lake/o.parquet"), PutResult)
    assert_type(arrowseal.polars.write_parquet(table, "s3://lake/o/", partition_by="a"), WrittenDataset)
    assert_type(arrowseal.polars.scan_parquet("s3://lake/o.parquet"), pl.LazyFrame)
    arrowseal.polars.write_parquet(table, "s3://lake/o.parquet", encryption_context={"team": "weather"})
