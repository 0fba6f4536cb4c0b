"""Hadoop's S3A, told by what `arrowseal emr config` prints, lists and reads what `interop="analytics"` writes.

Slow and asked for: `ARROWSEAL_TEST_OFFICIAL_PEERS=1 python -m pytest tests/interop/test_hadoop.py` on a machine with a
JDK and Maven. The Java client in it is of the line that does not know format V3, as is the one that Hadoop asks for.
"""

from __future__ import annotations

import base64
import io
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
from arrowseal import TransferOptions, emr
from lake import trips
from official_peers import build, encoded, needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers

SOURCES = Path(__file__).with_name("hadoop")
PART = 5 * 2**20


class S3a:
    """A process with a file system of S3A."""

    def __init__(self, command: list[str], servers: LocalServers) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(
            command,
            env=inherited | servers.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, *fields: str | bytes) -> bytes:
        """The answer to a command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join(map(encoded, fields)) + "\n")
        self._process.stdin.flush()
        outcome, _, answer = self._process.stdout.readline().rstrip("\n").partition("\t")
        assert outcome == "ok", base64.b64decode(answer).decode() or f"exit code {self._process.poll()}"
        return base64.b64decode(answer)

    def lengths(self, url: str) -> dict[str, int]:
        """What it lists under a prefix, by name."""
        lines = self.ask("list", url).decode().splitlines()
        return {path.rpartition("/")[2]: int(length) for path, length in (line.split("\t") for line in lines)}

    def read(self, url: str, begin: int, end: int) -> bytes:
        """A range of a file."""
        return self.ask("range", url, str(begin), str(end - begin))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


@pytest.fixture(scope="module")
def s3a(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, seaweedfs_servers: LocalServers
) -> Iterator[S3a]:
    needs("java", "mvn")
    assert pytestconfig.cache is not None
    home, folder = pytestconfig.cache.mkdir("hadoop"), tmp_path_factory.mktemp("s3a")
    jars = home / "jars"
    if not jars.exists():
        fetched = home / "fetched"
        pom = SOURCES / "pom.xml"
        build(["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"])
        fetched.rename(jars)
    site = folder / "core-site.xml"
    site.write_text(emr.settings("cse", "s3a", kms_key_id=seaweedfs_servers.kms_key_arn).text)
    system = S3a(
        ["java", "-cp", f"{jars}/*", str(SOURCES / "S3aClient.java"), str(site), str(folder)], seaweedfs_servers
    )
    yield system
    system.close()


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_s3a_lists_the_lengths_and_reads_the_bytes_of_what_we_write_for_engines(
    s3a: S3a, seaweedfs_servers: LocalServers
) -> None:
    client = seaweedfs_servers.client(interop="analytics", transfer=TransferOptions(part_bytes=PART))
    sizes = [1, 15, 16, 17, 4096, 100_003, 2 * PART + 5]
    for size in sizes:
        client.put(bucket=seaweedfs_servers.bucket, key=f"s3a/objects/{size}", data=content(size))
    base = f"s3a://{seaweedfs_servers.bucket}/s3a/objects"
    listed = {name: length for name, length in s3a.lengths(base).items() if not name.startswith("_")}
    assert listed == {str(size): size for size in sizes}
    for size in sizes:
        assert s3a.read(f"{base}/{size}", 0, size) == content(size)
        assert s3a.read(f"{base}/{size}", size // 2, size) == content(size)[size // 2 :]


def test_s3a_finds_the_footer_of_every_file_of_a_dataset(s3a: S3a, seaweedfs_servers: LocalServers) -> None:
    client = seaweedfs_servers.client(interop="analytics")
    bucket = seaweedfs_servers.bucket
    written = sa.write_dataset(trips(), f"s3://{bucket}/s3a/trips", partitioning=["year"], client=client)
    lengths = s3a.lengths(f"s3a://{bucket}/s3a/trips")
    rows = 0
    for file in written.files:
        url = file.path.replace("s3://", "s3a://")
        data = s3a.read(url, 0, file.size)
        assert data[-4:] == b"PAR1"
        rows += pq.read_table(io.BytesIO(data)).num_rows
    assert rows == trips().num_rows
    assert sum(lengths.values()) > 0


def test_we_read_what_s3a_writes(s3a: S3a, seaweedfs_servers: LocalServers) -> None:
    bucket = seaweedfs_servers.bucket
    reader = seaweedfs_servers.client(commitment_policy="REQUIRE_ENCRYPT_ALLOW_DECRYPT")
    for size in (1, 16, 100_003):
        s3a.ask("write", f"s3a://{bucket}/s3a/theirs/{size}", content(size))
        got = reader.get(bucket=bucket, key=f"s3a/theirs/{size}")
        assert (got, got.encryption) == (content(size), "CSE V2")


def test_s3a_does_not_read_format_v3(s3a: S3a, seaweedfs_servers: LocalServers) -> None:
    seaweedfs_servers.client().put(bucket=seaweedfs_servers.bucket, key="s3a/v3/o", data=b"committed")
    with pytest.raises(AssertionError):
        s3a.read(f"s3a://{seaweedfs_servers.bucket}/s3a/v3/o", 0, 9)
