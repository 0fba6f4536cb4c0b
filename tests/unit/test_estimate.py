"""The model of cost, against numbers worked out by hand; and the command that prints it."""

from __future__ import annotations

import argparse
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.bench.estimate import ARMS, BUCKET_KEY, CSE, MODEL, PLAIN, REUSE, SSE_KMS, CpuCost, Usage, estimate
from arrowseal.bench.limits import limits
from arrowseal.bench.prices import LOOKED_UP, Prices
from arrowseal.bench.samples import Machine, Run, Sample, Settings
from arrowseal.cli import estimate as command
from arrowseal.exceptions import ConfigurationError
from arrowseal.text_tables import WIDTH

if TYPE_CHECKING:
    from pathlib import Path

NO_CPU = CpuCost(0.0, 0.0, "none")
# 10,000 files of 128 MB, 500 of them read a day. A write of 128,000,000 bytes has 16 parts of 8 MiB, and a request
# before and one after them. A read has 8 ranges, the first of them in two.
USAGE = Usage(files=10_000, size=128_000_000, reads_per_day=500)


def costs(usage: Usage, period: str, **options: Any) -> dict[str, dict[str, Any]]:
    rows = estimate(usage, **({"cpu": NO_CPU} | options)).to_pylist()
    return {row["arm"]: row for row in rows if row["period"] == period}


def test_every_arm_pays_the_same_for_s3() -> None:
    load, month = costs(USAGE, "load"), costs(USAGE, "month")
    for arm in ARMS:
        assert (load[arm]["s3_writes"], load[arm]["s3_reads"]) == (180_000, 0)
        assert load[arm]["s3_dollars"] == pytest.approx(0.90)
        assert (month[arm]["s3_writes"], month[arm]["s3_reads"]) == (0, 500 * 30 * 9)
        assert month[arm]["s3_dollars"] == pytest.approx(0.054)


def test_without_a_bucket_key_each_request_of_a_read_asks_kms() -> None:
    assert costs(USAGE, "load")[SSE_KMS]["kms_calls"] == 20_000  # each upload in parts: at its begin and its end
    month = costs(USAGE, "month")[SSE_KMS]
    assert month["kms_calls"] == 135_000
    assert month["kms_dollars"] == pytest.approx(0.405)
    assert month["dollars"] == pytest.approx(0.054 + 0.405 + 1.00)


def test_a_client_that_reads_at_once_asks_for_one_request_a_read() -> None:
    usage = Usage(files=10_000, size=128_000_000, reads_per_day=500, requests_per_read=1)
    month = costs(usage, "month")
    assert {row["s3_reads"] for row in month.values()} == {15_000}
    assert month[SSE_KMS]["kms_calls"] == 15_000


def test_a_bucket_key_leaves_a_hundredth_of_the_calls_and_one_a_client() -> None:
    assert costs(USAGE, "month")[BUCKET_KEY]["kms_calls"] == 1_350
    few = Usage(files=10, size=1_000, reads_per_day=1, clients=4)
    assert costs(few, "month")[BUCKET_KEY]["kms_calls"] == 4


def test_client_side_one_data_key_an_object_asks_kms_once_a_write_and_once_a_read() -> None:
    assert costs(USAGE, "load")[CSE]["kms_calls"] == 10_000
    month = costs(USAGE, "month")[CSE]
    assert month["kms_calls"] == 15_000
    assert month["kms_dollars"] == pytest.approx(0.045)


def test_a_shared_data_key_lasts_as_long_as_the_tightest_of_its_bounds() -> None:
    def keys(**usage: Any) -> int:
        return int(costs(Usage(**usage), "load")[REUSE]["kms_calls"])

    assert keys(files=25_000, size=1_000) == 3  # 10,000 objects
    assert keys(files=10_000, size=128_000_000) == 12  # 15 minutes at 125 MB/s: 878 objects
    assert keys(files=100, size=2**36 - 32, bytes_per_second=1e12) == 7  # 1 TiB: 16 objects of nearly 64 GiB
    assert keys(files=20, size=2**36 - 32, bytes_per_second=1e6) == 20  # one takes longer than a key lasts
    assert keys(files=25_000, size=1_000, clients=5) == 5  # each has its own
    assert keys(files=2, size=1_000, clients=5) == 2


