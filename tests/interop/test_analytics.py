"""`interop="analytics"`: engines read what is written so by their own rules; what they could not read is refused."""

from __future__ import annotations

import functools
import io
import random
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import ANY, CSE, V2, V3, RawAesKeyring, TransferOptions
from arrowseal.exceptions import ConfigurationError, PolicyConflictError, UncommittedWriteError
from engine_readers import S3A, CompatibleS3A, Emrfs, Engine, Presto

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrowseal import Client
    from lake import Lake

ENGINES = [S3A, CompatibleS3A, Presto, Emrfs]
PART = 5 * 2**20
LENGTH = "x-amz-meta-x-amz-unencrypted-content-length"
TABLE = pa.table(
    {"n": range(1000), "text": [f"row {at}" for at in range(1000)], "year": [2012 + at % 3 for at in range(1000)]}
)


@pytest.fixture
def analytics(lake: Lake) -> Client:
    return lake.make_client(interop="analytics", transfer=TransferOptions(part_bytes=PART))


@functools.cache
def boto3_s3(endpoint: str) -> Any:
    import boto3

    session = boto3.Session("TESTS", "not checked", region_name="eu-west-1")
    return session.client("s3", endpoint_url=endpoint)


def engine(kind: type[Engine], lake: Lake) -> Engine:
    return kind(boto3_s3(lake.s3.endpoint), lake.kms, lake.key_arn)


def told(lake: Lake, key: str) -> str | None:
    return lake.s3.server.objects[f"/lake/{key}"].headers.get(LENGTH)


