"""Mixed operations on shared objects from many threads, each of which checks what it sees against their history."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from histories import ABSENT, History

import arrowseal.arrow
from arrowseal.exceptions import ObjectChangedError, ObjectNotFoundError, PreconditionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal import Client

BUCKET = "s3://bucket"
LARGE = 5 * 2**20 + 200_000
SHARES = {
    "get": 26,
    "put": 22,
    "head": 6,
    "delete": 6,
    "list": 3,
    "get_large": 3,
    "put_large": 1,
    "write_large": 1,
    "write_table": 10,
    "read_table": 12,
    "create": 5,
    "swap": 5,
}
"""How often each operation comes, in hundredths."""


def content(number: int, *, large: bool = False) -> bytes:
    """What operation `number` writes: says so itself, and no other operation's content begins like it."""
    size = LARGE if large else number * 7919 % 50_000
    return b"%d:" % number + hashlib.shake_128(b"%d" % number).digest(size)


def table(number: int) -> pa.Table:
    """The table that operation `number` writes."""
    return pa.table({"number": [number] * (1 + number % 50), "row": list(range(1 + number % 50))})


class Chaos:
    """Runs operations 0, 1, 2, ... on a client. What goes wrong is in `wrong`; `needed` is how many requests to S3 the
    operations take where none fails.
    """

    def __init__(self, client: Client, seed: int) -> None:
        self.client = client
        self.history = History()
        self.wrong: list[str] = []
        self.needed = 0
        self.writes = 0
        self.swapped: dict[str, list[int]] = {}
        self.created: dict[str, list[int]] = {}
        self._indexed: set[str] = set()
        self._seed = seed
        self._lock = threading.Lock()
        client.put(f"{BUCKET}/measure", content(0, large=True))
        client.get(f"{BUCKET}/measure")
        self._large_read = list(client.counters)[-1].requests
        for turn in range(4):
            self.swapped[f"swap/{turn}"] = []
            client.put(f"{BUCKET}/swap/{turn}", b"")

    def run(self, operations: int, threads: int) -> None:
        """Run so many operations on so many threads."""
        draw = random.Random(self._seed)
        names = draw.choices(list(SHARES), list(SHARES.values()), k=operations)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._perform, range(operations), names))

    def check_end(self, reader: Client) -> None:
        """See, after the last operation, that no acknowledged write is lost."""
        self.client = reader
        for turn in range(30):
            self.get(turn, random.Random(0), key=f"small/{turn}")
        for turn in range(5):
            self.get_large(turn, random.Random(0), key=f"large/{turn}")
        for key, acknowledged in self.swapped.items():
            found = [int(number) for number in bytes(reader.get(f"{BUCKET}/{key}")).split(b";")[:-1]]
            self._expect(len(found) == len(set(found)), f"{key}: written twice")
            self._expect(set(acknowledged) <= set(found), f"{key}: an acknowledged write is lost")
        for key, winners in self.created.items():
            self._expect(len(winners) == 1, f"{key}: created by {winners}")
            for winner in winners:
                self._expect(reader.get(f"{BUCKET}/{key}") == content(winner), f"{key}: not the winner's")

    def get(self, number: int, draw: random.Random, key: str | None = None) -> int:
        key = key or f"small/{draw.randrange(30)}"
        self._read(key, lambda: self._number(bytes(self.client.get(f"{BUCKET}/{key}")), large=False))
        return 1

    def get_large(self, number: int, draw: random.Random, key: str | None = None) -> int:
        key = key or f"large/{draw.randrange(5)}"
        seen = self._read(key, lambda: self._number(bytes(self.client.get(f"{BUCKET}/{key}")), large=True))
        return 1 if seen == ABSENT else self._large_read

    def put(self, number: int, draw: random.Random) -> int:
        key = f"small/{draw.randrange(30)}"
        self._write(key, number, lambda: self.client.put(f"{BUCKET}/{key}", content(number)))
        return 1

    def put_large(self, number: int, draw: random.Random) -> int:
        key = f"large/{draw.randrange(5)}"
        self._write(key, number, lambda: self.client.put(f"{BUCKET}/{key}", content(number, large=True)))
        self._indexed.add(key)
        return 5

    def write_large(self, number: int, draw: random.Random) -> int:
        key, whole = f"large/{draw.randrange(5)}", memoryview(content(number, large=True))

        def write() -> None:
            with self.client.open(f"{BUCKET}/{key}", "wb") as file:
                for start in range(0, len(whole), 2**20):
                    file.write(whole[start : start + 2**20])

        self._write(key, number, write)
        self._indexed.add(key)
        return 5

    def delete(self, number: int, draw: random.Random) -> int:
        key = draw.choice(["small/{}", "small/{}", "large/{}"]).format(draw.randrange(5))
        self.history.write(key, ABSENT, lambda: self.client.delete(f"{BUCKET}/{key}"))
        indexed = key in self._indexed
        self._indexed.discard(key)
        return 3 if indexed else 2

    def head(self, number: int, draw: random.Random) -> int:
        key, began = f"small/{draw.randrange(30)}", time.monotonic()
        there = self.client.exists(f"{BUCKET}/{key}")
        self._see_whether(key, there, began)
        return 1

    def list(self, number: int, draw: random.Random) -> int:
        began = time.monotonic()
        listed = {row.location.key for row in self.client.list(f"{BUCKET}/small/")}
        for turn in range(30):
            self._see_whether(f"small/{turn}", f"small/{turn}" in listed, began)
        return 1

    def write_table(self, number: int, draw: random.Random) -> int:
        key = f"table/{draw.randrange(10)}.{draw.choice(['parquet', 'csv'])}"
        self._write(
            key, number, lambda: arrowseal.arrow.write_table(table(number), f"{BUCKET}/{key}", client=self.client)
        )
        return 1

    def read_table(self, number: int, draw: random.Random) -> int:
        key = f"table/{draw.randrange(10)}.{draw.choice(['parquet', 'csv'])}"

        def read() -> int:
            found = arrowseal.arrow.read_table(f"{BUCKET}/{key}", client=self.client)
            written = found["number"][0].as_py()
            self._expect(found.equals(table(written)), f"{key}: not the table that {written} wrote")
            return int(written)

        self._read(key, read)
        return 1

    def create(self, number: int, draw: random.Random) -> int:
        key = f"once/{number // 25}"

        def call() -> None:
            self.client.put(f"{BUCKET}/{key}", content(number), if_none_match="*")

        won = self._write(key, number, call, PreconditionFailedError)
        with self._lock:
            self.created.setdefault(key, []).extend([number] if won else [])
        return 1 if won else 2

    def swap(self, number: int, draw: random.Random) -> int:
        """Add to what is there, if nobody else did in the meantime."""
        key = f"swap/{draw.randrange(4)}"
        etag = self.client.head(f"{BUCKET}/{key}").etag
        before = bytes(self.client.get(f"{BUCKET}/{key}"))

        def call() -> None:
            self.client.put(f"{BUCKET}/{key}", before + b"%d;" % number, if_match=etag)

        won = self._write(key, number, call, PreconditionFailedError)
        if won:
            with self._lock:
                self.swapped[key].append(number)
        return 3 if won else 4

    def _perform(self, number: int, name: str) -> None:
        try:
            needed: int = getattr(self, name)(number, random.Random(f"{self._seed} {number}"))
        except Exception as error:
            self._expect(False, f"{number}, {name}: {type(error).__name__}: {error}")
        else:
            with self._lock:
                self.needed += needed

    def _write(self, key: str, number: int, call: Callable[[], Any], refusal: type[Exception] | None = None) -> bool:
        with self._lock:
            self.writes += 1
        return self.history.write(key, number, call, refusal)

    def _read(self, key: str, call: Callable[[], int]) -> int | None:
        """Read, and see that the value was current in that time. None: overwritten again and again, and it says so."""
        began = time.monotonic()
        try:
            seen = call()
        except ObjectNotFoundError:
            seen = ABSENT
        except ObjectChangedError:
            self._expect(
                self.history.overlapping(key, began, time.monotonic()) > 1, f"{key}: nobody overwrote it twice"
            )
            return None
        allowed = self.history.allowed(key, began, time.monotonic())
        self._expect(seen in allowed, f"{key}: read what {seen} wrote, where {sorted(allowed)} were current")
        return seen

    def _see_whether(self, key: str, there: bool, began: float) -> None:
        allowed = self.history.allowed(key, began, time.monotonic())
        fits = any((value != ABSENT) == there for value in allowed)
        self._expect(fits, f"{key}: {'there' if there else 'not there'}, where {sorted(allowed)} were current")

    def _number(self, found: bytes, *, large: bool) -> int:
        number = int(found.partition(b":")[0])
        self._expect(found == content(number, large=large), f"not, or not all of, what {number} wrote")
        return number

    def _expect(self, held: bool, otherwise: str) -> None:
        if not held:
            with self._lock:
                self.wrong.append(otherwise)
