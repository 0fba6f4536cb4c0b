"""Settings that make Spark, S3A, EMRFS and Glue read and write the objects that are written here, as text to paste.

Property names: `encryption.md` of hadoop-aws 3.4 (S3A), "Specifying Amazon S3 encryption using EMRFS properties" and
"Migration guide: EMRFS to S3A" (EMR), `CreateSecurityConfiguration` (Glue). What engines read: `arrowseal.interop`.

>>> from arrowseal.emr import settings
>>> print(settings("sse-s3", "spark").text)
spark.hadoop.fs.s3a.encryption.algorithm AES256
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, Literal, get_args
from xml.sax.saxutils import escape

from arrowseal.exceptions import ConfigurationError

Protection = Literal["sse-s3", "sse-kms", "cse"]
Engine = Literal["spark", "s3a", "emrfs", "glue"]

_KEY: Final = re.compile(
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/[\w/-]+|alias/[\w/-]+|(mrk-)?[0-9a-f-]{32,36}"
)
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_S3A_ALGORITHMS: Final = {"sse-s3": "AES256", "sse-kms": "SSE-KMS", "cse": "CSE-KMS"}
_EMRFS_KMS_MATERIALS: Final = "com.amazon.ws.emr.hadoop.fs.cse.KMSEncryptionMaterialsProvider"
_FILES: Final = {
    "spark": "spark-defaults.conf",
    "s3a": "core-site.xml",
    "emrfs": "configurations.json",
    "glue": "security-configuration.json",
}

_READS_V2: Final = "It reads and writes format V2 and not V3: write for it with interop='analytics'."
_RANGES: Final = (
    "It reads ranges without checking the tag, which only a read of the whole object can do: what it returns of "
    "objects that somebody changed in the bucket may be wrong."
)
_LISTED: Final = (
    "It takes 16 bytes off the listed length of every object, encrypted or not: keep others out of the bucket, or add "
    "fs.s3a.encryption.cse.v1.compatibility.enabled=true, which asks for the metadata of each object. Segment indexes "
    "begin with _ and are passed over."
)
_NOTES: Final[dict[tuple[Engine, Protection], tuple[str, ...]]] = {
    ("spark", "cse"): (
        "For s3a:// URLs; on EMR from 7.10 also s3://.",
        "Outside EMR, add the jar of the encryption client: --packages "
        "software.amazon.encryption.s3:amazon-s3-encryption-client-java:3.1.1, the version that Hadoop 3.4 asks for.",
        _READS_V2,
        _RANGES,
        _LISTED,
    ),
    ("s3a", "cse"): (
        "Needs hadoop-aws 3.4.2 or EMR 7.10, and outside EMR the jar "
        "software.amazon.encryption.s3:amazon-s3-encryption-client-java:3.1.1.",
        _READS_V2,
        _RANGES,
        _LISTED,
    ),
    ("emrfs", "cse"): (
        "EMRFS is the default up to EMR 7.9; later releases take the first block to keep it. A security "
        "configuration of the cluster wins over these settings.",
        _READS_V2 + " Releases with the AWS SDK for Java 1.11.837 or later read its wrap, kms+context.",
        "What it writes has the wrap kms, which is read here with legacy='wrapping'.",
        "Multipart uploads are off because Athena cannot tell the length of what EMRFS writes in parts.",
    ),
    ("emrfs", "sse-s3"): ("EMRFS is the default up to EMR 7.9; later releases take the first block to keep it.",),
    ("emrfs", "sse-kms"): ("EMRFS is the default up to EMR 7.9; later releases take the first block to keep it.",),
    ("glue", "sse-s3"): (
        "For aws glue create-security-configuration --name NAME --encryption-configuration file://...",
    ),
    ("glue", "sse-kms"): (
        "For aws glue create-security-configuration --name NAME --encryption-configuration file://...",
    ),
}


@dataclass(frozen=True)
class EngineSettings:
    """The settings of one engine. `str` of it is the text."""

    engine: Engine
    protection: Protection
    file_name: str
    """Where they belong: `spark-defaults.conf`, `core-site.xml`, or a file for the AWS command line."""
    text: str
    notes: tuple[str, ...] = ()
    """What the engine cannot read, and what else has to be known."""

    def __str__(self) -> str:
        return self.text


def settings(
    protection: Protection,
    engine: Engine,
    *,
    kms_key_id: str | None = None,
    region: str | None = None,
    bucket: str | None = None,
) -> EngineSettings:
    """The settings of an engine for one way to protect objects.

    Args:
        protection: `"sse-s3"`, `"sse-kms"` or `"cse"`.
        engine: `"spark"` (spark-defaults), `"s3a"` (core-site), `"emrfs"` (configurations of an EMR cluster) or
            `"glue"` (a security configuration).
        kms_key_id: for `"sse-kms"` and `"cse"`; Glue takes an ARN only, and S3A writes SSE-KMS under the bucket's key
            without one.
        region: of the KMS key, if it is not that of the bucket.
        bucket: only for this bucket; Glue has no such settings, nor has EMRFS for `"cse"`.

    Raises:
        ConfigurationError: names that are not known, a KMS key that is missing, means nothing or is none; Glue with
            `"cse"`, which its security configurations do not have.

    Example:
        >>> settings("cse", "s3a", kms_key_id="alias/tables").file_name
        'core-site.xml'
    """
    if protection not in get_args(Protection):
        raise ConfigurationError(f"{protection!r} is not known: 'sse-s3', 'sse-kms' or 'cse'")
    if engine not in get_args(Engine):
        raise ConfigurationError(f"engine {engine!r} is not known: " + ", ".join(map(repr, get_args(Engine))))
    _check(protection, engine, kms_key_id, region, bucket)
    if engine == "glue":
        text = _glue(protection, kms_key_id)
    elif engine == "emrfs":
        text = _emrfs(protection, kms_key_id, region, bucket)
    else:
        text = (_spark if engine == "spark" else _core_site)(_s3a(protection, kms_key_id, region, bucket))
    return EngineSettings(engine, protection, _FILES[engine], text, _NOTES.get((engine, protection), ()))


def _check(
    protection: Protection, engine: Engine, kms_key_id: str | None, region: str | None, bucket: str | None
) -> None:
    if protection == "sse-s3" and kms_key_id is not None:
        raise ConfigurationError("a KMS key means nothing to SSE-S3, whose key is that of S3")
    if protection != "sse-s3" and kms_key_id is None and not (protection == "sse-kms" and engine in ("spark", "s3a")):
        raise ConfigurationError(
            f"{engine} with {protection} needs the KMS key: give kms_key_id=, or --kms-key-id on the command line"
        )
    if kms_key_id is not None and not _KEY.fullmatch(kms_key_id):
        raise ConfigurationError(f"{kms_key_id!r} is no KMS key: an id, an ARN or an alias such as 'alias/tables'")
    if region is not None and not re.fullmatch(r"[a-z]{2}[a-z0-9-]+-\d", region):
        raise ConfigurationError(f"{region!r} is no Region")
    if bucket is not None and not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(f"{bucket!r} is no name of a bucket")
    if engine == "emrfs" and protection == "cse" and bucket is not None:
        raise ConfigurationError("EMRFS seals all buckets or none: leave bucket= out, or take the engine 's3a'")
    if engine == "glue":
        if protection == "cse":
            raise ConfigurationError(
                "Glue's security configurations have no client-side encryption: set S3A's properties in the Spark of "
                "the job (engine 'spark'), and the catalog's with arrowseal.athena.table_input"
            )
        if bucket is not None:
            raise ConfigurationError("a security configuration of Glue is for all buckets: leave bucket= out")
        if kms_key_id is not None and not kms_key_id.startswith("arn:"):
            raise ConfigurationError(f"Glue takes the KMS key by its ARN, not {kms_key_id!r}")


def _s3a(protection: Protection, key: str | None, region: str | None, bucket: str | None) -> dict[str, str]:
    prefix = "fs.s3a.encryption." if bucket is None else f"fs.s3a.bucket.{bucket}.encryption."
    found = {prefix + "algorithm": _S3A_ALGORITHMS[protection]}
    if key is not None:
        found[prefix + "key"] = key
    home = region or (key.split(":")[3] if key is not None and key.startswith("arn:") else None)
    if protection == "cse" and home is not None:
        found[prefix + "cse.kms.region"] = home
    return found


def _spark(properties: dict[str, str]) -> str:
    return "\n".join(f"spark.hadoop.{name} {value}" for name, value in properties.items())


def _core_site(properties: dict[str, str]) -> str:
    lines = ['<?xml version="1.0"?>', "<configuration>"]
    for name, value in properties.items():
        lines += [
            "  <property>",
            f"    <name>{escape(name)}</name>",
            f"    <value>{escape(value)}</value>",
            "  </property>",
        ]
    return "\n".join([*lines, "</configuration>"])


def _emrfs(protection: Protection, key: str | None, region: str | None, bucket: str | None) -> str:
    prefix = "fs.s3." if bucket is None else f"fs.s3.bucket.{bucket}."
    site: dict[str, str] = {}
    if protection == "cse":
        site["fs.s3.cse.enabled"] = "true"
        site["fs.s3.cse.encryptionMaterialsProvider"] = _EMRFS_KMS_MATERIALS
        site["fs.s3.cse.kms.keyId"] = str(key)
        if region is not None:
            site["fs.s3.cse.kms.region"] = region
        site["fs.s3n.multipart.uploads.enabled"] = "false"
    else:
        site[prefix + "enableServerSideEncryption"] = "true"
        if key is not None:
            site[prefix + "serverSideEncryption.kms.keyId"] = key
    kept = dict.fromkeys(("fs.s3.impl", "fs.s3n.impl"), "com.amazon.ws.emr.hadoop.fs.EmrFileSystem")
    blocks = [("core-site", kept), ("emrfs-site", site)]
    return json.dumps([{"Classification": name, "Properties": values} for name, values in blocks], indent=2)


def _glue(protection: Protection, key: str | None) -> str:
    s3 = {"S3EncryptionMode": "SSE-S3" if protection == "sse-s3" else "SSE-KMS"}
    return json.dumps({"S3Encryption": [s3 if key is None else s3 | {"KmsKeyArn": key}]}, indent=2)
