"""Benchmark runs that nobody measured: test data for reports, drawn from a seed and from costs made up for each arm."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrowseal.bench.arms import ARMS, kms_calls_modelled
from arrowseal.bench.samples import Absence, Machine, Run, Sample, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIZES = (10_000, 100_000, 1_000_000, 16_000_000, 64_000_000)
KMS_SECONDS = 0.008


@dataclass(frozen=True)
class Costs:
    """Of one arm: seconds a request, seconds a byte, KMS calls of a file, seconds a byte of crypto."""

    request: float
    byte: float
    kms: float = 0.0
    crypto: float = 0.0


COSTS = {
    "PLAIN": Costs(1.2e-3, 0.5e-9),
    "SSE-S3": Costs(1.3e-3, 0.55e-9),
    "SSE-KMS": Costs(1.4e-3, 0.56e-9),
    "SSE-KMS, bucket key": Costs(1.4e-3, 0.56e-9),
    "SSE-C": Costs(1.4e-3, 0.6e-9),
    "CSE V2": Costs(1.3e-3, 0.5e-9, kms=1.0, crypto=0.11e-9),
    "CSE V3": Costs(1.3e-3, 0.5e-9, kms=1.0, crypto=0.1e-9),
    "CSE V3, data key reuse": Costs(1.3e-3, 0.5e-9, kms=0.001, crypto=0.1e-9),
    "boto3": Costs(2.0e-3, 0.9e-9),
    "obstore": Costs(0.5e-3, 0.6e-9),
    "pyarrow S3FileSystem": Costs(1.5e-3, 0.8e-9),
    "polars native": Costs(0.9e-3, 0.6e-9),
    "s3fs": Costs(3.0e-3, 1.2e-9),
    "awswrangler": Costs(4.0e-3, 1.1e-9),
    "official client": Costs(6.0e-3, 5.5e-9, kms=1.0, crypto=2e-9),
    "Parquet encryption": Costs(1.5e-3, 0.9e-9, kms=1.0, crypto=0.4e-9),
}
FACES = {
    "polars native": {"polars"},
    "awswrangler": {"pandas"},
    "Parquet encryption": {"pyarrow", "polars"},
    "pyarrow S3FileSystem": {"", "pyarrow"},
    "obstore": {""},
    "official client": {""},
    "s3fs": {"", "pandas"},
}


def made_up_run(
    *,
    rounds: int = 7,
    sizes: Sequence[int] = (10_000, 64_000_000),
    arms: Iterable[str] = ("PLAIN", "CSE V3", "boto3"),
    faces: Sequence[str] = (),
    files: Sequence[int] = (),
    latency_seconds: float = 0.0,
    noise: float = 0.04,
    seed: int = 1,
) -> Run:
    """Objects of some sizes; tables by some faces; and many files of 20 kB by the first face."""
    draw = random.Random(seed)
    cases = [(f"object {size // 1000:,} KB", "object", "bytes", "", size, 1) for size in sizes]
    for face in faces:
        cases.append(("flights CSV", "table", "csv", face, 34_000_000, 1))
        cases.append(("flights Parquet", "table", "parquet", face, 6_000_000, 1))
    cases += [(f"{count:,} Parquet files", "files", "parquet", faces[0], count * 20_000, count) for count in files]
    samples = []
    for workload, kind, file_format, face, size, count in cases:
        for operation in ("read", "write"):
            for number in range(rounds):
                slow = draw.lognormvariate(0.0, 0.15)  # a slow round is slow for all
                taking_part = [arm for arm in arms if face in FACES.get(arm, {face})]
                draw.shuffle(taking_part)
                for arm in taking_part:
                    factor = slow * draw.lognormvariate(0.0, noise)
                    cost = COSTS.get(arm, Costs(1e-3, 1e-9))
                    request = cost.request + latency_seconds
                    kms, s3 = cost.kms * KMS_SECONDS * count / 4, request * count / 4 + cost.byte * size
                    crypto, decode = cost.crypto * size, (2e-9 * size + 2e-4 * count) * (kind != "object")
                    write = 1.6 if operation == "write" else 1.0
                    wall = (kms + s3 * write + crypto + decode) * factor + 2e-4
                    own = "SSE" in arm or "CSE" in arm or arm == "PLAIN"
                    samples.append(
                        Sample(
                            workload=workload,
                            operation=operation,
                            kind=kind,
                            format=file_format,
                            face=face,
                            plaintext_bytes=size,
                            files=count,
                            arm=arm,
                            round=number,
                            wall_seconds=wall,
                            cpu_seconds=wall * 0.6,
                            peak_memory_bytes=int(size * (1.1 + 0.1 * draw.random()) + 2e6),
                            first_row_seconds=wall * 0.5 if operation == "read" else None,
                            requests=float(count),
                            kms_calls=max(1.0, cost.kms * count) if cost.kms else 0.0,
                            kms_calls_modelled=kms_calls_modelled(arm, count),
                            bytes_up=size if operation == "write" else 400 * count,
                            bytes_down=size if operation == "read" else 300 * count,
                            kms_seconds=kms * factor if own else None,
                            s3_seconds=s3 * write * factor if own else None,
                            crypto_seconds=crypto * factor if own else None,
                            decode_seconds=decode * factor if own else None,
                        )
                    )
    absences = [
        Absence("SSE-C", "", "not supported by this server"),
        Absence("awswrangler", "", "awswrangler is not installed (No module named 'awswrangler')"),
    ]
    settings = Settings(
        quick=rounds < 7,
        rounds=rounds,
        seed=seed,
        server="made up, no server",
        command="arrowseal bench --output results",
        started="2026-01-01T00:00:00Z",
        latency_seconds=latency_seconds,
    )
    machine = Machine(
        processor="made up, no processor",
        features=["aes", "vaes"],
        cores=2,
        memory_bytes=8_000_000_000,
        system="Linux 6.1",
        python="3.11.2",
        versions={"arrowseal": "0.1.0", "boto3": "1.44.0"},
        limits={"seal": 4.2e9, "open": 4.0e9, "copy": 9.5e9},
    )
    return Run(settings, machine, samples, absences)


def with_everything() -> Run:
    """All arms, on 5 sizes, two tables by three faces, and 100 and 1,000 files."""
    return made_up_run(
        rounds=9,
        sizes=SIZES,
        arms=[arm.name for arm in ARMS],
        faces=("pandas", "polars", "pyarrow"),
        files=(100, 1_000),
    )
