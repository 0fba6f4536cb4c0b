"""`arrowseal bench`: what client-side encryption costs on this machine, beside everything else."""

from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arrowseal.cli import DONE, MISUSED, estimate, say
from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arrowseal.bench.arms import ArmOf
    from arrowseal.bench.samples import Run
    from arrowseal.bench.stage import Stage, Wire

ROUNDS: Final = 7
SEED: Final = 2013
MEASURES: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
RATES: Final = {"kbit": 125.0, "mbit": 125e3, "gbit": 125e6}
QUICK_OBJECTS: Final = {"1 MB": 1_000_000, "16 MB": 16_000_000}
OBJECTS: Final = {"10 KB": 10_000} | QUICK_OBJECTS | {"64 MB": 64_000_000, "256 MB": 256_000_000}


def add_command(commands: Any) -> None:
    """Add `bench`, with `estimate` below it."""
    parser = commands.add_parser(
        "bench",
        help="what encryption costs here: CSE against no-CSE, and against everyone",
        description="Measure objects and tables, with client-side encryption, server-side encryption and none, and the "
        "same with other libraries: each arm in a process of its own, interleaved. Writes raw rows, charts, an HTML "
        "page and RESULTS.md. Libraries that are missing or do not resolve beside the others get environments of "
        "their own, in the user's cache.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller workloads: minutes")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("arrowseal-bench"), help="default: arrowseal-bench"
    )
    parser.add_argument("--rounds", metavar="N", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--arm", metavar="NAME", action="append", help="only these, and PLAIN; repeatable")
    parser.add_argument("--results", metavar="DIR", type=Path, help="also write RESULTS.md and its charts there")
    where = parser.add_argument_group("server (default: SeaweedFS, started for the run)")
    where.add_argument("--endpoint-url", metavar="URL", help="another S3, with the credentials of the environment")
    where.add_argument("--bucket", metavar="NAME", help="there (default: one made for the run)")
    where.add_argument("--kms-key-id", metavar="KEY", help="a key of AWS KMS (default: the embedded KMS)")
    where.add_argument("--region", metavar="NAME", help="of both")
    where.add_argument("--yes", action="store_true", help="do not ask before requests that cost money")
    wire = parser.add_argument_group("network in between")
    wire.add_argument("--latency", metavar="TIME", type=seconds, default=0.0, help="a round trip to S3: 20ms")
    wire.add_argument("--bandwidth", metavar="RATE", type=rate, help="of each direction: 1Gbit")
    wire.add_argument("--kms-latency", metavar="TIME", type=seconds, default=0.0, help="a round trip to KMS: 10ms")
    parser.set_defaults(run=run)
    estimate.add_command(parser.add_subparsers(metavar="COMMAND"))


def seconds(text: str) -> float:
    """Seconds of a time in words; 0 needs no unit. Raises `argparse.ArgumentTypeError` for anything else.

    >>> seconds("20ms"), seconds("0.5 s"), seconds("0")
    (0.02, 0.5, 0.0)
    """
    if text.strip() == "0":
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s)", text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it like 20ms or 0.5s")
    return float(found[1]) * MEASURES[found[2]]


