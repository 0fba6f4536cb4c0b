"""The demo: it shows what it says, and it does notice when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.cli import demo, main

if TYPE_CHECKING:
    from pathlib import Path

# Those of the libraries, for their developers: a command does not show them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("kind", ["moto", "seaweedfs"])
def test_the_demo_compares_every_cell_and_leaves_a_chart(tmp_path: Path, kind: str) -> None:
    words = [sys.executable, "-m", "arrowseal", "demo", "--s3", kind, "--rows", "300", "--output", "charts"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"AWS_PROFILE": "none"})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "54 reads of 5,700 cells each: every cell came back as it was written." in done.stdout
    assert (tmp_path / "charts" / "arrowseal-demo.png").read_bytes().startswith(PNG)
    assert max(map(len, done.stdout.splitlines())) <= 100
    for words_of_it in (
        "300 rows, 19 columns",
        "x-amz-meta-x-amz-c ",
        "x-amz-meta-x-amz-key-v2",
        "pandas.read_csv",
        "polars.read_parquet",
        "pyarrow.read_table",
        "CSE V3",
        "AuthenticationError: ",
        "EncryptionContextError: ",
        "NotEncryptedError: ",
        "CommitmentPolicyError: ",
    ):
        assert words_of_it in done.stdout


@pytest.fixture
def small_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of a demo that is over soon."""
    monkeypatch.setattr(demo, "ROUNDS", 1)
    return ["demo", "--rows", "50", "--output", str(tmp_path)]


def test_a_cell_that_changed_is_reported_and_fails(
    small_demo: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = demo.READERS["pandas"]

    def one_cell_off(file_type: str, url: str, client: Any) -> Any:
        frame = honest(file_type, url, client)
        if "cse-v3" in url:
            frame.loc[7, "distance"] += 1
        return frame

    monkeypatch.setitem(demo.READERS, "pandas", one_cell_off)
    assert main(small_demo) == 1
    output, errors = capsys.readouterr()
    assert "every cell came back" not in output
    assert [line.split(": ")[1] for line in errors.splitlines()] == [
        f"s3://arrowseal/cse-v3/flights.{file_type} read with pandas" for file_type in demo.FILE_TYPES
    ]
    assert "column distance: 1 of 50 cells differ, the first in row 7" in errors


def test_an_object_changed_in_the_bucket_fails(
    small_demo: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = demo.write_all

    def write_and_tamper(running: demo.Demo, done: Any) -> None:
        honest(running, done)
        s3 = running.servers.s3_client()
        name = {"Bucket": running.servers.bucket, "Key": "cse-v2/flights.parquet"}
        stored = s3.get_object(**name)
        body = stored["Body"].read()
        s3.put_object(**name, Body=body[:-1] + bytes([body[-1] ^ 1]), Metadata=stored["Metadata"])

    monkeypatch.setattr(demo, "write_all", write_and_tamper)
    assert main(small_demo) == 1
    output, errors = capsys.readouterr()
    assert "every cell came back" not in output
    assert errors.startswith("arrowseal: s3://arrowseal/cse-v2/flights.parquet")
    assert "authenticate" in errors


def test_an_attack_that_is_not_refused_fails(
    small_demo: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_tamper", lambda running, arm: running.url(arm, "parquet"))
    assert main(small_demo) == 1
    output, errors = capsys.readouterr()
    assert "NOT REFUSED" in output
    assert "a flipped bit was not refused" in errors
    assert "every cell came back" not in output


def test_without_matplotlib_the_extra_is_named_before_the_work(
    small_demo: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    assert main(small_demo) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert "arrowseal[demo]" in errors
