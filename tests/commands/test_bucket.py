"""`arrowseal bucket`: settings are shown and changed on every server, and policies refuse what they say they refuse."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from iam_conditions import applies, denied

from arrowseal import SSE_C, SSE_KMS, SSE_S3, V2, V3, cli
from arrowseal.exceptions import StoreAccessDeniedError
from arrowseal.metadata import bound_context
from arrowseal.operations import bucket_settings
from arrowseal.operations.bucket_policies import bucket_policy, key_policy, requires_tls, with_tls
from arrowseal.operations.bucket_settings import change_settings, read_settings

if TYPE_CHECKING:
    from arrowseal import Client
    from arrowseal.local import LocalServers

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
WRITER = "arn:aws:iam::111122223333:role/writer"
READER = "arn:aws:iam::111122223333:role/reader"
SSE, KEY_ID = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
CUSTOMER = "s3:x-amz-server-side-encryption-customer-algorithm"
SECURE = {"aws:SecureTransport": "true", "aws:PrincipalArn": WRITER}


@pytest.fixture
def command(local_environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = 0) -> str:
        assert cli.main(list(words)) == code, capsys.readouterr()
        shown = capsys.readouterr()
        return shown.out + shown.err

    return run


@pytest.fixture
def by_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded servers pass for ones that are reached by TLS."""
    monkeypatch.setattr(bucket_settings, "_has_tls", lambda _: True)


def test_tls_is_not_demanded_where_it_would_lock_the_caller_out(command: Any, bucket: str) -> None:
    assert "would refuse this client" in command("bucket", "set", f"s3://{bucket}", "--tls", "on", code=2)
    assert "TLS required by policy  no" in command("bucket", "show", f"s3://{bucket}")


@pytest.mark.usefixtures("by_tls")
def test_settings_are_shown_and_changed_one_by_one(command: Any, bucket: str, raw_kms: Any) -> None:
    url, key = f"s3://{bucket}", raw_kms.create_key()["KeyMetadata"]["Arn"]
    shown = command("bucket", "show", url)
    assert "versioning              never enabled" in shown
    assert "TLS required by policy  no" in shown
    shown = command("bucket", "set", url, "--default", "sse-kms", "--key", key)
    for line in ("default encryption      SSE-KMS", f"KMS key                 {key}", "bucket key              yes"):
        assert line in shown, shown
    shown = command("bucket", "set", url, "--default", "sse-kms", "--key", key, "--bucket-key", "off")
    assert "bucket key              no" in shown
    shown = command("bucket", "set", url, "--versioning", "on", "--block-public-access", "on", "--tls", "on")
    for line in ("versioning              Enabled", "public access blocked   yes", "TLS required by policy  yes"):
        assert line in shown, shown
    assert "SSE-KMS" in shown, "what was not named stays"
    shown = command("bucket", "set", url, "--versioning", "off", "--block-public-access", "off", "--tls", "off")
    for line in ("versioning              Suspended", "public access blocked   no", "TLS required by policy  no"):
        assert line in shown, shown
    told = json.loads(command("bucket", "show", url, "--json"))
    assert (told["encryption"], told["kms_key"], told["bucket_key"], told["untold"]) == ("SSE-KMS", key, False, {})
    assert "SSE-S3" in command("bucket", "set", url, "--default", "sse-s3")


def test_the_default_of_a_bucket_is_what_writes_get(client: Client, bucket: str, raw_kms: Any, raw_s3: Any) -> None:
    key = raw_kms.create_key()["KeyMetadata"]["Arn"]
    assert change_settings(bucket, client, default="sse-kms", key=key) == {}
    rule = raw_s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    assert rule["BucketKeyEnabled"] is True


@pytest.mark.parametrize("name", ["moto", "seaweedfs"])
def test_what_a_server_does_not_know_is_said_and_no_traceback(
    name: str, request: pytest.FixtureRequest, local_servers: LocalServers
) -> None:
    running: LocalServers = request.getfixturevalue("local_servers" if name == "moto" else "seaweedfs_servers")
    client = running.client()
    settings = read_settings(running.bucket, client)
    assert settings.bucket == running.bucket
    failed = change_settings(
        running.bucket, client, default="sse-s3", versioning=False, block_public_access=False, require_tls=False
    )
    told = {"default encryption", "versioning", "public access block", "TLS policy"}
    assert set(failed) <= told
    assert all(failed.values())
    assert settings.to_pandas()["bucket"].tolist() == [running.bucket]
    if name == "moto":
        assert (failed, settings.untold) == ({}, {})


