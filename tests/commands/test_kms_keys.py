"""`arrowseal kms create | rotate | retire` on the embedded KMS, and against one that refuses."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from arrowseal import CSE, PLAIN, SSE_KMS, Client, cli
from arrowseal.cli import kms
from arrowseal.exceptions import ConfigurationError, ServiceDeniedError, ServiceError
from arrowseal.operations import rewrap
from arrowseal.operations.key_users import key_users, retire_key
from arrowseal.operations.kms_keys import NewKey, create_key, describe_key, rotate_key

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal.local import LocalServers

ROLE = "arn:aws:iam::111122223333:role/"


@pytest.fixture
def alias() -> str:
    return f"alias/key-{secrets.token_hex(4)}"


@pytest.fixture
def command(local_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command on the embedded servers, without a default key, and gives what it printed."""
    monkeypatch.delenv("ARROWSEAL_KMS_KEY_ID")

    def run(*words: str, code: int = 0) -> str:
        assert cli.main(list(words)) == code, capsys.readouterr()
        shown = capsys.readouterr()
        return shown.out + shown.err

    return run


def policy_of(kms: Any, arn: str) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
    return policy


def test_a_key_is_made_with_alias_policy_rotation_and_tags(command: Any, raw_kms: Any, alias: str) -> None:
    told = ["--reader", ROLE + "r", "--writer", ROLE + "w", "--require-context", "team=weather", "--tag", "a=b c"]
    arn = command("kms", "create", alias, *told, "--rotation-days", "100", "--multi-region").strip()
    described = raw_kms.describe_key(KeyId=alias)["KeyMetadata"]
    assert (described["Arn"], described["MultiRegion"], described["KeyState"]) == (arn, True, "Enabled")
    assert raw_kms.list_resource_tags(KeyId=arn)["Tags"] == [{"TagKey": "a", "TagValue": "b c"}]
    assert raw_kms.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"] is True
    statements = {one["Sid"]: one for one in policy_of(raw_kms, arn)["Statement"]}
    assert statements["Read"]["Action"] == ["kms:Decrypt"]
    assert statements["Write"]["Action"] == ["kms:GenerateDataKey"]
    assert statements["Read"]["Principal"] == {"AWS": [ROLE + "r"]}
    assert all(
        statements[sid]["Condition"] == {"StringEquals": {"kms:EncryptionContext:team": "weather"}}
        for sid in ("Read", "Write")
    )
    account = arn.split(":")[4]
    assert statements["Administer"]["Principal"] == {"AWS": [f"arn:aws:iam::{account}:root"]}
    administered = statements["Administer"]["Action"]
    assert not [name for name in administered if "crypt" in name or "DataKey" in name or name == "kms:*"]


def test_a_key_without_principals_has_the_policy_of_aws(command: Any, raw_kms: Any, alias: str) -> None:
    arn = command("kms", "create", alias, "--no-rotation").strip()
    assert policy_of(raw_kms, arn)["Statement"][0]["Action"] == "kms:*"
    assert raw_kms.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"] is False


def test_an_alias_that_is_taken_is_an_error_with_the_way_out_and_no_key_is_made(
    command: Any, raw_kms: Any, alias: str
) -> None:
    arn = command("kms", "create", alias).strip()
    before = len(raw_kms.list_keys()["Keys"])
    shown = command("kms", "create", alias, code=2)
    assert arn in shown
    assert f"arrowseal kms rotate {alias}" in shown
    assert len(raw_kms.list_keys()["Keys"]) == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("tables",), "alias/NAME"),
        (("alias/aws/s3",), "is AWS's"),
        (("alias/a b",), "alias/NAME"),
        (("alias/a", "--reader", "jane"), "no principal"),
        (("alias/a", "--reader", "*"), "no principal"),
        (("alias/a", "--rotation-days", "30"), "90 to 2560"),
        (("alias/a", "--rotation-days", "0"), "90 to 2560"),
        (("alias/a", "--rotation-days", "90", "--no-rotation"), "not allowed with"),
        (("alias/a", "--tag", "aws:x=1"), "does not take the tag"),
        (("alias/a", "--tag", "a=1", "--tag", "a=2"), "a name twice"),
        (("alias/a", "--tag", "a"), "NAME=VALUE"),
        (("alias/a", "--require-context", "team=weather"), "name some"),
        (("alias/a", "--administrator", ROLE + "admin"), "nobody may use"),
        (("alias/a", "--reader", ROLE + "r", "--require-context", "aws:x-amz-cek-alg=1"), "reserved"),
    ],
)
def test_keys_that_cannot_be_are_refused_before_any_request(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["kms", "create", *words]) == 2
    assert reason in capsys.readouterr().err


