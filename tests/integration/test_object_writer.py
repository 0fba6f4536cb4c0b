"""Objects written as files: when they appear, when nothing stays, and what a lost answer changes."""

from __future__ import annotations

import gc
import io
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import arrowseal.arrow
import arrowseal.pandas
from arrowseal import CSE, PLAIN, V2, Client, CommitmentPolicy
from arrowseal.exceptions import (
    ConfigurationError,
    KmsError,
    ObjectExistsError,
    PreconditionFailedError,
    UncommittedWriteError,
)
from arrowseal.transfer import TransferOptions

if TYPE_CHECKING:
    from arrowseal.local import LocalServers

PART = 5 * 2**20
ENCRYPTIONS = [CSE(), CSE(format=V2), PLAIN]


@pytest.fixture
def client(local_servers: LocalServers) -> Client:
    """A client with the smallest parts that S3 takes."""
    policy = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    return local_servers.client(transfer=TransferOptions(part_bytes=PART), commitment_policy=policy, format=V2)


@pytest.fixture
def v3_client(local_servers: LocalServers) -> Client:
    return local_servers.client(transfer=TransferOptions(part_bytes=PART))


def pick(client: Client, v3_client: Client, encryption: Any) -> Client:
    return client if encryption.label == "CSE V2" else v3_client


def left_over(raw_s3: Any, bucket: str) -> tuple[list[str], int]:
    """Keys in a bucket, and how many uploads are open there."""
    objects = raw_s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [row["Key"] for row in objects], len(raw_s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


@pytest.mark.parametrize("encryption", ENCRYPTIONS, ids=lambda encryption: encryption.label)
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART - 16, 3 * PART + 7])
def test_a_content_of_any_size_is_read_back_as_it_was_written(
    client: Client, v3_client: Client, raw_s3: Any, bucket: str, encryption: Any, size: int
) -> None:
    chosen, data = pick(client, v3_client, encryption), os.urandom(size)
    url = f"s3://{bucket}/o"
    with chosen.open(url, "wb", encryption=encryption) as file:
        for begin in range(0, size, 700_001):
            assert file.write(data[begin : begin + 700_001]) == len(data[begin : begin + 700_001])
        assert file.tell() == size
    assert file.closed
    assert file.result is not None
    assert file.result.plaintext_bytes == size
    stored = raw_s3.head_object(Bucket=bucket, Key="o")
    assert stored["ContentLength"] == file.result.stored_bytes == size + (0 if encryption is PLAIN else 16)
    assert ("-" in stored["ETag"]) == (size > PART)
    assert bytes(chosen.get(url, encryption=encryption, allow_plaintext=encryption is PLAIN or None)) == data
    indexed = size > PART and encryption is not PLAIN
    assert left_over(raw_s3, bucket) == (["_arrowseal.o.index"] * indexed + ["o"], 0)


@pytest.mark.parametrize("encryption", ENCRYPTIONS, ids=lambda encryption: encryption.label)
@pytest.mark.parametrize("given", ["bytes", "bytearray", "file"])
def test_a_large_put_goes_in_parts_whatever_it_is_given(
    client: Client, v3_client: Client, raw_s3: Any, bucket: str, encryption: Any, given: str
) -> None:
    chosen, data = pick(client, v3_client, encryption), os.urandom(2 * PART + 5)
    content: Any = {"bytes": data, "bytearray": bytearray(data), "file": io.BytesIO(data)}[given]
    result = chosen.put(f"s3://{bucket}/o", content, encryption=encryption)
    assert result.plaintext_bytes == len(data)
    assert raw_s3.head_object(Bucket=bucket, Key="o")["ETag"].endswith('-3"')
    assert chosen.get(f"s3://{bucket}/o", encryption=encryption) == data
    record, *_ = chosen.counters
    assert (record.operation, record.requests) == ("put", 5 if encryption is PLAIN else 6)


@pytest.mark.parametrize("size", [10, PART + 10])
def test_a_block_that_raises_leaves_no_object_and_no_parts(
    v3_client: Client, raw_s3: Any, bucket: str, size: int
) -> None:
    def interrupted() -> None:
        with v3_client.open(f"s3://{bucket}/o", "wb") as file:
            file.write(bytes(size))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert left_over(raw_s3, bucket) == ([], 0)
    assert len(v3_client.counters) == 0


def test_an_aborted_writer_takes_nothing_more(v3_client: Client, raw_s3: Any, bucket: str) -> None:
    file = v3_client.open(f"s3://{bucket}/o", "wb")
    file.write(bytes(PART + 1))
    file.abort()
    file.abort()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")
    with pytest.raises(ValueError, match="closed"):
        file.commit()
    assert left_over(raw_s3, bucket) == ([], 0)


def test_a_writer_that_is_closed_uncommitted_aborts_and_says_so(v3_client: Client, raw_s3: Any, bucket: str) -> None:
    file = v3_client.open(f"s3://{bucket}/o", "wb")
    file.write(b"lost?")
    with pytest.raises(UncommittedWriteError, match="commit"):
        file.close()
    file.close()
    assert left_over(raw_s3, bucket) == ([], 0)


