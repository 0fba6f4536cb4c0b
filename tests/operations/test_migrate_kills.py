"""A migration that is killed at any request, or by signal 9, leaves every object readable; a second run finishes it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import mixed
import pytest
import rows
import writers
from kills import Killed, dying_at

import memory_s3
from arrowseal import CSE, PLAIN, V2, CommitmentPolicy, TransferOptions, upload
from arrowseal.operations import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal.encryption import Encryption
    from lake import Lake

STEP = 1 if os.environ.get("ARROWSEAL_TEST_KILLS") else 19
"""Odd, so that both ends of requests come."""


@pytest.mark.parametrize("ignored", [set(), {"CopyObject"}], ids=["copies", "sent again"])
def test_killed_at_any_request_every_object_is_readable_and_a_second_run_finishes(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ignored: set[str]
) -> None:
    for module in (memory_s3, upload):
        monkeypatch.setattr(module, "MIN_PART_BYTES", 2**19)
    transfer = TransferOptions(part_bytes=2**19)
    keys = mixed.keys_of(lake)
    wanted = [("V1", "AES", "metadata"), ("V2", "kms+context", "instruction file"), ("V3", "kms+context", "metadata")]
    contents = {"a/0": b"plain", "a/large": os.urandom(900_000)}
    mixed.put(lake, "a/0", writers.Made(b"plain", {}))
    mixed.put(lake, "a/large", writers.Made(contents["a/large"], {}))
    for number, told in enumerate(wanted, 1):
        row = next(row for row in rows.ROWS if (row.format, row.wrap, row.storage) == told)
        contents[f"a/{number}"] = f"content {number}".encode()
        mixed.put(lake, f"a/{number}", writers.write(row, contents[f"a/{number}"], keys))
    before = dict(lake.s3.server.objects)
    lake.s3.server.ignored |= ignored
    reader = mixed.reader_of_all(lake, keys, transfer=transfer)
    strict = lake.make_client(kms_key_id=keys.arn)
    at, points = 0, 0
    while True:
        lake.s3.server.objects = dict(before)
        lake.s3.server.open_uploads.clear()
        file = tmp_path / f"report-{at}"
        dying_at(monkeypatch, at)
        try:
            client = mixed.reader_of_all(lake, keys, transfer=transfer)
            migrate("s3://lake/a/", client=client, report=file, concurrency=1)
        except Killed:
            points += 1
        else:
            break
        finally:
            dying_at(monkeypatch, None)
        for key, content in contents.items():
            assert reader.get(f"s3://lake/{key}") == content, f"{key} at {at}"
        resume = file if at % 2 and file.exists() else None
        client = mixed.reader_of_all(lake, keys, transfer=transfer)
        report = migrate("s3://lake/a/", client=client, resume=resume, concurrency=1)
        assert {row.state for row in report.results} <= {"done", "already"}, f"at {at}"
        for key, content in contents.items():
            assert strict.get(f"s3://lake/{key}") == content, f"{key} at {at}"
        if resume is None:
            ours = {key for key in lake.keys if "_arrowseal" in key and "probe" not in key}
            assert ours <= {"a/_arrowseal.large.index"}, f"at {at}"
            assert "a/2.instruction" not in lake.keys, f"at {at}"
        at += STEP if not ignored or STEP == 1 else 31
    assert points >= 5


@pytest.mark.parametrize("key", ["a/" + "x" * 1022, "d" * 1000 + "/name"], ids=["name", "directory"])
def test_killed_at_any_request_a_second_run_finds_what_was_written_beside_a_long_key(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    lake.client.put(bucket="lake", key=key, data=b"content", encryption=PLAIN)
    before, at, left = dict(lake.s3.server.objects), 0, 0
    while True:
        lake.s3.server.objects = dict(before)
        dying_at(monkeypatch, at)
        try:
            migrate("s3://lake/", client=lake.make_client(allow_plaintext=True), concurrency=1)
        except Killed:
            at += 1
        else:
            break
        finally:
            dying_at(monkeypatch, None)
        left += any(one.endswith(".migrating") for one in lake.keys)
        assert migrate("s3://lake/", client=lake.make_client(allow_plaintext=True)).ok, f"at {at}"
        assert [one for one in lake.keys if "probe" not in one] == [key], f"at {at}"
        assert lake.make_client().get(bucket="lake", key=key) == b"content", f"at {at}"
    assert left > 3


FORBID = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT


@pytest.mark.parametrize("content", [b"content", b""], ids=["content", "empty"])
@pytest.mark.parametrize(
    ("to", "options"),
    [(CSE(), {}), (CSE(format=V2), {"commitment_policy": FORBID, "format": V2}), (PLAIN, {})],
    ids=["V3", "V2", "plain"],
)
def test_killed_at_any_request_a_second_run_leaves_no_instruction_file(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, to: Encryption, options: dict[str, Any], content: bytes
) -> None:
    arguments = options | {"instruction_files": True, "allow_plaintext": True}
    lake.make_client(**arguments).put("s3://lake/a/o", content, encryption=CSE(instruction_file=True))
    before, at = dict(lake.s3.server.objects), 0
    while True:
        lake.s3.server.objects = dict(before)
        dying_at(monkeypatch, at)
        try:
            migrate("s3://lake/a/o", to=to, client=lake.make_client(**arguments), concurrency=1)
        except Killed:
            at += 1
        else:
            break
        finally:
            dying_at(monkeypatch, None)
        (row,) = migrate("s3://lake/a/o", to=to, client=lake.make_client(**arguments)).results
        assert row.state in ("done", "already"), f"at {at}: {row.reason}"
        assert [key for key in lake.keys if "probe" not in key] == ["a/o"], f"at {at}"
        assert lake.make_client(**options, allow_plaintext=True).get("s3://lake/a/o") == content, f"at {at}"
    assert at > 10


def test_signal_9_leaves_every_object_readable_and_a_second_run_finishes(local_servers: Any, tmp_path: Path) -> None:
    prefix = f"s3://{local_servers.bucket}/{secrets.token_hex(4)}/"
    client = local_servers.client(allow_plaintext=True)
    contents = {f"{prefix}{number:03}": os.urandom(100) for number in range(16)}
    for url, content in contents.items():
        client.put(url, content, encryption=PLAIN)
    file = tmp_path / "report"
    words = [sys.executable, "-m", "arrowseal", "migrate", prefix, "--allow-plaintext", "--report", file]
    with subprocess.Popen(words, env=os.environ | local_servers.environ) as process:
        while process.poll() is None and (not file.exists() or file.read_bytes().count(b"\n") < 4):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert all(client.get(url) == content for url, content in contents.items())
    report = migrate(prefix, client=client, resume=file)
    assert report.ok
    strict = local_servers.client()
    assert all(strict.get(url) == content for url, content in contents.items())
    assert {str(row.location) for row in strict.list(prefix)} == contents.keys()
