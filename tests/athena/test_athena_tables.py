"""Datasets as tables of Athena: DDL that parses, catalog inputs that Glue's model accepts, and what is refused."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import arrowseal.arrow as sa
from arrowseal import PLAIN, V2, CommitmentPolicy
from arrowseal.athena import add_partitions_ddl, create_table_ddl, partition_inputs, table_input, table_parameters
from arrowseal.athena.hive_types import hive_type
from arrowseal.exceptions import ConfigurationError, SchemaMismatchError
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    from arrowseal import Client
    from lake import Lake

TRIPS = pa.table(
    {
        "fare": pa.array([decimal.Decimal("7.50"), None, decimal.Decimal("3.25")], pa.decimal128(8, 2)),
        "at": pa.array([dt.datetime(2013, 1, 1, 5, 17)] * 3, pa.timestamp("us")),
        "stops": pa.array(
            [[{"name": "a", "n": 1}], [], None], pa.list_(pa.struct([("name", pa.string()), ("n", pa.int8())]))
        ),
        "tags": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int32())),
        "year": pa.array([2012, 2013, 2013], pa.int32()),
        "city": ["Paris", "a/b='c'", None],
    }
)


@pytest.fixture
def analytics(lake: Lake) -> Client:
    return lake.make_client(interop="analytics")


def written(client: Client, table: pa.Table = TRIPS, **options: Any) -> sa.EncryptedDataset:
    options = {"partitioning": ["year", "city"]} | options
    sa.write_dataset(table, "s3://lake/trips", client=client, **options)
    return sa.dataset("s3://lake/trips", client=client)


def properties(ddl: str) -> dict[str, str]:
    """Those of TBLPROPERTIES."""
    inside = re.search(r"TBLPROPERTIES \((.*)\)\Z", ddl, re.DOTALL)
    assert inside is not None
    return dict(re.findall(r"'([^']*)'='([^']*)'", inside[1]))


def check_glue(shape_name: str, value: Any) -> None:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import validate_parameters

    validate_parameters(value, ServiceModel(Loader().load_service_model("glue", "service-2")).shape_for(shape_name))


def test_a_dataset_that_was_written_for_analytics_becomes_a_table_of_athena(lake: Lake, analytics: Client) -> None:
    ddl = create_table_ddl(written(analytics), "Trips", database="weather", comment="it's trips")
    assert ddl.startswith("CREATE EXTERNAL TABLE IF NOT EXISTS `weather`.`trips` (\n")
    columns = dict(re.findall(r"^  `(\w+)` (\S+?),?$", ddl, re.MULTILINE))
    assert columns == {
        "fare": "decimal(8,2)",
        "at": "timestamp",
        "stops": "array<struct<name:string,n:tinyint>>",
        "tags": "map<string,int>",
    }
    assert "PARTITIONED BY (`year` int, `city` string)" in ddl
    assert "COMMENT 'it\\'s trips'" in ddl
    assert "ParquetHiveSerDe'" in ddl
    assert "LOCATION 's3://lake/trips/'" in ddl
    assert properties(ddl) == {
        "classification": "parquet",
        "encryption_option": "CSE_KMS",
        "kms_key": lake.key_arn,
        "has_encrypted_data": "true",
    }


def test_the_catalog_gets_the_same_table_and_partitions_as_its_service_model_accepts(
    lake: Lake, analytics: Client
) -> None:
    trips = written(analytics)
    table, partitions = table_input(trips, "trips", comment="c"), partition_inputs(trips)
    check_glue("TableInput", table)
    check_glue("PartitionInputList", partitions)
    assert table["Parameters"]["kms_key"] == lake.key_arn
    assert table["Parameters"] | {"EXTERNAL": "TRUE"} == table["Parameters"]
    assert [key["Name"] for key in table["PartitionKeys"]] == ["year", "city"]
    found = {tuple(one["Values"]): one["StorageDescriptor"]["Location"] for one in partitions}
    assert found.keys() == {("2012", "Paris"), ("2013", "a/b='c'"), ("2013", "__HIVE_DEFAULT_PARTITION__")}
    directories = {f"s3://lake/{key.rpartition('/')[0]}/" for key in lake.keys}
    assert set(found.values()) == directories
    assert table_parameters(trips)["encryption_option"] == "CSE_KMS"


def test_partitions_become_statements_of_a_hundred_with_every_value_quoted(lake: Lake, analytics: Client) -> None:
    (statement,) = add_partitions_ddl(written(analytics), "trips", database="weather")
    assert statement.startswith("ALTER TABLE `weather`.`trips` ADD IF NOT EXISTS\n")
    assert "PARTITION (`year`='2013', `city`='a/b=\\'c\\'') LOCATION 's3://lake/trips/year=2013/city=" in statement
    lake.empty()
    many = written(analytics, pa.table({"x": range(250), "k": range(250)}), partitioning=["k"])
    lake.forget()
    statements = add_partitions_ddl(many, "t")
    assert [one.count("PARTITION (") for one in statements] == [100, 100, 50]
    assert lake.asked("GetObject") == []
    lake.empty()
    assert add_partitions_ddl(written(analytics, partitioning=None), "t") == []


def test_a_table_by_its_url_and_client(lake: Lake, analytics: Client) -> None:
    trips = written(analytics)
    assert create_table_ddl("s3://lake/trips/", "t", client=analytics) == create_table_ddl(trips, "t")
    with pytest.raises(ConfigurationError, match="a dataset has its own"):
        create_table_ddl(trips, "t", client=analytics)


def test_csv_and_json_are_declared_as_the_text_that_they_are(lake: Lake, analytics: Client) -> None:
    flat = TRIPS.select(["fare", "at", "year"]).append_column("x", pa.array([1.5, 2.5, None], pa.float32()))
    ddl = create_table_ddl(written(analytics, flat, partitioning=["year"], format="csv"), "t")
    assert "`fare` double,\n  `at` string,\n  `x` double\n" in ddl
    assert properties(ddl)["skip.header.line.count"] == "1"
    assert "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'" in ddl
    assert "'escapeChar'='\\\\'" in ddl
    assert hive_type(TRIPS.schema.field("stops"), TableFormat.JSON) == "array<struct<name:string,n:tinyint>>"
    nested = pa.field("n", pa.struct([("d", pa.decimal128(5, 1)), ("t", pa.list_(pa.date32()))]))
    assert hive_type(nested, TableFormat.JSON) == "struct<d:string,t:array<string>>"
    with pytest.raises(SchemaMismatchError, match=r"'stops' .* write Parquet"):
        hive_type(TRIPS.schema.field("stops"), TableFormat.CSV)


def test_plain_files_need_no_properties_of_encryption(lake: Lake) -> None:
    plain = lake.make_client(allow_plaintext=True)
    trips = written(plain, encryption=PLAIN)
    assert properties(create_table_ddl(trips, "t")) == {"classification": "parquet"}
    assert table_parameters(trips) == {}
    with pytest.raises(ConfigurationError, match="for client-side encryption"):
        create_table_ddl(trips, "t", kms_key_id=lake.key_arn)


def test_files_of_format_v3_are_refused_because_athena_does_not_read_them(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match=r"is CSE V3 .* interop='analytics'"):
        create_table_ddl(written(lake.client), "t")


def test_files_with_an_encryption_context_are_refused(lake: Lake) -> None:
    policy = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    client = lake.make_client(format=V2, commitment_policy=policy, encryption_context={"team": "a"})
    with pytest.raises(ConfigurationError, match="has an encryption context"):
        create_table_ddl(written(client), "t")


def test_a_key_that_is_no_arn_is_refused_where_no_file_was_opened_that_would_tell_it(lake: Lake) -> None:
    lake.kms.point_alias("alias/tables", lake.key_arn)
    client = lake.make_client(interop="analytics")
    written(client)
    again = lake.make_client(interop="analytics")
    unopened = sa.dataset("s3://lake/trips", client=again, schema=TRIPS.schema)
    assert properties(create_table_ddl(unopened, "t"))["kms_key"] == lake.key_arn, "the client's own"
    for wrong in ("alias/tables", "arn:aws:kms:eu-west-1:111122223333:alias/tables", "x', 'y'='z"):
        with pytest.raises(ConfigurationError, match="by its ARN"):
            create_table_ddl(unopened, "t", kms_key_id=wrong)


@pytest.mark.parametrize("name", ["", "a b", "a`; drop table b; --", "a.b", "trips'", "t" * 256, None])
def test_names_of_tables_that_athena_does_not_take_are_refused(lake: Lake, analytics: Client, name: Any) -> None:
    trips = written(analytics)
    for describe in (create_table_ddl, table_input, add_partitions_ddl):
        with pytest.raises(ConfigurationError, match="no name of a table"):
            describe(trips, name)
    if name is not None:
        with pytest.raises(ConfigurationError, match="no name of a table"):
            create_table_ddl(trips, "t", database=name)


def test_columns_that_one_cannot_say_in_ddl_are_refused(lake: Lake, analytics: Client) -> None:
    for table, words in (
        (pa.table({"a`b": [1]}), "no name of a column"),
        (pa.table({"a\nb": [1]}), "no name of a column"),
        (pa.table({"A": [1], "a": [2]}), "'A' and 'a' are one column"),
        (pa.table({"s": [[{"A": 1, "a": 2}]]}), "fields 'A' and 'a' of column 's' are one there"),
        (pa.table({"s": [{"a:int>": 1}]}), "a name that Athena's types cannot say"),
        (pa.table({"n": pa.array([1], pa.uint64())}), "column 'n' is uint64.* decimal128"),
    ):
        lake.empty()
        with pytest.raises(SchemaMismatchError, match=words):
            create_table_ddl(written(analytics, table, partitioning=None), "t")
    lake.empty()
    ddl = create_table_ddl(written(analytics, pa.table({"tail num": ["x"], "a'b": [1]}), partitioning=None), "t")
    assert "`tail num` string,\n  `a'b` bigint" in ddl


def test_what_is_no_prefix_or_no_table_of_athena_is_refused(lake: Lake, analytics: Client) -> None:
    written(analytics)
    one = next(key for key in lake.keys if key.endswith(".parquet"))
    for source in (f"s3://lake/{one}", "s3://lake/trips/**/*.parquet", [f"s3://lake/{key}" for key in lake.keys]):
        with pytest.raises(ConfigurationError, match="under a prefix"):
            create_table_ddl(sa.dataset(source, client=analytics), "t")
    lake.empty()
    with pytest.raises(ConfigurationError, match="does not read ipc"):
        create_table_ddl(written(analytics, format="ipc"), "t")
    written(analytics, format="orc", existing_data_behavior="overwrite_or_ignore")
    with pytest.raises(ConfigurationError, match="several"):
        create_table_ddl("s3://lake/trips", "t", client=analytics)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pa.bool_(), "boolean"),
        (pa.int16(), "smallint"),
        (pa.int64(), "bigint"),
        (pa.uint8(), "smallint"),
        (pa.uint16(), "int"),
        (pa.uint32(), "bigint"),
        (pa.float32(), "float"),
        (pa.float64(), "double"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.binary(16), "binary"),
        (pa.large_binary(), "binary"),
        (pa.date64(), "date"),
        (pa.timestamp("ns", "Europe/Paris"), "timestamp"),
        (pa.dictionary(pa.int32(), pa.string()), "string"),
        (pa.decimal256(38, 38), "decimal(38,38)"),
        (pa.large_list(pa.list_(pa.int32(), 3)), "array<array<int>>"),
        (pa.uuid(), "binary"),
    ],
    ids=str,
)
def test_arrow_types_have_their_types_in_hive(kind: pa.DataType, name: str) -> None:
    assert hive_type(pa.field("c", kind)) == name


@pytest.mark.parametrize(
    "kind",
    [
        pa.uint64(),
        pa.float16(),
        pa.time32("s"),
        pa.duration("s"),
        pa.null(),
        pa.decimal256(39, 0),
        pa.decimal128(5, -1),
    ],
    ids=str,
)
def test_types_that_athena_does_not_have_are_refused_with_the_name_of_the_column(kind: pa.DataType) -> None:
    for column in (pa.field("odd", kind), pa.field("odd", pa.list_(kind))):
        with pytest.raises(SchemaMismatchError, match="column 'odd' is"):
            hive_type(column)
