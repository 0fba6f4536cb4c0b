"""Objects of any format become V3, or what is asked for, with equal content and all that belongs to them."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

import mixed
import pytest
import rows
import writers

from arrowseal import CSE, PLAIN, SSE_C, SSE_KMS, SSE_S3, V2, CommitmentPolicy, RawAesKeyring, TransferOptions
from arrowseal.exceptions import ConfigurationError, NoKeyError
from arrowseal.location import ObjectLocation
from arrowseal.operations import migrate, rewrap
from arrowseal.operations.staging import staging_of
from arrowseal.segment_index import companion

if TYPE_CHECKING:
    from arrowseal.encryption import Encryption
    from arrowseal.local import LocalServers
    from lake import Lake

OBJECTS = int(os.environ.get("ARROWSEAL_TEST_MIGRATED", "210"))
URL = "s3://lake/a/o"


def stored(lake: Lake, key: str = "a/o") -> Any:
    return lake.s3.server.objects[f"/lake/{key}"]


def test_a_mixed_bucket_ends_with_every_object_v3_and_equal_and_a_row_for_each(lake: Lake) -> None:
    keys = mixed.keys_of(lake)
    contents = mixed.fill(lake, keys, OBJECTS)
    client = mixed.reader_of_all(lake, keys)
    plan = migrate("s3://lake/a/", client=client, dry_run=True)
    sealed = [row for row in mixed.kinds(OBJECTS) if row is not None]
    v3 = [row for row in sealed if row.format == "V3" and row.storage == "metadata"]
    by_kms = [row for row in sealed if row.wrap.startswith("kms") and row not in v3]
    assert plan.summary()["kms_calls"] == {"Decrypt": len(by_kms)}
    report = migrate("s3://lake/a/", client=client)
    assert report.ok, [row for row in report.results if row.state == "failed"][:3]
    assert [str(row.location) for row in report.results] == [f"s3://lake/{key}" for key in sorted(contents)]
    assert report.count("already") == plan.count("already") == len(v3)
    assert report.count("done") == plan.count("planned") == OBJECTS - len(v3)
    assert {row.before for row in report.results} == {"PLAIN", "CSE V1", "CSE V2", "CSE V3"}
    strict = client.replace(commitment_policy=None, legacy=False, instruction_files=False, allow_plaintext=False)
    for key, content in contents.items():
        assert strict.get(f"s3://lake/{key}") == content
        headers = stored(lake, key).headers
        assert headers.items() >= (mixed.HEADERS | mixed.MINE).items()
        assert "x-amz-meta-x-amz-3" in headers
    assert lake.keys == sorted(contents), "no instruction file and nothing of ours is left"
    again = migrate("s3://lake/a/", client=client)
    assert again.count("already") == OBJECTS


def test_the_objects_of_one_call_share_a_data_key_and_each_reads_alone(lake: Lake) -> None:
    lake.put({f"a/{number}": b"x" for number in range(8)}, encryption=PLAIN)
    lake.forget()
    report = migrate("s3://lake/a/", client=lake.make_client(allow_plaintext=True))
    assert report.count("done") == 8
    assert (lake.kms_calls("GenerateDataKey"), lake.kms_calls("Decrypt")) == (1, 1)
    assert lake.make_client().get("s3://lake/a/3") == b"x"


def test_what_a_read_of_the_client_would_refuse_is_refused_by_the_name_of_the_switch_and_stays(lake: Lake) -> None:
    keys = mixed.keys_of(lake)
    lake.client.put("s3://lake/a/plain", b"x", encryption=PLAIN)
    cbc = next(row for row in rows.ROWS if row.format == "V2" and "CBC" in row.content and row.wrap == "kms")
    mixed.put(lake, "a/cbc", writers.write(cbc, b"x", keys))
    before = dict(lake.s3.server.objects)
    report = migrate("s3://lake/a/", client=lake.make_client(kms_key_id=keys.arn))
    assert [row.state for row in report.results] == ["refused", "refused"]
    assert "legacy=" in report.results[0].reason
    assert "allow_plaintext=" in report.results[1].reason
    assert lake.s3.server.objects == before


@pytest.mark.parametrize("told", ["V1", "V2"])
@pytest.mark.parametrize("to", [None, PLAIN, SSE_S3()])
@pytest.mark.parametrize("looked_at", [False, ".partner"])
def test_an_object_whose_data_key_lies_in_a_file_that_is_not_looked_at_is_not_taken_for_a_plain_one(
    lake: Lake, told: str, to: Encryption | None, looked_at: Any
) -> None:
    keys = mixed.keys_of(lake)
    row = next(row for row in rows.ROWS if (row.format, row.storage) == (told, "instruction file"))
    mixed.put(lake, "a/o", writers.write(row, b"x", keys))
    before = dict(lake.s3.server.objects)
    reading = mixed.reader_of_all(lake, keys)
    (result,) = migrate("s3://lake/a/", to=to, client=reading.replace(instruction_files=looked_at)).results
    assert result.state == "refused"
    assert "instruction_files=True" in result.reason
    assert lake.s3.server.objects == before
    (result,) = migrate(URL, to=to, client=reading).results
    assert result.state == "done", result.reason
    assert reading.get(URL) == b"x"


def test_a_plain_object_beside_one_that_is_only_named_like_an_instruction_file_is_migrated(lake: Lake) -> None:
    lake.put({"a/o": b"x", "a/o.instruction": b"turn left"}, encryption=PLAIN)
    (result,) = migrate(URL, client=lake.make_client(allow_plaintext=True)).results
    assert result.state == "done", result.reason
    assert lake.make_client().get(URL) == b"x"
    assert stored(lake, "a/o.instruction").body == b"turn left"


def test_large_objects_stream_through_in_parts_and_get_an_index(lake: Lake) -> None:
    content = os.urandom(17 * 2**20)
    lake.client.put(URL, content, encryption=PLAIN, s3_additional_kwargs={"ContentType": "text/csv"})
    report = migrate(URL, client=lake.make_client(allow_plaintext=True))
    assert report.ok
    reader = lake.make_client()
    assert reader.get(URL) == content
    assert stored(lake).headers["content-type"] == "text/csv"
    lake.forget()
    with lake.make_client().object(URL) as opened:
        assert opened.read_at(9 * 2**20, 10) == content[9 * 2**20 : 9 * 2**20 + 10]
        index = companion(opened.location)
    assert index is not None
    assert lake.keys == sorted([index.key, "a/o"])
    assert len(lake.asked("GetObject")) == 3


LONG = ["x" * 1024, "a/" + "é" * 511, "d" * 1000 + "/name", "d" * 500 + "/" + "e" * 521 + "/o"]


@pytest.mark.parametrize("key", LONG, ids=["name", "two bytes a letter", "directory", "two directories"])
def test_keys_as_long_as_s3_takes_them_are_migrated_and_nothing_is_left_beside(lake: Lake, key: str) -> None:
    location = ObjectLocation("lake", key)
    lake.client.put(location, b"content", encryption=PLAIN)
    report = migrate("s3://lake/", client=lake.make_client(allow_plaintext=True))
    assert report.ok, report.results
    assert lake.make_client().get(location) == b"content"
    assert lake.keys == [key]


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_what_is_written_beside_an_object_has_room_for_an_index_however_long_its_directory(letter: str) -> None:
    for length in range(850 // len(letter.encode()), 980 // len(letter.encode())):
        staging = staging_of(ObjectLocation("lake", f"{letter * length}/{'o' * 40}"))
        assert len(staging.key.encode()) <= 1024
        assert companion(staging) is not None


def test_objects_with_a_long_name_in_common_are_not_written_to_one_place_beside_them() -> None:
    keys = [directory * 1000 + "/name" for directory in ("d", "e")] + ["name", "d/name"]
    assert len({staging_of(ObjectLocation("lake", key)) for key in keys}) == len(keys)


def test_a_key_that_has_room_for_an_index_gets_one_with_its_migration(lake: Lake) -> None:
    location = ObjectLocation("lake", "a/" + "x" * 1005)
    index = companion(location)
    assert index is not None
    content = os.urandom(17 * 2**20)
    lake.client.put(location, content, encryption=PLAIN)
    assert migrate(location, client=lake.make_client(allow_plaintext=True)).ok
    assert lake.keys == sorted([location.key, index.key])
    assert lake.make_client().get(location) == content


def test_to_plain_takes_the_encryption_off_and_leaves_no_trace_of_it(lake: Lake) -> None:
    lake.client.put(URL, b"content", s3_additional_kwargs={"Metadata": {"mine": "yes"}, "ContentType": "text/csv"})
    (row,) = migrate(URL, to=PLAIN, client=lake.client).results
    assert (row.state, row.before, row.after) == ("done", "CSE V3", "PLAIN")
    assert stored(lake).body == b"content"
    assert not [name for name in stored(lake).headers if name.startswith("x-amz-meta-x-amz")]
    assert stored(lake).headers["x-amz-meta-mine"] == "yes"
    (row,) = migrate(URL, to=SSE_S3(), client=lake.make_client(allow_plaintext=True)).results
    assert row.state == "done"
    assert stored(lake).headers["x-amz-server-side-encryption"] == "AES256"


ONE, OTHER = (f"arn:aws:kms:eu-west-1:111122223333:key/{name}" for name in ("one", "other"))


@pytest.mark.parametrize(
    ("to", "state"),
    [
        (SSE_KMS(OTHER), "done"),
        (SSE_KMS("other"), "done"),
        (SSE_KMS(ONE, bucket_key=True), "done"),
        (SSE_KMS(ONE), "already"),
        (SSE_KMS("one"), "already"),
        (SSE_KMS("alias/other"), "already"),
        (SSE_KMS(), "already"),
    ],
    ids=repr,
)
def test_another_key_of_the_server_or_another_bucket_key_is_not_as_it_was_asked_for(
    lake: Lake, to: SSE_KMS, state: str
) -> None:
    lake.client.put(URL, b"content", encryption=SSE_KMS(ONE))
    client = lake.make_client(allow_plaintext=True)
    assert migrate(URL, to=to, client=client, dry_run=True).results[0].state == (
        "planned" if state == "done" else state
    )
    assert migrate(URL, to=to, client=client).results[0].state == state
    headers, sse = stored(lake).headers, "x-amz-server-side-encryption"
    assert headers[f"{sse}-aws-kms-key-id"] == (to.key if state == "done" else ONE)
    assert (headers[f"{sse}-bucket-key-enabled"] == "true") is to.bucket_key
    assert client.get(URL) == b"content"
    assert migrate(URL, to=to, client=client).results[0].state == "already"
    assert lake.keys == ["a/o"]


def test_what_the_report_says_of_one_key_is_not_said_of_another(lake: Lake) -> None:
    lake.client.put(URL, b"content", encryption=PLAIN)
    client = lake.make_client(allow_plaintext=True)
    report = migrate(URL, to=SSE_KMS(ONE), client=client)
    assert migrate(URL, to=SSE_KMS(OTHER), client=client, resume=report).results[0].state == "done"


def test_what_the_report_says_of_one_format_is_not_said_of_another(lake: Lake) -> None:
    lake.client.put(URL, b"content", encryption=PLAIN)
    report = migrate(URL, client=lake.make_client(allow_plaintext=True))
    analytics = lake.make_client(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT, format=V2)
    (row,) = migrate(URL, client=analytics, resume=report).results
    assert (row.state, row.asked, row.after) == ("done", "CSE V2", "CSE V2")


def test_v3_is_written_anew_under_the_context_that_is_named_and_once(lake: Lake) -> None:
    client = lake.make_client()
    client.put(URL, b"content")
    to = CSE(encryption_context={"team": "secret"})
    report = migrate(URL, to=to, client=client)
    assert report.results[0].state == "done"
    assert "secret" not in str(report.results)
    assert client.get(URL, encryption_context={"team": "secret"}) == b"content"
    assert migrate(URL, to=to, client=client).results[0].state == "already"
    other = CSE(encryption_context={"team": "another"})
    assert migrate(URL, to=other, client=client).results[0].state == "refused"
    assert migrate(URL, to=other, client=client, encryption_context={"team": "secret"}).results[0].state == "done"
    assert client.get(URL, encryption_context={"team": "another"}) == b"content"


def test_what_the_report_says_of_one_context_is_not_said_of_another_of_the_same_names(lake: Lake) -> None:
    client = lake.make_client()
    client.put(URL, b"content")
    to = CSE(encryption_context={"team": "one"})
    report = migrate(URL, to=to, client=client)
    other, was = CSE(encryption_context={"team": "another"}), {"team": "one"}
    assert migrate(URL, to=other, client=client, encryption_context=was, resume=report).results[0].state == "done"
    assert client.get(URL, encryption_context={"team": "another"}) == b"content"
    assert migrate(URL, to=other, client=client, encryption_context=was, resume=report).results[0].state == "already"


def test_the_context_of_an_object_goes_along_and_its_place_is_bound_anew(lake: Lake) -> None:
    policy = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
    v2 = lake.make_client(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT, format=V2)
    v2.put(URL, b"x", encryption_context={"team": "weather"})
    client = lake.make_client(commitment_policy=policy, encryption_context={"team": "weather"})
    assert migrate(URL, client=client).ok
    assert lake.make_client().get(URL, encryption_context={"team": "weather"}) == b"x"
    lake.client.put("s3://lake/a/p", b"x", encryption=PLAIN)
    bound = lake.make_client(bind_location="object", allow_plaintext=True)
    assert migrate("s3://lake/a/p", client=bound).ok
    assert lake.make_client(bind_location="object").get("s3://lake/a/p") == b"x"


@pytest.mark.parametrize("locked", [False, True])
def test_in_a_versioned_bucket_no_version_of_what_is_written_beside_objects_stays_unless_it_is_locked(
    local_servers: LocalServers, raw_s3: Any, *, locked: bool
) -> None:
    name = f"bucket-{secrets.token_hex(6)}"
    raw_s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    if locked:
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
        lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        raw_s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=lock)
    client = local_servers.client(allow_plaintext=True)
    large = client.replace(transfer=TransferOptions(part_bytes=5 * 2**20))
    contents = {"small": b"content"} if locked else {"small": b"content", "large": os.urandom(6 * 2**20)}
    for key, content in contents.items():
        client.put(f"s3://{name}/{key}", content, encryption=PLAIN)
        client.put(f"s3://{name}/_arrowseal.{key}.migrating", b"of a run that was killed", encryption=PLAIN)
    report = migrate(f"s3://{name}/", client=large)
    assert report.ok, report.to_arrow().to_pylist()
    assert {key: large.get(f"s3://{name}/{key}") for key in contents} == contents
    shown = {each["Key"] for each in raw_s3.list_objects_v2(Bucket=name)["Contents"]}
    assert shown == ({"small"} if locked else {"small", "large", "_arrowseal.large.index"})
    listed = raw_s3.list_object_versions(Bucket=name)
    beside = {each["Key"].rpartition(".")[2] for each in listed["Versions"]}
    assert beside & {"migrating", "probe"} == ({"migrating", "probe"} if locked else set())
    assert ("DeleteMarkers" in listed) == locked


def test_nothing_is_found_beside_an_object_however_many_runs_were_killed(
    local_servers: LocalServers, raw_s3: Any
) -> None:
    name = f"bucket-{secrets.token_hex(6)}"
    raw_s3.create_bucket(Bucket=name)
    raw_s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client = local_servers.client(allow_plaintext=True)
    client.put(f"s3://{name}/o", b"content", encryption=PLAIN)
    for _ in range(20):
        client.put(f"s3://{name}/_arrowseal.o.migrating", b"of a run that was killed", encryption=PLAIN)
    assert migrate(f"s3://{name}/", client=client).ok
    assert [each["Key"] for each in raw_s3.list_objects_v2(Bucket=name)["Contents"]] == ["o"]


def test_the_instruction_file_of_somebody_else_is_no_plain_object_and_goes_on_to_open_theirs(lake: Lake) -> None:
    ours, partner = lake.make_client(instruction_files=True), RawAesKeyring(os.urandom(32))
    ours.put("s3://lake/a/o", b"content", encryption=CSE(instruction_file=True))
    rewrap("s3://lake/a/o", to_key=partner, client=ours, instruction_file=".partner")
    report = migrate("s3://lake/a/", client=lake.make_client(allow_plaintext=True))
    assert {row.location.key: row.state for row in report.results} == {"a/o": "refused", "a/o.partner": "skipped"}
    theirs = lake.make_client(kms_key_id=None, keyring=partner, instruction_files=".partner")
    assert theirs.get("s3://lake/a/o") == b"content"


def test_a_key_that_ends_in_a_slash_has_a_row_unless_it_only_marks_a_directory(lake: Lake) -> None:
    lake.client.put("s3://lake/a/o", b"content", encryption=PLAIN)
    lake.s3.server.objects["/lake/a/full/"] = stored(lake, "a/o")
    lake.client.put("s3://lake/a/e", b"", encryption=PLAIN)
    lake.s3.server.objects["/lake/a/mark/"] = stored(lake, "a/e")
    report = migrate("s3://lake/a/", client=lake.make_client(allow_plaintext=True))
    assert {row.location.key: row.state for row in report.results} == {
        "a/e": "done",
        "a/full/": "refused",
        "a/o": "done",
    }
    assert "s3://lake/a/full/ names a prefix" in next(row.reason for row in report.results if row.state == "refused")


def test_v2_is_written_where_that_is_asked_for(lake: Lake) -> None:
    lake.client.put(URL, b"x")
    analytics = lake.make_client(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT, format=V2)
    (row,) = migrate(URL, to=CSE(format=V2), client=analytics).results
    assert (row.state, row.after) == ("done", "CSE V2")
    assert analytics.get(URL) == b"x"


@pytest.mark.parametrize("ignored", [set(), {"CopyObject"}], ids=["copied", "sent"])
def test_who_overwrites_an_object_meanwhile_keeps_what_was_written(lake: Lake, ignored: set[str]) -> None:
    lake.client.put(URL, b"before", encryption=PLAIN)
    lake.s3.server.ignored |= ignored

    def overwrite(method: str, path: str, headers: dict[str, str]) -> None:
        if method == "PUT" and path.endswith("/a/o"):
            lake.s3.rule = lambda *_: None
            lake.client.put(URL, b"theirs", encryption=PLAIN)

    lake.s3.rule = overwrite
    (row,) = migrate(URL, client=lake.make_client(allow_plaintext=True)).results
    assert row.state == "changed"
    assert stored(lake).body == b"theirs"
    assert lake.keys == ["a/o"]


@pytest.mark.parametrize(("was", "to"), [(PLAIN, CSE()), (CSE(), PLAIN)], ids=["to CSE", "to plain"])
def test_what_does_not_read_back_as_it_was_is_not_put_in_place(lake: Lake, was: Encryption, to: Encryption) -> None:
    lake.client.put(URL, b"before", encryption=was)
    before = stored(lake)
    damaged: list[str] = []

    def damage(method: str, path: str, headers: dict[str, str]) -> None:
        staged = lake.s3.server.objects.get("/lake/a/_arrowseal.o.migrating")
        if method == "GET" and staged is not None and path.endswith(".migrating"):
            body = bytes([staged.body[0] ^ 1]) + staged.body[1:]
            lake.s3.server.objects["/lake/a/_arrowseal.o.migrating"] = staged._replace(body=body)
            damaged.append(path)
            lake.s3.rule = lambda *_: None  # it is read twice if it does not authenticate

    lake.s3.rule = damage
    (row,) = migrate(URL, to=to, client=lake.make_client(allow_plaintext=True)).results
    assert damaged
    assert row.state == ("failed" if to is PLAIN else "refused")
    assert stored(lake) == before
    assert lake.keys == ["a/o"]


def test_wrong_arguments_are_refused_before_any_request(lake: Lake) -> None:
    wrong: list[dict[str, Any]] = [
        {"to": SSE_C(bytes(32))},
        {"to": "V3"},
        {"format": "orc"},
        {"delete_source": True},
        {"concurrency": 0},
        {"to": CSE(format=V2)},
        {"to": CSE(instruction_file=True)},
    ]
    for given in wrong:
        with pytest.raises(ConfigurationError):
            migrate(URL, client=lake.client, **given)
    with pytest.raises(NoKeyError):
        migrate(URL, client=lake.make_client(kms_key_id=None, allow_plaintext=True))
    assert lake.s3.log == []