def test_the_policy_is_shown_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--rewrapper", ROLE + "x", "--administrator", ROLE + "admin", "--show-policy"]
    assert cli.main(["kms", "create", "alias/a", *told]) == 0
    statements = json.loads(capsys.readouterr().out)["Statement"]
    assert [one["Principal"]["AWS"] for one in statements] == [[ROLE + "admin"], [ROLE + "x"]]
    assert statements[1]["Action"] == ["kms:ReEncryptFrom", "kms:ReEncryptTo"]


class RefusingKms:
    """A KMS that refuses some actions by an error code, and notes what it was asked."""

    def __init__(self, **refused: str) -> None:
        self.meta = SimpleNamespace(endpoint_url="https://kms.eu-west-1.amazonaws.com")
        self.refused = refused
        self.asked: list[str] = []
        self.told: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def call(**told: Any) -> Any:
            self.asked.append(name)
            self.told[name] = told
            code = self.refused.get(name)
            if code:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, name)
            described = {"Arn": "arn:aws:kms:eu-west-1:111122223333:key/1", "KeyState": "Enabled"}
            return {"KeyMetadata": described, **told}

        if name.startswith("__"):
            raise AttributeError(name)
        return call


@pytest.mark.parametrize(
    ("action", "code"),
    [("put_key_policy", "MalformedPolicyDocumentException"), ("create_alias", "AccessDeniedException")],
)
def test_a_key_that_cannot_be_finished_is_scheduled_for_deletion(action: str, code: str) -> None:
    kms: Any = RefusingKms(**{action: code, "describe_key": "NotFoundException"})
    kms.decrypt  # noqa: B018 - what a boto3 client is known by
    with pytest.raises(Exception, match=f"{code}.*scheduled for deletion") as caught:
        create_key(NewKey(alias="alias/a", readers=[ROLE + "r"]), Client(kms=kms, region_name="eu-west-1"))
    assert kms.asked[-1] == "schedule_key_deletion"
    assert isinstance(caught.value, ServiceDeniedError) == (action == "create_alias")


def test_an_alias_that_was_taken_meanwhile_is_told_as_such() -> None:
    kms: Any = RefusingKms(create_alias="AlreadyExistsException", describe_key="NotFoundException")
    with pytest.raises(ConfigurationError, match="alias/a names another key already"):
        create_key(NewKey(alias="alias/a"), Client(kms=kms, region_name="eu-west-1"))
    assert kms.asked[-1] == "schedule_key_deletion"


def test_rotation_is_switched_shown_and_done_now(command: Any, raw_kms: Any, alias: str) -> None:
    command("kms", "create", alias, "--no-rotation")
    shown = command("kms", "rotate", alias)
    assert "automatic rotation  off" in shown
    assert alias in shown
    assert "automatic rotation  on" in command("kms", "rotate", alias, "--on", "--period-days", "200")
    told = json.loads(command("kms", "rotate", alias, "--now", "--json"))
    assert (told["rotation"], told["state"]) == (True, "Enabled")
    assert len(told["rotations"]) == 1
    assert "off" in command("kms", "rotate", alias, "--off")
    for words in (["--off", "--period-days", "100"], ["--period-days", "9"]):
        command("kms", "rotate", alias, *words, code=2)
    assert "NotFoundException" in command("kms", "rotate", "alias/none", code=1)


