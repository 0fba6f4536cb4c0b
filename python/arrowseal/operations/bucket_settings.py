"""The settings of a bucket that say how safe what lies in it is, read and changed one by one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from arrowseal.aws_services import AwsServices
from arrowseal.exceptions import ConfigurationError, ServiceDeniedError, ServiceError
from arrowseal.frames import Framed
from arrowseal.operations.bucket_policies import requires_tls, with_tls

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from arrowseal.client import Client

Default = Literal["sse-s3", "sse-kms"]

_LABELS: Final = {"AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "DSSE-KMS"}
_NOT_SET: Final = {
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchBucketPolicy",
}
_BLOCKED: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True)
class BucketSettings(Framed):
    """What a bucket is set to. None is what was not told, and `untold` says why: the server does not know it, or the
    caller may not ask.
    """

    bucket: str
    region: str | None = None
    encryption: str | None = None
    """`"SSE-S3"`, `"SSE-KMS"`, `"DSSE-KMS"`, or `"none"`."""
    kms_key: str | None = None
    """Of SSE-KMS; `"alias/aws/s3"` where none is named."""
    bucket_key: bool | None = None
    versioning: str | None = None
    """`"Enabled"`, `"Suspended"` or `"never enabled"`."""
    public_access_blocked: bool | None = None
    """Whether all four kinds of public access are blocked at the bucket."""
    tls_required: bool | None = None
    """Whether the bucket policy refuses requests without TLS."""
    untold: dict[str, str] = field(default_factory=dict)

    def to_arrow(self) -> pa.Table:
        """One row; `untold` as JSON."""
        import pyarrow as pa

        row = asdict(self) | {"untold": json.dumps(self.untold)}
        boolean = {"bucket_key", "public_access_blocked", "tls_required"}
        schema = pa.schema([(name, pa.bool_() if name in boolean else pa.string()) for name in row])
        return pa.Table.from_pylist([row], schema)


def read_settings(bucket: str, client: Client) -> BucketSettings:
    """Ask for the settings of a bucket, one request each. What cannot be asked is in `untold`. Raises `ServiceError` if
    there is no such bucket or no answer, `CredentialsError`.
    """
    services = AwsServices.of(client)
    s3: Any = services.s3
    told: dict[str, Any] = {}
    untold: dict[str, str] = {}

    def ask(names: tuple[str, ...], call: Callable[[], Any], read: Callable[[Any], dict[str, Any]]) -> None:
        try:
            told.update(read(services.ask(f"s3://{bucket}", call)))
        except ServiceError as error:
            if not error.code:  # no answer: there is none to the rest either
                raise
            if error.code == "NoSuchBucket" or (error.code == "404" and "region" in names):  # a HEAD has a status only
                raise ServiceError(f"s3://{bucket}: no such bucket") from None
            if error.code in _NOT_SET:
                told.update(read({}))
            else:
                untold.update(dict.fromkeys(names, _why(error)))

    ask(("region",), lambda: s3.head_bucket(Bucket=bucket), _region)
    ask(("encryption", "kms_key", "bucket_key"), lambda: s3.get_bucket_encryption(Bucket=bucket), _encryption)
    ask(
        ("versioning",),
        lambda: s3.get_bucket_versioning(Bucket=bucket),
        lambda answer: {"versioning": answer.get("Status") or "never enabled"},
    )
    ask(("public_access_blocked",), lambda: s3.get_public_access_block(Bucket=bucket), _public_access)
    ask(
        ("tls_required",),
        lambda: s3.get_bucket_policy(Bucket=bucket),
        lambda answer: {"tls_required": requires_tls(_policy(answer) or {})},
    )
    return BucketSettings(bucket, untold=untold, **told)


def change_settings(
    bucket: str,
    client: Client,
    *,
    default: Default | None = None,
    key: str | None = None,
    bucket_key: bool | None = None,
    versioning: bool | None = None,
    block_public_access: bool | None = None,
    require_tls: bool | None = None,
) -> dict[str, str]:
    """Change what is given, each by its own request, and nothing else; returns what was not changed, and why.

    The default encryption of a bucket is what writes get that name none; objects that are there stay as they are. Its
    bucket policy is read, our statement about TLS put in or taken out, and written: nobody should change it meanwhile.

    Raises:
        ConfigurationError: before any request, for what cannot be.
        CredentialsError: the credentials are not accepted.
    """
    if default is not None and default not in get_args(Default):
        raise ConfigurationError(f"the default encryption of a bucket is one of {', '.join(get_args(Default))}")
    if default != "sse-kms" and (key is not None or bucket_key is not None):
        raise ConfigurationError("a key and a bucket key go with the default sse-kms")
    services = AwsServices.of(client)
    s3: Any = services.s3
    if require_tls and not _has_tls(s3):
        raise ConfigurationError(
            f"{s3.meta.endpoint_url} is reached without TLS: the bucket would refuse this client, also to undo it. "
            "Use the https endpoint"
        )
    failed: dict[str, str] = {}

    def change(name: str, call: Callable[[], Any]) -> None:
        try:
            services.ask(f"{name} of s3://{bucket}", call)
        except ServiceError as error:
            failed[name] = _why(error)

    if default is not None:
        rule = _rule(default, key, bucket_key)
        change(
            "default encryption",
            lambda: s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}),
        )
    if versioning is not None:
        status = {"Status": "Enabled" if versioning else "Suspended"}
        change("versioning", lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status))
    if block_public_access is not None:
        flags = dict.fromkeys(_BLOCKED, block_public_access)
        change(
            "public access block",
            lambda: s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=flags),
        )
    if require_tls is not None:
        change("TLS policy", lambda: _require_tls(s3, bucket, required=require_tls))
    return failed


def _has_tls(s3: Any) -> bool:
    return urlsplit(str(s3.meta.endpoint_url)).scheme == "https"


def _require_tls(s3: Any, bucket: str, *, required: bool) -> None:
    try:
        policy = _policy(s3.get_bucket_policy(Bucket=bucket))
    except Exception as error:
        if getattr(error, "response", {}).get("Error", {}).get("Code") not in _NOT_SET:
            raise
        policy = None
    changed = with_tls(policy, bucket, required=required)
    if changed == policy:
        return
    if changed is None:
        s3.delete_bucket_policy(Bucket=bucket)
    else:
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(changed))


def _rule(default: Default, key: str | None, bucket_key: bool | None) -> dict[str, Any]:
    if default == "sse-s3":
        return {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    named = {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": key} if key else {})
    return {"ApplyServerSideEncryptionByDefault": named, "BucketKeyEnabled": bucket_key is not False}


def _region(answer: Any) -> dict[str, Any]:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return {"region": headers.get("x-amz-bucket-region")}


def _encryption(answer: Any) -> dict[str, Any]:
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}]
    named = rules[0].get("ApplyServerSideEncryptionByDefault", {})
    algorithm = named.get("SSEAlgorithm")
    kms = algorithm in ("aws:kms", "aws:kms:dsse")
    return {
        "encryption": _LABELS.get(algorithm, algorithm) or "none",
        "kms_key": (named.get("KMSMasterKeyID") or "alias/aws/s3") if kms else None,
        "bucket_key": bool(rules[0].get("BucketKeyEnabled")) if kms else None,
    }


def _public_access(answer: Any) -> dict[str, Any]:
    flags = answer.get("PublicAccessBlockConfiguration", {})
    return {"public_access_blocked": all(flags.get(name) for name in _BLOCKED)}


def _policy(answer: Any) -> dict[str, Any] | None:
    try:
        policy = json.loads(answer.get("Policy") or "null")
    except ValueError:
        return None
    return policy if isinstance(policy, dict) else None


def _why(error: ServiceError) -> str:
    if isinstance(error, ServiceDeniedError) or error.code == "403":
        return "denied"
    return "this server does not know it" if error.unknown_here else str(error)