@functools.cache
def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096, PART, PART + 1, 2 * PART + 12345])
def test_engines_read_objects_of_any_size_whole_and_in_ranges(
    lake: Lake, analytics: Client, kind: type[Engine], size: int
) -> None:
    data = content(size)
    analytics.put("s3://lake/o", data)
    assert told(lake, "o") == str(size)
    reader = engine(kind, lake)
    assert reader.listed_length("lake", "o") == size
    assert reader.whole("lake", "o") == data
    for begin, end in ((0, 1), (size // 2, size // 2 + 100), (max(size - 8, 0), size)):
        if begin < end <= size:
            assert reader.read_at("lake", "o", begin, end) == data[begin:end]


def write_pandas(url: str, client: Client) -> None:
    spd.to_parquet(TABLE.to_pandas(), url, client=client)


def write_polars(url: str, client: Client) -> None:
    spl.write_parquet(pl.from_arrow(TABLE), url, client=client)


def sink_polars(url: str, client: Client) -> None:
    spl.sink_parquet(pl.from_arrow(TABLE).lazy(), url, client=client)


def write_arrow(url: str, client: Client) -> None:
    sa.write_table(TABLE, url, client=client)


def write_file(url: str, client: Client) -> None:
    with client.open(url, "wb") as file:
        pq.write_table(TABLE, file)


@pytest.mark.parametrize("write", [write_pandas, write_polars, sink_polars, write_arrow, write_file])
def test_engines_read_what_every_face_writes(
    lake: Lake, analytics: Client, write: Callable[[str, Client], None]
) -> None:
    write("s3://lake/o.parquet", analytics)
    for kind in ENGINES:
        read = pq.read_table(engine(kind, lake).open("lake", "o.parquet"))
        assert read.cast(TABLE.schema).equals(TABLE), "text may be long or short text, as the libraries have it"
    assert sa.read_table("s3://lake/o.parquet", client=analytics).num_rows == TABLE.num_rows


def test_engines_read_every_file_of_a_dataset_each_under_a_data_key_of_its_own(lake: Lake, analytics: Client) -> None:
    sa.write_dataset(TABLE, "s3://lake/t", partitioning=["year"], max_rows_per_file=100, client=analytics)
    files = lake.keys
    assert len(files) == 12
    assert lake.kms_calls("GenerateDataKey") == 12, "format V2 shares no data key"
    stored = lake.s3.server.objects
    assert len({stored[f"/lake/{key}"].headers["x-amz-meta-x-amz-key-v2"] for key in files}) == 12
    for kind in ENGINES:
        reader = engine(kind, lake)
        rows = sum(pq.read_table(reader.open("lake", key)).num_rows for key in files)
        assert rows == TABLE.num_rows
    read = sa.dataset("s3://lake/t", client=analytics).to_table(columns=["n", "text"])
    assert read.sort_by("n").equals(TABLE.select(["n", "text"]))


def test_the_length_of_a_file_that_goes_in_parts_is_told(lake: Lake, analytics: Client, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(content(2 * PART + 7))
    with path.open("rb") as file:
        analytics.put("s3://lake/o", file)
    assert len(lake.asked("UploadPart")) == 3
    assert told(lake, "o") == str(2 * PART + 7)
    assert engine(Presto, lake).whole("lake", "o") == path.read_bytes()


def test_a_file_that_grows_while_its_length_is_told_is_given_up(lake: Lake, analytics: Client, tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(content(2 * PART))

    class Growing(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            with path.open("ab") as other:
                if path.stat().st_size < 3 * PART:
                    other.write(bytes(PART))
            return super().read(size) or b""

    with Growing(path, "rb") as file, pytest.raises(UncommittedWriteError, match="somebody changes it"):
        analytics.put("s3://lake/o", file)
    assert lake.keys == []
    assert not lake.s3.server.open_uploads


def test_the_length_of_a_stream_is_told_if_it_fits_into_one_part_and_unknown_otherwise(
    lake: Lake, analytics: Client
) -> None:
    for size, expected in ((1000, "1000"), (PART + 1, None)):
        with analytics.open("s3://lake/o", "wb") as file:
            file.write(content(size))
        assert told(lake, "o") == expected
        for kind in (S3A, CompatibleS3A, Emrfs):
            assert engine(kind, lake).listed_length("lake", "o") == size


def test_parts_are_cut_between_blocks(lake: Lake, analytics: Client) -> None:
    analytics.put("s3://lake/o", content(3 * PART + 1))
    with pytest.raises(ConfigurationError, match="multiple of 16"):
        TransferOptions(part_bytes=PART + 3)
    lengths = {len(seen.body) for seen in lake.s3.log if seen.operation == "UploadPart" and len(seen.body) > PART - 1}
    assert lengths == {PART}


def test_a_length_that_somebody_changed_is_not_believed_here(lake: Lake, analytics: Client) -> None:
    analytics.put("s3://lake/o", b"twelve bytes")
    stored = lake.s3.server.objects["/lake/o"]
    for wrong in ("3", "1000000", "-1", "twelve", ""):
        lake.s3.server.objects["/lake/o"] = stored._replace(headers=stored.headers | {LENGTH: wrong})
        reader = lake.make_client(interop="analytics")
        assert reader.get("s3://lake/o") == b"twelve bytes"
        assert reader.head("s3://lake/o").plaintext_bytes == 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kms_key_id": {"s3://lake/a/": "alias/a", "s3://lake/b/": "alias/b"}}, "one key"),
        ({"keyring": RawAesKeyring(bytes(range(32)))}, "kms_key_id="),
        ({"instruction_files": True}, "for data"),
        ({"bind_location": "prefix"}, "no encryption context"),
        ({"encryption_context": {"team": "a"}}, "no encryption context"),
    ],
)
def test_options_that_engines_cannot_follow_are_refused_by_name(options: dict[str, Any], words: str) -> None:
    from arrowseal import Client

    with pytest.raises(
        ConfigurationError, match=f"{next(iter(options))}= does not go with interop='analytics'.*{words}"
    ):
        Client(**options, interop="analytics")
    assert Client("alias/a", encryption_context=ANY, interop="analytics").options.format is V2


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"encryption_context": {"team": "a"}}, ConfigurationError, "give no encryption context"),
        ({"encryption": CSE(encryption_context={"team": "a"})}, ConfigurationError, "give no encryption context"),
        ({"kms_key_id": "alias/other"}, ConfigurationError, "make another client for alias/other"),
        ({"encryption": CSE("alias/other")}, ConfigurationError, "another client for alias/other"),
        ({"encryption": CSE(instruction_file=True)}, ConfigurationError, "instruction files for data"),
        ({"encryption": CSE(format=V3)}, PolicyConflictError, "V2"),
    ],
)
def test_writes_that_engines_cannot_read_are_refused_before_any_request(
    lake: Lake, analytics: Client, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    frame = pd.DataFrame({"a": [1]})
    for write in (
        lambda: analytics.put("s3://lake/o", b"x", **arguments),
        lambda: analytics.open("s3://lake/o", "wb", **arguments),
        lambda: spd.to_parquet(frame, "s3://lake/o.parquet", client=analytics, **arguments),
        lambda: sa.write_dataset(TABLE, "s3://lake/t", client=analytics, **arguments),
    ):
        with pytest.raises(error, match=f"(?i){words}"):
            write()
    assert lake.asked("PutObject") == []
    assert lake.kms.calls == []


def test_a_data_key_is_never_shared_by_objects_that_engines_read(lake: Lake, analytics: Client) -> None:
    with analytics.data_key_reuse(), pytest.raises(ConfigurationError, match="never reused under format V2"):
        analytics.put("s3://lake/o", b"x")
    assert lake.keys == []
