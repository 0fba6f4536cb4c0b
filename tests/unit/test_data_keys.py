"""Data keys used more than once: the cache of reads and the shared key of writes, their bounds, and who calls KMS."""

from __future__ import annotations

import os
import pickle
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import CSE, V2, V3, Client
from arrowseal.data_keys import DataKeyCache, Reuse, SharedDataKeys, UnwrappedKeys
from arrowseal.exceptions import ConfigurationError, KmsAccessDeniedError
from doubles import StrictKms

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counting(value: str = "key") -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def load() -> str:
        calls.append(1)
        return value

    return load, calls


def test_a_key_is_loaded_once_and_again_when_it_is_too_old() -> None:
    clock, (load, calls) = Clock(), counting()
    cache = UnwrappedKeys[str](DataKeyCache(max_age_seconds=60), clock)
    assert [cache.get("a", 1, load) for _ in range(3)] == ["key"] * 3
    clock.now += 59
    cache.get("a", 1, load)
    assert len(calls) == 1
    clock.now += 1
    cache.get("a", 1, load)
    assert len(calls) == 2


def test_age_counts_from_before_the_call_so_that_a_slow_answer_is_not_kept_longer() -> None:
    clock = Clock()
    cache = UnwrappedKeys[str](DataKeyCache(max_age_seconds=60), clock)

    def slow() -> str:
        clock.now += 50
        return "key"

    cache.get("a", 1, slow)
    clock.now += 10
    _, calls = loaded = counting()
    cache.get("a", 1, loaded[0])
    assert len(calls) == 1


def test_an_old_key_is_not_kept_by_a_younger_one_that_kms_answered_first() -> None:
    clock = Clock()
    cache = UnwrappedKeys[str](DataKeyCache(max_age_seconds=60, max_bytes=2), clock)

    def throttled() -> str:
        clock.now += 40
        cache.get("b", 1, lambda: "asked later")
        clock.now += 10
        return "asked first"

    cache.get("a", 1, throttled)
    clock.now += 20
    load, calls = counting()
    assert cache.get("a", 1, load) == "key"
    assert cache.get("b", 1, load) == "asked later"
    assert len(calls) == 1


@pytest.mark.parametrize("bounds", [DataKeyCache(max_keys=3), DataKeyCache(max_bytes=30)])
def test_the_oldest_keys_go_when_the_bounds_are_reached(bounds: DataKeyCache) -> None:
    cache = UnwrappedKeys[str](bounds)
    for name in "abcd":
        cache.get(name, 10, lambda: "key")
    assert len(cache) == 3
    load, calls = counting()
    for name in "bcd":
        cache.get(name, 10, load)
    assert calls == []
    cache.get("a", 10, load)
    assert calls == [1]


def test_keys_that_have_become_too_old_take_no_room_any_more() -> None:
    clock, (load, calls) = Clock(), counting()
    cache = UnwrappedKeys[str](DataKeyCache(max_age_seconds=60, max_bytes=30), clock)
    for _ in range(3):
        for name in "abcabc":
            cache.get(name, 10, load)
        clock.now += 60
    assert len(calls) == 9


def test_however_many_threads_ask_one_of_them_calls() -> None:
    cache = UnwrappedKeys[str](DataKeyCache())
    calls: list[int] = []
    gate = threading.Barrier(64)

    def load() -> str:
        calls.append(1)
        time.sleep(0.05)
        return "key"

    def ask() -> str:
        gate.wait()
        return cache.get("a", 1, load)

    with ThreadPoolExecutor(64) as pool:
        assert {task.result() for task in [pool.submit(ask) for _ in range(64)]} == {"key"}
    assert len(calls) == 1


class VaultSealedError(Exception):
    """An error of somebody else's vault, which is not made out of its message."""

    def __init__(self, vault: str, code: int) -> None:
        super().__init__(f"{vault} answered {code}")
        self.code = code


class PagedError(KmsAccessDeniedError):
    """One of a user's own below ours."""

    def __init__(self, message: str, *, page: str) -> None:
        super().__init__(message)
        self.page = page


@pytest.mark.parametrize(
    "error",
    [
        KmsAccessDeniedError("denied"),
        VaultSealedError("vault", 503),
        PagedError("denied", page="the team on call"),
        TimeoutError(110, "timed out"),
    ],
)
def test_a_failure_reaches_those_who_wait_as_it_is_and_is_not_kept(error: Exception) -> None:
    cache = UnwrappedKeys[str](DataKeyCache())
    entered, release = threading.Event(), threading.Event()

    def fail() -> str:
        entered.set()
        release.wait(10)
        raise error

    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(cache.get, "a", 1, fail)
        entered.wait(10)
        waiters = [pool.submit(cache.get, "a", 1, lambda: "asked once more") for _ in range(2)]
        time.sleep(0.05)
        release.set()
        for task in (leader, *waiters):
            failed = task.exception()
            assert type(failed) is type(error)
            assert (str(failed), vars(failed)) == (str(error), vars(error))
    assert cache.get("a", 1, lambda: "granted since") == "granted since"