def test_aliases_that_may_not_be_asked_for_are_not_said_to_be_none(command: Any, raw_kms: Any, alias: str) -> None:
    command("kms", "create", alias)
    told = describe_key(alias, Client(kms=_Unlisted(raw_kms), region_name="us-east-1"))
    assert told.aliases is None
    assert "aliases             not told" in "\n".join(kms._described(told))


class _Unlisted:
    """A KMS that lists no aliases."""

    def __init__(self, kms: Any) -> None:
        self._kms = kms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kms, name)

    def list_aliases(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "ListAliases")


def test_the_period_is_told_to_kms() -> None:
    for act, asked in (
        (lambda client: create_key(NewKey(alias="alias/a", rotation_days=200), client), {"RotationPeriodInDays": 200}),
        (lambda client: rotate_key("alias/a", client, days=300), {"RotationPeriodInDays": 300}),
        (lambda client: rotate_key("alias/a", client, automatic=True), {}),
    ):
        kms: Any = RefusingKms(
            **({"describe_key": "NotFoundException"} if asked.get("RotationPeriodInDays") == 200 else {})
        )
        with contextlib.suppress(ServiceError):  # there is no key to describe
            act(Client(kms=kms, region_name="eu-west-1"))
        assert kms.told["enable_key_rotation"] == asked | {"KeyId": "arn:aws:kms:eu-west-1:111122223333:key/1"}


def test_objects_are_read_after_their_key_was_rotated(client: Client, bucket: str, raw_kms: Any, alias: str) -> None:
    arn = create_key(NewKey(alias=alias), client).arn
    client.put(f"s3://{bucket}/o", b"content", kms_key_id=arn)
    rotate_key(arn, client, on_demand=True)
    assert bytes(client.replace(kms_key_id=arn).get(f"s3://{bucket}/o")) == b"content"


@pytest.fixture
def keys(client: Client) -> tuple[str, str]:
    """The ARNs of two keys, of which the first is to be retired."""
    made = [create_key(NewKey(alias=f"alias/retire-{secrets.token_hex(4)}"), client).arn for _ in range(2)]
    return made[0], made[1]


def test_what_needs_a_key_is_found_among_all_kinds_of_objects(
    client: Client, bucket: str, keys: tuple[str, str], raw_s3: Any
) -> None:
    old, new = keys
    client.put(f"s3://{bucket}/t/sealed", b"1", kms_key_id=old)
    client.put(f"s3://{bucket}/t/other", b"1", kms_key_id=new)
    client.put(f"s3://{bucket}/t/plain", b"1", encryption=PLAIN)
    client.put(f"s3://{bucket}/t/server", b"1", encryption=SSE_KMS(old))
    client.put(f"s3://{bucket}/t/server-other", b"1", encryption=SSE_KMS(new))
    client.put(f"s3://{bucket}/elsewhere", b"1", kms_key_id=old)
    raw_s3.put_object(Bucket=bucket, Key="t/odd", Body=b"", Metadata={"x-amz-key-v2": "?", "x-amz-iv": "?"})
    users = key_users(old, [f"s3://{bucket}/t/"], client)
    assert {(row.location.name, row.encryption, row.need) for row in users.rows} == {
        ("sealed", "CSE V3", "yes"),
        ("server", "SSE-KMS", "yes"),
        ("odd", "CSE", "maybe"),
    }
    assert (users.objects, users.wrapped_keys, users.free) == (6, 2, False)
    assert users.to_pandas()["bucket"].unique().tolist() == [bucket]
    with pytest.raises(ConfigurationError, match="still needed"):
        retire_key(users, 7, client)
    assert describe_key(old, client).state == "Enabled"


