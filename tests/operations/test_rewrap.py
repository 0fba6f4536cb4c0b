"""Another KMS key without touching content: what changes, what stays, what is asked for, and what a plan says."""

from __future__ import annotations

import datetime as dt
import os
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault
from fault_rules import on

from arrowseal import ANY, CSE, PLAIN, TransferOptions
from arrowseal.exceptions import ConfigurationError, KmsKeyMismatchError, NoKeyError, ObjectNotFoundError
from arrowseal.operations import rewrap, rewrapping
from arrowseal.segment_index import companion

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal.local import LocalServers
    from lake import Lake

URL = "s3://lake/a/o"
ATTRIBUTES = {
    "ContentType": "text/csv",
    "CacheControl": "no-store",
    "ContentDisposition": "attachment",
    "ContentEncoding": "br",
    "ContentLanguage": "de",
    "Expires": dt.datetime(2099, 1, 1, tzinfo=dt.UTC),
    "StorageClass": "STANDARD_IA",
    "WebsiteRedirectLocation": "/elsewhere",
    "GrantRead": 'uri="http://acs.amazonaws.com/groups/global/AllUsers", id="somebody"',
    "GrantFullControl": 'id="owner"',
    "Tagging": "team=weather&empty=",
    "Metadata": {"mine": "yes"},
}
SERVER_SIDE = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:111122223333:key/sse",
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}


def stored(lake: Lake, key: str = "a/o") -> Any:
    return lake.s3.server.objects[f"/lake/{key}"]


def put_with_attributes(lake: Lake, content: bytes) -> Any:
    """An object with everything that one can have, as it is stored."""
    lake.client.put(URL, content, s3_additional_kwargs=ATTRIBUTES)
    stored(lake).headers.update(SERVER_SIDE)
    return stored(lake)


def without_key(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "x-amz-meta-x-amz-3"}


def test_the_new_key_opens_the_object_and_the_old_one_does_not_any_more(lake: Lake, new_key: str) -> None:
    lake.client.put(URL, b"content")
    report = rewrap(URL, to_key=new_key, client=lake.client)
    assert [(row.state, row.way, row.key) for row in report.results] == [("done", "copied", new_key)]
    assert lake.make_client(kms_key_id=new_key).get(URL) == b"content"
    with pytest.raises(KmsKeyMismatchError):
        lake.make_client(cache=None).get(URL)


def test_bytes_etag_tags_headers_and_grants_stay_and_only_the_data_key_is_another_one(lake: Lake, new_key: str) -> None:
    before = put_with_attributes(lake, b"content")
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    after = stored(lake)
    assert (after.body, after.etag) == (before.body, before.etag)
    assert after.headers["x-amz-meta-x-amz-3"] != before.headers["x-amz-meta-x-amz-3"]
    assert without_key(after.headers) == without_key(before.headers)
    assert (row.state, row.not_kept) == ("done", "")


def test_an_object_above_the_limit_of_a_copy_goes_in_parts_with_all_that_belongs_to_it(
    lake: Lake, new_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "COPY_LIMIT", 6 * 2**20)
    content = os.urandom(13 * 2**20)
    before = put_with_attributes(lake, content)
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    after = stored(lake)
    assert (row.state, row.way) == ("done", "copied in parts")
    assert without_key(after.headers) == without_key(before.headers)
    assert after.body == before.body
    assert len(lake.asked("UploadPartCopy")) == 3
    assert lake.asked("GetObject") == []
    assert lake.make_client(kms_key_id=new_key).get(URL) == content
    assert not lake.s3.server.open_uploads


def test_the_segment_index_stays_and_proves_ranges_under_the_new_key(lake: Lake, new_key: str) -> None:
    content = os.urandom(12 * 2**20)
    lake.client.put(URL, content)
    rewrap("s3://lake/", to_key=new_key, client=lake.client)
    lake.forget()
    with lake.make_client(kms_key_id=new_key).object(URL) as opened:
        assert opened.read_at(5 * 2**20, 1000) == content[5 * 2**20 : 5 * 2**20 + 1000]
    index = companion(opened.location)
    assert index is not None
    assert index.key in lake.asked("GetObject")
    assert sum(key == "a/o" for key in lake.asked("GetObject")) == 2, "the tail and the range, not the whole object"


def test_one_kms_call_serves_all_objects_that_share_a_data_key(lake: Lake, new_key: str) -> None:
    with lake.client.data_key_reuse():
        lake.put({f"shared/{number}": b"x" for number in range(20)})
    lake.put({"own/0": b"x", "own/1": b"x"})
    lake.forget()
    report = rewrap("s3://lake/", to_key=new_key, client=lake.client)
    assert report.count("done") == 22
    assert lake.kms_calls("ReEncrypt") == len(lake.kms.calls) == 3
    assert report.summary()["kms_calls"] == {"ReEncrypt": 3}
    lake.forget()
    reader = lake.make_client(kms_key_id=new_key)
    assert all(reader.get(f"s3://lake/shared/{number}") == b"x" for number in range(20))
    assert lake.kms_calls("Decrypt") == 1, "they share one under the new key as well"


