"""How many calls KMS sees, counted at a KMS behind HTTP; and that what one caller may open, another one may not."""

from __future__ import annotations

import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import Client
from arrowseal.exceptions import KmsAccessDeniedError, KmsKeyStateError
from memory_s3 import FaultyS3
from strict_kms import Key, KmsEngine, TokenBucket
from strict_kms_server import StrictKmsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeClient = Callable[..., Client]

BUCKET = "s3://bucket"
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FaultyS3, StrictKmsServer]]:
    """S3 and KMS behind HTTP."""
    s3, kms = FaultyS3(), StrictKmsServer()
    yield s3, kms
    s3.close()
    kms.close()


@pytest.fixture
def kms(servers: tuple[FaultyS3, StrictKmsServer]) -> KmsEngine:
    """The engine behind the KMS, its log empty and nothing throttled."""
    engine = servers[1].engine
    engine.calls.clear()
    engine.bucket = TokenBucket()
    return engine


@pytest.fixture
def key(kms: KmsEngine) -> Key:
    return kms.create_key()


@pytest.fixture
def make(servers: tuple[FaultyS3, StrictKmsServer], key: Key) -> MakeClient:
    """Makes clients under the key with a session of an access key, options as they come by default."""
    import boto3

    s3, kms = servers

    def make(access_key: str = "ANNA", **options: Any) -> Client:
        session = boto3.Session(access_key, "not checked", region_name=REGION)
        return Client(key.arn, session=session, endpoint_url=s3.endpoint, kms_endpoint_url=kms.endpoint, **options)

    return make


@pytest.fixture
def by_reference(servers: tuple[FaultyS3, StrictKmsServer], key: Key, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client that has nothing but options, its credentials ANNA's from the environment."""
    s3, kms = servers
    become("ANNA", monkeypatch)
    return Client(key.arn, region_name=REGION, endpoint_url=s3.endpoint, kms_endpoint_url=kms.endpoint)


def become(access_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not checked")


def in_a_child(work: Callable[[], bool]) -> bool:
    """Whether `work` holds in a forked child of this process."""
    child = os.fork()
    if child == 0:
        held = False
        try:
            held = work()
        finally:
            os._exit(0 if held else 1)
    return os.waitpid(child, 0)[1] == 0


def is_denied(client: Client, url: str) -> bool:
    try:
        client.get(url)
    except KmsAccessDeniedError:
        return True
    return False


def test_sixty_four_threads_that_open_a_thousand_objects_of_one_data_key_ask_kms_once(
    make: MakeClient, kms: KmsEngine
) -> None:
    writer, reader = make(), make()
    with writer.data_key_reuse(), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: writer.put(f"{BUCKET}/thousand/{n}", b"%d" % n), range(1000)))
    assert [call.action for call in kms.calls] == ["GenerateDataKey"]
    kms.calls.clear()
    kms.latency_seconds = 0.2  # the others arrive while the first one waits
    try:
        with ThreadPoolExecutor(64) as pool:
            assert all(pool.map(lambda n: reader.get(f"{BUCKET}/thousand/{n}") == b"%d" % n, range(1000)))
    finally:
        kms.latency_seconds = 0.0
    assert [call.action for call in kms.calls] == ["Decrypt"]


def test_a_refusal_of_a_shared_data_key_names_to_each_reader_the_object_that_it_asked_for(
    make: MakeClient, kms: KmsEngine, key: Key
) -> None:
    writer, reader = make(), make()
    urls = [f"{BUCKET}/refused/{n}" for n in range(16)]
    with writer.data_key_reuse():
        for url in urls:
            writer.put(url, b"content")
    kms.calls.clear()
    key.state, kms.latency_seconds = "Disabled", 0.3  # the others arrive while the first one waits
    try:
        with ThreadPoolExecutor(16) as pool:
            reads = [pool.submit(reader.get, url) for url in urls]
        for url, read in zip(urls, reads, strict=True):
            with pytest.raises(KmsKeyStateError, match=rf"^{url}: KMS Decrypt under {key.arn}: the key is disabled"):
                read.result()
    finally:
        key.state, kms.latency_seconds = "Enabled", 0.0
    assert kms.count("Decrypt") < 16, "some waited for another one's call"


def test_a_thousand_data_keys_come_from_a_kms_that_gives_fifty_a_second(make: MakeClient, kms: KmsEngine) -> None:
    writer, reader = make(), make()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: writer.put(f"{BUCKET}/throttled/{n}", b"%d" % n), range(1000)))
    kms.calls.clear()
    kms.bucket = TokenBucket(50)
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(lambda n: reader.get(f"{BUCKET}/throttled/{n}") == b"%d" % n, range(1000)))
    assert len({call.arguments["CiphertextBlob"] for call in kms.calls}) == 1000
    assert kms.count("Decrypt") > 1000, "some were throttled"


