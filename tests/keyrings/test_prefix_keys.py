"""KMS keys by bucket prefix: one key a tenant, on writes, on reads, for shared data keys and whole datasets."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arrowseal
from arrowseal import CSE, Client
from arrowseal.exceptions import ArrowSealError, ConfigurationError, KmsKeyMismatchError, NoKeyError
from arrowseal.location import ObjectLocation
from arrowseal.prefix_keys import PrefixKeys
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3

KEYS = {
    "s3://lake": "lake",
    "s3://lake/a/": "a",
    "s3://lake/a/b": "b",
    "s3://lake/file.csv": "file",
    "s3://other/a/": "other",
}


@pytest.fixture
def kms() -> Any:
    return StrictKms()


@pytest.fixture
def server() -> MemoryS3:
    return MemoryS3()


def client_of(kms: Any, server: MemoryS3, keys: Any, **options: Any) -> Client:
    return Client(keys, kms=kms, s3=s3_in_memory(server), **options)


@pytest.mark.parametrize(
    ("bucket", "key", "expected"),
    [
        ("lake", "o", "lake"),
        ("lake", "a", "a"),
        ("lake", "a/o", "a"),
        ("lake", "ab/o", "lake"),
        ("lake", "a/b/o", "b"),
        ("lake", "a/b", "b"),
        ("lake", "a/bc/o", "a"),
        ("lake", "a//b/o", "a"),
        ("lake", "/a/o", "lake"),
        ("lake", "A/o", "lake"),
        ("lake", "file.csv", "file"),
        ("lake", "file.csv.gz", "lake"),
        ("other", "a/o", "other"),
        ("other", "o", None),
        ("lake-2", "a/o", None),
        ("lak", "e/o", None),
    ],
)
def test_the_longest_entry_that_holds_a_place_wins_as_directories_go(
    bucket: str, key: str, expected: str | None
) -> None:
    assert PrefixKeys(KEYS).of(ObjectLocation(bucket, key)) == expected
    assert PrefixKeys(dict(reversed(KEYS.items()))).of(ObjectLocation(bucket, key)) == expected


PARTS = st.lists(st.sampled_from(["a", "b", "ab", "", "é"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=50)
@given(prefixes=st.sets(PARTS, min_size=1, max_size=6), key=PARTS.filter(bool))
def test_no_entry_that_holds_a_place_is_longer_than_the_one_that_wins(prefixes: set[str], key: str) -> None:
    directories = {f"s3://lake/{prefix}".removesuffix("/") + "/" if prefix else "s3://lake/" for prefix in prefixes}
    held = [directory for directory in directories if f"s3://lake/{key}/".startswith(directory)]
    expected = max(held, key=len) if held else None
    assert PrefixKeys({directory: directory for directory in directories}).of(ObjectLocation("lake", key)) == expected


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"lake/a": "alias/a"},
        {"s3://": "alias/a"},
        {"s3://lake": ""},
        {"s3://lake": None},
        {"s3://lake/a": "alias/a", "s3://lake/a/": "alias/b"},
        {1: "alias/a"},
        {"s3cse://lake": "alias/a"},
    ],
)
def test_a_map_that_cannot_be_is_refused_when_the_client_is_built(keys: Any) -> None:
    with pytest.raises(ConfigurationError):
        Client(keys)


def test_each_place_is_written_and_read_under_its_own_key(kms: Any, server: MemoryS3) -> None:
    one, two, rest = (kms.create_key() for _ in range(3))
    keys = {"s3://lake/tenant-1/": one, "s3://lake/tenant-2/": two, "s3://lake": rest}
    client = client_of(kms, server, keys)
    for key, place in ((one, "tenant-1/o"), (two, "tenant-2/o"), (rest, "tenant-10/o"), (rest, "o")):
        assert client.put(f"s3://lake/{place}", place.encode()).kms_key_arn == key
    kms.calls.clear()
    reader = client_of(kms, server, keys)
    for place in ("tenant-1/o", "tenant-2/o", "tenant-10/o", "o"):
        assert bytes(reader.get(f"s3://lake/{place}")) == place.encode()
    with pytest.raises(KmsKeyMismatchError):
        client_of(kms, server, {"s3://lake": one}).get("s3://lake/tenant-2/o")


def test_what_one_tenant_put_in_the_place_of_another_is_read_under_that_ones_key_and_refused(
    kms: Any, server: MemoryS3
) -> None:
    client = client_of(kms, server, {"s3://lake/1/": kms.create_key(), "s3://lake/2/": kms.create_key()})
    client.put("s3://lake/1/o", b"one")
    server.objects["/lake/2/o"] = server.objects["/lake/1/o"]
    with pytest.raises(KmsKeyMismatchError):
        client.get("s3://lake/2/o")


def test_a_place_without_an_entry_is_an_error_that_names_it_before_any_request(kms: Any, server: MemoryS3) -> None:
    client = client_of(kms, server, {"s3://lake/a": kms.create_key()})
    for call in (
        lambda: client.put("s3://lake/b/o", b""),
        lambda: client.get("s3://lake/b/o"),
        lambda: client.object("s3://lake/b/o"),
        lambda: client.index("s3://lake/b/o"),
        lambda: client.put("s3://else/a/o", b""),
    ):
        with pytest.raises(NoKeyError, match=r"s3://(lake/b|else/a)/o.*prefix"):
            call()
    assert kms.calls == []
    assert server.objects == {}
    key = kms.create_key()
    assert client.put("s3://lake/b/o", b"", encryption=CSE(key)).kms_key_arn == key
    assert bytes(client.get("s3://lake/b/o", kms_key_id=key)) == b""


def test_decrypt_key_ids_serve_every_place(kms: Any, server: MemoryS3) -> None:
    old, new = kms.create_key(), kms.create_key()
    client_of(kms, server, old).put("s3://lake/a/o", b"a")
    client_of(kms, server, old).put("s3://lake/b/o", b"b")
    client = client_of(kms, server, {"s3://lake/a": new}, decrypt_key_ids=[old])
    assert bytes(client.get("s3://lake/a/o")) == b"a"
    assert bytes(client.get("s3://lake/b/o")) == b"b"
    with pytest.raises(NoKeyError):
        client.put("s3://lake/b/o", b"b")


def test_a_data_key_is_shared_within_a_prefix_and_never_across_two_keys(kms: Any, server: MemoryS3) -> None:
    one, two = kms.create_key(), kms.create_key()
    client = client_of(kms, server, {"s3://lake/1": one, "s3://lake/2": two, "s3://lake/3": one})
    with client.data_key_reuse():
        for number in range(12):
            client.put(f"s3://lake/{number % 3 + 1}/{number}", b"x")
    assert sorted(arguments["KeyId"] for _, arguments in kms.calls) == [one, two]
    wrapped: dict[str, set[str]] = {}
    for path, stored in server.objects.items():
        wrapped.setdefault(path.split("/")[2], set()).add(stored.headers["x-amz-meta-x-amz-3"])
    assert wrapped["1"] == wrapped["3"]
    assert wrapped["1"] != wrapped["2"]
    for number in range(12):
        assert bytes(client.get(f"s3://lake/{number % 3 + 1}/{number}")) == b"x"


def test_a_dataset_whose_files_go_to_several_prefixes_has_a_key_for_each(kms: Any, server: MemoryS3) -> None:
    keys = {f"s3://lake/t/tenant={tenant}": kms.create_key() for tenant in ("a", "b")}
    client = client_of(kms, server, keys)
    table = pa.table({"tenant": ["a", "b"] * 50, "x": range(100)})
    hive = ds.partitioning(flavor="hive")
    arrowseal.arrow.write_dataset(table, "s3://lake/t/", partitioning=["tenant"], client=client)
    assert sorted(arguments["KeyId"] for _, arguments in kms.calls) == sorted(keys.values())
    read = arrowseal.arrow.dataset("s3://lake/t/", partitioning=hive, client=client).to_table()
    assert sorted(read["x"].to_pylist()) == list(range(100))
    more = pa.table({"tenant": ["c"], "x": [1]})
    for partitioning in (["tenant"], None):
        with pytest.raises(ArrowSealError, match=r"s3://lake/t/.*no KMS key"):
            arrowseal.arrow.write_dataset(more, "s3://lake/t/", partitioning=partitioning, mode="append", client=client)
    assert len(kms.calls) == 4, "nothing was asked for the place without a key"