def test_objects_that_share_a_data_key_that_is_refused_are_each_refused_by_their_own_names(
    lake: Lake, new_key: str
) -> None:
    with lake.client.data_key_reuse():
        lake.put({f"shared/{number}": b"x" for number in range(5)})
    lake.forget()
    lake.kms.engine.find(lake.key_arn).state = "Disabled"
    try:
        report = rewrap("s3://lake/", to_key=new_key, client=lake.make_client())
    finally:
        lake.kms.engine.find(lake.key_arn).state = "Enabled"
    assert lake.kms_calls("ReEncrypt") == 2, "one by each key, for all of them"
    assert [row.reason.partition(": ")[0] for row in report.results] == [str(row.location) for row in report.results]


def test_the_context_is_the_same_on_both_sides_and_is_compared_before_kms_is_asked(lake: Lake, new_key: str) -> None:
    lake.client.put(URL, b"x", encryption_context={"team": "weather"})
    lake.forget()
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert row.state == "refused"
    assert "encryption_context" in row.reason
    assert lake.kms.calls == []
    (row,) = rewrap(URL, to_key=new_key, client=lake.client, encryption_context=ANY).results
    ((_, given),) = lake.kms.calls
    assert given["SourceEncryptionContext"] == given["DestinationEncryptionContext"]
    assert given["SourceEncryptionContext"] == {"team": "weather", "aws:x-amz-cek-alg": "115"}
    assert lake.make_client(kms_key_id=new_key).get(URL, encryption_context={"team": "weather"}) == b"x"


def test_a_sealed_object_whose_key_ends_in_a_slash_is_rewrapped_too(lake: Lake, new_key: str) -> None:
    lake.client.put("s3://lake/a/o", b"content")
    lake.s3.server.objects["/lake/a/sub/"] = lake.s3.server.objects.pop("/lake/a/o")
    (result,) = rewrap("s3://lake/a/", to_key=new_key, client=lake.client).results
    assert (result.location.key, result.state) == ("a/sub/", "done")
    lake.s3.server.objects["/lake/a/o"] = lake.s3.server.objects["/lake/a/sub/"]
    assert lake.make_client(kms_key_id=new_key).get("s3://lake/a/o") == b"content"


def test_v2_is_rewrapped_under_a_policy_that_reads_only_v3(lake: Lake, new_key: str) -> None:
    lake.make_client(interop="analytics").put(URL, b"x")
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert (row.state, row.before, row.after) == ("done", "CSE V2", "CSE V2")
    assert lake.make_client(kms_key_id=new_key, interop="analytics").get(URL) == b"x"


def test_what_is_under_the_new_key_already_is_not_written_again(lake: Lake, new_key: str) -> None:
    lake.client.put(URL, b"x")
    rewrap(URL, to_key=new_key, client=lake.client)
    lake.forget()
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert (row.state, len(lake.kms.calls)) == ("already", 0), "this client knows"
    for options in ({}, {"kms_key_id": new_key, "decrypt_key_ids": [lake.key_arn]}, {"kms_key_id": new_key}):
        lake.forget()
        (row,) = rewrap(URL, to_key=new_key, client=lake.make_client(**options)).results
        assert row.state == "already"
        assert {action for action, _ in lake.kms.calls} == {"ReEncrypt"}
        assert lake.asked("CopyObject") == lake.asked("PutObject") == []


def test_a_second_run_after_the_old_key_was_disabled_finds_everything_done(lake: Lake, new_key: str) -> None:
    lake.put({"a/o": b"content"})
    assert rewrap("s3://lake/a/", to_key=new_key, client=lake.client).count("done") == 1
    lake.put({"a/left": b"left"})
    lake.kms.engine.find(lake.key_arn).state = "Disabled"
    try:
        again = rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client())
    finally:
        lake.kms.engine.find(lake.key_arn).state = "Enabled"
    left, done = again.results
    assert (left.state, done.state) == ("failed", "already")
    assert "disabled" in left.reason


def test_a_plan_counts_and_asks_kms_nothing_and_writes_nothing(lake: Lake, new_key: str, tmp_path: Path) -> None:
    with lake.client.data_key_reuse():
        lake.put({f"a/{number}": bytes(100) for number in range(5)})
    lake.put({"a/own": bytes(50)})
    lake.put({"a/plain": b"plain"}, encryption=PLAIN)
    lake.forget()
    plan = rewrap("s3://lake/a", to_key=new_key, client=lake.client, dry_run=True, report=tmp_path / "report")
    assert plan.summary() == {
        "objects": 7,
        "planned": 6,
        "skipped": 1,
        "stored_bytes": 5 * 116 + 66,
        "wrapped_keys": 2,
        "old_versions": 0,
        "kms_calls": {"ReEncrypt": 2},
    }
    assert lake.kms.calls == []
    assert {seen.method for seen in lake.s3.log} <= {"GET", "HEAD"}
    assert not (tmp_path / "report").exists()