def test_a_cache_asks_kms_once_for_each_data_key_and_five_minutes() -> None:
    # 500 files of 128 MB take 512 seconds at 125 MB/s: two lives of the cache, and there are 12 data keys.
    assert costs(USAGE, "month")[REUSE]["kms_calls"] == 30 * 2 * 12
    small = Usage(files=10_000, size=1_000, reads_per_day=500)
    assert costs(small, "month")[REUSE]["kms_calls"] == 30
    rare = Usage(files=10_000, size=128_000_000, reads_per_day=1)
    assert costs(rare, "month")[REUSE]["kms_calls"] == 30


def test_plain_asks_no_kms_and_pays_for_no_key() -> None:
    for row in (costs(USAGE, "load")[PLAIN], costs(USAGE, "month")[PLAIN]):
        assert (row["kms_calls"], row["kms_dollars"], row["key_dollars"], row["cpu_seconds"]) == (0, 0.0, 0.0, 0.0)


def test_cpu_is_paid_by_the_byte_where_the_client_encrypts() -> None:
    usage = Usage(files=10, size=10**9, reads_per_day=2, writes_per_day=1)
    cpu = CpuCost(seal=2e-9, open=1e-9, source="by hand")
    assert costs(usage, "load", cpu=cpu)[CSE]["cpu_seconds"] == pytest.approx(20)
    month = costs(usage, "month", cpu=cpu)
    assert month[CSE]["cpu_seconds"] == pytest.approx(30 * 2 + 60 * 1)
    assert month[CSE]["cpu_dollars"] == pytest.approx(120 / 3_600 * 0.0504)
    assert month[SSE_KMS]["cpu_seconds"] == 0


def test_free_requests_are_subtracted_on_request_and_never_below_none() -> None:
    assert costs(USAGE, "month", free=True)[SSE_KMS]["kms_dollars"] == pytest.approx((135_000 - 20_000) / 10_000 * 0.03)
    assert costs(USAGE, "month", free=True)[CSE]["kms_dollars"] == 0


def test_prices_can_be_given() -> None:
    prices = Prices(kms_per_10_000=0.06, kms_key_month=2.0, s3_read_per_1_000=0.0, s3_write_per_1_000=0.01)
    month = costs(USAGE, "month", prices=prices)[CSE]
    assert (month["kms_dollars"], month["key_dollars"], month["s3_dollars"]) == (pytest.approx(0.09), 2.0, 0.0)
    assert costs(USAGE, "load", prices=prices)[CSE]["s3_dollars"] == pytest.approx(1.80)
    with pytest.raises(ConfigurationError, match="kms_per_10_000"):
        Prices(kms_per_10_000=-1)
    with pytest.raises(ConfigurationError, match="processor_hour"):
        Prices(processor_hour=math.nan)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"files": 0}, "files is a whole number, 1 or more"),
        ({"files": 1.5}, "files"),
        ({"size": -1}, "bytes"),
        ({"size": 2**36}, "most that one object holds"),
        ({"reads_per_day": -1}, "reads_per_day"),
        ({"writes_per_day": -1}, "writes_per_day"),
        ({"clients": 0}, "clients"),
        ({"requests_per_read": 0}, "requests_per_read"),
        ({"bytes_per_second": 0}, "bytes_per_second"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Usage(**({"files": 1, "size": 1} | given))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("10000", 10_000),
        ("10_000 B", 10_000),
        ("10kB", 10_000),
        ("128MB", 128_000_000),
        ("128M", 128_000_000),
        ("1.5GB", 1_500_000_000),
        ("1GiB", 2**30),
        ("64 kib", 2**16),
        ("1TB", 10**12),
        ("1TiB", 2**40),
    ],
)
def test_sizes_are_read_in_thousands_and_in_1024s(text: str, expected: int) -> None:
    assert command.size(text) == expected


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1.2.3MB", "128 bananas", "1e9", "128Mbit"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 128MB"):
        command.size(text)


