"""What CloudTrail's records say: who called KMS for what, counted once each, and what would have been saved."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from typing import TYPE_CHECKING, Any

import boto3
import pandas
import pyarrow.parquet
import pytest
from botocore.stub import Stubber
from trail_samples import ACCOUNT, BEGIN, KEY, NEW_KEY, OTHER, ROLE, by_client, by_s3, record, role

from arrowseal import cli, trail_records
from arrowseal.exceptions import ConfigurationError
from arrowseal.trail import Trail, look_up_trail, read_trail
from arrowseal.trail_records import APIS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(*records: Any, **told: Any) -> Trail:
        path = tmp_path / "records.json"
        path.write_text(json.dumps({"Records": records}))
        return read_trail(path, **told)

    return read


def test_sse_kms_is_known_by_the_object_that_s3_names_and_a_bucket_key_by_the_bucket(read: Any) -> None:
    trail = read(
        by_s3("GenerateDataKey", "arn:aws:s3:::lake/2013/01/flights.csv"),
        by_s3("Decrypt", "arn:aws:s3:::lake/2013/01/a b+c.csv"),
        by_s3("Decrypt", "arn:aws:s3:::lake"),
        by_s3("Decrypt", "arn:aws-cn:s3:::lake-cn/x"),
        by_s3("Decrypt", "arn:aws:s3:eu-west-1:111122223333:accesspoint/shared/object/2013/x"),
    )
    found = {(row["api"], row["kind"], row["bucket"], row["prefix"]) for row in trail.rows()}
    assert found == {
        ("GenerateDataKey", "SSE-KMS", "lake", "2013/01/"),
        ("Decrypt", "SSE-KMS", "lake", "2013/01/"),
        ("Decrypt", "SSE-KMS, bucket key", "lake", None),
        ("Decrypt", "SSE-KMS", "lake-cn", ""),
        ("Decrypt", "SSE-KMS", "shared", "2013/"),
    }
    row = trail.rows()[0]
    assert (row["caller"], row["via"], row["kms_key"]) == (ROLE, "fas.s3.amazonaws.com", KEY)


def test_client_side_encryption_is_known_and_its_place_where_it_is_bound(read: Any) -> None:
    trail = read(
        by_client("GenerateDataKey"),
        by_client("GenerateDataKey", "s3://lake/trips/year=2013/"),
        by_client("Decrypt", "s3://lake/trips/year=2013/a.parquet"),
        by_client("Decrypt", "no URL"),
        record("Decrypt", context={"kms_cmk_id": KEY}),
    )
    found = sorted((row["kind"], row["bucket"], row["prefix"], row["calls"]) for row in trail.rows() if row["bucket"])
    assert found == [("CSE", "lake", "trips/year=2013/", 1), ("CSE", "lake", "trips/year=2013/", 1)]
    unbound = [row for row in trail.rows() if row["bucket"] is None]
    assert sum(row["calls"] for row in unbound) == 3
    assert {row["kind"] for row in unbound} == {"CSE"}


def test_odd_records_are_counted_as_far_as_they_tell(read: Any) -> None:
    refused = record("Decrypt", errorCode="AccessDenied", errorMessage="...", resources=None)
    trail = read(
        record("Decrypt", requestParameters=None, resources=None),
        record("Decrypt", context="HIDDEN_DUE_TO_SECURITY_REASONS"),
        record("Decrypt", context={"aws:s3:arn": "HIDDEN_DUE_TO_SECURITY_REASONS"}),
        refused,
        record("Decrypt", identity={"type": "AWSService", "invokedBy": "cloudtrail.amazonaws.com"}),
        record("Decrypt", identity={"type": "AWSAccount", "accountId": OTHER, "principalId": "AIDAEXAMPLE"}),
        record("Decrypt", userIdentity=None),
        record("Decrypt", context={"SecretARN": "arn:aws:secretsmanager:..."}, resources=[{"arn": KEY}, 7]),
        record("Decrypt", eventTime="never"),
        {"eventSource": "kms.amazonaws.com", "eventName": "ListKeys"},
        {"eventSource": "s3.amazonaws.com", "eventName": "PutObject"},
        7,
    )
    assert len(trail) == 8
    assert {event.kind for event in trail.events} == {"other"}
    assert {event.caller for event in trail.events} == {ROLE, "cloudtrail.amazonaws.com", f"account {OTHER}", "unknown"}
    (denied,) = [event for event in trail.events if event.error]
    assert (denied.error, denied.kms_key) == ("AccessDenied", KEY), "what was asked for, since nothing was used"
    assert sum(row["refused"] for row in trail.rows()) == 1


def test_reencrypt_is_told_by_its_source(read: Any) -> None:
    asked = {
        "sourceEncryptionContext": {"aws:x-amz-cek-alg": "115", "arrowseal:location": "s3://lake/trips/"},
        "destinationEncryptionContext": {"aws:x-amz-cek-alg": "115", "arrowseal:location": "s3://lake/trips/"},
        "destinationKeyId": NEW_KEY,
    }
    (row,) = read(record("ReEncrypt", requestParameters=asked, resources=[{"ARN": KEY}, {"ARN": NEW_KEY}])).rows()
    assert (row["kms_key"], row["kind"], row["prefix"], row["with_reuse"]) == (KEY, "CSE", "trips/", None)


def test_a_record_that_comes_twice_counts_once_also_when_two_accounts_tell_it(read: Any) -> None:
    once = record("Decrypt", sharedEventID="shared")
    owner = record("Decrypt", sharedEventID="shared", recipientAccountId=OTHER)
    assert len(read(once, once, owner, record("Decrypt"))) == 2


def test_the_prefix_is_as_deep_as_asked_for(read: Any) -> None:
    event = by_s3("Decrypt", "arn:aws:s3:::lake/a/b/c/d.csv")
    prefixes = [read(event, prefix_depth=depth).rows()[0]["prefix"] for depth in (0, 1, 2, 9)]
    assert prefixes == ["", "a/", "a/b/", "a/b/c/"]
    with pytest.raises(ConfigurationError, match="0 or more"):
        read(event, prefix_depth=-1)


def test_reuse_leaves_one_data_key_in_a_quarter_of_an_hour_and_one_decrypt_in_five_minutes(read: Any) -> None:
    times = [0, 10, 299, 301, 899, 901]
    trail = read(
        *(by_client("GenerateDataKey", "s3://lake/t/", seconds=time) for time in times),
        *(by_client("Decrypt", "s3://lake/t/", seconds=time) for time in times),
        by_client("Decrypt", "s3://lake/t/", seconds=5, errorCode="AccessDenied"),
    )
    left = {row["api"]: (row["calls"], row["with_reuse"]) for row in trail.rows()}
    assert left == {"GenerateDataKey": (6, 2), "Decrypt": (7, 3 + 1)}, "a refused call saves nothing"
    assert trail.saved() == {"data key reuse": (13, 6), "bucket keys": (0, 0)}


def test_what_is_bound_to_its_own_place_shares_no_data_key(read: Any) -> None:
    (row,) = read(*(by_client("GenerateDataKey", f"s3://lake/t/{name}") for name in "abc")).rows()
    assert (row["calls"], row["with_reuse"]) == (3, 3)


def test_one_data_key_serves_ten_thousand_objects_at_most(read: Any) -> None:
    (event,) = read(by_client("GenerateDataKey", "s3://lake/t/")).events
    (row,) = Trail([event] * 10_001).rows()
    assert (row["calls"], row["with_reuse"]) == (10_001, 2)


def test_bucket_keys_leave_one_of_a_hundred(read: Any) -> None:
    trail = read(*(by_s3("Decrypt", f"arn:aws:s3:::lake/t/{number}") for number in range(250)))
    (row,) = trail.rows()
    assert (row["calls"], row["with_bucket_key"], row["with_reuse"]) == (250, 3, None)
    assert trail.saved()["bucket keys"] == (250, 3)


def test_files_lines_lookups_and_directories_are_read_and_digests_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one.json").write_text(json.dumps({"Records": [record()]}))
    (tmp_path / "a" / "b" / "two.json.gz").write_bytes(gzip.compress(json.dumps({"Records": [record()]}).encode()))
    (tmp_path / "a" / "digest.json").write_text(json.dumps({"digestStartTime": "2026-01-31T12:00:00Z"}))
    (tmp_path / "a" / "lines.jsonl").write_text(f"{json.dumps(record())}\n\n{json.dumps(record())}\n")
    (tmp_path / "a" / "notes.txt").write_text("not read")
    looked = {"Events": [{"CloudTrailEvent": json.dumps(record())}, {"CloudTrailEvent": "?"}, {}, 7]}
    (tmp_path / "looked.json").write_text(json.dumps(looked))
    (tmp_path / "list.json").write_text(json.dumps([record(), 7]))
    assert len(read_trail([tmp_path / "a"])) == 4
    assert len(read_trail([tmp_path / "a", tmp_path / "looked.json", str(tmp_path / "list.json")])) == 6


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not the JSON"),
        (b"hello", "not the JSON"),
        (b'{"a": 1}', "no records"),
        (b"3", "no records"),
        (gzip.compress(b'{"Records": []}', mtime=0)[:-9], "damaged, or was cut off"),
        (b"\x1f\x8bhello", "damaged, or was cut off"),
    ],
    ids=["empty", "no JSON", "other JSON", "a number", "cut off", "no gzip"],
)
def test_what_is_no_trail_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"odd.json.*{reason}"):
        read_trail(tmp_path / "odd.json")


def test_a_file_that_unpacks_to_more_than_any_of_cloudtrail_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_records, "_MOST_BYTES", 1000)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * 2000))
    with pytest.raises(ConfigurationError, match=r"bomb\.json\.gz: more than 1,000 bytes"):
        read_trail(tmp_path)


def test_a_directory_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no file below it"):
        read_trail(tmp_path)


def test_frames_have_the_same_rows_and_their_types_also_when_empty(read: Any) -> None:
    trail = read(by_s3("Decrypt", "arn:aws:s3:::lake/a/b"), by_client("Decrypt"))
    assert trail.to_polars().height == len(trail.to_pandas()) == trail.to_arrow().num_rows == 2
    assert str(trail.to_arrow().schema.field("first").type) == "timestamp[us, tz=UTC]"
    assert read().to_arrow().schema == trail.to_arrow().schema
    assert read().events.to_arrow().schema == trail.events.to_arrow().schema
    assert list(trail.events.to_pandas()["kind"]) == ["SSE-KMS", "CSE"]


def test_since_and_until_cut_the_calls(read: Any) -> None:
    events = [record(seconds=seconds) for seconds in (0, 60, 120)]
    assert len(read(*events, since=BEGIN + dt.timedelta(seconds=60))) == 2
    assert len(read(*events, until=BEGIN + dt.timedelta(seconds=60))) == 1


class LookingUp:
    """CloudTrail, as boto3 shows it: pages of events."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = found
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, name: str) -> LookingUp:
        assert name == "lookup_events"
        return self

    def paginate(self, **asked: Any) -> Any:
        self.asked.append(asked)
        api = asked["LookupAttributes"][0]["AttributeValue"]
        for event in (event for event in self.found if event["eventName"] == api):
            yield {"Events": [{"CloudTrailEvent": json.dumps(event)}]}
        yield {}