def test_clients_of_the_same_options_and_other_sessions_share_no_cached_key(
    make: MakeClient, kms: KmsEngine, key: Key
) -> None:
    key.callers = {"ANNA"}
    anna, bert, anna_again = make("ANNA"), make("BERT"), make("ANNA")
    assert anna.options == bert.options
    anna.put(f"{BUCKET}/o", b"x")
    assert all(anna.get(f"{BUCKET}/o") == b"x" for _ in range(3))
    with pytest.raises(KmsAccessDeniedError, match=key.arn):
        bert.get(f"{BUCKET}/o")
    assert anna_again.get(f"{BUCKET}/o") == b"x"
    assert [(call.access_key) for call in kms.calls if call.action == "Decrypt"] == ["ANNA", "BERT", "ANNA"]


def test_callers_in_many_threads_get_what_they_may_and_nothing_else(make: MakeClient, kms: KmsEngine, key: Key) -> None:
    key.callers = {"ANNA"}
    anna, bert = make("ANNA"), make("BERT")
    anna.put(f"{BUCKET}/o", b"x")
    kms.calls.clear()
    turns = ["ANNA", "BERT"] * 32
    random.Random(1).shuffle(turns)
    with ThreadPoolExecutor(16) as pool:
        denied = list(pool.map(lambda who: is_denied(anna if who == "ANNA" else bert, f"{BUCKET}/o"), turns))
    assert denied == [who == "BERT" for who in turns]
    assert sum(1 for call in kms.calls if call.access_key == "ANNA") == 1


def test_a_forked_child_asks_kms_for_itself(make: MakeClient, kms: KmsEngine, key: Key) -> None:
    key.callers = {"ANNA"}
    anna, bert = make("ANNA"), make("BERT")
    anna.put(f"{BUCKET}/o", b"x")
    assert anna.get(f"{BUCKET}/o") == b"x"
    kms.calls.clear()
    assert in_a_child(lambda: anna.get(f"{BUCKET}/o") == b"x" and is_denied(bert, f"{BUCKET}/o"))
    assert [call.access_key for call in kms.calls] == ["ANNA", "BERT"]
    key.callers = set()  # the grant is revoked: the parent may go on for minutes, the child may not begin
    assert in_a_child(lambda: is_denied(anna, f"{BUCKET}/o"))
    assert anna.get(f"{BUCKET}/o") == b"x"


def test_a_child_that_is_forked_inside_a_block_of_reuse_has_a_data_key_of_its_own(
    make: MakeClient, kms: KmsEngine
) -> None:
    client = make()
    with client.data_key_reuse():
        client.put(f"{BUCKET}/parent", b"x")
        assert in_a_child(lambda: bool(client.put(f"{BUCKET}/child", b"x") and client.put(f"{BUCKET}/child2", b"x")))
        client.put(f"{BUCKET}/parent2", b"x")
    assert [call.action for call in kms.calls] == ["GenerateDataKey"] * 2


def test_a_pickled_client_takes_no_key_along(
    by_reference: Client, kms: KmsEngine, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.callers = {"ANNA"}
    by_reference.put(f"{BUCKET}/o", b"x")
    assert by_reference.get(f"{BUCKET}/o") == b"x"
    pickled = pickle.dumps(by_reference)
    assert pickle.loads(pickled).get(f"{BUCKET}/o") == b"x"
    become("BERT", monkeypatch)
    with pytest.raises(KmsAccessDeniedError, match=key.arn):
        pickle.loads(pickled).get(f"{BUCKET}/o")
    assert by_reference.get(f"{BUCKET}/o") == b"x"
    assert [call.access_key for call in kms.calls] == ["ANNA", "ANNA", "ANNA", "BERT"]


def test_a_client_that_is_pickled_inside_a_block_of_reuse_is_outside_of_it_elsewhere(
    by_reference: Client, kms: KmsEngine
) -> None:
    with by_reference.data_key_reuse():
        by_reference.put(f"{BUCKET}/here", b"x")
        elsewhere: Client = pickle.loads(pickle.dumps(by_reference))
        for name in "ab":
            elsewhere.put(f"{BUCKET}/{name}", b"x")
    assert len([call for call in kms.calls if call.action == "GenerateDataKey"]) == 3