def test_objects_that_share_a_data_key_cost_one_call(client: Client, bucket: str, keys: tuple[str, str]) -> None:
    writer = client.replace(kms_key_id=keys[0])
    with writer.data_key_reuse():
        for name in "abcde":
            writer.put(f"s3://{bucket}/{name}", b"1")
    looking = client.replace()
    users = key_users(keys[0], [f"s3://{bucket}"], looking)
    assert (len(users.rows), users.wrapped_keys) == (5, 1)


def test_a_data_key_in_an_instruction_file_is_found(client: Client, bucket: str, keys: tuple[str, str]) -> None:
    for key, name in zip(keys, ("old", "new"), strict=True):
        apart = client.replace(kms_key_id=key, instruction_files=True)
        apart.put(f"s3://{bucket}/{name}", b"1", encryption=CSE(instruction_file=True))
    users = key_users(keys[0], [f"s3://{bucket}"], client)
    assert [(row.location.key, row.need) for row in users.rows] == [("old", "yes")]


@pytest.mark.parametrize("written", ["V2", "V3"])
def test_a_data_key_in_an_instruction_file_for_somebody_else_is_found(
    client: Client, bucket: str, keys: tuple[str, str], written: str
) -> None:
    ours, theirs = keys
    policy = "FORBID_ENCRYPT_ALLOW_DECRYPT" if written == "V2" else None
    apart = client.replace(kms_key_id=ours, instruction_files=True, format=written, commitment_policy=policy)
    apart.put(f"s3://{bucket}/o", b"1", encryption=CSE(instruction_file=True, format=written))
    rewrap(f"s3://{bucket}/o", to_key=theirs, client=apart, instruction_file=".partner")
    assert [row.location.key for row in key_users(theirs, [f"s3://{bucket}"], client).rows] == ["o.partner"]
    assert [row.location.key for row in key_users(ours, [f"s3://{bucket}"], client).rows] == ["o"]


def test_old_versions_of_instruction_files_need_their_key_too(
    client: Client, bucket: str, keys: tuple[str, str], raw_s3: Any
) -> None:
    raw_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old, new = keys
    apart = client.replace(kms_key_id=old, instruction_files=True)
    apart.put(f"s3://{bucket}/o", b"1", encryption=CSE(instruction_file=True))
    raw_s3.put_object(Bucket=bucket, Key="named.instruction", Body=b"turn left")
    raw_s3.put_object(Bucket=bucket, Key="named.instruction", Body=b"turn right")
    assert rewrap(f"s3://{bucket}/o", to_key=new, client=apart).count("done") == 1
    (row,) = key_users(old, [f"s3://{bucket}"], client).rows
    assert (row.location.key, row.need, row.version_id is None) == ("o.instruction", "yes", False)
    (row,) = key_users(new, [f"s3://{bucket}"], client).rows
    assert (row.location.key, row.version_id) == ("o", None)


def test_an_instruction_file_that_is_gone_may_have_named_the_key(
    client: Client, bucket: str, keys: tuple[str, str], raw_s3: Any
) -> None:
    apart = client.replace(kms_key_id=keys[1], instruction_files=True)
    apart.put(f"s3://{bucket}/o", b"1", encryption=CSE(instruction_file=True))
    raw_s3.delete_object(Bucket=bucket, Key="o.instruction")
    (row,) = key_users(keys[0], [f"s3://{bucket}"], client).rows
    assert (row.location.key, row.need) == ("o", "maybe")


def test_what_the_server_encrypts_under_the_key_counts_also_where_it_belongs_to_another_object(
    client: Client, bucket: str, keys: tuple[str, str], raw_s3: Any
) -> None:
    told = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": keys[0]}
    raw_s3.put_object(Bucket=bucket, Key="_arrowseal.o.index", Body=b"", **told)
    (row,) = key_users(keys[0], [f"s3://{bucket}"], client).rows
    assert (row.location.key, row.encryption, row.need) == ("_arrowseal.o.index", "SSE-KMS", "yes")


