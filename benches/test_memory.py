"""The most memory that one large write or read takes, in a process of its own, above the bare interpreter's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from servers import BUCKET, Endpoint

if TYPE_CHECKING:
    from arrowseal.local import LocalServers

MIB = 1 << 20
pytestmark = [pytest.mark.full, pytest.mark.one_server]
PEAK = """
import json, re

def peak():
    # Not ru_maxrss, which a new program inherits from the process that started it.
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) * 1024

bare = peak()
{work}
print(json.dumps(peak() - bare))
"""
WRITE = """
import arrowseal
client = arrowseal.Client({key!r})
piece = bytes(range(256)) * 4096
with client.open("s3://{bucket}/generated", "wb") as file:
    for _ in range({mebibytes}):
        file.write(piece)
"""
READ = """
import arrowseal
client = arrowseal.Client({key!r})
assert len(client.get("s3://{bucket}/whole")) == {mebibytes} << 20
"""
STREAM = """
import arrowseal
client = arrowseal.Client({key!r})
size, total = {mebibytes} << 20, 0
with client.open("s3://{bucket}/streamed", "rb") as file:
    while piece := file.read_buffer(1 << 20):
        total += len(memoryview(piece))
assert total == size
"""


def peak_bytes(work: str, endpoint: Endpoint, servers: LocalServers, mebibytes: int) -> int:
    """What a new interpreter holds at most while it does `work`, above what it holds when it starts."""
    program = PEAK.format(work=work.format(key=servers.kms_key_arn, bucket=BUCKET, mebibytes=mebibytes))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ |= endpoint.environ(servers)
    answer = subprocess.run([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, check=True)
    return int(json.loads(answer.stdout))


def test_writing_4_gib_from_a_generator(discarding_endpoint: Endpoint, servers: LocalServers, record: Any) -> None:
    peak = peak_bytes(WRITE, discarding_endpoint, servers, 4096)
    record("write 4 GiB from a generator", f"{peak / MIB:.0f} MiB above the interpreter (bound: 256)")


@pytest.mark.parametrize("mebibytes", [256, 1024])
def test_reading_whole(endpoint: Endpoint, servers: LocalServers, record: Any, mebibytes: int) -> None:
    endpoint.client(servers).put(f"s3://{BUCKET}/whole", os.urandom(mebibytes * MIB))
    peak = peak_bytes(READ, endpoint, servers, mebibytes)
    record(f"read {mebibytes} MiB", f"{peak / MIB - mebibytes:.0f} MiB above the object (bound: 64)")


@pytest.mark.parametrize("mode", ["by its index", "in two passes"])
def test_streaming_4_gib(endpoint: Endpoint, servers: LocalServers, record: Any, mode: str) -> None:
    client, piece = endpoint.client(servers), bytes(range(256)) * 4096
    with client.open(f"s3://{BUCKET}/streamed", "wb") as file:
        for _ in range(4096):
            file.write(piece)
    if mode == "in two passes":
        endpoint.s3().delete_object(Bucket=BUCKET, Key="_arrowseal.streamed.index")
    peak = peak_bytes(STREAM, endpoint, servers, 4096)
    client.delete(f"s3://{BUCKET}/streamed")
    record(f"stream 4 GiB {mode}", f"{peak / MIB:.0f} MiB above the interpreter (bound: 256)")
