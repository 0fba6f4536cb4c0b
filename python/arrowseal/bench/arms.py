"""Who takes part in a report, in which workloads, and from which environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from arrowseal.bench.worker import Workload

CONTESTANTS: Final = Path(__file__).with_name("contestants")
PANDAS: Final = frozenset({"pandas"})
POLARS: Final = frozenset({"polars"})
PYARROW: Final = frozenset({"pyarrow"})
FACES: Final = PANDAS | POLARS | PYARROW


@dataclass(frozen=True)
class ArmOf:
    """One arm: its name in the report, its script, and what it takes part in. `faces` has "" for objects."""

    name: str
    script: str
    faces: frozenset[str]
    formats: frozenset[str] = frozenset({"bytes", "parquet", "csv", "ipc"})
    packages: tuple[str, ...] = ()
    """What an environment of its own gets where they do not resolve beside arrowseal."""
    everywhere: bool = True
    """Whether it takes part in all workloads, or only in those of objects and of pandas."""

    @property
    def path(self) -> Path:
        """Of the script."""
        return CONTESTANTS / f"{self.script}.py"

    def takes_part(self, workload: Workload) -> bool:
        """Whether the library has such a thing; what a server lacks is found out by trying."""
        if workload.face not in self.faces or workload.format not in self.formats:
            return False
        return self.everywhere or workload.face in ("", "pandas")


OBJECTS: Final = frozenset({""})
OWN: Final = (
    ArmOf("PLAIN", "arrowseal_arms", FACES | OBJECTS),
    ArmOf("SSE-S3", "arrowseal_arms", FACES | OBJECTS, everywhere=False),
    ArmOf("SSE-KMS", "arrowseal_arms", FACES | OBJECTS, everywhere=False),
    ArmOf("SSE-KMS, bucket key", "arrowseal_arms", FACES | OBJECTS, everywhere=False),
    ArmOf("SSE-C", "arrowseal_arms", FACES | OBJECTS, everywhere=False),
    ArmOf("CSE V2", "arrowseal_arms", FACES | OBJECTS),
    ArmOf("CSE V3", "arrowseal_arms", FACES | OBJECTS),
    ArmOf("CSE V3, data key reuse", "arrowseal_arms", FACES | OBJECTS),
)
TABLES: Final = frozenset({"parquet", "csv"})
PEERS: Final = (
    ArmOf("boto3", "boto3_", FACES | OBJECTS),
    ArmOf("obstore", "obstore_", OBJECTS, packages=("obstore",)),
    ArmOf("pyarrow S3FileSystem", "pyarrow_", PYARROW | OBJECTS),
    ArmOf("polars native", "polars_", POLARS, formats=TABLES),
    ArmOf("s3fs", "s3fs_", PANDAS | OBJECTS, packages=("s3fs[boto3]", "pandas", "pyarrow")),
    ArmOf("awswrangler", "awswrangler_", PANDAS, formats=TABLES, packages=("awswrangler",)),
    ArmOf("official client", "official_", OBJECTS, packages=("amazon-s3-encryption-client-python",)),
    ArmOf("Parquet encryption", "parquet_encryption", PYARROW | POLARS, formats=frozenset({"parquet"})),
)
ARMS: Final = OWN + PEERS


def kms_calls_modelled(arm: str, files: int) -> float | None:
    """KMS calls that S3 makes inside for one run, which no client sees.

    One for each object written or read under SSE-KMS. With a bucket key S3 keeps a key of the bucket for a while, and
    asks once in that while: 1 a run. Source: S3 User Guide, "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys".
    """
    return {"SSE-KMS": float(files), "SSE-KMS, bucket key": 1.0}.get(arm)