def saved_run() -> Run:
    settings = Settings(True, 3, 0, "none", "arrowseal bench", "2026-01-01T00:00:00+00:00")
    machine = Machine("none", [], 1, 1, "none", "3", {}, {})
    cpu = {  # seconds of rounds, and what PLAIN took in the same rounds
        ("1 MB", 10**6): {"write": ([0.5, 0.2, 0.9], [0.1, 0.1, 0.1]), "read": ([0.2, 0.2, 0.2], [0.1, 0.1, 0.1])},
        ("64 MB", 64 * 10**6): {
            "write": ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5]),
            "read": ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]),
        },
    }
    samples = [
        Sample(name, operation, "object", "bytes", "", size, 1, arm, number, 1.0, seconds, 0)
        for (name, size), operations in cpu.items()
        for operation, both in operations.items()
        for arm, rounds in zip(("CSE V3", "PLAIN"), both, strict=True)
        for number, seconds in enumerate(rounds)
    ]
    return Run(settings, machine, samples)


def test_a_saved_run_tells_what_encryption_took_more_with_the_object_nearest_in_size() -> None:
    small, large = CpuCost.of_run(saved_run(), 10_000), CpuCost.of_run(saved_run(), 10**8)
    assert (small.seal, small.open) == (pytest.approx(0.4e-6), pytest.approx(0.1e-6))  # medians of the differences
    assert large.seal == pytest.approx(0.5 / 64e6)
    assert large.open == 0  # PLAIN took more: encryption gives no CPU back
    assert "64 MB" in large.source


def test_a_saved_run_without_the_arms_is_refused() -> None:
    run = saved_run()
    with pytest.raises(ConfigurationError, match="no object that CSE V3 and PLAIN"):
        CpuCost.of_run(Run(run.settings, run.machine, [row for row in run.samples if row.arm == "PLAIN"]), 1)


def test_the_limits_of_the_machine_are_bytes_a_second() -> None:
    found = limits(rounds=1)
    assert found.keys() == {"seal", "open", "copy"}
    assert all(speed > 1e6 for speed in found.values())


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_command(parser.add_subparsers())
    return parser.parse_args(["estimate", *words])


def test_the_command_prints_both_periods_the_model_and_the_date_of_the_prices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = parsed("--files", "10000", "--size", "128MB", "--reads-per-day", "500", "--kms-price", "0.06")
    assert arguments.run(arguments) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert [line.split()[:4] for line in lines if line.startswith("SSE-KMS  ")] == [
        ["SSE-KMS", "180,000", "20,000", "0.90"],
        ["SSE-KMS", "135,000", "135,000", "0.05"],
    ]
    assert "0.81" in printed  # 135,000 calls at $0.06 for 10,000
    assert "<0.01" in printed
    assert LOOKED_UP in printed
    assert " ".join(printed.split()).count(MODEL[-1]) == 1
    assert "measured now" in printed


def test_the_command_takes_cpu_seconds_from_a_saved_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved_run().save(tmp_path)
    arguments = parsed("--files", "1000", "--size", "1MB", "--run", str(tmp_path))
    assert arguments.run(arguments) == 0
    printed = capsys.readouterr().out
    assert "400.00 ns/byte written" in printed
    assert "the run of 2026-01-01" in printed
    missing = parsed("--files", "1", "--size", "1MB", "--run", str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigurationError, match="no saved run"):
        missing.run(missing)


def test_the_command_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--files", "10", "--size", "big")
    assert "write it like 128MB" in capsys.readouterr().err
    arguments = parsed("--files", "0", "--size", "1MB")
    with pytest.raises(ConfigurationError, match="files"):
        arguments.run(arguments)


@pytest.mark.parametrize(
    ("name", "content"),
    [("run.json", "cut off"), ("run.json", "{}"), ("run.json", "[]"), ("raw.parquet", "PAR1"), ("raw.parquet", None)],
)
def test_a_run_that_is_damaged_is_told_by_its_folder(name: str, content: str | None, tmp_path: Path) -> None:
    saved_run().save(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(f"the run in {tmp_path} is damaged")):
        command.run(parsed("--files", "1", "--size", "1MB", "--run", str(tmp_path)))