def test_a_writer_that_is_dropped_aborts(v3_client: Client, raw_s3: Any, bucket: str) -> None:
    file = v3_client.open(f"s3://{bucket}/o", "wb")
    file.write(bytes(PART + 1))
    files = [file]
    del file
    with pytest.warns(ResourceWarning, match="dropped before commit"):
        files.clear()
    gc.collect()
    assert left_over(raw_s3, bucket) == ([], 0)


def test_a_committed_writer_may_be_closed(v3_client: Client, bucket: str) -> None:
    file = v3_client.open(f"s3://{bucket}/o", "wb")
    file.write(b"kept")
    assert file.commit() is file.result
    file.close()
    assert v3_client.get(f"s3://{bucket}/o") == b"kept"


def test_a_text_wrapper_writes_through(v3_client: Client, bucket: str) -> None:
    with v3_client.open(f"s3://{bucket}/o", "wb") as file:
        text = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        text.write("čaj\n")
        text.detach()
    assert v3_client.get(f"s3://{bucket}/o") == "čaj\n".encode()


def test_create_only_and_compare_and_swap(v3_client: Client, bucket: str) -> None:
    url = f"s3://{bucket}/o"
    first = v3_client.put(url, b"first", if_none_match="*")
    with pytest.raises(FileExistsError, match=f"{url}: it is there already"), v3_client.open(url, "xb") as file:
        file.write(b"second")
    with pytest.raises(ObjectExistsError, match=f"{url}: it is there already"):
        v3_client.put(url, b"second", if_none_match="*")
    second = v3_client.put(url, b"second", if_match=first.etag)
    with pytest.raises(PreconditionFailedError):
        v3_client.put(url, b"third", if_match=first.etag)
    assert second.etag != first.etag
    assert v3_client.get(url) == b"second"