class Refusing:
    """A boto3 client of S3 that answers each call with one error code."""

    def __init__(self, client: Any, code: str, status: int = 400) -> None:
        self._client, self._code, self._status = client, code, status

    def __getattr__(self, name: str) -> Any:
        if name in ("meta", "get_object"):
            return getattr(self._client, name)

        def call(**_: Any) -> Any:
            answer: Any = {"Error": {"Code": self._code}, "ResponseMetadata": {"HTTPStatusCode": self._status}}
            raise ClientError(answer, name)

        return call


@pytest.mark.usefixtures("by_tls")
@pytest.mark.parametrize(
    ("code", "status", "why"),
    [
        ("AccessDenied", 403, "denied"),
        ("NotImplemented", 501, "this server does not know it"),
        ("MethodNotAllowed", 405, "this server does not know it"),
        ("InternalError", 500, "InternalError"),
    ],
)
def test_what_is_not_told_has_its_reason(local_servers: LocalServers, code: str, status: int, why: str) -> None:
    refusing: Any = Refusing(local_servers.s3_client(), code, status)
    client = local_servers.client(session=None, s3=refusing)
    settings = read_settings("lake", client)
    assert set(settings.untold) >= {"encryption", "versioning", "public_access_blocked", "tls_required"}
    assert all(why in reason for reason in settings.untold.values())
    assert (settings.encryption, settings.tls_required) == (None, None)
    failed = change_settings("lake", client, default="sse-s3", require_tls=True)
    assert all(why in reason for reason in failed.values())
    assert len(failed) == 2