def rate(text: str) -> float:
    """Bytes a second of a rate in bits. Raises `argparse.ArgumentTypeError` for anything else.

    >>> rate("1Gbit"), rate("100 Mbit/s")
    (125000000.0, 12500000.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kbit|mbit|gbit)(?:/s)?", text.strip().lower())
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: write it like 1Gbit or 100Mbit")
    return float(found[1]) * RATES[found[2]]


def run(arguments: argparse.Namespace) -> int:
    """Measure, and write the report."""
    from arrowseal.bench import charts, page, report
    from arrowseal.bench.stage import Named, Wire, stage

    if arguments.rounds < 1:
        raise ConfigurationError("--rounds is 1 or more; intervals of 95 % take 7")
    if arguments.bucket is not None and arguments.endpoint_url is None:
        raise ConfigurationError("--bucket goes with --endpoint-url: the embedded server has a bucket of its own")
    _arms(arguments)
    named = Named(arguments.endpoint_url, arguments.bucket, arguments.kms_key_id, arguments.region)
    wire = Wire(arguments.latency, arguments.bandwidth, arguments.kms_latency)
    if not _agreed(arguments):
        say("nothing was done")
        return MISUSED
    folder: Path = arguments.output
    require("matplotlib.figure", "plot")  # before the work, not after it
    for wanted in (folder, arguments.results):
        if wanted is not None:
            _check_writable(wanted)
    with stage(named, wire) as on:
        measured = _measure(arguments, on, wire)
    measured.save(folder)
    drawn = charts.draw(measured, folder)
    (folder / "index.html").write_text(page.html(measured, drawn))
    (folder / "RESULTS.md").write_text(report.results_markdown(measured, drawn))
    print(report.text(measured))
    print(f"Raw rows, charts, RESULTS.md and index.html are in {folder}")
    if arguments.results is not None:
        drawn = charts.draw(measured, arguments.results / "charts")
        relative = [path.relative_to(arguments.results) for path in drawn]
        (arguments.results / "RESULTS.md").write_text(report.results_markdown(measured, relative))
        for line in report.telling_lines(measured):
            print(f"- {line}")
    return DONE


def repeating(words: Sequence[str]) -> str:
    """The line that repeats a run, without what does not decide on it: the folder may be one of this machine alone.

    >>> repeating(["bench", "--quick", "--output", "a", "--yes"])
    'arrowseal bench --quick'
    """
    left, skipped = [], False
    for word in words or ["bench"]:
        if not skipped and word not in ("--yes", "--output") and not word.startswith("--output="):
            left.append(word)
        skipped = word == "--output"
    return " ".join(["arrowseal", *left])


def _arms(arguments: argparse.Namespace) -> list[ArmOf]:
    from arrowseal.bench.arms import ARMS

    wanted = {"PLAIN", *arguments.arm} if arguments.arm else {arm.name for arm in ARMS}
    unknown = wanted - {arm.name for arm in ARMS}
    if unknown:
        known = ", ".join(repr(arm.name) for arm in ARMS)  # some have a comma in them
        raise ConfigurationError(f"there is no arm {', '.join(map(repr, sorted(unknown)))}; there are: {known}")
    return [arm for arm in ARMS if arm.name in wanted]


def _check_writable(folder: Path) -> None:
    """Make a folder, and raise `OSError` unless files can be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".arrowseal-bench-"):
        pass


def _measure(arguments: argparse.Namespace, on: Stage, wire: Wire) -> Run:
    from arrowseal.bench.machine import machine
    from arrowseal.bench.rounds import Bench
    from arrowseal.bench.samples import Run, Settings
    from arrowseal.bench.stage import sweep

    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    bench = Bench(on, arguments.rounds, SEED, say)
    with tempfile.TemporaryDirectory(prefix="arrowseal-bench-") as folder:
        try:
            bench.run(_workloads(Path(folder), arguments.quick), _arms(arguments))
        finally:
            sweep(on)
    settings = Settings(
        quick=arguments.quick,
        rounds=arguments.rounds,
        seed=SEED,
        server=on.server,
        command=repeating(sys.argv[1:]),
        started=started,
        latency_seconds=wire.latency_seconds,
        bytes_per_second=wire.bytes_per_second,
        kms_latency_seconds=wire.kms_latency_seconds,
    )
    return Run(settings, machine(bench.versions), bench.samples, bench.absences)


def _workloads(folder: Path, quick: bool) -> Iterator[dict[str, Any]]:
    from arrowseal.bench import data

    if quick:
        yield from data.object_workloads(folder, QUICK_OBJECTS)
        yield from data.table_workloads(folder, 50_000, ("parquet",), ("pandas", "polars"))
        yield from data.files_workloads(folder, 30, 1_000, ("pyarrow",))
        return
    yield from data.object_workloads(folder, OBJECTS)
    yield from data.table_workloads(folder, 336_776, ("parquet",), ("pandas", "polars", "pyarrow"))
    yield from data.table_workloads(folder, 336_776, ("csv",), ("polars", "pyarrow"))
    # pandas writes it in some seconds, beside which encryption would not show.
    yield from data.table_workloads(folder, 336_776, ("csv",), ("pandas",), ("read",))
    for count in (10, 40, 160):
        yield from data.files_workloads(folder, count, 1_000, ("pyarrow",))
    yield from data.files_workloads(folder, 40, 1_000, ("polars",))


def _agreed(arguments: argparse.Namespace) -> bool:
    """Whether requests that cost money may be sent; nothing else is asked about."""
    names = [name for name in (arguments.endpoint_url, arguments.kms_key_id) if name is not None]
    if arguments.yes or not any("amazonaws.com" in name or name.startswith(("arn:", "alias/")) for name in names):
        return True
    files = 100 if arguments.quick else 300
    requests = files * (arguments.rounds + 4) * 16
    say(
        f"this asks AWS for up to {requests:,} objects and as many KMS calls: some "
        f"{requests * (0.005 / 1_000 + 0.03 / 10_000):.2f} US dollars of requests, besides storage and traffic "
        "(`arrowseal bench estimate` models other numbers)"
    )
    if not sys.stdin.isatty():
        raise ConfigurationError("requests that cost money are sent after --yes, or after a yes on a terminal")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
