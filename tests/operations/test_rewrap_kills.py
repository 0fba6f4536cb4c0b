"""A rewrap that is killed at any request, or by signal 9, leaves every object readable; a second run finishes it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from kills import Killed, dying_at

import memory_s3
from arrowseal.exceptions import ConfigurationError, KmsKeyMismatchError
from arrowseal.operations import rewrap, rewrapping

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal import Client
    from lake import Lake

STEP = 1 if os.environ.get("ARROWSEAL_TEST_KILLS") else 5
"""Odd, so that both ends of requests come."""
CONTENTS = {"a/1": b"one", "a/2": b"two", "a/large": os.urandom(100_000)}


def reads(client: Client, key: str) -> Any:
    """The content of an object under the one key of a client; None if it is not under that key."""
    try:
        return client.get(f"s3://lake/{key}")
    except KmsKeyMismatchError:
        return None


@pytest.mark.parametrize("ignored", [set(), {"CopyObject"}], ids=["copies", "sent again"])
@pytest.mark.parametrize("resumed", [False, True], ids=["anew", "resumed"])
def test_killed_at_any_request_every_object_is_readable_and_a_second_run_finishes(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool, ignored: set[str]
) -> None:
    monkeypatch.setattr(rewrapping, "COPY_LIMIT", 2**16)
    monkeypatch.setattr(memory_s3, "MIN_PART_BYTES", 2**16)
    lake.put(CONTENTS)
    before, new_key = dict(lake.s3.server.objects), lake.kms.create_key()
    lake.s3.server.ignored |= ignored
    old, new = lake.make_client(cache=None), lake.make_client(kms_key_id=new_key, cache=None)
    at, points = 0, 0
    while True:
        lake.s3.server.objects = dict(before)
        lake.s3.server.open_uploads.clear()
        file = tmp_path / f"report-{at}"
        dying_at(monkeypatch, at)
        try:
            rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client(), report=file, concurrency=1)
        except Killed:
            points += 1
        else:
            break
        finally:
            dying_at(monkeypatch, None)
        for key, content in CONTENTS.items():
            assert content in (reads(old, key), reads(new, key)), f"{key} at {at}"
        resume = file if resumed and file.exists() else None
        report = rewrap(
            "s3://lake/a/", to_key=new_key, client=lake.make_client(), report=file, resume=resume, concurrency=1
        )
        assert {row.state for row in report.results} <= {"done", "already"}, f"at {at}"
        for key, content in CONTENTS.items():
            assert reads(new, key) == content, f"{key} at {at}"
            assert reads(old, key) is None
        at += STEP if (not resumed and not ignored) or STEP == 1 else 7
    assert points >= 6


def test_what_the_report_of_a_killed_run_names_is_not_asked_for_again(lake: Lake, new_key: str, tmp_path: Path) -> None:
    lake.put({f"a/{number}": b"x" for number in range(6)})
    file = tmp_path / "report"

    def kill(done: int, _: int | None, __: object) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        rewrap("s3://lake/a/", to_key=new_key, client=lake.client, report=file, progress=kill, concurrency=1)
    with file.open("ab") as torn:
        torn.write(b'{"path": "s3://lake/a/5", "sta')
    lake.forget()
    report = rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client(), report=file, resume=file)
    states = [row.state for row in report.results]
    assert states.count("already") >= 4
    assert set(states) <= {"already", "done"}
    named = {key for key in lake.asked("HeadObject") if "probe" not in key}
    assert len(named) == states.count("done") <= 2
    again = rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client(), resume=file)
    assert again.count("already") == 6
    frames = [report, report.to_arrow(), report.to_pandas(), report.to_polars()]
    lake.forget()
    for frame in frames:
        assert rewrap("s3://lake/a/", to_key=new_key, client=lake.client, resume=frame).count("already") == 6
    assert lake.asked("HeadObject") == []


@pytest.mark.parametrize("content", [bytes(range(256)), b"\n", b'{"path": 1}\n', b'{"state": "done"}\n{"pa'])
def test_a_file_that_is_no_report_is_not_resumed_from_and_not_appended_to(
    lake: Lake, new_key: str, tmp_path: Path, content: bytes
) -> None:
    lake.put({"a/1": b"x"})
    file = tmp_path / "notes"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="notes has no row of a report"):
        rewrap("s3://lake/a/", to_key=new_key, client=lake.client, report=file, resume=file)
    assert file.read_bytes() == content
    assert reads(lake.make_client(), "a/1") == b"x"


@pytest.mark.parametrize("content", [b"", b"{", b'{"path": "s3://lake/a/1", "sta', b'{"path": "s3://lake/a/1", "sta\n'])
def test_a_report_that_was_killed_before_its_first_row_was_whole_is_resumed_from(
    lake: Lake, new_key: str, tmp_path: Path, content: bytes
) -> None:
    lake.put({"a/1": b"x"})
    file = tmp_path / "report"
    file.write_bytes(content)
    report = rewrap("s3://lake/a/", to_key=new_key, client=lake.client, report=file, resume=file)
    assert report.count("done") == 1
    again = rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client(), report=file, resume=file)
    assert again.count("already") == 1


def test_an_object_that_was_written_after_the_killed_run_is_looked_at_again(lake: Lake, new_key: str) -> None:
    lake.client.put("s3://lake/a/1", b"x")
    first = rewrap("s3://lake/a/", to_key=new_key, client=lake.client)
    lake.make_client().put("s3://lake/a/1", b"later, under the old key")
    second = rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client(), resume=first)
    assert [row.state for row in second.results] == ["done"]
    assert reads(lake.make_client(kms_key_id=new_key), "a/1") == b"later, under the old key"


def test_signal_9_leaves_every_object_readable_and_a_second_run_finishes(
    local_servers: Any, raw_kms: Any, tmp_path: Path
) -> None:
    new_key = raw_kms.create_key()["KeyMetadata"]["Arn"]
    prefix = f"s3://{local_servers.bucket}/{secrets.token_hex(4)}/"
    client = local_servers.client()
    contents = {f"{prefix}{number:03}": os.urandom(100) for number in range(24)}
    for url, content in contents.items():
        client.put(url, content)
    words = [sys.executable, "-m", "arrowseal", "rewrap", prefix, "--to-key", new_key, "--report"]
    for turn, lines in enumerate((2, 8)):
        file = tmp_path / f"report-{turn}"
        with subprocess.Popen([*words, file], env=os.environ | local_servers.environ) as process:
            while process.poll() is None and (not file.exists() or file.read_bytes().count(b"\n") < lines):
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        reader = local_servers.client(decrypt_key_ids=[new_key], cache=None)
        assert all(reader.get(url) == content for url, content in contents.items())
    report = rewrap(prefix, to_key=new_key, client=local_servers.client())
    assert report.ok
    reader = local_servers.client(kms_key_id=new_key, cache=None)
    assert all(reader.get(url) == content for url, content in contents.items())