@pytest.mark.usefixtures("by_tls")
def test_a_change_that_fails_is_told_and_the_others_are_made(
    command: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutBucketPolicy")

    monkeypatch.setattr(bucket_settings, "_require_tls", refuse)
    shown = command("bucket", "set", f"s3://{bucket}", "--versioning", "on", "--tls", "on", code=1)
    assert "TLS policy was not changed: denied" in shown
    assert "versioning              Enabled" in shown


def test_a_bucket_that_is_not_there_is_an_error(command: Any) -> None:
    assert "s3://never-created: no such bucket" in command("bucket", "show", "s3://never-created", code=1)


def test_a_server_that_does_not_answer_is_an_error_and_not_a_bucket_of_which_nothing_is_told(command: Any) -> None:
    shown = command("bucket", "show", "s3://lake", "--endpoint-url", "http://127.0.0.1:9", code=1)
    assert shown.startswith("arrowseal: s3://lake: no answer: ")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("show", "lake"), "not an s3://bucket/key URL"),
        (("show", "s3://lake/prefix"), "a whole bucket"),
        (("set", "s3://lake"), "name what to change"),
        (("set", "s3://lake", "--key", KEY), "go with the default sse-kms"),
        (("set", "s3://lake", "--default", "sse-s3", "--bucket-key", "on"), "go with the default sse-kms"),
        (("set", "s3://lake", "--tls", "maybe"), "invalid choice"),
        (("policy", "s3://lake"), "required: --require"),
        (("policy", "lake", "--require", "tls"), "not an s3://bucket/key URL"),
        (("policy", "s3://lake", "--require", "sse-s3", "--require", "sse-kms"), "exclude each other"),
        (("policy", "s3://lake", "--require", "sse-kms", "--key", "alias/a"), "the ARN of a KMS key"),
        (("policy", "s3://lake", "--require", "tls", "--key", KEY), "for sse-kms"),
        (("policy", "s3://lake", "--require", "tls", "--writer", WRITER), "for cse"),
        (("policy", "s3://lake", "--require", "cse", "--writer", "jane"), "no writer"),
        (("policy", "s3://lake", "--require", "cse", "--part", "key"), "name who writes"),
        (("policy", "s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/a/", "--require", "tls"), "is an access point"),
        (("policy", "s3://lake", "--require", "tls", "--part", "key"), "cse alone"),
        (("policy", "s3://lake", "--require", "cse", "--reader", READER), "--part key"),
    ],
)
def test_wrong_words_are_refused_before_any_request(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bucket", *words]) == 2
    assert reason in capsys.readouterr().err


def test_tls_is_put_into_a_policy_that_is_there_and_taken_out_again() -> None:
    own = {"Version": "2012-10-17", "Id": "x", "Statement": {"Sid": "Own", "Effect": "Allow"}}
    changed = with_tls(own, "lake", required=True)
    assert changed is not None
    assert [one["Sid"] for one in changed["Statement"]] == ["Own", "ArrowsealRequireTLS"]
    assert changed["Id"] == "x"
    assert requires_tls(changed)
    assert not requires_tls(own)
    assert with_tls(changed, "lake", required=True) == changed
    assert with_tls(changed, "lake", required=False) == own | {"Statement": [own["Statement"]]}
    assert with_tls(with_tls(None, "lake", required=True), "lake", required=False) is None


def test_a_statement_that_denies_less_than_everything_without_tls_does_not_pass_for_it() -> None:
    (whole,) = bucket_policy("s3://lake", ["tls"]).policy["Statement"]
    assert requires_tls({"Statement": [whole]})
    for change in (
        {"Effect": "Allow"},
        {"Action": "s3:GetObject"},
        {"Principal": {"AWS": WRITER}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {"Condition": whole["Condition"] | {"StringEquals": {"aws:PrincipalArn": WRITER}}},
    ):
        assert not requires_tls({"Statement": [whole | change]})


def put(policy: dict[str, Any], key: str = "raw/o", **facts: str) -> bool:
    """Whether a write with these facts is refused."""
    return denied(policy, "s3:PutObject", f"arn:aws:s3:::lake/{key}", SECURE | facts)


def test_sse_kms_with_a_key_refuses_every_other_encryption_and_lets_the_default_pass() -> None:
    policy = bucket_policy("s3://lake/raw/", ["sse-kms", "tls"], key=KEY).policy
    kms = {SSE: "aws:kms", KEY_ID: KEY}
    assert not put(policy)
    assert not put(policy, **kms)
    assert put(policy, **{SSE: "AES256"})
    assert put(policy, **{SSE: "aws:kms", KEY_ID: KEY.replace("1234abcd", "5678abcd")})
    assert put(policy, **{SSE: "aws:kms"}), "without a key it is that of AWS"
    assert put(policy, **{CUSTOMER: "AES256"})
    assert put(policy, **kms, **{"aws:SecureTransport": "false"})
    assert not put(policy, key="other/o", **{SSE: "AES256"}), "another prefix is not meant"
    assert denied(policy, "s3:GetObject", "arn:aws:s3:::lake/other/o", {"aws:SecureTransport": "false"})


def test_sse_kms_without_a_key_takes_any_and_sse_s3_none() -> None:
    any_key = bucket_policy("s3://lake", ["sse-kms"]).policy
    assert not put(any_key, **{SSE: "aws:kms"})
    assert not put(any_key, **{SSE: "aws:kms", KEY_ID: KEY})
    assert put(any_key, **{SSE: "AES256"})
    by_s3 = bucket_policy("s3://lake", ["sse-s3"]).policy
    assert not put(by_s3)
    assert not put(by_s3, **{SSE: "AES256"})
    assert put(by_s3, **{SSE: "aws:kms", KEY_ID: KEY})
    assert put(by_s3, **{CUSTOMER: "AES256"})


def test_what_arms_send_is_what_the_policies_look_at() -> None:
    """The headers of each condition key, by what boto3 makes of an arm."""
    sent = SSE_KMS(KEY, bucket_key=True).arguments()
    facts = {SSE: sent["ServerSideEncryption"], KEY_ID: sent["SSEKMSKeyId"]}
    assert not put(bucket_policy("s3://lake", ["sse-kms"], key=KEY).policy, **facts)


def test_cse_lets_only_writers_write_and_says_what_it_cannot_enforce() -> None:
    snippet = bucket_policy("s3://lake/raw/", ["cse"], writers=[WRITER])
    assert not put(snippet.policy)
    assert put(snippet.policy, **{"aws:PrincipalArn": READER})
    assert put(snippet.policy, **{"aws:SecureTransport": "false"})
    assert not denied(snippet.policy, "s3:GetObject", "arn:aws:s3:::lake/raw/o", SECURE | {"aws:PrincipalArn": READER})
    assert any("S3 cannot tell" in note for note in snippet.notes)


def test_a_server_that_looks_at_conditions_decides_as_meant(seaweedfs_servers: LocalServers) -> None:
    s3, client, name = seaweedfs_servers.s3_client(), seaweedfs_servers.client(), "decides"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(bucket_policy(f"s3://{name}/raw/", ["sse-kms"]).policy))
    client.put(f"s3://{name}/raw/sealed", b"1")
    client.put(f"s3://{name}/other", b"1", encryption=SSE_S3())
    with pytest.raises(StoreAccessDeniedError):
        client.put(f"s3://{name}/raw/o", b"1", encryption=SSE_S3())
    with pytest.raises(StoreAccessDeniedError):
        client.put(f"s3://{name}/raw/o", b"1", encryption=SSE_C(b"k" * 32))
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(bucket_policy(f"s3://{name}", ["tls"]).policy))
    with pytest.raises(StoreAccessDeniedError):
        client.get(f"s3://{name}/raw/sealed")