def test_a_leader_that_is_interrupted_fails_no_waiter() -> None:
    cache = UnwrappedKeys[str](DataKeyCache())
    entered, release = threading.Event(), threading.Event()

    def interrupted() -> str:
        entered.set()
        release.wait(10)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(cache.get, "a", 1, interrupted)
        entered.wait(10)
        waiter = pool.submit(cache.get, "a", 1, lambda: "key")
        time.sleep(0.05)
        release.set()
        assert waiter.result() == "key"
        assert isinstance(leader.exception(), KeyboardInterrupt)


def test_a_cache_is_neither_pickled_nor_inherited_across_fork() -> None:
    cache = UnwrappedKeys[str](DataKeyCache())
    cache.get("a", 1, lambda: "key")
    with pytest.raises(TypeError):
        pickle.dumps(cache)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, bytes([len(cache)]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"\0"
    assert len(cache) == 1


@pytest.mark.parametrize(
    "bounds", [{"max_keys": 0}, {"max_bytes": 0}, {"max_age_seconds": 0}, {"max_age_seconds": 301}]
)
def test_bounds_that_cannot_be_are_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DataKeyCache(**bounds)
    with pytest.raises(ConfigurationError):
        Client(cache="yes")  # type: ignore[arg-type]


def test_a_shared_key_ends_with_its_number_of_objects_its_bytes_or_its_time() -> None:
    clock, made = Clock(), []

    def generate() -> Any:
        made.append(object())
        return made[-1]

    assert SharedDataKeys.MAX_OBJECTS <= 10_000
    assert SharedDataKeys.MAX_BYTES <= 2**40
    assert SharedDataKeys.MAX_SECONDS <= 900
    shared = SharedDataKeys(clock)
    first = [shared.materials("k", V3, 1, generate) for _ in range(SharedDataKeys.MAX_OBJECTS)]
    assert len(made) == 1
    assert set(map(id, first)) == {id(made[0])}
    shared.materials("k", V3, SharedDataKeys.MAX_BYTES - 10, generate)
    assert len(made) == 2
    shared.materials("k", V3, 10, generate)
    assert len(made) == 2
    shared.materials("k", V3, 1, generate)
    assert len(made) == 3
    clock.now += SharedDataKeys.MAX_SECONDS
    shared.materials("k", V3, 1, generate)
    assert len(made) == 4
    shared.materials("another key or context", V3, 1, generate)
    assert len(made) == 5


def test_who_waits_for_a_shared_key_waits_for_no_other_one() -> None:
    shared = SharedDataKeys()
    both = threading.Barrier(2)

    def generate() -> Any:
        both.wait(10)  # breaks unless both keys are asked for at once
        return object()

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(shared.materials, context, V3, 1, generate) for context in "ab"]
        assert len({id(one.result()) for one in asked}) == 2


def test_objects_with_contexts_of_their_own_do_not_add_up_to_more_shared_keys_than_a_bound() -> None:
    shared, made = SharedDataKeys(), []

    class Materials:
        def __init__(self) -> None:
            made.append(weakref.ref(self))

    for context in range(SharedDataKeys.MAX_KEYS + 5):
        shared.materials(context, V3, 1, Materials)  # type: ignore[arg-type]
    assert [one() is None for one in made] == [True] * 5 + [False] * SharedDataKeys.MAX_KEYS


def test_blocks_of_reuse_nest_and_the_last_one_forgets() -> None:
    reuse = Reuse()
    assert reuse.keys is None
    with reuse.block():
        outer = reuse.keys
        with reuse.block():
            assert reuse.keys is outer
        assert reuse.keys is outer
    assert reuse.keys is None


@pytest.fixture
def kms() -> StrictKms:
    return StrictKms()


def calls_of(kms: StrictKms, action: str) -> int:
    return sum(1 for called, _ in kms.calls if called == action)


def test_objects_written_under_reuse_cost_one_call_and_differ_in_all_but_their_wrapped_key(
    kms: StrictKms, raw_s3: Any, bucket: str
) -> None:
    client = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    with client.data_key_reuse(), ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: client.put(bucket=bucket, key=f"{number}", data=b"same"), range(100)))
    assert calls_of(kms, "GenerateDataKey") == 1
    metadata = [raw_s3.head_object(Bucket=bucket, Key=f"{number}")["Metadata"] for number in range(100)]
    assert len({found["x-amz-3"] for found in metadata}) == 1
    assert len({found["x-amz-i"] for found in metadata}) == 100
    assert len({found["x-amz-d"] for found in metadata}) == 100
    bodies = {raw_s3.get_object(Bucket=bucket, Key=f"{number}")["Body"].read() for number in range(100)}
    assert len(bodies) == 100
    client.put(bucket=bucket, key="after", data=b"x")
    assert calls_of(kms, "GenerateDataKey") == 2


