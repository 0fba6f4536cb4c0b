"""What the workloads move: random bytes, and tables of flights in the making of nycflights13, as encoded files."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from arrowseal.bench.worker import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

CARRIERS: Final = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS", "F9", "YV", "HA", "OO")
AIRPORTS: Final = ("EWR", "JFK", "LGA", "ATL", "ORD", "LAX", "BOS", "MCO", "CLT", "SFO", "FLL", "MIA", "DCA", "DTW")
# Small objects are moved several times a run, so that the clock has something to measure.
RUN_BYTES: Final = 4_000_000
MOST_REPEATS: Final = 20


def flights(rows: int, seed: int = 2013) -> pa.Table:
    """A table like the flights of New York 2013: 19 columns, some with gaps; the same for the same arguments."""
    import pyarrow as pa

    draw = random.Random(seed)  # noqa: S311 - data, not keys
    whole = [draw.randrange(1, 2400) for _ in range(rows)]

    def column(low: int, high: int, gaps: float = 0.0) -> list[int | None]:
        return [None if gaps and draw.random() < gaps else draw.randrange(low, high) for _ in range(rows)]

    return pa.table(
        {
            "date": [f"2013-{1 + number * 12 // rows:02}-{1 + number % 28:02}" for number in range(rows)],
            "dep_time": [time if time % 40 else None for time in whole],
            "sched_dep_time": whole,
            "dep_delay": column(-30, 300, 0.025),
            "arr_time": column(1, 2400, 0.026),
            "sched_arr_time": column(1, 2400),
            "arr_delay": column(-60, 300, 0.028),
            "carrier": draw.choices(CARRIERS, k=rows),
            "flight": column(1, 8500),
            "tailnum": [f"N{draw.randrange(100, 99999)}" for _ in range(rows)],
            "origin": draw.choices(AIRPORTS[:3], k=rows),
            "dest": draw.choices(AIRPORTS, k=rows),
            "air_time": column(20, 700, 0.028),
            "distance": column(17, 4983),
            "hour": column(1, 24),
            "minute": column(0, 60),
            "temp": [round(draw.gauss(56, 18), 2) for _ in range(rows)],
            "wind_speed": [round(draw.uniform(0, 40), 5) for _ in range(rows)],
            "visib": [round(draw.uniform(0, 10), 2) for _ in range(rows)],
        }
    )


def object_workloads(folder: Path, sizes: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Objects of random bytes, read and written. Yields the fields of `Workload` that do not depend on the arm."""
    for label, size in sizes.items():
        source = folder / f"object-{size}"
        source.write_bytes(random.Random(size).randbytes(size))  # noqa: S311
        for operation in ("read", "write"):
            yield {
                "name": f"object {label}",
                "operation": operation,
                "kind": "object",
                "format": "bytes",
                "face": "",
                "plaintext_bytes": size,
                "files": 1,
                "source": str(source),
                "repeat": max(1, min(MOST_REPEATS, RUN_BYTES // size)),
            }


def table_workloads(
    folder: Path,
    rows: int,
    formats: tuple[str, ...],
    faces: tuple[str, ...],
    operations: tuple[str, ...] = ("read", "write"),
) -> Iterator[dict[str, Any]]:
    """One table in each format, by each face."""
    for name in formats:
        source = _encoded(folder, rows, name)
        for face in faces:
            for operation in operations:
                yield {
                    "name": f"flights {'CSV' if name == 'csv' else name.capitalize()}",
                    "operation": operation,
                    "kind": "table",
                    "format": name,
                    "face": face,
                    "plaintext_bytes": source.stat().st_size,
                    "files": 1,
                    "source": str(source),
                }


def files_workloads(folder: Path, count: int, rows: int, faces: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Many small Parquet files, read and written together."""
    source = _encoded(folder, rows, "parquet")
    for face in faces:
        for operation in ("read", "write"):
            yield {
                "name": f"{count:,} Parquet files",
                "operation": operation,
                "kind": "files",
                "format": "parquet",
                "face": face,
                "plaintext_bytes": count * source.stat().st_size,
                "files": count,
                "source": str(source),
            }


def _encoded(folder: Path, rows: int, name: str) -> Path:
    import pyarrow.csv
    import pyarrow.parquet

    path = folder / f"flights-{rows}.{name}"
    if not path.exists():
        table = flights(rows)
        if name == "csv":
            pyarrow.csv.write_csv(table, path)
        else:
            pyarrow.parquet.write_table(table, path)
    return path


def of_arm(told: dict[str, Any], arm: str, bucket: str, prefix: str) -> Workload:
    """A workload as one arm does it: under keys of its own."""
    slug = "-".join(word for word in "".join(c if c.isalnum() else " " for c in arm).split())
    name = told["name"].replace(" ", "-").replace(",", "")
    return Workload(
        **told, bucket=bucket, prefix=f"{prefix}{slug}/{told['operation']}/{name}-{told['face'] or 'bytes'}/"
    )
