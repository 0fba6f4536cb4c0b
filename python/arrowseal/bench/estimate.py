"""A model of what encryption costs on AWS, for the user's own numbers: requests, KMS calls, CPU, and dollars.

`MODEL` says how it counts, in words that the command prints.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html,
https://repost.aws/knowledge-center/s3-multipart-kms-decrypt.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from arrowseal.bench.limits import limits
from arrowseal.bench.prices import Prices
from arrowseal.data_keys import DataKeyCache, SharedDataKeys
from arrowseal.exceptions import ConfigurationError
from arrowseal.suites import MAX_CONTENT_BYTES, TAG_BYTES
from arrowseal.transfer import TransferOptions, ranges
from arrowseal.upload import part_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from arrowseal.bench.samples import Run

DAYS: Final = 30
"""Of a month."""
BUCKET_KEY_SAVES: Final = 100
"""Of so many calls that S3 would make without a bucket key, one is left: the best case that AWS names."""

MODEL: Final = (
    "All arms move objects alike: the ranges of a read and the parts of a write are arrowseal's own.",
    "SSE-KMS: S3 asks KMS for each request on an object, hence for each range of a read; for a write once, or twice if "
    "it comes in parts (GenerateDataKey when it begins, Decrypt when it is completed).",
    'SSE-KMS with a bucket key: one hundredth of that, the best that AWS names ("up to 99 percent"), and one for each '
    "client at least.",
    "CSE V3: GenerateDataKey for each write and Decrypt for each read: no object is read twice within five minutes.",
    "CSE V3 with data key reuse: one GenerateDataKey for 10,000 objects, 1 TiB or 15 minutes, and one Decrypt for each "
    "of these keys in each five minutes of a cache. A day's reads, and its writes, are one job, shared among clients "
    "that know nothing of each other.",
    "CPU is that of sealing and opening. A call to KMS takes some more in the client: a saved run, if one is given, "
    "has that in as far as its own reads and writes called.",
    "Storage and traffic cost the same in every arm, and are left out.",
)
"""Where it is uncertain it is kind to the others."""

PLAIN, SSE_KMS, BUCKET_KEY = "PLAIN, SSE-S3", "SSE-KMS", "SSE-KMS, bucket key"
CSE, REUSE = "CSE V3", "CSE V3, data key reuse"
ARMS: Final = (PLAIN, SSE_KMS, BUCKET_KEY, CSE, REUSE)
LOAD, MONTH = "load", "month"


@dataclass(frozen=True)
class Usage:
    """What a user does: writes all files once, and then reads and writes some of them each day.

    `size` is the plaintext of one file in bytes, `reads_per_day` and `writes_per_day` are those of single files,
    `bytes_per_second` what one client moves, which says how long a job lasts. `requests_per_read` are arrowseal's own
    ranges unless they are given: 1 is a client that reads a file in one request. Raises `ConfigurationError`.
    """

    files: int
    size: int
    reads_per_day: int = 0
    writes_per_day: int = 0
    clients: int = 1
    bytes_per_second: float = 125e6
    requests_per_read: int | None = None

    def __post_init__(self) -> None:
        counts = {"files": (self.files, 1), "reads_per_day": (self.reads_per_day, 0)}
        counts |= {"writes_per_day": (self.writes_per_day, 0), "clients": (self.clients, 1)}
        counts |= {"requests_per_read": (1 if self.requests_per_read is None else self.requests_per_read, 1)}
        for name, (count, least) in counts.items():
            if not isinstance(count, int) or count < least:
                raise ConfigurationError(f"{name} is a whole number, {least} or more, not {count!r}")
        if not isinstance(self.size, int) or not 0 <= self.size <= MAX_CONTENT_BYTES:
            raise ConfigurationError(f"a file has 0 to {MAX_CONTENT_BYTES:,} bytes, the most that one object holds")
        if not self.bytes_per_second > 0:
            raise ConfigurationError("bytes_per_second is more than 0")


class CpuCost(NamedTuple):
    """CPU seconds a byte that encryption takes on top of PLAIN, and where these figures are from."""

    seal: float
    open: float
    source: str

    @classmethod
    def measured(cls) -> CpuCost:
        """Of this machine, now: sealing and opening in memory, on one thread."""
        speed = limits()
        return cls(1 / speed["seal"], 1 / speed["open"], "measured now in memory, on one thread")

    @classmethod
    def of_run(cls, run: Run, size: int) -> CpuCost:
        """Of a saved run: what CSE V3 took more than PLAIN, in the median, with the object nearest in size.

        Raises `ConfigurationError` if the run has no such object.
        """
        costs = {}
        workloads = sorted({(abs(_log(row.plaintext_bytes) - _log(size)), row.workload) for row in run.samples})
        for operation in ("write", "read"):
            for _, workload in workloads:
                seconds = {
                    arm: {
                        row.round: row.cpu_seconds / max(row.plaintext_bytes, 1)
                        for row in run.samples
                        if (row.kind, row.workload, row.operation, row.arm) == ("object", workload, operation, arm)
                    }
                    for arm in (CSE, "PLAIN")
                }
                more = [seconds[CSE][each] - seconds["PLAIN"][each] for each in seconds[CSE].keys() & seconds["PLAIN"]]
                if more:
                    costs[operation] = max(0.0, statistics.median(more)), workload
                    break
            else:
                raise ConfigurationError(f"the run has no object that {CSE} and PLAIN {operation}: give another one")
        (seal, written), (opened, read) = costs["write"], costs["read"]
        source = f"the run of {run.settings.started}: write of {written}, read of {read}"
        return cls(seal, opened, source)


class Requests(NamedTuple):
    """What one period asks for."""

    s3_writes: int
    s3_reads: int
    kms_calls: int


def estimate(usage: Usage, prices: Prices | None = None, cpu: CpuCost | None = None, *, free: bool = False) -> pa.Table:
    """What each arm costs: writing all files once (`period` is `"load"`), and each month of use after that (`"month"`).

    Prices are those of `Prices()`, CPU seconds those of `CpuCost.measured()` unless they are given. `free` subtracts
    the requests that KMS gives an account each month. One row for each period and arm: requests and calls are counts,
    dollars US dollars; `MODEL` says how they are counted.

    >>> table = estimate(Usage(files=1_000, size=10_000), cpu=CpuCost(0.0, 0.0, "left out"))
    >>> dict(zip(table["arm"].to_pylist()[:5], table["kms_calls"].to_pylist()[:5]))  # to write all files once
    {'PLAIN, SSE-S3': 0, 'SSE-KMS': 1000, 'SSE-KMS, bucket key': 10, 'CSE V3': 1000, 'CSE V3, data key reuse': 1}
    """
    import pyarrow as pa

    prices, cpu = prices or Prices(), cpu or CpuCost.measured()
    rows = []
    for period, writes, reads in (
        (LOAD, usage.files, 0),
        (MONTH, usage.writes_per_day * DAYS, usage.reads_per_day * DAYS),
    ):
        for arm in ARMS:
            asked = requests(usage, arm, period)
            billed = max(0, asked.kms_calls - prices.kms_free_requests) if free else asked.kms_calls
            encrypts = arm in (CSE, REUSE)
            cpu_seconds = (writes * cpu.seal + reads * cpu.open) * usage.size if encrypts else 0.0
            dollars = {
                "s3_dollars": (
                    asked.s3_writes / 1_000 * prices.s3_write_per_1_000
                    + asked.s3_reads / 1_000 * prices.s3_read_per_1_000
                ),
                "kms_dollars": billed / 10_000 * prices.kms_per_10_000,
                "key_dollars": prices.kms_key_month if arm != PLAIN and period == MONTH else 0.0,
                "cpu_dollars": cpu_seconds / 3_600 * prices.processor_hour,
            }
            counted = asked._asdict() | {"cpu_seconds": cpu_seconds}
            rows.append({"period": period, "arm": arm} | counted | dollars | {"dollars": sum(dollars.values())})
    return pa.Table.from_pylist(rows)


def requests(usage: Usage, arm: str, period: str) -> Requests:
    """What an arm asks S3 and KMS for, in one period."""
    days = 1 if period == LOAD else DAYS
    writes = usage.files if period == LOAD else usage.writes_per_day
    reads = 0 if period == LOAD else usage.reads_per_day
    stored = usage.size + (TAG_BYTES if arm in (CSE, REUSE) else 0)
    each_write, each_read = _write_requests(usage.size), usage.requests_per_read or _read_requests(stored)
    if arm == PLAIN:
        calls = 0
    elif arm == CSE:
        calls = (writes + reads) * days
    elif arm == REUSE:
        calls = (_keys(usage, writes) + _unwraps(usage, reads)) * days
    else:
        calls = (writes * min(each_write, 2) + reads * each_read) * days
        if arm == BUCKET_KEY and calls:
            calls = max(math.ceil(calls / BUCKET_KEY_SAVES), usage.clients)
    return Requests(writes * each_write * days, reads * each_read * days, calls)


def _read_requests(stored: int) -> int:
    return len(ranges(stored, TransferOptions()))


def _write_requests(size: int) -> int:
    """One, or those that begin, fill and complete an upload in parts."""
    length = part_bytes(TransferOptions().part_bytes, 1, size)
    return 1 if size <= length else 2 + math.ceil(size / length)


def _keys(usage: Usage, writes: int) -> int:
    """How many data keys a job's writes take under reuse: each client has its own."""
    objects = min(
        SharedDataKeys.MAX_OBJECTS,
        SharedDataKeys.MAX_BYTES // max(usage.size, 1),
        int(SharedDataKeys.MAX_SECONDS * usage.bytes_per_second / max(usage.size, 1)),
    )
    busy = min(usage.clients, writes)
    return busy * math.ceil(writes / busy / max(objects, 1)) if busy else 0


def _unwraps(usage: Usage, reads: int) -> int:
    """How many of a job's reads ask KMS: at most each data key once for each life of each client's cache."""
    busy = min(usage.clients, reads)
    if not busy:
        return 0
    seconds = reads / busy * usage.size / usage.bytes_per_second
    lives = max(1, math.ceil(seconds / DataKeyCache().max_age_seconds))
    return min(reads, busy * lives * _keys(usage, usage.files))


def _log(size: int) -> float:
    return math.log(max(size, 1))
