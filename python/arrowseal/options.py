"""The options of a client as one frozen value, checked when it is built and passed on whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from arrowseal.data_keys import DataKeyCache
from arrowseal.encryption import check_context
from arrowseal.exceptions import ConfigurationError, PolicyConflictError
from arrowseal.progress import ProgressOption, check_progress
from arrowseal.suites import MAX_CONTENT_BYTES, V2, V3, AnyContext, CommitmentPolicy, Format
from arrowseal.transfer import TransferOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

Lane = Literal["auto", "boto3", "obstore"]

DEFAULT_POLICY = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT


@dataclass(frozen=True)
class ClientOptions:
    """What a `Client` was told. Holds references only, never a key or a credential; see `Client` for each option."""

    kms_key_id: str | None = None
    format: Format = V3
    commitment_policy: CommitmentPolicy = DEFAULT_POLICY
    allow_plaintext: bool = False
    encryption_context: Mapping[str, str] | AnyContext = field(default_factory=dict, repr=False)
    interop: str | None = None
    decrypt_key_ids: tuple[str, ...] = ()
    max_plaintext_bytes: int = MAX_CONTENT_BYTES
    allow_insecure_kms_endpoint: bool = False
    cache: DataKeyCache | None = field(default_factory=DataKeyCache)
    transfer: TransferOptions = field(default_factory=TransferOptions)
    progress: ProgressOption = False
    lane: Lane = "auto"
    profile_name: str | None = None
    region_name: str | None = None
    endpoint_url: str | None = None
    kms_endpoint_url: str | None = None

    @classmethod
    def checked(
        cls,
        *,
        commitment_policy: CommitmentPolicy | str | None,
        encryption_context: Mapping[str, str] | AnyContext | None,
        **given: Any,
    ) -> ClientOptions:
        """Options from the arguments of a client. Raises `ConfigurationError` for what cannot be."""
        policy = DEFAULT_POLICY if commitment_policy is None else CommitmentPolicy.of(commitment_policy)
        context = (
            encryption_context if isinstance(encryption_context, AnyContext) else check_context(encryption_context)
        )
        options = cls(commitment_policy=policy, encryption_context=context, **given)
        options = replace(options, format=Format.of(options.format), decrypt_key_ids=_key_ids(options.decrypt_key_ids))
        if options.interop is not None:
            options = _for_analytics(options, explicit_policy=commitment_policy is not None)
        options.commitment_policy.check_write(options.format)
        if options.cache is not None and not isinstance(options.cache, DataKeyCache):
            raise ConfigurationError("cache= is a DataKeyCache, or None to ask KMS for every object")
        if not isinstance(options.transfer, TransferOptions):
            raise ConfigurationError("transfer= is a TransferOptions")
        check_progress(options.progress)
        if options.lane not in get_args(Lane):
            raise ConfigurationError(f"lane={options.lane!r} is not known: 'auto', 'boto3' or 'obstore'")
        if options.kms_key_id is not None:
            _key_ids([options.kms_key_id])
        if not isinstance(options.max_plaintext_bytes, int) or options.max_plaintext_bytes < 0:
            raise ConfigurationError("max_plaintext_bytes is a number of bytes, 0 or more")
        return options


def _for_analytics(options: ClientOptions, *, explicit_policy: bool) -> ClientOptions:
    if options.interop != "analytics":
        raise ConfigurationError(f"interop={options.interop!r} is not known: 'analytics' is")
    policy = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    if explicit_policy and options.commitment_policy is not policy:
        raise PolicyConflictError(
            f"interop='analytics' writes format V2, which policy {options.commitment_policy.value} forbids: "
            f"leave commitment_policy= out, or give {policy.value}"
        )
    return replace(options, format=V2, commitment_policy=policy)


def _key_ids(key_ids: Any) -> tuple[str, ...]:
    if isinstance(key_ids, str) or not all(isinstance(key_id, str) and key_id.strip() for key_id in key_ids):
        raise ConfigurationError("KMS keys are given as strings: an id, an ARN or an alias such as 'alias/tables'")
    return tuple(key_ids)
