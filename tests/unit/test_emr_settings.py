"""What `arrowseal emr config` prints: it parses as what it is, and names what was asked for and nothing else."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, get_args

import pytest

from arrowseal.cli import main
from arrowseal.emr import Engine, settings
from arrowseal.exceptions import ConfigurationError

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
S3A = "fs.s3a.encryption."
README = Path(__file__).parents[2] / "README.md"


def spark(text: str) -> dict[str, str]:
    """As Spark reads its properties file: name, white space, value."""
    return dict(line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#"))


def core_site(text: str) -> dict[str, str]:
    root = ET.fromstring(text)
    assert root.tag == "configuration"
    return {str(one.findtext("name")): str(one.findtext("value")) for one in root.iter("property")}


def emrfs(text: str) -> dict[str, str]:
    blocks = {block["Classification"]: block["Properties"] for block in json.loads(text)}
    assert blocks["core-site"]["fs.s3.impl"] == "com.amazon.ws.emr.hadoop.fs.EmrFileSystem"
    found: dict[str, str] = blocks["emrfs-site"]
    return found


@pytest.mark.parametrize(
    ("protection", "key", "expected"),
    [
        ("sse-s3", None, {"algorithm": "AES256"}),
        ("sse-kms", None, {"algorithm": "SSE-KMS"}),
        ("sse-kms", KEY, {"algorithm": "SSE-KMS", "key": KEY}),
        ("cse", KEY, {"algorithm": "CSE-KMS", "key": KEY, "cse.kms.region": "eu-west-1"}),
        ("cse", "alias/tables", {"algorithm": "CSE-KMS", "key": "alias/tables"}),
    ],
)
def test_s3a_gets_its_properties_in_core_site_and_in_spark_defaults(
    protection: Any, key: str | None, expected: dict[str, str]
) -> None:
    wanted = {S3A + name: value for name, value in expected.items()}
    assert core_site(settings(protection, "s3a", kms_key_id=key).text) == wanted
    assert spark(settings(protection, "spark", kms_key_id=key).text) == {
        f"spark.hadoop.{name}": value for name, value in wanted.items()
    }


def test_emrfs_gets_its_classification() -> None:
    assert emrfs(settings("sse-s3", "emrfs").text) == {"fs.s3.enableServerSideEncryption": "true"}
    assert emrfs(settings("sse-kms", "emrfs", kms_key_id=KEY).text) == {
        "fs.s3.enableServerSideEncryption": "true",
        "fs.s3.serverSideEncryption.kms.keyId": KEY,
    }
    assert emrfs(settings("cse", "emrfs", kms_key_id=KEY, region="eu-west-1").text) == {
        "fs.s3.cse.enabled": "true",
        "fs.s3.cse.encryptionMaterialsProvider": "com.amazon.ws.emr.hadoop.fs.cse.KMSEncryptionMaterialsProvider",
        "fs.s3.cse.kms.keyId": KEY,
        "fs.s3.cse.kms.region": "eu-west-1",
        "fs.s3n.multipart.uploads.enabled": "false",
    }


def test_glue_gets_a_security_configuration_that_its_service_model_accepts() -> None:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import validate_parameters

    shape = ServiceModel(Loader().load_service_model("glue", "service-2")).shape_for("EncryptionConfiguration")
    for protection, key in (("sse-s3", None), ("sse-kms", KEY)):
        parsed = json.loads(settings(protection, "glue", kms_key_id=key).text)  # type: ignore[arg-type]
        validate_parameters(parsed, shape)
        modes = shape.members["S3Encryption"].member.members["S3EncryptionMode"].enum  # type: ignore[attr-defined]
        assert parsed["S3Encryption"][0]["S3EncryptionMode"] in modes
        assert parsed["S3Encryption"][0].get("KmsKeyArn") == key


def test_settings_of_one_bucket_name_it() -> None:
    assert core_site(settings("cse", "s3a", kms_key_id="alias/t", bucket="lake").text).keys() == {
        "fs.s3a.bucket.lake.encryption.algorithm",
        "fs.s3a.bucket.lake.encryption.key",
    }
    assert "fs.s3.bucket.lake.enableServerSideEncryption" in emrfs(settings("sse-s3", "emrfs", bucket="lake").text)


@pytest.mark.parametrize("engine", ["spark", "s3a", "emrfs"])
def test_every_engine_says_that_it_does_not_read_v3(engine: Engine) -> None:
    notes = " ".join(settings("cse", engine, kms_key_id=KEY).notes)
    assert "not V3" in notes
    assert "interop='analytics'" in notes


@pytest.mark.parametrize(
    ("protection", "engine", "options", "words"),
    [
        ("cse", "glue", {"kms_key_id": KEY}, "no client-side encryption"),
        ("cse", "s3a", {}, "needs the KMS key"),
        ("sse-kms", "emrfs", {}, "needs the KMS key"),
        ("sse-kms", "glue", {"kms_key_id": "alias/tables"}, "by its ARN"),
        ("sse-s3", "s3a", {"kms_key_id": KEY}, "means nothing"),
        ("sse-kms", "s3a", {"kms_key_id": "k</value><name>x"}, "no KMS key"),
        ("sse-kms", "spark", {"kms_key_id": "alias/a\nspark.jars http://x"}, "no KMS key"),
        ("sse-s3", "s3a", {"bucket": "a</name>"}, "no name of a bucket"),
        ("cse", "s3a", {"kms_key_id": KEY, "region": "eu west"}, "no Region"),
        ("sse-s3", "glue", {"bucket": "lake"}, "all buckets"),
        ("cse", "emrfs", {"kms_key_id": KEY, "bucket": "lake"}, "all buckets or none"),
        ("sse", "s3a", {}, "not known"),
        ("sse-s3", "hive", {}, "not known"),
    ],
)
def test_what_cannot_be_set_or_is_no_name_is_refused(
    protection: Any, engine: Any, options: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        settings(protection, engine, **options)


def test_the_command_prints_text_to_paste_and_tells_the_rest_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(shlex.split(f"emr config --for cse --engine s3a --kms-key-id {KEY}")) == 0
    shown = capsys.readouterr()
    assert core_site(shown.out)[S3A + "key"] == KEY
    assert "not V3" in shown.err


def test_the_command_prints_every_engine_that_has_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"emr config --for cse --kms-key-id {KEY}")) == 0
    shown = capsys.readouterr()
    assert [line.split()[1] for line in shown.out.splitlines() if line.startswith("==>")] == [
        "spark:",
        "s3a:",
        "emrfs:",
    ]
    assert "glue: Glue's security configurations have no client-side encryption" in shown.err
    assert main(shlex.split("emr config --for cse")) == 2
    assert "--kms-key-id" in capsys.readouterr().err
    assert set(get_args(Engine)) == {"spark", "s3a", "emrfs", "glue"}


def test_the_commands_of_the_readme_print_settings(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"`arrowseal (emr config --for [^`]*)`", README.read_text(encoding="utf-8"))
    for command in commands:
        words = [KEY if word in ("KEY", "ARN") else word for word in shlex.split(command)]
        assert main(words) == 0, command
        assert KEY in capsys.readouterr().out
    assert len(commands) == 3