def test_replicas_of_a_multi_region_key_are_the_same_key(client: Client, bucket: str, raw_s3: Any) -> None:
    told = NewKey(alias=f"alias/retire-{secrets.token_hex(4)}", multi_region=True)
    arn = create_key(told, client).arn
    replica = arn.replace(arn.split(":")[3], "eu-central-1")
    raw_s3.put_object(Bucket=bucket, Key="o", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId=replica)
    assert [row.need for row in key_users(arn, [f"s3://{bucket}"], client).rows] == ["yes"]


def test_old_versions_need_their_key_too(client: Client, bucket: str, keys: tuple[str, str], raw_s3: Any) -> None:
    raw_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put(f"s3://{bucket}/o", b"1", kms_key_id=keys[0])
    client.put(f"s3://{bucket}/o", b"2", kms_key_id=keys[1])
    client.put(f"s3://{bucket}/gone", b"1", kms_key_id=keys[0])
    client.delete(f"s3://{bucket}/gone")
    users = key_users(keys[0], [f"s3://{bucket}"], client)
    assert {(row.location.name, row.need, row.version_id is None) for row in users.rows} == {
        ("o", "yes", False),
        ("gone", "yes", False),
    }


def test_a_dry_run_asks_kms_to_decrypt_nothing(
    command: Any, client: Client, bucket: str, keys: tuple[str, str]
) -> None:
    for name in "ab":
        client.put(f"s3://{bucket}/{name}", b"1", kms_key_id=keys[0])
    asked = client.replace()
    users = key_users(keys[0], [f"s3://{bucket}"], asked, dry_run=True)
    assert (users.rows, users.wrapped_keys, users.free) == ((), 2, False)
    shown = command("kms", "retire", keys[0], f"s3://{bucket}", "--dry-run")
    assert "under the key: 2" in shown


def test_a_key_is_retired_only_when_nothing_needs_it(
    command: Any, client: Client, bucket: str, keys: tuple[str, str], raw_kms: Any
) -> None:
    old, new = keys
    client.put(f"s3://{bucket}/a", b"1", kms_key_id=old)
    shown = command("kms", "retire", old, f"s3://{bucket}/", "--schedule-deletion", "7", code=1)
    assert f"s3://{bucket}/a" in shown
    assert f"arrowseal rewrap s3://{bucket}/ --to-key NEW-KEY --kms-key-id {old}" in shown
    assert raw_kms.describe_key(KeyId=old)["KeyMetadata"]["KeyState"] == "Enabled"
    client.put(f"s3://{bucket}/a", b"1", kms_key_id=new)
    shown = command("kms", "retire", old, f"s3://{bucket}/")
    assert "--schedule-deletion 30" in shown
    assert raw_kms.describe_key(KeyId=old)["KeyMetadata"]["KeyState"] == "Enabled"
    shown = command("kms", "retire", old, f"s3://{bucket}/", "--schedule-deletion", "7")
    assert "still names the key" in shown
    assert raw_kms.describe_key(KeyId=old)["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_the_commands_that_it_names_free_the_key(
    command: Any, client: Client, bucket: str, keys: tuple[str, str]
) -> None:
    old, new = keys
    client.put(f"s3://{bucket}/t/sealed", b"content", kms_key_id=old)
    client.put(f"s3://{bucket}/t/server", b"content", encryption=SSE_KMS(old))
    shown = command("kms", "retire", old, f"s3://{bucket}/t/", code=1).splitlines()
    (rewrap,) = [line for line in shown if line.startswith("arrowseal rewrap")]
    command(*(new if word == "NEW-KEY" else word for word in shlex.split(rewrap)[1:]))
    (copy,) = [line.partition(": ")[2] for line in shown if line.startswith("SSE-KMS: ")]
    url = f"s3://{bucket}/t/server"
    command(*(url if word == "URL" else new if word == "NEW-KEY" else word for word in shlex.split(copy)[1:]))
    assert "Nothing of it needs the key" in command("kms", "retire", old, f"s3://{bucket}/t/")
    assert bytes(client.replace(kms_key_id=new).get(f"s3://{bucket}/t/sealed")) == b"content"


