"""`arrowseal bench estimate`: what encryption would cost on AWS, for the user's own numbers."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arrowseal.cli import DONE
from arrowseal.exceptions import ConfigurationError
from arrowseal.text_tables import WIDTH, table

if TYPE_CHECKING:
    from arrowseal.bench.estimate import CpuCost

UNITS: Final = {"": 1, "B": 1} | {
    f"{prefix}{unit}": base ** (power + 1)
    for power, prefix in enumerate("KMGT")
    for unit, base in (("B", 1_000), ("", 1_000), ("iB", 1_024))
}
_TITLES: Final = {"load": "To write all files once", "month": "Each month of 30 days after that"}
_HEADER: Final = ["arm", "S3 requests", "KMS calls", "S3 $", "KMS $", "key $", "CPU s", "CPU $", "sum $"]


def size(text: str) -> int:
    """Bytes of a size in words: a number and a unit of thousands (kB, MB, GB, TB) or of 1,024s (KiB, MiB, ...).

    Raises `argparse.ArgumentTypeError` for anything else.

    >>> size("128MB"), size("1.5 GiB"), size("10000")
    (128000000, 1610612736, 10000)
    """
    known = {unit.lower(): factor for unit, factor in UNITS.items()}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower().replace(",", "").replace("_", ""))
    if found is None or found[2] not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write it like 128MB, 1.5GiB or 10000")
    return int(float(found[1]) * known[found[2]])


def add_command(commands: Any) -> None:
    """Add the command to those of `arrowseal bench`."""
    from arrowseal.bench.prices import LOOKED_UP, REGION, Prices

    parser = commands.add_parser(
        "estimate",
        help="what encryption would cost on AWS, for your own numbers",
        description="What client-side encryption would cost on AWS, beside server-side encryption: requests to S3 and "
        "KMS, CPU and US dollars, by a model that is printed with it.",
        epilog=f"Prices are those of {REGION}, looked up on {LOOKED_UP}.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--files", type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--size", type=size, required=True, help="of one file: 128MB, 1GiB")
    parser.add_argument("--reads-per-day", type=int, default=0, metavar="N", help="of single files (default: 0)")
    parser.add_argument("--writes-per-day", type=int, default=0, metavar="N", help="after the first (default: 0)")
    parser.add_argument("--clients", type=int, default=1, metavar="N", help="that share the work (default: 1)")
    parser.add_argument(
        "--throughput", type=size, default=125_000_000, metavar="SIZE", help="a second and client (default: 125MB)"
    )
    parser.add_argument(
        "--requests-per-read", type=int, metavar="N", help="1 for a client that reads a file at once (default: ranges)"
    )
    parser.add_argument("--run", dest="saved", type=Path, metavar="DIR", help="take CPU seconds from this saved run")
    prices = parser.add_argument_group("prices, in US dollars")
    usual = Prices()
    for option, name, what in (
        ("--kms-price", "kms_per_10_000", "of 10,000 requests to KMS"),
        ("--kms-key-price", "kms_key_month", "of a KMS key, a month"),
        ("--s3-write-price", "s3_write_per_1_000", "of 1,000 PUT and other writing requests"),
        ("--s3-read-price", "s3_read_per_1_000", "of 1,000 GET requests"),
        ("--processor-price", "processor_hour", "of one virtual processor, an hour"),
    ):
        default = getattr(usual, name)
        prices.add_argument(
            option, dest=name, type=float, default=default, metavar="$", help=f"{what} (default: {default:g})"
        )
    prices.add_argument("--free-tier", action="store_true", help="subtract the requests that KMS gives each month")


def run(arguments: argparse.Namespace) -> int:
    """Print the estimate."""
    from arrowseal.bench import estimate as model
    from arrowseal.bench.prices import LOOKED_UP, REGION, SOURCES, Prices

    usage = model.Usage(
        arguments.files,
        arguments.size,
        arguments.reads_per_day,
        arguments.writes_per_day,
        arguments.clients,
        arguments.throughput,
        arguments.requests_per_read,
    )
    names = ("kms_per_10_000", "kms_key_month", "s3_write_per_1_000", "s3_read_per_1_000", "processor_hour")
    prices = Prices(**{name: getattr(arguments, name) for name in names})
    cpu = _saved(arguments.saved, usage.size) if arguments.saved else model.CpuCost.measured()
    costs = model.estimate(usage, prices, cpu, free=arguments.free_tier)
    for period, title in _TITLES.items():
        rows = [row for row in costs.to_pylist() if row["period"] == period]
        print(title)
        print(*table(_HEADER, [_row(row) for row in rows], right=range(1, len(_HEADER))), sep="\n")
        print()
    print(f"CPU on top of PLAIN: {cpu.seal * 1e9:.2f} ns/byte written, {cpu.open * 1e9:.2f} read ({cpu.source}).")
    print(f"Prices of {REGION}, looked up on {LOOKED_UP}, but for those given:", *SOURCES, sep="\n  ")
    print("Free requests of KMS are " + ("subtracted." if arguments.free_tier else "not subtracted (--free-tier)."))
    print("The model:")
    for line in model.MODEL:
        print(textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  "))
    return DONE


def _saved(folder: Path, nearest: int) -> CpuCost:
    from arrowseal.bench.estimate import CpuCost
    from arrowseal.bench.samples import RUN, load

    if not (folder / RUN).is_file():
        raise ConfigurationError(f"there is no saved run in {folder}: `arrowseal bench --output DIR` makes one")
    try:
        run = load(folder)
    except (OSError, ValueError, LookupError, TypeError) as error:  # pyarrow's errors are such, too
        raise ConfigurationError(
            f"the run in {folder} is damaged or of another version ({type(error).__name__}): `arrowseal bench --output "
            "DIR` makes one"
        ) from None
    return CpuCost.of_run(run, nearest)


def _row(row: dict[str, Any]) -> list[str]:
    counts = row["s3_writes"] + row["s3_reads"], row["kms_calls"]
    dollars = [_dollars(row[name]) for name in ("s3_dollars", "kms_dollars", "key_dollars")]
    return [
        row["arm"],
        *(f"{count:,}" for count in counts),
        *dollars,
        f"{row['cpu_seconds']:,.1f}",
        _dollars(row["cpu_dollars"]),
        _dollars(row["dollars"]),
    ]


def _dollars(amount: float) -> str:
    """To the cent; what is less than half a cent, and not nothing, is told apart from nothing."""
    return "<0.01" if 0 < amount < 0.005 else f"{amount:,.2f}"
