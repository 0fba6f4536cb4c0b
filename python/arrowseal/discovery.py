"""Reads under KMS keys that the reader does not name: `Client(discovery=Discovery(...))`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrowseal.exceptions import ConfigurationError, ForeignKeyError
from arrowseal.materials import KEY_ARN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.location import ObjectLocation


@dataclass(frozen=True)
class Discovery:
    """Which KMS keys a read accepts that it does not name. Off unless given, and for reads alone.

    Decrypt is then called without KeyId, and KMS uses whichever key the encrypted data key belongs to and the caller
    may use. The key's ARN in the answer is compared with this before the data key is used; any other key is a
    `ForeignKeyError`. But the call was made by then: **the owner of a foreign key sees it in their audit trail**, with
    the caller, the time and the encryption context, and whoever can write to the bucket chooses which key that is.
    Where the keys are known, name them instead, as `kms_key_id=` and `decrypt_key_ids=`.

    Args:
        account_ids: the accounts, 12 digits each, whose keys are accepted; at least one.
        partition: that of the keys: `"aws"`, `"aws-cn"`, `"aws-us-gov"`.
        regions: where KMS is asked, in this order, and whose keys are accepted; the client's own Region if None.

    Raises:
        ConfigurationError: no account, or what is none.

    Example:
        >>> Discovery(["111122223333"], regions=["eu-west-1", "us-east-1"])
        Discovery(account_ids=('111122223333',), partition='aws', regions=('eu-west-1', 'us-east-1'))
    """

    account_ids: Sequence[str]
    partition: str = "aws"
    regions: Sequence[str] | None = None

    def __post_init__(self) -> None:
        accounts = _strings("account_ids", self.account_ids)
        if not all(account.isascii() and account.isdigit() and len(account) == 12 for account in accounts):
            raise ConfigurationError("Discovery(account_ids=...) takes account ids of 12 digits, as strings")
        object.__setattr__(self, "account_ids", accounts)
        object.__setattr__(self, "regions", None if self.regions is None else _strings("regions", self.regions))
        _strings("partition", [self.partition])

    def check(self, arn: str, region: str, location: ObjectLocation) -> None:
        """Raise `ForeignKeyError` for a key that is not accepted; `region` is the one that was asked."""
        parts = KEY_ARN.fullmatch(arn)
        found = parts.groups() if parts else ("", "", "")
        partition, of_region, account = found
        if partition == self.partition and account in self.account_ids and of_region == region:
            return
        raise ForeignKeyError(
            f"{location}: KMS of {region} used {arn}, which Discovery(account_ids={list(self.account_ids)}, "
            f"partition={self.partition!r}, regions={self.regions and list(self.regions)}) does not accept. If that "
            "key is to be trusted, name it as kms_key_id= or among decrypt_key_ids="
        )


def _strings(name: str, values: Any) -> tuple[str, ...]:
    given = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if not given or not all(isinstance(value, str) and value for value in given):
        raise ConfigurationError(f"Discovery({name}=...) takes strings, at least one")
    return given
