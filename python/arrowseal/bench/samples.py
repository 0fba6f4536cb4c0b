"""What a benchmark run is: raw rows, what is missing and why, the settings and the machine; and its files.

A row is one run of one arm on one workload in one round. Everything else, ratios and charts included, is computed from
these rows (`report.py`), so that whoever doubts a figure can compute it anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

RAW: Final = "raw.parquet"
RAW_CSV: Final = "raw.csv"
RUN: Final = "run.json"


@dataclass(frozen=True)
class Sample:
    """One run. Requests, calls and bytes are those of a run of its own, counted on the wire and not timed."""

    workload: str
    operation: str
    """`"read"` or `"write"`."""
    kind: str
    """`"object"`, `"table"` or `"files"`."""
    format: str
    """`"bytes"`, `"csv"`, `"parquet"` or `"ipc"`."""
    face: str
    """`"pandas"`, `"polars"`, `"pyarrow"` or `"duckdb"`; empty for objects."""
    plaintext_bytes: int
    """What one run moves, all files together: encoded, before encryption."""
    files: int
    arm: str
    round: int
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    """Above what the process held before the run."""
    first_row_seconds: float | None = None
    """Until the first row, or byte, of a read is in the caller's hands."""
    requests: float | None = None
    kms_calls: float | None = None
    kms_calls_modelled: float | None = None
    """Calls that a server would make inside: a model, since no client sees them."""
    bytes_up: int | None = None
    bytes_down: int | None = None
    kms_seconds: float | None = None
    s3_seconds: float | None = None
    crypto_seconds: float | None = None
    decode_seconds: float | None = None
    """The last four are arrowseal's own counters; sections overlap where work is done side by side."""


@dataclass(frozen=True)
class Absence:
    """What was not measured, and why. An empty workload means all of them."""

    arm: str
    workload: str
    reason: str


@dataclass(frozen=True)
class Settings:
    """How a run was made."""

    quick: bool
    rounds: int
    seed: int
    server: str
    command: str
    """The line that repeats it."""
    started: str
    """UTC, ISO 8601."""
    latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    kms_latency_seconds: float = 0.0


@dataclass(frozen=True)
class Machine:
    """Where a run was made. `limits` are bytes a second, measured in the run, on one thread."""

    processor: str
    features: list[str]
    cores: int
    memory_bytes: int
    system: str
    python: str
    versions: dict[str, str]
    limits: dict[str, float]
    """`"seal"`, `"open"` (AES-GCM from memory) and `"copy"`."""


@dataclass(frozen=True)
class Run:
    """All of it."""

    settings: Settings
    machine: Machine
    samples: list[Sample] = field(repr=False)
    absences: list[Absence] = field(default_factory=list)

    def table(self) -> pa.Table:
        """The samples as a table, one column a field."""
        import pyarrow as pa

        return pa.Table.from_pylist([asdict(sample) for sample in self.samples], schema=schema())

    def save(self, folder: Path) -> None:
        """Write `raw.parquet`, `raw.csv` and `run.json` into a folder, which is made."""
        import pyarrow.csv
        import pyarrow.parquet

        folder.mkdir(parents=True, exist_ok=True)
        table = self.table()
        pyarrow.parquet.write_table(table, folder / RAW)
        pyarrow.csv.write_csv(table, folder / RAW_CSV)
        about: dict[str, Any] = {name: asdict(value) for name, value in self._about().items()}
        about["absences"] = [asdict(absence) for absence in self.absences]
        (folder / RUN).write_text(json.dumps(about, indent=1) + "\n")

    def _about(self) -> dict[str, Any]:
        return {"settings": self.settings, "machine": self.machine}


def load(folder: Path) -> Run:
    """A run that was saved."""
    import pyarrow.parquet

    about = json.loads((folder / RUN).read_text())
    rows = pyarrow.parquet.read_table(folder / RAW).to_pylist()
    return Run(
        Settings(**about["settings"]),
        Machine(**about["machine"]),
        [Sample(**row) for row in rows],
        [Absence(**absence) for absence in about["absences"]],
    )


def schema() -> pa.Schema:
    """The columns of raw rows."""
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
    return pa.schema([(each.name, types[str(each.type).split(" ")[0]]) for each in fields(Sample)])
