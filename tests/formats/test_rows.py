"""Every row of what reads what: read on every face when allowed, refused by the name of each switch when not."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import AES_KEY, BOTH, CONTENT, FILES, POLICY, ROWS, RSA_KEY, WRAPPING, Row
from writers import Keys, Made, write

import arrowseal
import arrowseal.arrow
import arrowseal.pandas
import arrowseal.polars
from arrowseal import ANY, CSE, CommitmentPolicy
from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
from arrowseal.exceptions import (
    CommitmentPolicyError,
    ConfigurationError,
    EncryptionContextError,
    SecurityError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from memory_store import Lake

    from arrowseal import Client

TABLE = pa.table({"station": ["EWR", "JFK", "LGA"] * 40, "delay": list(range(120))})
ALLOWING = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
LEGACY_WORDS: dict[str, Any] = {WRAPPING: "wrapping", CONTENT: "content", BOTH: True}
each_row = pytest.mark.parametrize("row", ROWS, ids=str)


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(TABLE, buffer)
    return buffer.getvalue()


def options(row: Row, keys: Keys, without: str | None = None) -> dict[str, Any]:
    """What a client needs to read a row; all of it but one switch."""
    switches = row.switches - {without}
    chosen: dict[str, Any] = {"kms": keys.kms, "kms_key_id": keys.arn}
    if POLICY in switches:
        chosen["commitment_policy"] = ALLOWING
    if legacy := switches & LEGACY_WORDS.keys():
        chosen["legacy"] = LEGACY_WORDS[next(iter(legacy))]
    if switches & {AES_KEY, RSA_KEY}:
        chosen["keyring"] = keys.keyring(row.wrap)
    if FILES in switches:
        chosen["instruction_files"] = True
    return chosen


def planted(lake: Lake, made: Made, key: str = "trips.parquet") -> str:
    return lake.plant(key, made.body, made.metadata, made.file)


@each_row
def test_each_row_is_read_by_a_client_that_allows_it(row: Row, lake: Lake, keys: Keys) -> None:
    content = parquet()
    url = planted(lake, write(row, content, keys))
    client = lake.client(**options(row, keys))
    got = client.get(url)
    assert got == content
    proven = row.content == "AES-256-GCM"
    assert type(got) is (PlaintextBuffer if proven else UnauthenticatedBuffer)
    assert got.encryption == f"CSE {row.format}"
    with client.object(url) as found:
        assert (found.size, found.encryption) == (len(content), f"CSE {row.format}")
        assert found.read_at(4, 100) == content[4:104]
        assert found.kms_key_arn == (keys.arn if row.wrap.startswith("kms") else None)
    with client.open(url, "rb") as file:
        assert file.read() == content
    head = client.head(url)
    assert (head.format, head.wrap, head.encryption) == (row.format, row.wrap, f"CSE {row.format}")
    assert head.plaintext_bytes == (len(content) if proven else None)
    assert client.is_encrypted(url)


@pytest.mark.parametrize("row", [row for row in ROWS if FILES in row.switches], ids=str)
def test_what_is_empty_may_be_null_in_an_instruction_file(row: Row, lake: Lake, keys: Keys) -> None:
    made = write(row, b"content", keys)
    assert made.file is not None
    descriptions = ["x-amz-t", "x-amz-m"] if row.format == "V3" else ["x-amz-matdesc"]
    if row.wrap.startswith("kms"):
        descriptions = descriptions[1:]  # the first is the encryption context, which is not empty
    empty = dict.fromkeys([*descriptions, "x-amz-unencrypted-content-length"])
    file = json.dumps({**json.loads(made.file), **empty}).encode()
    url = planted(lake, Made(made.body, made.metadata, file))
    assert lake.client(**options(row, keys)).get(url) == b"content"


@each_row
def test_each_row_is_a_table_to_every_face(row: Row, lake: Lake, keys: Keys) -> None:
    url = planted(lake, write(row, parquet(), keys))
    client: Client = lake.client(**options(row, keys))
    assert arrowseal.arrow.read_table(url, client=client) == TABLE
    pd.testing.assert_frame_equal(arrowseal.pandas.read_parquet(url, client=client), TABLE.to_pandas())
    assert arrowseal.polars.read_parquet(url, client=client).equals(pl.DataFrame(TABLE))
    lazy = arrowseal.polars.scan_parquet(url, client=client).filter(pl.col("delay") > 100).select("delay").collect()
    assert lazy["delay"].to_list() == list(range(101, 120))


@pytest.mark.parametrize(
    ("row", "switch"), [(row, switch) for row in ROWS for switch in sorted(row.switches)], ids=lambda value: str(value)
)
def test_without_one_of_its_switches_a_row_is_refused_by_the_name_of_that_switch(
    row: Row, switch: str, lake: Lake, keys: Keys
) -> None:
    url = planted(lake, write(row, parquet(), keys))
    client = lake.client(**options(row, keys, without=switch))
    calls = len(keys.kms.calls)
    refused = CommitmentPolicyError if switch == POLICY else UnsupportedFormatError
    expected = switch.replace('"', "'").replace("(...)", "")
    expected = expected.replace("commitment_policy=", "").replace("keyring=", "")
    for read in (client.get, client.object, lambda url: client.open(url, "rb")):
        with pytest.raises(refused) as caught:
            read(url)
        assert expected in str(caught.value)
        assert url in str(caught.value)
    assert len(keys.kms.calls) == calls


@each_row
def test_a_client_that_was_told_nothing_reads_the_default_alone_and_names_every_switch_at_once(
    row: Row, lake: Lake, keys: Keys
) -> None:
    url = planted(lake, write(row, parquet(), keys))
    client = lake.client(keys.arn, kms=keys.kms)
    if not row.switches:
        assert client.get(url) == parquet()
        return
    with pytest.raises(SecurityError) as caught:
        client.get(url)
    if {POLICY} < row.switches and row.storage == "metadata" and row.switches & LEGACY_WORDS.keys():
        assert "legacy=" in str(caught.value)
        assert "REQUIRE_ENCRYPT_ALLOW_DECRYPT" in str(caught.value)


@each_row
def test_a_call_may_allow_what_its_client_does_not(row: Row, lake: Lake, keys: Keys) -> None:
    given = options(row, keys)
    legacy = given.pop("legacy", False)
    url = planted(lake, write(row, parquet(), keys))
    client = lake.client(**given)
    assert client.get(url, legacy=legacy) == parquet()
    with client.object(url, legacy=legacy) as found:
        assert found.read_at(0, 4) == b"PAR1"
    with client.open(url, "rb", legacy=legacy) as file:
        assert file.read(4) == b"PAR1"
    if legacy:
        with pytest.raises(UnsupportedFormatError):
            lake.client(**given, legacy=True).get(url, legacy=False)


@each_row
def test_the_context_of_a_row_is_always_compared(row: Row, lake: Lake, keys: Keys) -> None:
    carries = row.wrap.startswith("kms")
    context = {"team": "weather"} if carries else {}
    url = planted(lake, write(row, b"x", keys, context))
    client = lake.client(**options(row, keys))
    assert client.get(url, encryption_context=context) == b"x"
    assert client.get(url, encryption_context=ANY) == b"x"
    wrong = [{"team": "sea"}, {"team": "weather", "more": "1"}] + ([{}] if carries else [])
    for other in wrong:
        with pytest.raises(EncryptionContextError):
            client.get(url, encryption_context=other)


@pytest.mark.parametrize("row", [row for row in ROWS if row.written], ids=str)
def test_what_is_written_is_an_object_of_its_row(row: Row, lake: Lake, keys: Keys) -> None:
    chosen = options(row, keys)
    chosen["format"] = row.format
    if row.wrap != "kms+context":
        del chosen["kms_key_id"]
    if row.format == "V2":
        chosen["commitment_policy"] = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    writer = lake.client(**chosen)
    url = "s3://lake/written"
    writer.put(url, b"content", encryption=CSE(instruction_file=row.storage != "metadata"))
    _, metadata = lake.store.objects["written"]
    file, _ = lake.store.objects.get("written.instruction", (None, {}))
    assert (file is not None) == (row.storage != "metadata")
    found = arrowseal.metadata.parse(metadata, None if file is None else arrowseal.instruction_file.parse(file))
    assert found is not None
    assert (found.format, found.wrap, found.instruction_file) == (row.format, row.wrap, file is not None)
    assert lake.client(**options(row, keys)).get(url) == b"content"


@pytest.mark.parametrize("old", ["V1", "v1", "CBC", "AES/CBC/PKCS5Padding", "V0", 1])
def test_nothing_old_can_be_asked_for_when_writing(old: Any) -> None:
    with pytest.raises(ConfigurationError):
        CSE(format=old)
    with pytest.raises(ConfigurationError):
        arrowseal.Client("alias/a", format=old)


def test_each_row_is_there_once_and_each_storage_has_every_row() -> None:
    assert len({str(row) for row in ROWS}) == len(ROWS) == 34
