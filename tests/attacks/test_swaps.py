"""Another object in place of an encrypted one, on every way of reading; and keys that are names of something else."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.fs
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import Lake
from rows import ROWS
from writers import Keys, write

import arrowseal.arrow
import arrowseal.pandas
import arrowseal.polars
from arrowseal import CSE, Client, CommitmentPolicy
from arrowseal.exceptions import ArrowSealError, AuthenticationError, LocationError, NotEncryptedError
from arrowseal.fs import SealedFileSystem
from arrowseal.location import locate

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = pa.table({"station": ["EWR", "JFK", "LGA"] * 40, "delay": list(range(120))})


def stored(kind: str) -> bytes:
    """The table as a file."""
    buffer = io.BytesIO()
    if kind == "parquet":
        pq.write_table(TABLE, buffer)
    elif kind == "csv":
        pyarrow.csv.write_csv(TABLE, buffer)
    elif kind == "feather":
        pyarrow.feather.write_feather(TABLE, buffer, compression="uncompressed")
    elif kind == "orc":
        pyarrow.orc.write_table(TABLE, buffer)
    else:
        buffer.write("".join(json.dumps(row) + "\n" for row in TABLE.to_pylist()).encode())
    return buffer.getvalue()


def fsspec_file(url: str, client: Client) -> bytes:
    from arrowseal.fs.fsspec import S3CseFileSystem

    with S3CseFileSystem(client=client, skip_instance_cache=True).open(url, "rb") as file:
        content: bytes = file.read()
    return content


def arrow_file(url: str, client: Client) -> Any:
    return SealedFileSystem(client).open_input_file(url.removeprefix("s3://")).read()


READS: dict[str, tuple[str, Callable[..., Any]]] = {
    "Client.get": ("parquet", lambda url, client: client.get(url)),
    "Client.object": ("parquet", lambda url, client: client.object(url).read_at(0, 10)),
    "Client.object unauthenticated": (
        "parquet",
        lambda url, client: client.object(url, unauthenticated_ranges=True).read_at(0, 10),
    ),
    "Client.open": ("parquet", lambda url, client: client.open(url, "rb").read()),
    "Client.index": ("parquet", lambda url, client: client.index(url)),
    "arrow.read_table": ("parquet", lambda url, client: arrowseal.arrow.read_table(url, client=client)),
    "arrow.scan": ("parquet", lambda url, client: pa.table(arrowseal.arrow.scan(url, client=client))),
    "arrow.dataset": ("parquet", lambda url, client: arrowseal.arrow.dataset("s3://lake/", client=client).to_table()),
    "SealedFileSystem": ("parquet", arrow_file),
    "s3cse://": ("parquet", fsspec_file),
    "pandas.read_parquet": ("parquet", lambda url, client: arrowseal.pandas.read_parquet(url, client=client)),
    "pandas.read_csv": ("csv", lambda url, client: arrowseal.pandas.read_csv(url, client=client)),
    "pandas.read_json": ("json", lambda url, client: arrowseal.pandas.read_json(url, lines=True, client=client)),
    "pandas.read_feather": ("feather", lambda url, client: arrowseal.pandas.read_feather(url, client=client)),
    "pandas.read_orc": ("orc", lambda url, client: arrowseal.pandas.read_orc(url, client=client)),
    "polars.read_parquet": ("parquet", lambda url, client: arrowseal.polars.read_parquet(url, client=client)),
    "polars.read_csv": ("csv", lambda url, client: arrowseal.polars.read_csv(url, client=client)),
    "polars.read_ipc": ("feather", lambda url, client: arrowseal.polars.read_ipc(url, client=client)),
    "polars.read_ndjson": ("json", lambda url, client: arrowseal.polars.read_ndjson(url, client=client)),
    "polars.scan_parquet": ("parquet", lambda url, client: arrowseal.polars.scan_parquet(url, client=client).collect()),
    "polars.scan_csv": ("csv", lambda url, client: arrowseal.polars.scan_csv(url, client=client).collect()),
    "polars.scan_ipc": ("feather", lambda url, client: arrowseal.polars.scan_ipc(url, client=client).collect()),
    "polars.scan_ndjson": ("json", lambda url, client: arrowseal.polars.scan_ndjson(url, client=client).collect()),
}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return Lake(monkeypatch)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.mark.parametrize("instruction_files", [False, True])
@pytest.mark.parametrize("name", READS)
def test_a_plain_object_in_place_of_an_encrypted_one_is_read_by_nobody(
    name: str, instruction_files: bool, lake: Lake, keys: Keys
) -> None:
    kind, read = READS[name]
    client = lake.client(keys.arn, kms=keys.kms, instruction_files=instruction_files)
    url, content = f"s3://lake/t.{kind}", stored(kind)
    client.put(url, content)
    read(url, client)
    lake.plant(f"t.{kind}", content, {})
    with pytest.raises((NotEncryptedError, pl.exceptions.ComputeError)) as caught:
        read(url, client)
    assert "client-side encrypted" in str(caught.value)


@pytest.mark.parametrize("name", READS)
def test_an_object_of_an_old_format_in_place_of_another_is_read_by_nobody(name: str, lake: Lake, keys: Keys) -> None:
    kind, read = READS[name]
    client = lake.client(keys.arn, kms=keys.kms)
    for row in (row for row in ROWS if row.storage == "metadata" and row.switches and row.wrap.startswith("kms")):
        made = write(row, stored(kind), keys)
        url = lake.plant(f"t.{kind}", made.body, made.metadata)
        with pytest.raises((ArrowSealError, pl.exceptions.ComputeError)) as caught:
            read(url, client)
        assert "REQUIRE_ENCRYPT_ALLOW_DECRYPT" in str(caught.value)


@pytest.mark.parametrize("row", [row for row in ROWS if row.format != "V1" and row.content != "AES-256-CBC"], ids=str)
def test_a_body_under_the_metadata_of_another_object_is_refused(row: Any, lake: Lake, keys: Keys) -> None:
    client = lake.client(
        keys.arn,
        kms=keys.kms,
        keyring=keys.keyring(row.wrap),
        legacy=True,
        instruction_files=True,
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT,
    )
    one, other = write(row, b"one" * 50, keys), write(row, b"two" * 50, keys)
    for body in (other.body, other.body[:16] + one.body[16:], one.body[:-16] + other.body[-16:], one.body + other.body):
        with pytest.raises(AuthenticationError):
            client.get(lake.plant("o", body, one.metadata, one.file))


CONTROL = [*(chr(code) for code in range(32)), "\x7f"]


@pytest.mark.parametrize("character", CONTROL, ids=[f"{ord(one):02x}" for one in CONTROL])
def test_control_characters_in_a_key_are_refused_before_any_request(character: str, lake: Lake, keys: Keys) -> None:
    client = lake.client(keys.arn, kms=keys.kms)
    for key in (f"{character}a", f"a{character}b", f"a{character}", f"a{character}{character}x-amz-meta-x-amz-c: 115"):
        calls: list[Callable[[], Any]] = [
            lambda key=key: client.put(bucket="lake", key=key, data=b""),  # type: ignore[misc]
            lambda key=key: client.get(f"s3://lake/{key}"),  # type: ignore[misc]
            lambda key=key: client.copy("s3://lake/a", f"s3://lake/{key}"),  # type: ignore[misc]
            lambda key=key: client.delete(bucket="lake", key=key),  # type: ignore[misc]
        ]
        for call in calls:
            with pytest.raises(LocationError):
                call()
    assert not lake.store.calls


@settings(max_examples=200)
@given(key=st.text(min_size=1, max_size=40), suffix=st.sampled_from(["", ".instruction", ".index", "/", "\0", "\r\n"]))
def test_any_key_is_refused_or_is_the_key_of_that_object_alone(key: str, suffix: str) -> None:
    """What is written under a key is read under it; nothing else is read, overwritten, listed or deleted by it."""
    with pytest.MonkeyPatch.context() as patched:
        lake, keys = Lake(patched), Keys(rsa=SOMEBODYS.rsa)
        client = lake.client(keys.arn, kms=keys.kms, instruction_files=True)
        theirs = {"a": (b"theirs", {}), "a.instruction": (b"theirs, too", {}), "_arrowseal.a.index": (b"index", {})}
        lake.store.objects = dict(theirs)
        try:
            client.put(bucket="lake", key=key + suffix, data=b"mine", encryption=CSE(instruction_file=True))
        except ArrowSealError:
            assert lake.store.objects == theirs
            return
        location = locate(bucket="lake", key=key + suffix)
        assert str(location) == f"s3://lake/{key}{suffix}"
        assert client.get(location) == b"mine"
        client.delete(location)
        assert lake.store.objects == {name: value for name, value in theirs.items() if name != key + suffix}


SOMEBODYS = Keys()
