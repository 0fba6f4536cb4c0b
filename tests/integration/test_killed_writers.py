"""A writer that is killed in the midst of an upload: nothing that can be read, and a sweep that finds the rest; one
that is asked to end leaves nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from arrowseal import cli

if TYPE_CHECKING:
    from arrowseal.local import LocalServers

PART = 8 * 2**20
SWEEP = ("--abort", "--older-than")


@pytest.fixture(params=["local_servers", "seaweedfs_servers"])
def servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LocalServers:
    there: LocalServers = request.getfixturevalue(request.param)
    for name, value in there.environ.items():
        monkeypatch.setenv(name, value)
    return there


def killed_in_an_upload(s3: Any, bucket: str, key: str, number: int = signal.SIGKILL) -> tuple[int, bytes]:
    """`arrowseal cp -` of a stream that does not end, killed by a signal when S3 has a part of it; its exit code, and
    what it said.
    """
    words = [sys.executable, "-m", "arrowseal", "cp", "-", f"s3://{bucket}/{key}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(bytes(2 * PART + 2**20))
        process.stdin.flush()
        while not any_part(s3, bucket, key):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        return process.wait(), process.stderr.read()


def any_part(s3: Any, bucket: str, key: str) -> bool:
    uploads = s3.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", [])
    return any(s3.list_parts(Bucket=bucket, Key=key, UploadId=upload["UploadId"]).get("Parts") for upload in uploads)


def test_nothing_is_to_be_seen_of_a_killed_writer_and_its_upload_is_listed_and_swept(
    servers: LocalServers, capsys: pytest.CaptureFixture[str]
) -> None:
    s3, bucket, key = servers.s3_client(), servers.bucket, f"killed/{secrets.token_hex(4)}"
    url = f"s3://{bucket}/{key}"
    killed_in_an_upload(s3, bucket, key)
    client = servers.client()
    assert not client.exists(url)
    assert client.list(url) == []

    def command(*words: str) -> Any:
        capsys.readouterr()
        assert cli.main(["uploads", url, "--json", *words]) == os.EX_OK
        return json.loads(capsys.readouterr().out)

    (row,) = command()
    assert row["key"] == key
    if row["initiated"][:4] != "2010":  # which is when uploads begin at moto
        assert command(*SWEEP, "24h") == [], "a writer that may be at work is left alone"
    assert [(each["upload_id"], each["aborted"]) for each in command(*SWEEP, "0s")] == [(row["upload_id"], True)]
    assert command() == []
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.list_parts(Bucket=bucket, Key=key, UploadId=row["upload_id"])


def test_a_killed_writer_leaves_the_object_that_it_was_to_replace(servers: LocalServers) -> None:
    s3, bucket, key = servers.s3_client(), servers.bucket, f"killed/{secrets.token_hex(4)}"
    client, url = servers.client(), f"s3://{servers.bucket}/{key}"
    client.put(url, b"before")
    killed_in_an_upload(s3, bucket, key)
    assert client.get(url) == b"before"
    for upload in client.uploads(url):
        client.abort_upload(upload)
    assert client.get(url) == b"before"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda given: str(given),
)
def test_a_writer_that_is_asked_to_end_takes_its_parts_back(servers: LocalServers, number: int, code: int) -> None:
    s3, bucket, key = servers.s3_client(), servers.bucket, f"ended/{secrets.token_hex(4)}"
    before = signal.signal(number, signal.default_int_handler)  # one that is ignored here (`nohup`) is so in a child
    try:
        assert killed_in_an_upload(s3, bucket, key, number) == (code, b"")
    finally:
        signal.signal(number, before)
    assert servers.client().uploads(f"s3://{bucket}/{key}") == []
    assert servers.client().list(f"s3://{bucket}/{key}") == []
