"""Reading one large object: CSE V3 against PLAIN through the same pipeline, and against what reads plain objects today.

The server is versitygw where it is on the PATH (it sends files without touching them, so that the client is measured),
otherwise SeaweedFS. PLAIN and the peers read the same bytes unencrypted; PLAIN is not checked against a stored
checksum, boto3 checks the one that the server sends. obstore takes part where it is installed.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from arrowseal import PLAIN
from interleaved import Arms, Replay, Seconds, measure, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from arrowseal.local import LocalServers

MEBIBYTES = [64, 256, 1024]
ARMS = ["CSE V3", "PLAIN", "boto3 read", "boto3 download_fileobj", "pyarrow S3FileSystem", "obstore"]
ACCESS, SECRET, REGION = "benchmark", "benchmark-secret", "us-east-1"
REPLAY = Replay()
_measured: dict[int, Seconds] = {}


@pytest.fixture(scope="session")
def s3_endpoint(servers: LocalServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Endpoint, access key and secret key of the server to read from."""
    versitygw = shutil.which("versitygw")
    if versitygw is None:
        yield servers.s3_endpoint, servers.access_key, servers.secret_key
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    root: Path = tmp_path_factory.mktemp("versitygw")
    command = [versitygw, "-q", "-p", address, "-a", ACCESS, "-s", SECRET, "--keep-alive", "posix", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host, port = address.split(":")
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            break
        time.sleep(0.1)
    yield f"http://{address}", ACCESS, SECRET
    process.kill()
    process.wait()


def peers(endpoint: str, access: str, secret: str, s3: Any) -> dict[str, Callable[[], object]]:
    """What reads plain objects today, each into memory, whole."""
    from pyarrow.fs import S3FileSystem

    def download() -> object:
        target = io.BytesIO()
        s3.download_fileobj("large", "plain", target)
        return target.getbuffer()

    files = S3FileSystem(
        access_key=access, secret_key=secret, region=REGION, scheme="http", endpoint_override=urlsplit(endpoint).netloc
    )
    arms: dict[str, Callable[[], object]] = {
        "boto3 read": lambda: s3.get_object(Bucket="large", Key="plain")["Body"].read(),
        "boto3 download_fileobj": download,
        "pyarrow S3FileSystem": lambda: files.open_input_file("large/plain").read_buffer(),
    }
    try:
        import obstore
        from obstore.store import S3Store
    except ImportError:
        return arms
    store = S3Store(
        "large",
        endpoint=endpoint,
        access_key_id=access,
        secret_access_key=secret,
        region=REGION,
        client_options={"allow_http": True},
    )
    return arms | {"obstore": lambda: obstore.get(store, "plain").bytes()}


def measured(mebibytes: int, servers: LocalServers, s3_endpoint: tuple[str, str, str]) -> Seconds:
    """The seconds of all arms for one size, measured once; every answer is compared before the clock starts."""
    if mebibytes not in _measured:
        import boto3

        endpoint, access, secret = s3_endpoint
        s3 = boto3.Session(access, secret, region_name=REGION).client("s3", endpoint_url=endpoint)
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket="large")
        client, content = servers.client(s3=s3), os.urandom(mebibytes << 20)
        client.put("s3://large/cse", content)
        client.put("s3://large/plain", content, encryption=PLAIN)
        arms: Arms = {
            "CSE V3": lambda: client.get("s3://large/cse"),
            "PLAIN": lambda: client.get("s3://large/plain", allow_plaintext=True),
        } | peers(endpoint, access, secret, s3)
        for name, read in arms.items():
            answer: Any = read()
            assert bytes(memoryview(answer)) == content, name
        _measured[mebibytes] = measure(arms, rounds=7, warmup=1)
    return _measured[mebibytes]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("mebibytes", MEBIBYTES)
@pytest.mark.benchmark(timer=REPLAY)
def test_large_reads(
    benchmark: Any, servers: LocalServers, s3_endpoint: tuple[str, str, str], mebibytes: int, arm: str
) -> None:
    seconds = measured(mebibytes, servers, s3_endpoint)
    if arm not in seconds:
        pytest.skip(f"{arm} is not installed")
    benchmark.group = f"get {mebibytes} MiB"
    benchmark.extra_info["times PLAIN"] = round(ratio(seconds, arm, "PLAIN"), 3)
    benchmark.extra_info["times CSE V3"] = round(ratio(seconds, arm, "CSE V3"), 3)
    benchmark.extra_info["MiB/s"] = round(mebibytes / sorted(seconds[arm])[len(seconds[arm]) // 2])
    REPLAY.show(benchmark, seconds[arm])
