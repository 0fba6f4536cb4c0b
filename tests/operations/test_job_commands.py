"""`arrowseal rewrap` and `arrowseal migrate`: what they print and return, on embedded servers."""

from __future__ import annotations

import json
import secrets
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN, cli
from arrowseal.cli import DONE, FAILED, MISUSED
from arrowseal.exceptions import StoreAccessDeniedError
from arrowseal.operations.conditions import Conditions

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal.local import LocalServers


@pytest.fixture
def prefix(local_servers: LocalServers, local_environ: dict[str, str]) -> str:
    """The URL of a prefix of its own with two objects, under the servers' KMS key."""
    url = f"s3://{local_servers.bucket}/{secrets.token_hex(4)}/"
    client = local_servers.client()
    client.put(url + "1", b"one")
    client.put(url + "2", b"two")
    return url


@pytest.fixture
def new_key(raw_kms: Any) -> str:
    return str(raw_kms.create_key()["KeyMetadata"]["Arn"])


def test_rewrap_plans_then_does_and_tells_what_is_not_affected(
    local_servers: LocalServers, prefix: str, new_key: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["rewrap", prefix, "--to-key", new_key, "--dry-run"]) == DONE
    plan = capsys.readouterr().out.split()
    assert plan == [
        "objects",
        "2",
        "planned",
        "2",
        "stored",
        "bytes",
        "38",
        "wrapped",
        "keys",
        "2",
        "old",
        "versions",
        "0",
        "KMS",
        "ReEncrypt",
        "2",
    ]
    report = tmp_path / "report.jsonl"
    assert cli.main(["rewrap", prefix, "--to-key", new_key, "--report", str(report)]) == DONE
    out = capsys.readouterr().out
    assert "Old versions" in out
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert {(row["state"], row["key"]) for row in rows} == {("done", new_key)}
    assert local_servers.client(kms_key_id=new_key).get(prefix + "1") == b"one"
    assert cli.main(["rewrap", prefix, "--to-key", new_key, "--report", str(report), "--resume"]) == DONE
    assert "already" in capsys.readouterr().out


def test_an_object_that_cannot_be_rewrapped_is_told_and_the_command_fails(
    local_servers: LocalServers, prefix: str, new_key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    local_servers.client().put(prefix + "3", b"x", encryption_context={"team": "weather"})
    assert cli.main(["rewrap", prefix, "--to-key", new_key]) == FAILED
    said = capsys.readouterr()
    assert said.err.startswith(f"arrowseal: refused: {prefix}3")
    assert said.err.endswith("[here: --encryption-context NAME=VALUE]\n")
    assert "done" in said.out
    assert cli.main(["rewrap", prefix, "--to-key", new_key, "--any-context"]) == DONE


def test_a_report_of_an_alias_that_has_moved_since_is_not_gone_on_from(
    local_servers: LocalServers, prefix: str, new_key: str, raw_kms: Any, capsys: Any, tmp_path: Path
) -> None:
    alias, newest = f"alias/{secrets.token_hex(4)}", str(raw_kms.create_key()["KeyMetadata"]["Arn"])
    raw_kms.create_alias(AliasName=alias, TargetKeyId=new_key)
    words = ["rewrap", prefix, "--to-key", alias, "--report", str(tmp_path / "r.jsonl")]
    assert cli.main(words) == DONE
    assert cli.main([*words, "--resume"]) == DONE
    assert "already       2" in capsys.readouterr().out
    raw_kms.update_alias(AliasName=alias, TargetKeyId=newest)
    assert cli.main([*words, "--resume", "--kms-key-id", new_key]) == DONE
    assert local_servers.client(kms_key_id=newest).get(prefix + "1") == b"one"


def test_every_trouble_names_the_object_and_a_warning_is_one_line(
    local_servers: LocalServers, prefix: str, new_key: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def nowhere(probe: Conditions, *_: Any) -> bool:
        warnings.warn("a probe\nstays", RuntimeWarning, stacklevel=1)
        raise StoreAccessDeniedError(f"{prefix}_arrowseal.1.probe: access denied")

    monkeypatch.setattr(Conditions, "honoured", nowhere)
    assert cli.main(["rewrap", prefix, "--to-key", new_key]) == FAILED
    assert capsys.readouterr().err.splitlines() == [
        "arrowseal: a probe stays",
        *(f"arrowseal: failed: {prefix}{name}: {prefix}_arrowseal.1.probe: access denied" for name in "12"),
    ]


def test_migrate_takes_plain_objects_when_told_to_and_encryption_off_when_told_to(
    local_servers: LocalServers, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = local_servers.client(allow_plaintext=True)
    client.put(prefix + "3.csv", b"n\n1\n", encryption=PLAIN)
    assert cli.main(["migrate", prefix]) == FAILED
    said = capsys.readouterr().err
    assert "allow_plaintext=True" in said
    assert said.endswith("[here: --allow-plaintext]\n")
    assert cli.main(["migrate", prefix, "--allow-plaintext", "--parquet", "--delete-source"]) == DONE
    assert {row.location.name for row in client.list(prefix)} == {"1", "2", "3.parquet"}
    assert client.head(prefix + "3.parquet").encryption == "CSE V3"
    assert cli.main(["migrate", prefix, "--to", "plain"]) == DONE
    assert client.head(prefix + "1").encryption in ("PLAIN", "SSE-S3")
    assert bytes(client.get(prefix + "1")) == b"one"


@pytest.mark.parametrize(
    "words",
    [["rewrap", "s3://b/p"], ["rewrap", "s3://b/p", "--to-key", "k", "--resume"], ["migrate", "s3://b", "--to", "v9"]],
)
def test_what_is_asked_for_wrongly_is_refused(words: list[str], local_environ: dict[str, str]) -> None:
    assert cli.main(words) == MISUSED