def test_the_report_is_a_frame_with_a_row_for_each_object(lake: Lake, new_key: str) -> None:
    lake.put({"a/1": b"x", "a/2": b"x"})
    lake.put({"a/plain": b"x"}, encryption=PLAIN)
    report = rewrap("s3://lake/a/", to_key=new_key, client=lake.client)
    frame = report.to_pandas()
    assert list(frame.path) == ["s3://lake/a/1", "s3://lake/a/2", "s3://lake/a/plain"]
    assert list(frame.state) == ["done", "done", "skipped"]
    assert report.to_polars().height == 3
    assert "2 done, 1 skipped" in repr(report)
    assert "old versions" in report.caution.lower()


def test_progress_counts_objects(lake: Lake, new_key: str) -> None:
    lake.put({"a/1": b"x", "a/2": b"x"})
    seen: list[tuple[int, int | None]] = []
    rewrap(
        "s3://lake/a/", to_key=new_key, client=lake.client, progress=lambda done, total, _: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]


def test_an_object_that_somebody_overwrites_meanwhile_is_left_to_them(lake: Lake, new_key: str) -> None:
    lake.client.put(URL, b"before")

    def overwrite(method: str, path: str, headers: dict[str, str]) -> None:
        if "x-amz-copy-source" in headers and "probe" not in path:
            lake.s3.rule = lambda *_: None
            lake.client.put(URL, b"theirs")

    lake.s3.rule = overwrite
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert row.state == "changed"
    assert lake.client.get(URL) == b"theirs"


@pytest.mark.parametrize("size", [100, 9 * 2**20])
def test_a_server_that_ignores_conditions_on_copies_is_found_out_and_objects_are_sent_again(
    lake: Lake, new_key: str, size: int
) -> None:
    content = os.urandom(size)
    before = put_with_attributes(lake, content)
    lake.s3.server.ignored.add("CopyObject")
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    after = stored(lake)
    assert (row.state, row.way, after.body) == ("done", "sent again", before.body)
    assert without_key(after.headers) == without_key(before.headers)
    assert lake.make_client(kms_key_id=new_key).get(URL) == content
    assert [key for key in lake.keys if "probe" in key] == []


def test_who_overwrites_an_object_that_is_sent_again_keeps_what_was_written(lake: Lake, new_key: str) -> None:
    lake.client.put(URL, b"before")
    lake.s3.server.ignored.add("CopyObject")

    def overwrite(method: str, path: str, headers: dict[str, str]) -> None:
        if method == "PUT" and path.endswith("/a/o") and "if-match" in headers:
            lake.s3.rule = lambda *_: None
            lake.client.put(URL, b"theirs")

    lake.s3.rule = overwrite
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert row.state == "changed"
    assert lake.client.get(URL) == b"theirs"


def test_a_copy_is_under_conditions_for_what_it_reads_and_for_what_it_replaces(lake: Lake, new_key: str) -> None:
    etag = lake.client.put(URL, b"x").etag
    rewrap(URL, to_key=new_key, client=lake.client)
    (copy,) = (seen for seen in lake.s3.log if seen.operation == "CopyObject" and "probe" not in seen.path)
    assert copy.headers["x-amz-copy-source-if-match"].strip('"') == etag
    assert copy.headers["if-match"].strip('"') == etag, "between reading and replacing, others may write"


def test_a_server_that_ignores_all_conditions_is_refused_unless_that_is_said(lake: Lake, new_key: str) -> None:
    lake.client.put(URL, b"x")
    lake.s3.server.ignored |= {"CopyObject", "PutObject", "CompleteMultipartUpload"}
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert row.state == "failed"
    assert "unconditional=True" in row.reason
    assert lake.client.get(URL) == b"x"
    (row,) = rewrap(URL, to_key=new_key, client=lake.client, unconditional=True).results
    assert (row.state, row.way) == ("done", "copied")
    assert lake.keys == ["a/o"], "nothing is left of what was tried"


def test_a_copy_whose_answer_was_lost_is_done(lake: Lake, new_key: str) -> None:
    client = lake.make_client(transfer=TransferOptions(retries=lake.client.options.transfer.retries))
    client.put(URL, b"x")
    lake.s3.rule = on("CopyObject", Fault("lost-answer"), after=2)
    (row,) = rewrap(URL, to_key=new_key, client=client).results
    assert lake.s3.struck
    assert row.state == "done"
    assert lake.make_client(kms_key_id=new_key).get(URL) == b"x"


