"""KMS keys for tables: made with a policy of least privilege, and rotated.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html,
https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from arrowseal.aws_services import AwsServices
from arrowseal.encryption import check_context
from arrowseal.exceptions import ArrowSealError, ConfigurationError, ServiceError
from arrowseal.materials import KEY_ARN

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from arrowseal.client import Client

_ALIAS: Final = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}")
_PRINCIPAL: Final = re.compile(r"arn:aws[a-z-]*:(iam::\d{12}:(root|(user|role)/.+)|sts::\d{12}:assumed-role/.+)")
_TAG: Final = re.compile(r"[\w .:/=+@-]+")
_ROLLBACK_DAYS: Final = 7  # the shortest that KMS knows

READER: Final = ("kms:Decrypt",)
WRITER: Final = ("kms:GenerateDataKey",)
REWRAPPER: Final = ("kms:ReEncryptFrom", "kms:ReEncryptTo")
ADMINISTRATOR: Final = tuple(
    f"kms:{action}"
    for action in (
        *("Create*", "Describe*", "Enable*", "List*", "Put*", "Update*", "Revoke*", "Disable*", "Get*", "Delete*"),
        *("TagResource", "UntagResource", "ScheduleKeyDeletion", "CancelKeyDeletion", "RotateKeyOnDemand"),
        "ReplicateKey",
    )
)


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """What a new key shall be. Raises `ConfigurationError` for what cannot be.

    Without any reader, writer or rewrapper the key has AWS's own policy, by which the IAM policies of the account
    decide. With some, only they seal and open under it, and administrators (the account, if none is named) can change
    the policy and read nothing. `encryption_context` is demanded of each use then.
    """

    alias: str
    description: str = "arrowseal"
    administrators: Sequence[str] = ()
    readers: Sequence[str] = ()
    writers: Sequence[str] = ()
    rewrappers: Sequence[str] = ()
    encryption_context: Mapping[str, str] = field(default_factory=dict, repr=False)
    rotation_days: int | None = 365
    """Between automatic rotations; None for none."""
    tags: Mapping[str, str] = field(default_factory=dict)
    multi_region: bool = False

    def __post_init__(self) -> None:
        if not _ALIAS.fullmatch(self.alias) or self.alias.startswith("alias/aws/"):
            raise ConfigurationError(
                f"{self.alias!r} is no name for a key: alias/NAME with letters, digits, /, _ and -; alias/aws/ is AWS's"
            )
        for principal in (*self.administrators, *self.readers, *self.writers, *self.rewrappers):
            if not _PRINCIPAL.fullmatch(principal):
                raise ConfigurationError(f"{principal!r} is no principal: give the ARN of a role, a user or an account")
        check_context(self.encryption_context)
        check_period(self.rotation_days)
        for name, value in self.tags.items():
            if not _TAG.fullmatch(name) or not _TAG.fullmatch(value) or name.lower().startswith("aws:"):
                raise ConfigurationError(f"KMS does not take the tag {name!r}: names and values are words, not of aws:")
        if self.encryption_context and not (self.readers or self.writers or self.rewrappers):
            raise ConfigurationError("an encryption context is demanded of readers and writers: name some")
        if self.administrators and not (self.readers or self.writers or self.rewrappers):
            raise ConfigurationError("a key that nobody may use: name readers and writers beside its administrators")

    def policy(self, account_arn: str) -> dict[str, Any] | None:
        """The key policy in an account, `arn:aws:iam::111122223333:root`; None for AWS's own."""
        condition: dict[str, Any] = {}
        if self.encryption_context:
            pinned = {f"kms:EncryptionContext:{name}": value for name, value in self.encryption_context.items()}
            condition = {"Condition": {"StringEquals": pinned}}
        uses: list[tuple[str, Sequence[str], tuple[str, ...]]] = [
            ("Read", self.readers, READER),
            ("Write", self.writers, WRITER),
            ("Rewrap", self.rewrappers, REWRAPPER),
        ]
        statements = [_allow(sid, who, actions) | condition for sid, who, actions in uses if who]
        if not statements:
            return None
        administer = _allow("Administer", self.administrators or (account_arn,), ADMINISTRATOR)
        return {"Version": "2012-10-17", "Statement": [administer, *statements]}


@dataclass(frozen=True)
class KeyState:
    """A KMS key as KMS describes it; None is what this server does not tell."""

    arn: str
    state: str
    aliases: tuple[str, ...] | None
    multi_region: bool
    rotation: bool | None
    """Whether it rotates by itself, all `rotation_days`."""
    rotation_days: int | None
    next_rotation: dt.datetime | None
    rotations: tuple[dt.datetime, ...] | None
    """When it was rotated."""
    deletion: dt.datetime | None


