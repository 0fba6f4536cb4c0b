"""Options of Parquet mean the same for objects that are held and for those that are read by ranges, one or many."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pandas as pd
import pandas.testing as pdt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
from arrowseal.objects import EncryptedObject
from lake import Lake, pq_bytes

if TYPE_CHECKING:
    from pathlib import Path

ROWS = pa.table({"text": ["a", "b", "a"], "n": [1, 2, 3]})


@pytest.fixture(params=[True, False], ids=["in memory", "by ranges"], autouse=True)
def _held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EncryptedObject, "in_memory", request.param)


class PlainKms(pe.KmsClient):  # type: ignore[misc]
    """Wraps the keys of pyarrow's own encryption in nothing."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        del master_key_identifier
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        del master_key_identifier
        return bytes.fromhex(wrapped_key)


def test_columns_are_dictionaries_where_files_have_them(lake: Lake, tmp_path: Path) -> None:
    for name, table in {"a": ROWS, "b": ROWS.select(["n"])}.items():
        (tmp_path / f"{name}.parquet").write_bytes(content := pq_bytes(table))
        lake.put({f"t/{name}.parquet": content})
    found = sa.dataset("s3://lake/t/", read_dictionary=["text"], client=lake.client)
    plain = ds.ParquetFileFormat(dictionary_columns=["text"])
    expected = ds.dataset(tmp_path, format=plain).to_table()
    assert pa.types.is_dictionary(found.schema.field("text").type)
    assert found.to_table().to_pylist() == expected.to_pylist()
    assert found.to_table().schema == expected.schema
    frame = spd.read_parquet("s3://lake/t/", read_dictionary=["text"], client=lake.client)
    pdt.assert_frame_equal(frame, pd.read_parquet(tmp_path, read_dictionary=["text"]))


def test_files_that_pyarrow_has_encrypted_are_read_by_their_keys(lake: Lake) -> None:
    factory, connection = pe.CryptoFactory(lambda _: PlainKms()), pe.KmsConnectionConfig()
    how = pe.EncryptionConfiguration(footer_key="footer", column_keys={"column": ["text"]})
    content = io.BytesIO()
    with pq.ParquetWriter(
        content, ROWS.schema, encryption_properties=factory.file_encryption_properties(connection, how)
    ) as writer:
        writer.write_table(ROWS)
    lake.put({"t/a.parquet": content.getvalue()})
    keys: dict[str, Any] = {"decryption_properties": factory.file_decryption_properties(connection)}
    found = sa.dataset("s3://lake/t/", client=lake.client, **keys)
    assert found.to_table(columns=["text"], filter=pc.field("n") > 1)["text"].to_pylist() == ["b", "a"]
    assert found.count_rows() == 3
    for source in ("s3://lake/t/", "s3://lake/t/a.parquet"):
        read = spd.read_parquet(source, columns=["n"], client=lake.client, **keys)
        assert read["n"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("options", [{}, {"thrift_string_size_limit": 2**20}], ids=str)
def test_dictionaries_within_lists_and_structs_are_read_of_any_number_of_row_groups(
    lake: Lake, options: dict[str, Any]
) -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    lists = pa.array([["a", None], None, ["b"], [], ["c", "a"]], pa.list_(kind))
    table = pa.table({"l": lists, "s": pa.StructArray.from_arrays([lists], ["k"]), "n": range(5)})
    lake.put({"t/a.parquet": pq_bytes(table, row_group_size=2)})
    rows = table.to_pylist()
    one, many = (
        {"url": "s3://lake/t/a.parquet", "client": lake.client} | options,
        sa.dataset("s3://lake/t/", client=lake.client, **options),
    )
    for read in (sa.read_table(**one), sa.scan(**one).to_table(), many.to_table(), pa.table(many)):
        assert read.schema.field("l").type.value_type == kind
        assert read.to_pylist() == rows
    assert sa.read_table(columns=["s"], **one).to_pylist() == [{"s": row["s"]} for row in rows]
    assert many.to_table(["l"], pc.field("n") > 2)["l"].to_pylist() == [[], ["c", "a"]]
    assert many.to_table([]).num_rows == sa.read_table(columns=[], **one).num_rows == 5


def test_a_filter_of_a_dataset_is_not_called_filters(lake: Lake) -> None:
    lake.put({"t/a.parquet": pq_bytes(ROWS)})
    with pytest.raises(TypeError, match="filter="):
        sa.dataset("s3://lake/t/", filters=[("n", ">", 1)], client=lake.client)