@pytest.mark.parametrize("format_", [V3, V2])
def test_a_key_for_cse_serves_sealing_and_not_the_server(format_: Any) -> None:
    policy = key_policy("s3://lake/raw/", writers=[WRITER], readers=[READER]).policy
    seal, opened = policy["Statement"]
    assert (seal["Principal"], opened["Principal"]) == ({"AWS": [WRITER]}, {"AWS": [READER]})
    sealed = {f"kms:EncryptionContext:{name}": value for name, value in bound_context({}, format_).items()}
    assert applies(seal, "kms:GenerateDataKey", "*", sealed)
    assert applies(opened, "kms:Decrypt", "*", sealed)
    assert not applies(seal, "kms:Decrypt", "*", sealed)
    server = {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::lake", "kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    assert not applies(seal, "kms:GenerateDataKey", "*", server)
    assert not applies(seal, "kms:GenerateDataKey", "*", sealed | server)


def test_a_bound_key_serves_only_its_prefix() -> None:
    (seal,) = key_policy("s3://lake/raw/", writers=[WRITER], bound=True).policy["Statement"]

    def facts(location: str | None) -> dict[str, str]:
        context = bound_context({"arrowseal:location": location} if location else {}, V3)
        return {f"kms:EncryptionContext:{name}": value for name, value in context.items()}

    assert applies(seal, "kms:GenerateDataKey", "*", facts("s3://lake/raw/2013/"))
    assert not applies(seal, "kms:GenerateDataKey", "*", facts("s3://lake/other/"))
    assert not applies(seal, "kms:GenerateDataKey", "*", facts(None))


@pytest.mark.parametrize("name", ["te*nt", "te?nt", "${aws:PrincipalTag/team}", "$5", "te[a]nt"])
def test_what_policies_read_as_a_pattern_stands_for_itself_in_a_prefix(name: str) -> None:
    (seal,) = key_policy(f"s3://lake/{name}/", writers=[WRITER], bound=True).policy["Statement"]
    of_bucket = bucket_policy(f"s3://lake/{name}/", ["sse-s3"]).policy

    def told(prefix: str) -> tuple[bool, bool]:
        location = {"arrowseal:location": f"s3://lake/{prefix}/o"}
        facts = {f"kms:EncryptionContext:{key}": value for key, value in bound_context(location, V3).items()}
        written = denied(of_bucket, "s3:PutObject", f"arn:aws:s3:::lake/{prefix}/o", {SSE: "aws:kms"})
        return applies(seal, "kms:GenerateDataKey", "*", facts), written

    assert told(name) == (True, True)
    for other in ("tenant", "teXnt", "te/other/nt", "weather"):
        assert told(other) == (False, False)
    special = [text for text in _variables(seal) + _variables(of_bucket) if text not in ("*", "?", "$")]
    assert special == []


def _variables(policy: Any) -> list[str]:
    return re.findall(r"[$][{](.*?)[}]", json.dumps(policy))


@pytest.mark.parametrize(
    "words",
    [
        ("--require", "tls"),
        ("--require", "sse-kms", "--key", KEY, "--require", "tls"),
        ("--require", "sse-s3"),
        ("--require", "cse", "--writer", WRITER),
    ],
)
def test_what_is_printed_is_json_that_s3_takes(
    words: tuple[str, ...], bucket: str, raw_s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bucket", "policy", f"s3://{bucket}", *words]) == 0
    printed = capsys.readouterr()
    raw_s3.put_bucket_policy(Bucket=bucket, Policy=printed.out)
    assert json.loads(raw_s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(printed.out)
    assert words == ("--require", "tls") or printed.err.startswith("arrowseal: ")
    if "cse" in words:
        # moto looks at actions and resources and at no condition: what is meant by the statements, it refuses.
        with pytest.raises(ClientError, match="403"):
            raw_s3.put_object(Bucket=bucket, Key="o", Body=b"")


def test_the_key_policy_is_json_that_kms_takes(bucket: str, raw_kms: Any, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--require", "cse", "--part", "key", "--writer", WRITER, "--reader", READER, "--bound"]
    assert cli.main(["bucket", "policy", f"s3://{bucket}/raw/", *told]) == 0
    key = raw_kms.create_key()["KeyMetadata"]["KeyId"]
    raw_kms.put_key_policy(KeyId=key, PolicyName="default", Policy=capsys.readouterr().out)