@pytest.mark.parametrize(
    "named",
    [
        lambda arn, bucket: arn,
        lambda arn, bucket: arn.rpartition("/")[2],
        lambda arn, bucket: f"alias/of-{bucket}",
        lambda arn, bucket: f"{arn.rpartition(':')[0]}:alias/of-{bucket}",
    ],
    ids=["arn", "id", "alias", "arn of an alias"],
)
def test_a_bucket_that_encrypts_under_the_key_by_default_keeps_it(
    named: Any, command: Any, bucket: str, keys: tuple[str, str], raw_s3: Any, raw_kms: Any
) -> None:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": named(keys[0], bucket)}
    rules = [{"ApplyServerSideEncryptionByDefault": default}]
    raw_kms.create_alias(AliasName=f"alias/of-{bucket}", TargetKeyId=keys[0])
    raw_s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    shown = command("kms", "retire", keys[0], f"s3://{bucket}", "--schedule-deletion", "7", code=1)
    assert f"arrowseal bucket set s3://{bucket} --default sse-kms" in shown


def test_json_has_every_object(command: Any, client: Client, bucket: str, keys: tuple[str, str]) -> None:
    client.put(f"s3://{bucket}/a", b"1", kms_key_id=keys[0])
    told = json.loads(command("kms", "retire", keys[0], f"s3://{bucket}", "--json", code=1))
    assert [(row["key"], row["need"]) for row in told["needed_by"]] == [("a", "yes")]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("alias/a",), "required: URL"),
        (("alias/a", "lake"), "not an s3://bucket/key URL"),
        (("alias/a", "s3://lake", "--schedule-deletion", "3"), "7 to 30"),
        (("alias/a", "s3://lake", "--schedule-deletion", "7", "--dry-run"), "not both"),
    ],
)
def test_a_retirement_that_cannot_be_is_refused(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["kms", "retire", *words]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("command_of", ["retire", "trail"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(
    command_of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("arrowseal.operations.key_users.key_users", asked)
    monkeypatch.setattr("arrowseal.trail.read_trail", asked)
    words = {"retire": ["alias/a", "s3://lake"], "trail": [str(tmp_path)]}[command_of]
    file = tmp_path / "nowhere" / "found.parquet"
    assert cli.main(["kms", command_of, *words, "--parquet", str(file)]) == 1
    assert f"{file}: No such file or directory" in capsys.readouterr().err


def test_a_search_that_fails_leaves_the_file_of_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise ServiceError("no answer")

    monkeypatch.setattr("arrowseal.operations.key_users.key_users", refused)
    (tmp_path / "earlier").write_bytes(b"found")
    for name in ("earlier", "new"):
        assert cli.main(["kms", "retire", "alias/a", "s3://lake", "--parquet", str(tmp_path / name)]) == 1
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"earlier": b"found"}


def test_what_kms_does_not_let_the_caller_decrypt_may_need_the_key_on_aws(
    local_servers: LocalServers, client: Client, bucket: str, keys: tuple[str, str]
) -> None:
    client.put(f"s3://{bucket}/a", b"1", kms_key_id=keys[0])
    kms: Any = RefusingKms(decrypt="AccessDeniedException")
    denied = Client(s3=local_servers.s3_client(), kms=kms)
    (row,) = key_users(keys[0], [f"s3://{bucket}"], denied).rows
    assert (row.need, "does not let the caller" in row.why) == ("maybe", True)