def create_key(wanted: NewKey, client: Client) -> KeyState:
    """Make a key, name it last, and leave none behind if that fails: what was made is then scheduled for deletion.

    Raises `ConfigurationError` if there is such an alias already, `ServiceError` (`ServiceDeniedError`).
    """
    services = AwsServices.of(client)
    kms = services.kms
    taken = alias_target(services, wanted.alias)
    if taken is not None:
        raise _taken(wanted.alias, taken)
    tags = [{"TagKey": name, "TagValue": value} for name, value in wanted.tags.items()]
    told: dict[str, Any] = {"Description": wanted.description} | ({"Tags": tags} if tags else {})
    told |= {"MultiRegion": True} if wanted.multi_region else {}
    arn = services.ask("KMS CreateKey", lambda: kms.create_key(**told))["KeyMetadata"]["Arn"]
    try:
        match = KEY_ARN.fullmatch(arn)
        policy = wanted.policy(f"arn:{match[1]}:iam::{match[3]}:root") if match else None
        if policy is not None:
            text = json.dumps(policy)
            services.ask(
                f"KMS PutKeyPolicy of {arn}",
                lambda: kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=text),
            )
        if wanted.rotation_days is not None:
            _rotate_by_itself(services, arn, wanted.rotation_days)
        try:
            services.ask(
                f"KMS CreateAlias {wanted.alias}",
                lambda: kms.create_alias(AliasName=wanted.alias, TargetKeyId=arn),
            )
        except ServiceError as error:
            if error.code == "AlreadyExistsException":
                raise _taken(wanted.alias, "another key") from None
            raise
    except BaseException as error:
        with contextlib.suppress(ArrowSealError):
            services.ask("", lambda: kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=_ROLLBACK_DAYS))
        if not isinstance(error, ServiceError):
            raise
        failed = type(error)(f"{error} (the key that was made for it, {arn}, is scheduled for deletion)")
        failed.code = error.code
        raise failed from None
    return describe_key(arn, client)


def rotate_key(
    key: str, client: Client, *, automatic: bool | None = None, days: int | None = None, on_demand: bool = False
) -> KeyState:
    """Switch automatic rotation on or off, set its period, rotate now, or do nothing of these; returns how it is then.

    New data keys are wrapped under the new material, and KMS keeps the old one for what was wrapped before: no object
    needs to be rewrapped, and none is safer than before. Raises `ConfigurationError`, `ServiceError`.
    """
    check_period(days)
    if automatic is False and days is not None:
        raise ConfigurationError("a period is for automatic rotation, which is to be switched off")
    services = AwsServices.of(client)
    arn = describe_key(key, client).arn
    if automatic is False:
        services.ask(f"KMS DisableKeyRotation of {arn}", lambda: services.kms.disable_key_rotation(KeyId=arn))
    elif automatic or days is not None:
        _rotate_by_itself(services, arn, days)
    if on_demand:
        services.ask(f"KMS RotateKeyOnDemand of {arn}", lambda: services.kms.rotate_key_on_demand(KeyId=arn))
    return describe_key(arn, client)


def describe_key(key: str, client: Client) -> KeyState:
    """The state of a key that is named by id, ARN or alias. Raises `ServiceError`, `CredentialsError`."""
    services = AwsServices.of(client)
    kms = services.kms
    told = services.ask(f"KMS DescribeKey {key}", lambda: kms.describe_key(KeyId=key))["KeyMetadata"]
    arn = told["Arn"]
    rotation: dict[str, Any] = {}
    rotations: tuple[dt.datetime, ...] | None = None
    aliases: tuple[str, ...] | None = None
    with contextlib.suppress(ServiceError):
        rotation = services.ask("rotation", lambda: kms.get_key_rotation_status(KeyId=arn))
    with contextlib.suppress(ServiceError):
        found = services.ask("rotations", lambda: kms.list_key_rotations(KeyId=arn)).get("Rotations", ())
        rotations = tuple(one["RotationDate"] for one in found)
    with contextlib.suppress(ServiceError):
        named = services.ask("aliases", lambda: kms.list_aliases(KeyId=arn)).get("Aliases", ())
        aliases = tuple(one["AliasName"] for one in named)
    return KeyState(
        arn=arn,
        state=told.get("KeyState", "unknown"),
        aliases=aliases,
        multi_region=bool(told.get("MultiRegion")),
        rotation=rotation.get("KeyRotationEnabled"),
        rotation_days=rotation.get("RotationPeriodInDays"),
        next_rotation=rotation.get("NextRotationDate"),
        rotations=rotations,
        deletion=told.get("DeletionDate"),
    )


def alias_target(services: AwsServices, alias: str) -> str | None:
    """The ARN of the key that an alias names, None if there is none; also where that may not be asked."""
    try:
        told = services.ask(f"KMS DescribeKey {alias}", lambda: services.kms.describe_key(KeyId=alias))
    except ServiceError:
        return None  # CreateAlias says so if there is one
    return str(told["KeyMetadata"]["Arn"])


def check_period(days: int | None) -> None:
    """Raise `ConfigurationError` for a period that KMS does not know."""
    if days is not None and not 90 <= days <= 2560:
        raise ConfigurationError("KMS rotates all 90 to 2560 days")


def _rotate_by_itself(services: AwsServices, arn: str, days: int | None) -> None:
    period = {} if days is None else {"RotationPeriodInDays": days}
    services.ask(f"KMS EnableKeyRotation of {arn}", lambda: services.kms.enable_key_rotation(KeyId=arn, **period))


def _allow(sid: str, who: Sequence[str], actions: Sequence[str]) -> dict[str, Any]:
    # The resource of a key policy is the key itself.
    return {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": list(who)}, "Action": list(actions), "Resource": "*"}


def _taken(alias: str, target: str) -> ConfigurationError:
    return ConfigurationError(
        f"{alias} names {target} already: choose another name, rotate that key (`arrowseal kms rotate {alias}`), or "
        "make the new key under a new name, rewrap what is there, and move the alias then (`aws kms update-alias`)"
    )