def test_objects_under_a_key_that_is_not_at_hand_are_told_and_stay(lake: Lake, new_key: str) -> None:
    other = lake.kms.create_key()
    lake.client.put("s3://lake/a/1", b"x")
    lake.client.put("s3://lake/a/2", b"x", encryption=CSE(kms_key_id=other))
    report = rewrap("s3://lake/a/", to_key=new_key, client=lake.make_client())
    assert [row.state for row in report.results] == ["done", "refused"]
    assert "decrypt_key_ids=" in report.results[1].reason
    assert not report.ok
    assert lake.client.get("s3://lake/a/2", kms_key_id=other) == b"x"


def test_a_refusal_to_rewrap_names_the_permissions_that_there_are(lake: Lake, new_key: str) -> None:
    lake.client.put(URL, b"x")
    lake.kms.failures += ["AccessDeniedException"] * 2
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert row.state == "failed"
    assert "needs kms:ReEncryptFrom on the old key and kms:ReEncryptTo on the new one" in row.reason


def test_wrong_arguments_are_refused_before_any_request(lake: Lake, new_key: str) -> None:
    for given in ({"to_key": ""}, {"to_key": object()}, {"concurrency": 0}, {"instruction_file": ""}, {"progress": 1}):
        with pytest.raises(ConfigurationError):
            rewrap(URL, **({"to_key": new_key, "client": lake.client} | given))  # type: ignore[arg-type]
    with pytest.raises(NoKeyError):
        rewrap(URL, to_key=new_key, client=lake.make_client(kms_key_id=None))
    assert lake.s3.log == []
    with pytest.raises(ObjectNotFoundError):
        rewrap("s3://lake/nothing", to_key=new_key, client=lake.client)


def test_old_versions_locks_and_what_was_tried_in_a_versioned_bucket(
    local_servers: LocalServers, raw_s3: Any, raw_kms: Any
) -> None:
    name, new = f"bucket-{secrets.token_hex(6)}", raw_kms.create_key()["KeyMetadata"]["Arn"]
    raw_s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until, "ObjectLockLegalHoldStatus": "ON"}
    client, url = local_servers.client(), f"s3://{name}/o"
    old = client.put(url, b"content", s3_additional_kwargs=lock | {"Tagging": "team=weather"})
    report = rewrap(f"s3://{name}/", to_key=new, client=client)
    (row,) = report.results
    assert (row.state, row.not_kept, row.old_version_id) == ("done", "", old.version_id)
    assert report.summary()["old_versions"] == 1
    head = raw_s3.head_object(Bucket=name, Key="o")
    assert {name: head[name] for name in lock} == lock
    assert raw_s3.get_object_tagging(Bucket=name, Key="o")["TagSet"] == [{"Key": "team", "Value": "weather"}]
    assert local_servers.client(kms_key_id=new).get(url) == b"content"
    assert local_servers.client().get(url, version_id=old.version_id) == b"content", "old versions stay what they were"
    listed = raw_s3.list_object_versions(Bucket=name)
    assert {version["Key"] for version in listed["Versions"]} == {"o"}
    assert "DeleteMarkers" not in listed


@pytest.mark.parametrize("in_file", [False, True], ids=["metadata", "instruction file"])
def test_without_the_right_to_read_access_control_lists_the_switch_is_named_and_helps(
    lake: Lake, new_key: str, in_file: bool
) -> None:
    client = lake.make_client(instruction_files=True)
    client.put(URL, b"x", encryption=CSE(instruction_file=in_file))
    lake.s3.rule = on("GetObjectAcl", Fault("status", 403, "AccessDenied"), times=9)
    (row,) = rewrap(URL, to_key=new_key, client=client).results
    assert row.state == "failed"
    assert "s3:GetObjectAcl" in row.reason
    assert "keep_acl=False" in row.reason
    (row,) = rewrap(URL, to_key=new_key, client=client, keep_acl=False).results
    assert row.state == "done"
    assert lake.make_client(kms_key_id=new_key, instruction_files=True).get(URL) == b"x"


def test_a_throwaway_object_that_may_not_be_deleted_is_a_warning(lake: Lake, new_key: str) -> None:
    lake.put({"a/1": b"x", "a/2": b"x"})
    lake.s3.rule = on("DeleteObject", Fault("status", 403, "AccessDenied"), times=9)
    with pytest.warns(RuntimeWarning, match="may not be deleted"):
        report = rewrap("s3://lake/a/", to_key=new_key, client=lake.client)
    assert report.count("done") == 2
    assert sum("probe" in key for key in lake.keys) == 1
    assert rewrap("s3://lake/a/", to_key=new_key, client=lake.client).count("already") == 2, "it is no object of theirs"
