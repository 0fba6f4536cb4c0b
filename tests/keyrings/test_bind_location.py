"""`bind_location=`: what was put in the place of another object is refused before KMS is asked."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import arrowseal
from arrowseal import ANY, V3, Client, RawAesKeyring
from arrowseal.binding import LOCATION_NAME, Binding, bound_location
from arrowseal.counters import Operation
from arrowseal.envelope import admit
from arrowseal.exceptions import ConfigurationError, EncryptionContextError
from arrowseal.location import ObjectLocation, locate
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3

OBJECTS = [f"s3://lake/day={number:02d}/part.parquet" for number in range(50)]


class Lake:
    """A KMS, a bucket, and clients of them."""

    def __init__(self) -> None:
        self.kms: Any = StrictKms()
        self.key = self.kms.create_key()
        self.server = MemoryS3()
        self.s3 = s3_in_memory(self.server)

    def client(self, binding: Binding | None = None, **options: Any) -> Client:
        return Client(self.key, kms=self.kms, s3=self.s3, bind_location=binding, **options)

    def context(self, key: str) -> str:
        return self.server.objects[f"/lake/{key}"].headers["x-amz-meta-x-amz-t"]


@pytest.fixture
def lake() -> Lake:
    return Lake()


def path_of(url: str) -> str:
    return url.removeprefix("s3:/")


@pytest.mark.parametrize("binding", ["prefix", "object"])
def test_of_fifty_objects_none_is_read_in_the_place_of_another(lake: Lake, binding: Binding) -> None:
    client = lake.client(binding)
    for url in OBJECTS:
        client.put(url, url.encode())
    stored = {url: lake.server.objects[path_of(url)] for url in OBJECTS}
    lake.kms.calls.clear()
    lake.kms.engine.calls.clear()
    claims = {url: (metadata_of(found), len(found.body)) for url, found in stored.items()}
    rules = {url: client._reader.request(locate(url), None, None, None, None, None).rules for url in OBJECTS}
    refused = 0
    for here, other in itertools.permutations(OBJECTS, 2):
        try:
            admit(locate(here), *claims[other], rules[here])
        except EncryptionContextError:
            refused += 1
    assert refused == 2450
    for here, other in zip(OBJECTS, OBJECTS[1:] + OBJECTS[:1], strict=True):
        lake.server.objects[path_of(here)] = stored[other]
    for url in OBJECTS:
        with pytest.raises(EncryptionContextError):
            client.get(url)
    assert lake.kms.calls == [], "KMS was not asked"
    lake.server.objects |= {path_of(url): found for url, found in stored.items()}
    assert all(bytes(client.get(url)) == url.encode() for url in OBJECTS)


def metadata_of(stored: Any) -> dict[str, str]:
    return {name.removeprefix("x-amz-meta-"): value for name, value in stored.headers.items() if "-meta-" in name}


def test_without_binding_a_swapped_object_is_read_which_is_why_there_is_one(lake: Lake) -> None:
    client = lake.client()
    client.put(OBJECTS[0], b"one")
    client.put(OBJECTS[1], b"two")
    lake.server.objects[path_of(OBJECTS[0])] = lake.server.objects[path_of(OBJECTS[1])]
    assert bytes(client.get(OBJECTS[0])) == b"two"


def test_a_context_that_was_edited_to_fit_the_place_is_refused_by_kms(lake: Lake) -> None:
    client = lake.client("object")
    client.put("s3://lake/a", b"a")
    stored = lake.server.objects["/lake/a"]
    headers = dict(stored.headers)
    headers["x-amz-meta-x-amz-t"] = headers["x-amz-meta-x-amz-t"].replace("s3://lake/a", "s3://lake/b")
    lake.server.objects["/lake/b"] = stored._replace(headers=headers)
    with pytest.raises(arrowseal.exceptions.KmsKeyMismatchError):
        client.get("s3://lake/b")


@pytest.mark.parametrize(
    ("binding", "key", "bound"),
    [
        ("object", "2013/flights.parquet", "s3://lake/2013/flights.parquet"),
        ("prefix", "2013/flights.parquet", "s3://lake/2013/"),
        ("prefix", "flights.parquet", "s3://lake/"),
        ("prefix", "a//b", "s3://lake/a//"),
        ("object", "ünï/語 #?", "s3://lake/ünï/語 #?"),
    ],
)
def test_the_place_is_one_documented_entry(lake: Lake, binding: Binding, key: str, bound: str) -> None:
    assert bound_location(binding, ObjectLocation("lake", key)) == {"arrowseal:location": bound}
    client = lake.client(binding, encryption_context={"team": "weather"})
    client.put(bucket="lake", key=key, data=b"x")
    assert lake.kms.calls[-1][1]["EncryptionContext"] == {
        "team": "weather",
        "arrowseal:location": bound,
        "aws:x-amz-cek-alg": "115",
    }
    assert bytes(client.get(bucket="lake", key=key)) == b"x"
    others = lake.client(encryption_context={"team": "weather", "arrowseal:location": bound})
    assert bytes(others.get(bucket="lake", key=key)) == b"x", "who gives the entry reads without bind_location="


def test_a_directory_and_an_object_are_never_the_same_place(lake: Lake) -> None:
    lake.client("prefix").put("s3://lake/a/b", b"x")
    lake.client("object").put("s3://lake/a/c", b"x")
    for binding, key in (("object", "a/b"), ("prefix", "a/c")):
        with pytest.raises(EncryptionContextError):
            lake.client(binding).get(f"s3://lake/{key}")  # type: ignore[arg-type]


def test_any_context_leaves_the_place_expected(lake: Lake) -> None:
    writer = lake.client("object", encryption_context={"team": "weather"})
    writer.put("s3://lake/a", b"a")
    lake.server.objects["/lake/b"] = lake.server.objects["/lake/a"]
    reader = lake.client("object", encryption_context=ANY)
    assert bytes(reader.get("s3://lake/a")) == b"a"
    with pytest.raises(EncryptionContextError):
        reader.get("s3://lake/b")
    with pytest.raises(EncryptionContextError):
        reader.get("s3://lake/b", encryption_context=ANY)
    assert bytes(lake.client(encryption_context=ANY).get("s3://lake/b")) == b"a"


def test_an_object_that_is_not_bound_is_refused_and_one_that_is_says_what_would_read_it(lake: Lake) -> None:
    lake.client().put("s3://lake/free", b"x")
    lake.client("object").put("s3://lake/bound", b"x")
    with pytest.raises(EncryptionContextError, match="bind_location="):
        lake.client("object").get("s3://lake/free")
    with pytest.raises(EncryptionContextError, match="bind_location="):
        lake.client().get("s3://lake/bound")


@pytest.mark.parametrize(("binding", "keys"), [("prefix", 3), ("object", 12)])
def test_a_shared_data_key_is_one_for_each_bound_place(lake: Lake, binding: Binding, keys: int) -> None:
    client = lake.client(binding)
    with client.data_key_reuse():
        for number in range(12):
            client.put(f"s3://lake/{number % 3}/{number}", b"x")
    assert [action for action, _ in lake.kms.calls] == ["GenerateDataKey"] * keys
    for number in range(12):
        assert bytes(client.get(f"s3://lake/{number % 3}/{number}")) == b"x"


def test_all_faces_of_a_client_expect_the_place(lake: Lake) -> None:
    client = lake.client("object")
    with client.open("s3://lake/a", "wb") as file:
        file.write(b"content")
    lake.server.objects["/lake/b"] = lake.server.objects["/lake/a"]
    with client.object("s3://lake/a") as found:
        assert bytes(found.read_at(0, 7)) == b"content"
    for read in (client.object, client.index, lambda url: client.open(url, "rb")):
        with pytest.raises(EncryptionContextError):
            read("s3://lake/b")


def test_a_copy_that_would_not_open_is_refused_before_any_request(lake: Lake) -> None:
    objects, directories = lake.client("object"), lake.client("prefix")
    for change in (objects.copy, objects.move, directories.copy, directories.move):
        with pytest.raises(ConfigurationError, match="write it there anew"):
            change("s3://lake/1/a", "s3://lake/2/a")
    with pytest.raises(ConfigurationError):
        objects.copy("s3://lake/1/a", "s3://lake/1/b")
    assert lake.server.objects == {}
    directories.put("s3://lake/1/a", b"a")
    directories.copy("s3://lake/1/a", "s3://lake/1/b")
    directories.move("s3://lake/1/a", "s3://lake/1/c")
    assert bytes(directories.get("s3://lake/1/b")) == bytes(directories.get("s3://lake/1/c")) == b"a"
    free = directories.replace(bind_location=None)
    free.copy("s3://lake/1/b", "s3://lake/2/b")
    with pytest.raises(EncryptionContextError):
        directories.get("s3://lake/2/b")
    moved = {LOCATION_NAME: "s3://lake/1/"}
    assert bytes(free.get("s3://lake/2/b", encryption_context=moved)) == b"a"


def test_the_entry_is_not_the_callers_while_it_is_bound(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match=LOCATION_NAME):
        lake.client("object", encryption_context={LOCATION_NAME: "s3://lake/elsewhere"})
    with pytest.raises(ConfigurationError, match=LOCATION_NAME):
        lake.client("object").put("s3://lake/a", b"", encryption_context={LOCATION_NAME: "s3://lake/a"})
    assert lake.kms.calls == []


def test_a_keyring_that_binds_no_context_is_refused(lake: Lake) -> None:
    raw = RawAesKeyring(bytes(range(32)))
    with pytest.raises(ConfigurationError, match=r"bind_location='prefix'.*RawAesKeyring"):
        Client(keyring=raw, bind_location="prefix")
    with pytest.raises(ConfigurationError, match="RawAesKeyring"):
        lake.client("object", keyring=raw)
    with pytest.raises(ConfigurationError, match="None, 'prefix' or 'object'"):
        lake.client("bucket")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no encryption context"):
        raw.generate(V3, {"a": "b"}, ObjectLocation("lake", "o"), Operation("put", None))