@pytest.mark.parametrize("encryption", [CSE(), PLAIN], ids=lambda encryption: encryption.label)
def test_conditions_hold_for_objects_in_parts_too(v3_client: Client, raw_s3: Any, bucket: str, encryption: Any) -> None:
    url, data = f"s3://{bucket}/o", os.urandom(PART + 1)
    v3_client.put(url, data, if_none_match="*", encryption=encryption)
    with pytest.raises(ObjectExistsError, match=url):
        v3_client.put(url, bytes(PART + 1), if_none_match="*", encryption=encryption)
    assert v3_client.get(url, encryption=encryption) == data
    assert left_over(raw_s3, bucket) == (["_arrowseal.o.index"] * (encryption is not PLAIN) + ["o"], 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"if_none_match": "abc"}, "one condition"),
        ({"if_none_match": "*", "if_match": "abc"}, "one condition"),
        ({"mode": "ab"}, "mode 'ab'"),
        ({"mode": "w"}, "mode 'w'"),
        ({"s3_additional_kwargs": {"NoSuchArgument": 1}}, "NoSuchArgument"),
        ({"s3_additional_kwargs": {"Metadata": None}}, "not NoneType"),
        ({"s3_additional_kwargs": {"Metadata": ["team"]}}, "not list"),
        ({"s3_additional_kwargs": {"Metadata": {"team": "a\nb"}}}, "'team' has a control character"),
        ({"s3_additional_kwargs": {"Metadata": {"a:b": "x"}}}, "'a:b' is no name"),
        ({"s3_additional_kwargs": {"Metadata": {"": "x"}}}, "'' is no name"),
        ({"s3_additional_kwargs": {"Metadata": {"team": "1", "Team": "2"}}}, "differ in case only"),
        ({"s3_additional_kwargs": {"ContentType": "text/csv\r\nx-evil: 1"}}, "'ContentType' has a control character"),
    ],
)
def test_what_cannot_be_is_refused_before_any_request(
    v3_client: Client, bucket: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        v3_client.open(f"s3://{bucket}/o", **({"mode": "wb"} | arguments))


def test_a_file_that_is_opened_without_a_mode_is_read_and_stays_what_it_was(v3_client: Client, bucket: str) -> None:
    v3_client.put(bucket=bucket, key="o", data=b"content")
    with v3_client.open(f"s3://{bucket}/o"):
        pass
    with v3_client.open(bucket=bucket, key="o") as file:
        assert file.read() == b"content"
    assert v3_client.get(f"s3://{bucket}/o") == b"content"
    with pytest.raises(ConfigurationError, match="s3_additional_kwargs= is for writing"):
        v3_client.open(f"s3://{bucket}/o", s3_additional_kwargs={"ContentType": "text/csv"})


def test_a_pipe_that_does_not_block_is_waited_for(v3_client: Client, bucket: str) -> None:
    to_read, to_write = os.pipe()
    os.set_blocking(to_read, False)

    def slowly() -> None:
        with os.fdopen(to_write, "wb", buffering=0) as pipe:
            for piece in (b"x" * 1000, b"y" * 1000):
                time.sleep(0.1)
                pipe.write(piece)

    with ThreadPoolExecutor(1) as pool, os.fdopen(to_read, "rb") as file:
        pool.submit(slowly)
        v3_client.put(f"s3://{bucket}/o", file)
    assert v3_client.get(f"s3://{bucket}/o") == b"x" * 1000 + b"y" * 1000


def test_a_file_that_has_nothing_now_and_cannot_be_waited_for_becomes_no_object(
    v3_client: Client, raw_s3: Any, bucket: str
) -> None:
    class Empty(io.RawIOBase):
        def read(self, _: int = -1) -> None:
            return None

    with pytest.raises(ConfigurationError, match="not at its end"):
        v3_client.put(f"s3://{bucket}/o", Empty())  # type: ignore[arg-type]
    assert left_over(raw_s3, bucket) == ([], 0)


def test_files_do_one_thing_and_refuse_the_other_as_files_do(v3_client: Client, bucket: str) -> None:
    with v3_client.open(f"s3://{bucket}/o", "wb") as file:
        file.write(b"1")
        with pytest.raises(io.UnsupportedOperation, match="opened to write"):
            file.read()
    with v3_client.open(f"s3://{bucket}/o", "rb") as there:
        with pytest.raises(io.UnsupportedOperation, match="opened to read"):
            there.write(b"2")
        with pytest.raises(ValueError, match="whence"):
            there.seek(0, 9)


def test_text_is_refused_and_nothing_stays(v3_client: Client, raw_s3: Any, bucket: str) -> None:
    with pytest.raises(ConfigurationError, match="encode"), v3_client.open(f"s3://{bucket}/o", "wb") as file:
        file.write("text")  # type: ignore[arg-type]
    assert left_over(raw_s3, bucket) == ([], 0)


def test_a_kms_key_that_is_not_there_fails_the_commit_and_nothing_stays(
    v3_client: Client, raw_s3: Any, bucket: str
) -> None:
    with (
        pytest.raises(KmsError),
        v3_client.open(f"s3://{bucket}/o", "wb", kms_key_id="alias/none") as file,
    ):
        file.write(bytes(10))
    assert left_over(raw_s3, bucket) == ([], 0)


def test_a_writer_neither_shows_nor_pickles_what_it_holds(v3_client: Client, bucket: str) -> None:
    file = v3_client.open(f"s3://{bucket}/o", "wb")
    file.write(b"secret")
    assert repr(file) == f"<ObjectWriter s3://{bucket}/o, 6 bytes, open>"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(file)
    file.abort()


def test_user_metadata_and_arguments_reach_an_object_in_parts(v3_client: Client, raw_s3: Any, bucket: str) -> None:
    given = {"Metadata": {"team": "weather"}, "ContentType": "text/csv"}
    v3_client.put(f"s3://{bucket}/o", bytes(PART + 1), s3_additional_kwargs=given)
    stored = raw_s3.head_object(Bucket=bucket, Key="o")
    assert (stored["Metadata"]["team"], stored["ContentType"]) == ("weather", "text/csv")


def test_a_real_server_takes_parts_and_their_checksums(seaweedfs_servers: LocalServers) -> None:
    client = seaweedfs_servers.client(transfer=TransferOptions(part_bytes=PART))
    data, url = os.urandom(3 * PART + 100), f"s3://{seaweedfs_servers.bucket}/in-parts"
    with client.open(url, "wb") as file:
        file.write(data)
    assert client.get(url) == data
    client.delete(url)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow"])
def test_a_table_longer_than_a_part_goes_in_parts(v3_client: Client, raw_s3: Any, bucket: str, name: str) -> None:
    random = np.random.default_rng(1)
    table = pa.table({"n": random.integers(2**62, size=900_000), "x": random.random(900_000)})
    url = f"s3://{bucket}/{name}"
    written = arrowseal.arrow.write_table(table, url, client=v3_client)
    assert written.plaintext_bytes > PART
    assert "-" in raw_s3.head_object(Bucket=bucket, Key=name)["ETag"]
    assert arrowseal.arrow.read_table(url, client=v3_client).equals(table)


def test_half_a_table_never_becomes_an_object(v3_client: Client, raw_s3: Any, bucket: str) -> None:
    """What a library closes while an exception is on its way is not committed."""
    broken = pd.DataFrame({"n": [1.5] * 500_000 + [Unprintable()]})
    with pytest.raises(RuntimeError, match="no text"):
        arrowseal.pandas.to_csv(broken, f"s3://{bucket}/t.csv.gz", client=v3_client)
    with pytest.raises(RuntimeError, match="no text"):
        arrowseal.pandas.to_csv(broken, f"s3://{bucket}/t.csv", client=v3_client)
    assert left_over(raw_s3, bucket) == ([], 0)


class Unprintable:
    """Nothing that CSV could hold."""

    def __str__(self) -> str:
        message = "no text"
        raise RuntimeError(message)
