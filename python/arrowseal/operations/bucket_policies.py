"""Policies that enforce encryption on a bucket, as JSON to paste, and what each of them cannot enforce.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html,
https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from arrowseal.binding import LOCATION_NAME
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import locate_prefix
from arrowseal.materials import KEY_ARN
from arrowseal.suites import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.location import Url

Requirement = Literal["cse", "sse-kms", "sse-s3", "tls"]

TLS_SID: Final = "ArrowsealRequireTLS"
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[^?]+")
_SPECIAL: Final = re.compile(r"[*?]|[$](?={)")
_ENCRYPTION = "s3:x-amz-server-side-encryption"
_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
_CUSTOMER = "s3:x-amz-server-side-encryption-customer-algorithm"

SSE_NOTES: Final = (
    "Writes that name no encryption pass, and get the bucket's default: set it as well, `arrowseal bucket set`.",
    "Only what is written from now on is affected; `arrowseal ls --encryption --recursive` shows what is there.",
)
CSE_NOTES: Final = (
    "S3 cannot tell whether an object was encrypted before it came: that is in its user metadata, which no policy can "
    "look at. What can be enforced is who writes, and for what the key serves:",
    "Name as --writer the roles whose programs encrypt: no other principal writes then. What these send is up to them.",
    "The key policy (--part key) lets writers generate data keys for client-side encryption alone: the context of such "
    "a data key names a content algorithm, and S3 does not call for it (kms:ViaService).",
    "Services that write on behalf of a caller, Athena for example, come as that caller (aws:CalledVia): do not let "
    "writers use those that cannot encrypt. arrowseal's index objects are masked, and written by the same roles.",
    "To find what came plain all the same: `arrowseal ls URL --recursive --encryption`.",
)


@dataclass(frozen=True)
class PolicySnippet:
    """Statements to paste, and what to know of them."""

    policy: dict[str, Any]
    notes: tuple[str, ...]


def bucket_policy(
    url: Url, requirements: Sequence[Requirement], *, key: str | None = None, writers: Sequence[str] = ()
) -> PolicySnippet:
    """The bucket policy that enforces these requirements on what is under a URL, as far as S3 can.

    `key` is the ARN of the only KMS key that `"sse-kms"` allows, `writers` are the principals that write with `"cse"`.
    Raises `ConfigurationError` for what cannot be.
    """
    wanted = _checked(requirements, key, writers)
    place = locate_prefix(url)
    partition = next((arn.split(":")[1] for arn in (key, *writers) if arn), "aws")
    if place.bucket.startswith("arn:"):
        raise ConfigurationError(
            f"{place.bucket} is an access point: give the name of its bucket, which has the policy"
        )
    objects = f"arn:{partition}:s3:::{place.bucket}/{_literal(place.key)}*"
    statements: list[dict[str, Any]] = []
    notes: list[str] = []
    if "tls" in wanted or "cse" in wanted:
        statements.append(tls_statement(place.bucket, partition))
    if "sse-kms" in wanted or "sse-s3" in wanted:
        statements += _server_side(objects, "aws:kms" if "sse-kms" in wanted else "AES256", key)
        notes += SSE_NOTES
        if "sse-kms" in wanted:
            notes.append(
                "Without --key any KMS key will do, that of AWS (alias/aws/s3) included."
                if key is None
                else "S3 compares the key as it is named: writers that name it themselves give its ARN, no alias."
            )
    if "cse" in wanted:
        if writers:
            others = {"ArnNotLike": {"aws:PrincipalArn": list(writers)}}
            statements.append(_deny("ArrowsealOnlyWritersOfCSE", "s3:PutObject", objects, others))
        notes += CSE_NOTES
    return PolicySnippet({"Version": "2012-10-17", "Statement": statements}, tuple(notes))


def key_policy(url: Url, *, writers: Sequence[str], readers: Sequence[str] = (), bound: bool = False) -> PolicySnippet:
    """Statements for the policy of a KMS key, by which it serves client-side encryption alone.

    With `bound`, only for objects whose location is bound (`bind_location=`) and lies under the URL: the writers then
    have no data key for another place. Raises `ConfigurationError` for what cannot be.
    """
    _checked(("cse",), None, (*writers, *readers))
    if not writers and not readers:
        raise ConfigurationError("name who writes and reads under the key: --writer ARN, --reader ARN")
    algorithms = [each.content_algorithm for each in (Format.V3, Format.V2)]
    condition: dict[str, Any] = {
        "StringEquals": {"kms:EncryptionContext:aws:x-amz-cek-alg": algorithms},
        "Null": {"kms:ViaService": "true"},
    }
    if bound:
        condition["StringLike"] = {f"kms:EncryptionContext:{LOCATION_NAME}": f"{_literal(str(locate_prefix(url)))}*"}
    uses = [("ArrowsealSeal", writers, "kms:GenerateDataKey"), ("ArrowsealOpen", readers, "kms:Decrypt")]
    statements = [
        {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"AWS": list(who)},
            "Action": action,
            "Resource": "*",
            "Condition": condition,
        }
        for sid, who, action in uses
        if who
    ]
    notes = ("Take away what else allows these principals the key: kms:* of the account lets IAM policies do so.",)
    return PolicySnippet({"Version": "2012-10-17", "Statement": statements}, notes)


def _literal(text: str) -> str:
    """What stands for itself in a policy, where `*` and `?` stand for others and `${` begins a variable.

    >>> _literal("${team}/a*b")
    '${$}{team}/a${*}b'
    """
    return _SPECIAL.sub(lambda found: f"${{{found[0]}}}", text)


def tls_statement(bucket: str, partition: str = "aws") -> dict[str, Any]:
    """The statement that refuses every request without TLS."""
    both = [f"arn:{partition}:s3:::{bucket}", f"arn:{partition}:s3:::{bucket}/*"]
    return _deny(TLS_SID, "s3:*", both, {"Bool": {"aws:SecureTransport": "false"}})


def requires_tls(policy: dict[str, Any]) -> bool:
    """Whether a bucket policy refuses requests without TLS: some statement that denies them everything."""
    return any(_is_tls(statement) for statement in _statements(policy))


def with_tls(policy: dict[str, Any] | None, bucket: str, *, required: bool) -> dict[str, Any] | None:
    """A bucket policy with, or without, our statement about TLS; None if nothing is left of it."""
    told = policy or {"Version": "2012-10-17"}
    rest = [statement for statement in _statements(told) if statement.get("Sid") != TLS_SID]
    if required and not any(_is_tls(statement) for statement in rest):
        rest.append(tls_statement(bucket))
    return told | {"Statement": rest} if rest else None


def _is_tls(statement: dict[str, Any]) -> bool:
    action, condition = statement.get("Action"), statement.get("Condition", {})
    everybody = statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
    denied = statement.get("Effect") == "Deny" and everybody and action in ("s3:*", "*", ["s3:*"], ["*"])
    insecure = condition.get("Bool", {}).get("aws:SecureTransport") in ("false", False, ["false"])
    return denied and insecure and len(condition) == 1


def _statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    found = policy.get("Statement", [])
    return [found] if isinstance(found, dict) else [one for one in found if isinstance(one, dict)]


def _server_side(objects: str, algorithm: str, key: str | None) -> list[dict[str, Any]]:
    """Writes that name another encryption are refused; those that name none get the bucket's default."""
    put = "s3:PutObject"
    statements = [
        _deny("ArrowsealOtherEncryption", put, objects, _named_otherwise(_ENCRYPTION, algorithm)),
        _deny("ArrowsealCustomerKeys", put, objects, {"Null": {_CUSTOMER: "false"}}),
    ]
    if key is not None:
        # aws:kms without a key is the key of AWS.
        unnamed = {"StringEquals": {_ENCRYPTION: algorithm}, "Null": {_KEY: "true"}}
        statements.append(_deny("ArrowsealOtherKey", put, objects, _named_otherwise(_KEY, key)))
        statements.append(_deny("ArrowsealKeyOfAWS", put, objects, unnamed))
    return statements


