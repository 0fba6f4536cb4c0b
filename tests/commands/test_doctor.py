"""`arrowseal doctor`: each thing that may be missing is told by its name, and nothing is left in the bucket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from arrowseal import ANY, PLAIN, Client, RawAesKeyring, cli
from arrowseal.operations.doctor import examine

if TYPE_CHECKING:
    from arrowseal.local import LocalServers
    from arrowseal.operations.diagnosis import Check, Diagnosis, Purpose

S3_NEEDS = ["s3:ListBucket", "s3:AbortMultipartUpload", "s3:PutObject", "s3:GetObject"]


def of(found: Diagnosis, name: str) -> Check:
    (check,) = [check for check in found if check.name == name]
    return check


class Refusing:
    """A boto3 client that refuses some of its calls, by the error code that is given for them."""

    def __init__(self, client: Any, **refused: str) -> None:
        self._client, self._refused = client, refused
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name.startswith("_") or not callable(real):
            return real

        def call(**told: Any) -> Any:
            self.asked.append(name)
            if name in self._refused:
                raise ClientError({"Error": {"Code": self._refused[name], "Message": "no"}}, name)
            return real(**told)

        return call


@pytest.fixture
def sick(local_servers: LocalServers) -> Any:
    """Makes a client on moto to which S3 or KMS refuse something."""

    def make(*, s3: dict[str, str] | None = None, kms: dict[str, str] | None = None, **options: Any) -> Client:
        servers: dict[str, Any] = {
            "s3": Refusing(local_servers.s3_client(), **(s3 or {})),
            "kms": Refusing(local_servers.kms_client(), **(kms or {})),
        }
        return Client(**({"kms_key_id": local_servers.kms_key_arn} | servers | options))

    return make


def is_empty(s3: Any, bucket: str) -> bool:
    """Whether nothing is left: no object, no version, no delete marker, no upload."""
    versions = s3.list_object_versions(Bucket=bucket)
    left = (
        versions.get("Versions"),
        versions.get("DeleteMarkers"),
        s3.list_multipart_uploads(Bucket=bucket).get("Uploads"),
    )
    return not any(left)


@pytest.mark.parametrize("servers", ["local_servers", "seaweedfs_servers"])
def test_a_setup_in_order_is_found_so_and_nothing_is_left(servers: str, request: pytest.FixtureRequest) -> None:
    running: LocalServers = request.getfixturevalue(servers)
    running.s3_client().create_bucket(Bucket="doctor")
    found = examine("s3://doctor/tables/", client=running.client())
    assert found.healthy, found.rows()
    assert {check.outcome for check in found if check.needed} == {"ok"}
    assert {*S3_NEEDS, "s3:DeleteObject", "kms:GenerateDataKey", "kms:Decrypt"} <= {check.name for check in found}
    assert is_empty(running.s3_client(), "doctor")
    assert found.to_pandas()["outcome"].tolist().count("missing") == 0


def test_a_versioned_bucket_is_left_without_versions_and_markers(client: Client, bucket: str, raw_s3: Any) -> None:
    raw_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    found = examine(f"s3://{bucket}", client=client)
    assert found.healthy, found.rows()
    assert of(found, "s3:PutObject").outcome == of(found, "s3:DeleteObjectVersion").outcome == "ok"
    assert is_empty(raw_s3, bucket)


REFUSALS = [
    ("s3:ListBucket", {"list_objects_v2": "AccessDenied"}, {}),
    ("s3:PutObject", {"put_object": "AccessDenied"}, {}),
    ("s3:GetObject", {"get_object": "AccessDenied"}, {}),
    ("s3:AbortMultipartUpload", {"abort_multipart_upload": "AccessDenied"}, {}),
    ("kms:GenerateDataKey", {}, {"generate_data_key": "AccessDeniedException"}),
    ("kms:Decrypt", {}, {"decrypt": "AccessDeniedException"}),
]


@pytest.mark.parametrize(("name", "s3", "kms"), REFUSALS, ids=[name for name, _, _ in REFUSALS])
def test_a_permission_that_is_denied_is_missing_and_the_others_are_not(
    sick: Any, bucket: str, raw_s3: Any, name: str, s3: dict[str, str], kms: dict[str, str]
) -> None:
    found = examine(f"s3://{bucket}/t/", client=sick(s3=s3, kms=kms))
    assert not found.healthy
    assert [check.name for check in found if check.needed and check.outcome == "missing"] == [name]
    assert "denied" in of(found, name).detail
    assert name in of(found, name).way_out
    assert is_empty(raw_s3, bucket)


def test_what_cannot_be_deleted_again_is_not_written(sick: Any, bucket: str, raw_s3: Any) -> None:
    client = sick(s3={"delete_object": "AccessDenied"})
    found = examine(f"s3://{bucket}", client=client)
    assert of(found, "s3:DeleteObject").outcome == "missing"
    assert not of(found, "s3:DeleteObject").needed
    assert of(found, "s3:PutObject").outcome == "ok", "an upload was begun and aborted"
    assert "put_object" not in client._connections.s3().asked
    assert is_empty(raw_s3, bucket)
    client = sick(s3={"delete_object": "AccessDenied", "abort_multipart_upload": "AccessDenied"})
    found = examine(f"s3://{bucket}", client=client)
    assert of(found, "s3:PutObject").outcome == "not checked"
    assert {"put_object", "create_multipart_upload"}.isdisjoint(client._connections.s3().asked)
    assert is_empty(raw_s3, bucket)


def test_what_only_helps_is_optional(sick: Any, bucket: str) -> None:
    denied = "AccessDeniedException"
    s3 = {"put_object_tagging": "AccessDenied", "head_bucket": "403", "get_bucket_versioning": "AccessDenied"}
    found = examine(f"s3://{bucket}", client=sick(s3=s3, kms={"re_encrypt": denied, "describe_key": denied}))
    assert found.healthy, found.rows()
    for name in ("s3:PutObjectTagging", "kms:ReEncrypt", "kms:DescribeKey"):
        assert (of(found, name).outcome, of(found, name).needed) == ("missing", False)


def test_a_reader_needs_no_permission_to_write(sick: Any, bucket: str, client: Client) -> None:
    client.put(f"s3://{bucket}/a", b"1", encryption=PLAIN)
    client.put(f"s3://{bucket}/b", b"1")
    s3 = {"put_object": "AccessDenied", "delete_object": "AccessDenied", "create_multipart_upload": "AccessDenied"}
    reader = sick(s3=s3, kms={"generate_data_key": "AccessDeniedException"})
    found = examine(f"s3://{bucket}", client=reader, purpose="read")
    assert found.healthy, found.rows()
    assert of(found, "kms:Decrypt").detail == f"reads s3://{bucket}/b", "what others wrote is decrypted"
    assert not examine(f"s3://{bucket}", client=reader, purpose="write").healthy


def test_without_anything_to_decrypt_it_is_not_checked(sick: Any, bucket: str) -> None:
    reader = sick(kms={"generate_data_key": "AccessDeniedException"})
    assert of(examine(f"s3://{bucket}", client=reader), "kms:Decrypt").outcome == "not checked"
    assert of(examine(client=reader), "kms:Decrypt").outcome == "not checked"


def test_the_context_of_the_client_is_what_kms_is_asked_under(local_servers: LocalServers, bucket: str) -> None:
    kms = Refusing(local_servers.kms_client())
    asked: list[dict[str, str]] = []
    kms._client.meta.events.register(
        "provide-client-params.kms.GenerateDataKey", lambda params, **_: asked.append(params["EncryptionContext"])
    )
    told: dict[str, Any] = {"s3": local_servers.s3_client(), "kms": kms}
    for options in (
        {"encryption_context": {"team": "weather"}, "bind_location": "prefix"},
        {"encryption_context": ANY},
    ):
        examine(f"s3://{bucket}/t/", client=Client(local_servers.kms_key_arn, **told, **options))
    assert asked[0]["team"] == "weather"
    assert asked[0]["arrowseal:location"] == f"s3://{bucket}/t/"
    assert set(asked[1]) == {"aws:x-amz-cek-alg"}


def test_a_key_that_is_disabled_or_not_there_is_told(client: Client, raw_kms: Any, sick: Any) -> None:
    key = raw_kms.create_key()["KeyMetadata"]
    raw_kms.disable_key(KeyId=key["KeyId"])
    check = of(examine(client=client.replace(kms_key_id=key["Arn"])), "KMS key")
    assert check.outcome == "missing"
    assert "Disabled" in check.detail
    assert "enable-key" in check.way_out
    assert not examine(client=client.replace(kms_key_id="alias/none")).healthy
    assert not examine(client=sick(kms={"generate_data_key": "DisabledException"})).healthy


def test_what_ails_the_key_itself_is_not_put_down_to_a_missing_permission(sick: Any) -> None:
    for code, way_out in (
        ("NotFoundException", "check its name, its account and --region"),
        ("DisabledException", "enable it"),
        ("KMSInvalidStateException", "enable it"),
    ):
        found = examine(client=sick(kms={"describe_key": code, "generate_data_key": code}))
        for name in ("kms:DescribeKey", "kms:GenerateDataKey"):
            assert of(found, name).way_out.startswith(way_out), (name, code)
    denied = examine(client=sick(kms={"generate_data_key": "AccessDeniedException"}))
    assert of(denied, "kms:GenerateDataKey").way_out.startswith("allow kms:GenerateDataKey")


@pytest.mark.parametrize("place", [None, "s3://{bucket}/raw/"])
def test_without_a_kms_key_what_seals_and_opens_is_missing(
    local_servers: LocalServers, bucket: str, place: str | None
) -> None:
    url = place and place.format(bucket=bucket)

    def outcome(purpose: Purpose, **options: Any) -> tuple[str, bool]:
        found = examine(url, client=local_servers.client(**{"kms_key_id": None} | options), purpose=purpose)
        return of(found, "KMS key").outcome, found.healthy

    assert outcome("both") == outcome("read") == outcome("write") == ("missing", False)
    for options in ({"decrypt_key_ids": [local_servers.kms_key_arn]}, {"allow_plaintext": True}):
        assert outcome("write", **options) == ("missing", False), "writes seal"
        assert outcome("read", **options) == ("missing", True), "some objects are read without"
    assert outcome("both", keyring=RawAesKeyring(bytes(32))) == ("not checked", True)
    if url:
        elsewhere = {f"s3://{bucket}/other": local_servers.kms_key_arn}
        assert outcome("both", kms_key_id=elsewhere) == ("missing", False), "no prefix of the map holds the place"


def test_the_key_of_a_place_is_the_one_that_is_looked_at(
    local_servers: LocalServers, bucket: str, raw_kms: Any
) -> None:
    other = raw_kms.create_key()["KeyMetadata"]["Arn"]
    keys = {f"s3://{bucket}": local_servers.kms_key_arn, f"s3://{bucket}/tenant/": other}
    client = local_servers.client(kms_key_id=keys)
    assert other in of(examine(f"s3://{bucket}/tenant/", client=client), "KMS key").detail
    assert local_servers.kms_key_arn in of(examine(f"s3://{bucket}", client=client), "KMS key").detail
    assert of(examine(client=client), "KMS key").outcome == "not checked"


def test_a_bucket_that_is_not_there_ends_the_look_at_it(client: Client) -> None:
    found = examine("s3://never-created", client=client)
    assert of(found, "bucket").detail == "s3://never-created does not exist"
    assert not [check for check in found if check.name.startswith("s3:")]


def test_a_clock_that_is_wrong_is_told_with_its_minutes(
    client: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arrowseal.operations import doctor

    monkeypatch.setattr(doctor, "seconds_ahead", lambda _: 1234.0)
    check = of(examine(f"s3://{bucket}", client=client), "clock")
    assert (check.outcome, check.detail) == ("missing", "1,234 seconds behind the server's")


def test_a_server_that_does_not_answer_is_told_and_no_bucket_asked_for(local_servers: LocalServers) -> None:
    client = local_servers.client(endpoint_url="http://127.0.0.1:9")
    found = examine("s3://lake", client=client)
    assert of(found, "endpoint").outcome == "missing"
    assert [check.name for check in found if check.name.startswith("s3:")] == []
    assert EndpointConnectionError.__name__ not in of(found, "endpoint").detail


def test_a_kms_that_does_not_answer_is_not_put_down_to_a_missing_permission(local_servers: LocalServers) -> None:
    found = examine(client=local_servers.client(kms_endpoint_url="http://127.0.0.1:9"))
    (missing,) = [check for check in found if check.outcome == "missing"]
    assert missing.needed
    assert missing.detail.startswith("no answer")
    assert missing.way_out.startswith("check network")
    assert "kms:GenerateDataKey" not in [check.name for check in found], "it would wait as long once more"


def test_the_command_tells_its_own_options(local_environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--profile", "none-of-this-name"]) == 1
    shown = capsys.readouterr().out
    assert "give the --profile of a profile that exists" in shown
    assert "profile_name=" not in shown


def test_credentials_that_are_wrong_are_told(seaweedfs_servers: LocalServers) -> None:
    session = seaweedfs_servers.session()
    import boto3

    other = boto3.Session(aws_access_key_id="x" * 16, aws_secret_access_key="y" * 30, region_name="us-east-1")
    assert session.region_name == "us-east-1"
    client = Client(
        session=other, endpoint_url=seaweedfs_servers.s3_endpoint, kms_endpoint_url=seaweedfs_servers.kms_endpoint
    )
    found = examine("s3://lake", client=client)
    assert not found.healthy
    assert of(found, "accepted credentials").outcome == "missing"


def test_without_credentials_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = examine("s3://lake", client=Client("alias/a", region_name="eu-west-1"))
    assert [check.name for check in found] == ["credentials"]
    assert "aws sso login" in of(found, "credentials").way_out


def test_sts_tells_who_it_is_where_there_is_one(
    local_servers: LocalServers, local_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", local_servers.s3_endpoint)
    found = examine(client=Client(local_servers.kms_key_arn))
    assert of(found, "credentials").detail.startswith("arn:aws:sts::")
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    assert "no STS here" in of(examine(client=Client(local_servers.kms_key_arn)), "credentials").detail


def test_a_bucket_policy_of_moto_that_denies_is_seen(local_servers: LocalServers, bucket: str, raw_s3: Any) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    raw_s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    found = examine(f"s3://{bucket}", client=local_servers.client())
    assert [check.name for check in found if check.needed and check.outcome == "missing"] == ["s3:PutObject"]


def test_the_command_tells_each_check_in_a_line_and_fails_when_something_is_missing(
    local_environ: dict[str, str], bucket: str, raw_s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", f"s3://{bucket}/t/"]) == 0
    shown = capsys.readouterr().out
    assert "ok                      s3:GetObject" in shown
    assert shown.endswith("Nothing that is needed is missing.\n")
    assert cli.main(["doctor", "s3://never-created", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is False
    assert [row["outcome"] for row in told["checks"] if row["name"] == "bucket"] == ["missing"]
    assert cli.main(["doctor", "never-created"]) == 2
    assert is_empty(raw_s3, bucket)