def test_looking_up_asks_for_each_api_and_the_time() -> None:
    cloudtrail = LookingUp(record(), record("Decrypt", seconds=60), record("Decrypt", seconds=-60))
    trail = look_up_trail(cloudtrail, since=BEGIN, pause=0)
    assert len(trail) == 2
    assert {asked["LookupAttributes"][0]["AttributeValue"] for asked in cloudtrail.asked} >= {"Decrypt", "ReEncrypt"}
    assert all(asked["StartTime"] == BEGIN and "EndTime" not in asked for asked in cloudtrail.asked)


def test_boto3_takes_what_is_asked_of_cloudtrail() -> None:
    cloudtrail = boto3.client("cloudtrail", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
    with Stubber(cloudtrail) as stubber:
        for api in APIS:
            asked = {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": api}], "StartTime": BEGIN}
            events = [{"EventName": api, "CloudTrailEvent": json.dumps(record(api))}]
            stubber.add_response("lookup_events", {"Events": events, "NextToken": "more"}, asked)
            stubber.add_response("lookup_events", {"Events": events}, asked | {"NextToken": "more"})
        trail = look_up_trail(cloudtrail, since=BEGIN, pause=0)
        stubber.assert_no_pending_responses()
    assert len(trail) == len(APIS), "the second page says the same again"


def test_the_command_shows_a_table_what_would_be_saved_and_the_delay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [by_client("GenerateDataKey", "s3://lake/trips/") for _ in range(12)]
    events += [by_s3("Decrypt", f"arn:aws:s3:::lake/raw/{number}") for number in range(3)]
    (tmp_path / "records.json").write_text(json.dumps({"Records": events}))
    csv, parquet = tmp_path / "t.csv", tmp_path / "t.parquet"
    told = ["kms", "trail", str(tmp_path), "--csv", str(csv), "--parquet", str(parquet), "--rows", "1"]
    assert cli.main(told) == 0
    shown = capsys.readouterr().out
    for text in (
        "12           GenerateDataKey  role/analysts",
        "lake/trips/",
        "... and 1 more",
        "15 calls from 2026-01-31 12:00:00",
        "With data key reuse, 1 of 12",
        "With bucket keys, 1 of 3",
        "some 15 minutes",
        "up to 99 percent",
    ):
        assert text in shown, shown
    assert pandas.read_csv(csv)["calls"].tolist() == pyarrow.parquet.read_table(parquet)["calls"].to_pylist() == [12, 3]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "give either files"),
        (("a.json", "--lookup"), "give either files"),
        (("a.json", "--since", "yesterday"), "is no time"),
        (("a.json", "--since", "999999w"), "is no time"),
        (("a.json", "--depth", "-1"), "0 or more"),
    ],
)
def test_wrong_words_are_refused(words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kms", "trail", *words]) == 2
    assert reason in capsys.readouterr().err


def test_a_lookup_beside_a_server_that_is_not_awss_asks_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert cli.main(["kms", "trail", "--lookup"]) == 2
    assert "no CloudTrail beside this S3" in capsys.readouterr().err


def test_names_of_objects_stay_on_their_line_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = {"Records": [by_s3("Decrypt", "arn:aws:s3:::lake/a\x1b[2J\nb/c")]}
    (tmp_path / "records.json").write_text(json.dumps(records))
    assert cli.main(["kms", "trail", str(tmp_path)]) == 0
    assert "  lake/a\\x1b[2J\\nb/  " in capsys.readouterr().out.splitlines()[2]


def test_no_calls_are_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "records.json").write_text('{"Records": []}')
    assert cli.main(["kms", "trail", str(tmp_path)]) == 0
    assert "no KMS calls" in capsys.readouterr().err
    assert role()["accountId"] == ACCOUNT