def _named_otherwise(name: str, value: str) -> dict[str, Any]:
    """The condition that a request has a header, and of another value. `...IfExists` would hold without the header."""
    return {"StringNotEquals": {name: value}, "Null": {name: "false"}}


def _deny(sid: str, action: str, resource: str | list[str], condition: dict[str, Any]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": condition,
    }


def _checked(requirements: Sequence[Requirement], key: str | None, principals: Sequence[str]) -> set[Requirement]:
    wanted = set(requirements)
    if not wanted or not wanted <= set(get_args(Requirement)):
        raise ConfigurationError(f"requirements are {', '.join(get_args(Requirement))}: name at least one")
    if {"sse-kms", "sse-s3"} <= wanted:
        raise ConfigurationError("sse-kms and sse-s3 exclude each other: an object has one of them")
    if key is not None and ("sse-kms" not in wanted or not KEY_ARN.fullmatch(key)):
        raise ConfigurationError(
            "--key is the ARN of a KMS key (not its alias, which S3 does not compare), for sse-kms"
        )
    if principals and "cse" not in wanted:
        raise ConfigurationError("writers are named for cse")
    for principal in principals:
        if not _ROLE.fullmatch(principal):
            raise ConfigurationError(f"{principal!r} is no writer or reader: give the ARN of a role or user")
    return wanted