def test_a_stream_of_several_parts_has_a_data_key_of_its_own_since_nobody_knows_what_it_will_add(
    kms: StrictKms, raw_s3: Any, bucket: str
) -> None:
    client = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    with client.data_key_reuse():
        for name, size in ("first", 1), ("long", client.options.transfer.part_bytes + 1), ("last", 1):
            with client.open(bucket=bucket, key=name, mode="wb") as file:
                file.write(bytes(size))
    first, long, last = (
        raw_s3.head_object(Bucket=bucket, Key=name)["Metadata"]["x-amz-3"] for name in ("first", "long", "last")
    )
    assert first == last != long
    assert calls_of(kms, "GenerateDataKey") == 2


def test_contexts_count_for_the_bytes_that_a_cache_holds(kms: StrictKms, raw_s3: Any, bucket: str) -> None:
    cache = DataKeyCache(max_bytes=1500)
    client = Client(kms.create_key(), s3=raw_s3, kms=kms, cache=cache)  # type: ignore[arg-type]
    for name in "ab":
        client.put(bucket=bucket, key=name, data=b"x", encryption_context={"team": 1000 * name})
    for name in "aabb":
        client.get(bucket=bucket, key=name, encryption_context={"team": 1000 * name})
    assert calls_of(kms, "Decrypt") == 2
    client.get(bucket=bucket, key="a", encryption_context={"team": 1000 * "a"})
    assert calls_of(kms, "Decrypt") == 3


def test_sixty_four_threads_that_read_objects_of_one_data_key_cost_one_call(
    kms: StrictKms, raw_s3: Any, bucket: str
) -> None:
    writer = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    with writer.data_key_reuse():
        for number in range(50):
            writer.put(bucket=bucket, key=f"{number}", data=b"%d" % number)
    reader = Client(writer.options.kms_key_id, s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    with ThreadPoolExecutor(64) as pool:
        read = pool.map(lambda number: bytes(reader.get(bucket=bucket, key=f"{number % 50}")), range(200))
        assert list(read) == [b"%d" % (number % 50) for number in range(200)]
    assert calls_of(kms, "Decrypt") == 1
    assert sum(record.kms_calls for record in reader.counters) == 1


def test_reuse_under_v2_is_refused_and_says_why(kms: StrictKms, raw_s3: Any, bucket: str) -> None:
    client = Client(kms.create_key(), s3=raw_s3, kms=kms, interop="analytics")  # type: ignore[arg-type]
    with client.data_key_reuse(), pytest.raises(ConfigurationError, match="V2"):
        client.put(bucket=bucket, key="o", data=b"x", encryption=CSE(format=V2))
    assert kms.calls == []


def test_a_client_without_cache_asks_kms_for_every_object(kms: StrictKms, raw_s3: Any, bucket: str) -> None:
    client = Client(kms.create_key(), s3=raw_s3, kms=kms, cache=None)  # type: ignore[arg-type]
    client.put(bucket=bucket, key="o", data=b"x")
    for _ in range(3):
        client.get(bucket=bucket, key="o")
    assert calls_of(kms, "Decrypt") == 3


def test_two_clients_never_share_a_data_key(kms: StrictKms, raw_s3: Any, bucket: str) -> None:
    arn = kms.create_key()
    first, second = (Client(arn, s3=raw_s3, kms=kms) for _ in range(2))  # type: ignore[arg-type]
    first.put(bucket=bucket, key="o", data=b"x")
    first.get(bucket=bucket, key="o")
    kms.failures.append("AccessDeniedException")  # the second one's credentials
    with pytest.raises(KmsAccessDeniedError):
        second.get(bucket=bucket, key="o")
    assert first.get(bucket=bucket, key="o") == b"x"


def test_a_cached_key_opens_nothing_under_another_context_or_with_another_wrapped_key(
    kms: StrictKms, raw_s3: Any, bucket: str
) -> None:
    client = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    client.put(bucket=bucket, key="o", data=b"x", encryption_context={"team": "weather"})
    client.get(bucket=bucket, key="o", encryption_context={"team": "weather"})
    found = raw_s3.head_object(Bucket=bucket, Key="o")["Metadata"]
    body = raw_s3.get_object(Bucket=bucket, Key="o")["Body"].read()
    edited = found | {"x-amz-t": '{"aws:x-amz-cek-alg":"115","team":"sea"}'}
    raw_s3.put_object(Bucket=bucket, Key="o", Body=body, Metadata=edited)
    from arrowseal.exceptions import KmsKeyMismatchError

    with pytest.raises(KmsKeyMismatchError):
        client.get(bucket=bucket, key="o", encryption_context={"team": "sea"})
