"""The arms by which two commits are compared: `commit_arms.py PREFIX`, with the `arrowseal` of one of them on its path.

A process of `compare_commits.py`: it takes the name of an arm a line, runs it once, and answers with the seconds. Only
names that every version has; endpoints and the KMS key come from the environment.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import arrowseal
import faces
from servers import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "16 MB": 16_000_000, "64 MB": 64_000_000}
TABLE = ("4 MB", 4_000_000)
PROTECTIONS: dict[str, Any] = {"CSE V3": arrowseal.CSE(), "PLAIN": arrowseal.PLAIN}
AT_ONCE_BYTES = 1_000_000
"""What is smaller is moved often enough in one run to make so much together, ten times at most."""


def arms(prefix: str) -> dict[str, Callable[[], object]]:
    """Every arm, its object written, its answer checked."""
    client, made = arrowseal.Client(os.environ["ARROWSEAL_KMS_KEY_ID"]), {}
    for size, length in SIZES.items():
        content, times = os.urandom(length), min(10, max(1, AT_ONCE_BYTES // length))
        for name, encryption in PROTECTIONS.items():
            url = f"s3://{BUCKET}/{prefix}/{name}-{length}".replace(" ", "-")
            put = partial(client.put, url, content, encryption=encryption)
            get = partial(client.get, url, allow_plaintext=True)
            put()
            assert get() == content, name
            made[f"put {size}, {name}"] = _repeated(put, times)
            made[f"get {size}, {name}"] = _repeated(get, times)
    size, length = TABLE
    content_table = faces.table(length)
    for face in ("pandas", "polars", "pyarrow"):
        url = f"s3://{BUCKET}/{prefix}/{face}.parquet"
        write = partial(faces.write, face, "parquet", faces.of_face(face, content_table), url, client=client)
        read = partial(faces.read, face, "parquet", url, client=client)
        write()
        assert len(read()) == content_table.num_rows, face
        made[f"write {size} Parquet, {face}"] = write
        made[f"read {size} Parquet, {face}"] = read
    return made


def _repeated(work: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [work() for _ in range(times)]


def main() -> None:
    """Say which arrowseal this is, then answer until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    made = arms(sys.argv[1])
    print(arrowseal.__file__, *made, sep="\t", file=answers, flush=True)
    for line in sys.stdin:
        work = made[line.strip()]
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
