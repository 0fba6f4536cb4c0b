"""`arrowseal demo`: real tables through encrypted objects and back, compared cell by cell, measured and charted."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arrowseal.cli import DONE, FAILED, flights, say
from arrowseal.exceptions import (
    ArrowSealError,
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    NotEncryptedError,
)
from arrowseal.extras import require
from arrowseal.kms_counts import KmsCalls
from arrowseal.text_tables import WIDTH, columns, shortened, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd
    import pyarrow as pa

    from arrowseal.client import Client
    from arrowseal.counters import OperationRecord
    from arrowseal.encryption import Encryption
    from arrowseal.local import LocalServers
    from arrowseal.progress import Progress

CONTEXT: Final = {"dataset": "flights-2013"}
FILE_TYPES: Final = ("csv", "parquet")
ROUNDS: Final = 3  # of each write and read, with the arms in turn: the machine has other things to do as well
CHART: Final = "arrowseal-demo.png"


def add_command(commands: Any) -> None:
    """Add `demo` to the subparsers."""
    parser = commands.add_parser(
        "demo",
        help="write, read back, compare and chart real tables on embedded servers",
        description="Write the flights of New York 2013 as CSV and Parquet, with client-side encryption (V3, V2) and "
        "without, read them back with pandas, polars and pyarrow, compare every cell, and show what it cost. "
        "Exits with 1 if anything differs.",
    )
    parser.add_argument(
        "--s3", choices=("moto", "seaweedfs"), default="moto", help="which S3: quick moto (default), or a real one"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path(), help=f"folder for {CHART} (default: this one)"
    )
    parser.add_argument("--rows", metavar="N", type=_positive, help="only the first N of the 336,776 rows")
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 up is expected, not {text!r}")
    return int(text)


@dataclass(frozen=True)
class Arm:
    """One way to protect an object, with the client for it."""

    label: str
    client: Client
    encryption: Encryption | None


@dataclass
class Demo:
    """What the demo works on, and what it found."""

    servers: LocalServers
    frame: pd.DataFrame
    arms: list[Arm]
    expected: pa.Table = field(init=False)
    records: list[OperationRecord] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.expected = flights.as_table(self.frame)

    def url(self, arm: Arm, file_type: str) -> str:
        """Where the table of this arm and type lies."""
        return f"s3://{self.servers.bucket}/{arm.label.lower().replace(' ', '-')}/flights.{file_type}"

    def in_turn(self, turn: int) -> list[Arm]:
        """The arms, with another one first at each turn."""
        start = turn % len(self.arms)
        return self.arms[start:] + self.arms[:start]

    def count(self, arm: Arm, library: str) -> None:
        """Keep the newest row of the arm's counters, with the library in front of the function."""
        *_, record = arm.client.counters
        self.records.append(replace(record, operation=f"{library}.{record.operation}"))


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and return the exit code."""
    from arrowseal.local import LocalServers
    from arrowseal.progress import progress

    for module in ("polars", "matplotlib.figure"):  # before the work, not after it
        require(module, "demo")
    arguments.output.mkdir(parents=True, exist_ok=True)
    frame = flights.load(arguments.rows)
    with LocalServers(s3=arguments.s3) as servers:
        demo = Demo(servers, frame, _arms(servers))
        print(f"Flights of New York 2013: {len(frame):,} rows, {frame.shape[1]} columns.")
        print(f"S3 is {servers.s3} at {servers.s3_endpoint}, KMS is moto at {servers.kms_endpoint}.")
        steps = ROUNDS * len(FILE_TYPES) * len(demo.arms) * (1 + len(READERS))
        with progress(steps, "demo", unit=" steps") as done:
            warm_up(demo)
            write_all(demo, done)
            read_all(demo, done)
        _show_metadata(demo)
        _show_counters(demo)
        _show_comparison(demo)
        refuse_all(demo)
    chart = _draw(demo, arguments.output / CHART)
    _show_verdict(demo, chart)
    for problem in demo.problems:
        say(problem)
    return FAILED if demo.problems else DONE


def _arms(servers: LocalServers) -> list[Arm]:
    import arrowseal

    policy = arrowseal.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    v2 = servers.client(format=arrowseal.V2, commitment_policy=policy, encryption_context=CONTEXT)
    return [
        Arm("PLAIN", servers.client(allow_plaintext=True), arrowseal.PLAIN),
        Arm("CSE V2", v2, None),
        Arm("CSE V3", servers.client(encryption_context=CONTEXT), None),
    ]


def warm_up(demo: Demo) -> None:
    """Open the connections and let the core test itself, so that no arm pays for it in the figures."""
    for arm in demo.arms:
        url = f"s3://{demo.servers.bucket}/warm-up"
        arm.client.put(url, b"warm", encryption=arm.encryption)
        arm.client.get(url)


def write_all(demo: Demo, done: Progress) -> None:
    """Write the table for each arm and file type: CSV with polars, which is quick at it, and Parquet with pandas."""
    import arrowseal.pandas
    import arrowseal.polars

    polars_frame = require("polars", "demo").from_arrow(demo.expected)
    for turn, file_type in product(range(ROUNDS), FILE_TYPES):
        for arm in demo.in_turn(turn):
            done.advance(0, doing=f"writing {file_type}, {arm.label}")
            url, options = demo.url(arm, file_type), {"client": arm.client, "encryption": arm.encryption}
            if file_type == "csv":
                arrowseal.polars.write_csv(polars_frame, url, datetime_format="%Y-%m-%dT%H:%M:%SZ", **options)
            else:
                arrowseal.pandas.to_parquet(demo.frame, url, index=False, **options)
            demo.count(arm, "polars" if file_type == "csv" else "pandas")
            done.advance()


def _read_pandas(file_type: str, url: str, client: Client) -> Any:
    import arrowseal.pandas

    read = arrowseal.pandas.read_csv if file_type == "csv" else arrowseal.pandas.read_parquet
    return read(url, client=client)


def _read_polars(file_type: str, url: str, client: Client) -> Any:
    import arrowseal.polars

    read = arrowseal.polars.read_csv if file_type == "csv" else arrowseal.polars.read_parquet
    return read(url, client=client)


def _read_pyarrow(file_type: str, url: str, client: Client) -> Any:
    import arrowseal.arrow

    if file_type == "parquet":
        return arrowseal.arrow.read_table(url, client=client)
    # As pandas and polars have it: an empty cell of a text column is missing, not an empty text.
    options = require("pyarrow.csv", "demo").ConvertOptions(strings_can_be_null=True)
    return arrowseal.arrow.read_table(url, client=client, convert_options=options)


READERS: Final[dict[str, Callable[[str, str, Client], Any]]] = {
    "pandas": _read_pandas,
    "polars": _read_polars,
    "pyarrow": _read_pyarrow,
}


def read_all(demo: Demo, done: Progress) -> None:
    """Read every object with every library, and compare each result."""
    for turn in range(ROUNDS):
        for file_type, (library, read), arm in product(FILE_TYPES, READERS.items(), demo.in_turn(turn)):
            done.advance(0, doing=f"{library} reads {file_type}, {arm.label}")
            result = read(file_type, demo.url(arm, file_type), arm.client)
            demo.count(arm, library)
            for difference in flights.differences(demo.expected, result, typed=file_type == "parquet"):
                demo.problems.append(f"{demo.url(arm, file_type)} read with {library}: {difference}")
            done.advance()


def refuse_all(demo: Demo) -> None:
    """Try what must not work, and show the words of the refusals."""
    import arrowseal

    plain, v2, v3 = demo.arms
    tampered = _tamper(demo, v3)
    anybody = demo.servers.client(encryption_context=CONTEXT)
    no_context = demo.servers.client()
    attempts: list[tuple[str, Client, str, type[ArrowSealError]]] = [
        ("a flipped bit", v3.client, tampered, AuthenticationError),
        ("the wrong encryption context", no_context, demo.url(v3, "parquet"), EncryptionContextError),
        ("an object that is not encrypted", anybody, demo.url(plain, "parquet"), NotEncryptedError),
        ("V2, which commits to no key", anybody, demo.url(v2, "parquet"), CommitmentPolicyError),
    ]
    _title("What is refused, nothing of it handed out")
    rows = []
    for what, client, url, refusal in attempts:
        try:
            arrowseal.arrow.read_table(url, client=client)
        except refusal as error:
            rows.append((what, f"{type(error).__name__}: {str(error).removeprefix(f'{url}: ')}"))
        else:
            demo.problems.append(f"{url}: {what} was not refused")
            rows.append((what, "NOT REFUSED"))
    for what, outcome in rows:
        print(f"{what}:")
        print(textwrap.fill(outcome, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))


def _tamper(demo: Demo, arm: Arm) -> str:
    """A copy of an encrypted object with one bit flipped, as somebody with access to the bucket would make it."""
    s3 = demo.servers.s3_client()
    stored = s3.get_object(Bucket=demo.servers.bucket, Key=demo.url(arm, "parquet").split("/", 3)[3])
    body = bytearray(stored["Body"].read())
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket=demo.servers.bucket, Key="tampered.parquet", Body=bytes(body), Metadata=stored["Metadata"])
    return f"s3://{demo.servers.bucket}/tampered.parquet"


def _show_metadata(demo: Demo) -> None:
    _title("The objects in the bucket")
    rows = []
    for file_type, arm in product(FILE_TYPES, demo.arms):
        head = arm.client.head(demo.url(arm, file_type))
        names = ", ".join(head.context_keys) or "-"
        sizes = [f"{size:,}" for size in (head.plaintext_bytes or 0, head.stored_bytes)]
        rows.append([str(head.location), head.encryption, head.wrap or "-", names, *sizes])
    header = ["object", "encryption", "wrap", "context", "plain bytes", "stored bytes"]
    _print(table(header, rows, right=[4, 5]))

    s3 = demo.servers.s3_client()
    for arm in demo.arms[1:]:
        url = demo.url(arm, "parquet")
        metadata = s3.head_object(Bucket=demo.servers.bucket, Key=url.split("/", 3)[3])["Metadata"]
        _title(f"User metadata of {url}, as anybody sees it")
        width = WIDTH - 2 - len("x-amz-meta-") - max(map(len, metadata))
        _print(columns([(f"x-amz-meta-{name}", shortened(metadata[name], width)) for name in sorted(metadata)]))


def _show_counters(demo: Demo) -> None:
    _title("Counters: the last round of writes and reads (MB of plaintext; milliseconds)")
    objects = len(FILE_TYPES) * len(demo.arms)
    writes, reads = demo.records[: ROUNDS * objects], demo.records[ROUNDS * objects :]
    rows = []
    for record in writes[-objects:] + reads[-objects * len(READERS) :]:
        seconds = (record.wall_seconds, record.cpu_seconds, record.kms_seconds, record.s3_seconds)
        rows.append(
            [
                record.operation,
                record.file_type or "",
                record.encryption or "",
                f"{record.rows:,}" if record.rows is not None else "",
                f"{record.plaintext_bytes / 1e6:.1f}",
                *(f"{second * 1e3:.0f}" for second in (*seconds, record.crypto_seconds, record.decode_seconds)),
                str(record.requests),
                str(record.kms_calls),
            ]
        )
    header = [
        "operation",
        "type",
        "",
        "rows",
        "MB",
        "wall",
        "CPU",
        "KMS",
        "S3",
        "crypto",
        "decode",
        "reqs",
        "calls",
    ]
    _print(table(header, rows, right=range(3, len(header))))
    calls = KmsCalls.summed(record.kms_calls_by_key for record in demo.records)
    _title("KMS calls of all rounds, by API and key")
    _print(table(["API", "key", "calls"], [[api, key, f"{count:,}"] for api, key, count in calls], right=[2]))


def _show_comparison(demo: Demo) -> None:
    from arrowseal.comparison import summarise

    _title("CSE against no-CSE: median wall milliseconds, and how many times the plain arm")
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in summarise(demo.records).to_pylist():
        text = f"{row['wall_seconds_median'] * 1e3:,.1f}"
        if row["wall_ratio"] is not None and row["encryption"] != row["baseline"]:
            text += f" ({row['wall_ratio']:.2f}x)"
        found.setdefault((row["operation"], row["file_type"]), {})[row["encryption"]] = text
    labels = [arm.label for arm in demo.arms]
    rows = [[*group, *(cells.get(label, "-") for label in labels)] for group, cells in found.items()]
    _print(table(["operation", "type", *labels], rows, right=range(2, 2 + len(labels))))


def _draw(demo: Demo, path: Path) -> Path:
    from arrowseal.comparison import draw, summarise

    title = f"Flights of New York 2013, {len(demo.frame):,} rows, {demo.servers.s3} on this machine"
    draw(summarise(demo.records), path, title=title)
    return path


def _show_verdict(demo: Demo, chart: Path) -> None:
    reads = ROUNDS * len(READERS) * len(FILE_TYPES) * len(demo.arms)
    cells = demo.expected.num_rows * demo.expected.num_columns
    print(f"\nChart: {chart}")
    if not demo.problems:
        print(f"{reads} reads of {cells:,} cells each: every cell came back as it was written.")


def _title(text: str) -> None:
    print(f"\n{text}\n")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
