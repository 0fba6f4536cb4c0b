"""The options of a client as one frozen value, checked when it is built and passed on whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from arrowseal.binding import LOCATION_NAME, Binding
from arrowseal.data_keys import DataKeyCache
from arrowseal.discovery import Discovery
from arrowseal.encryption import check_context, check_key_id
from arrowseal.exceptions import ConfigurationError
from arrowseal.interop import for_analytics
from arrowseal.legacy import check_legacy
from arrowseal.location import check_suffix
from arrowseal.metadata import KMS_CONTEXT
from arrowseal.prefix_keys import PrefixKeys
from arrowseal.progress import ProgressOption, check_progress
from arrowseal.suites import MAX_CONTENT_BYTES, V3, AnyContext, CommitmentPolicy, Format
from arrowseal.transfer import TransferOptions

if TYPE_CHECKING:
    from arrowseal.keyring import Keyring
    from arrowseal.legacy import LegacyWord

Lane = Literal["auto", "boto3", "obstore"]

DEFAULT_POLICY = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT

_KEYRING: Final = ("wraps", "check_write", "check_read", "generate", "unwrap")
_MAX_GRANT_TOKENS: Final = 10  # of KMS


@dataclass(frozen=True)
class ClientOptions:
    """What a `Client` was told. Holds references only, never a key or a credential; see `Configured` for each."""

    kms_key_id: str | Mapping[str, str] | None = None
    format: Format = V3
    commitment_policy: CommitmentPolicy = DEFAULT_POLICY
    allow_plaintext: bool = False
    encryption_context: Mapping[str, str] | AnyContext = field(default_factory=dict, repr=False)
    interop: str | None = None
    decrypt_key_ids: tuple[str, ...] = ()
    keyring: tuple[Keyring, ...] = ()
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    discovery: Discovery | None = None
    bind_location: Binding | None = None
    legacy: frozenset[LegacyWord] = frozenset()
    instruction_files: str | None = None
    """The suffix of the instruction files that reads look for; None looks for none."""
    max_plaintext_bytes: int = MAX_CONTENT_BYTES
    allow_insecure_kms_endpoint: bool = False
    cache: DataKeyCache | None = field(default_factory=DataKeyCache)
    transfer: TransferOptions = field(default_factory=TransferOptions)
    progress: ProgressOption = False
    lane: Lane = "auto"
    profile_name: str | None = None
    region_name: str | None = None
    endpoint_url: str | None = None
    kms_endpoint_url: str | Mapping[str, str] | None = None

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
        options = replace(
            options,
            format=Format.of(options.format),
            decrypt_key_ids=_key_ids(options.decrypt_key_ids),
            keyring=_keyrings(options.keyring),
            grant_tokens=_grant_tokens(options.grant_tokens),
            legacy=check_legacy(options.legacy),
            instruction_files=check_suffix(options.instruction_files or False),
        )
        if options.interop is not None:
            options = for_analytics(options, explicit_policy=commitment_policy is not None)
        options.commitment_policy.check_write(options.format)
        if options.cache is not None and not isinstance(options.cache, DataKeyCache):
            raise ConfigurationError("cache= is a DataKeyCache, or None to ask KMS for every object")
        if not isinstance(options.transfer, TransferOptions):
            raise ConfigurationError("transfer= is a TransferOptions")
        check_progress(options.progress)
        check_switch("allow_plaintext", options.allow_plaintext)
        check_switch("allow_insecure_kms_endpoint", options.allow_insecure_kms_endpoint)
        if options.lane not in get_args(Lane):
            raise ConfigurationError(f"lane={options.lane!r} is not known: 'auto', 'boto3' or 'obstore'")
        if isinstance(options.kms_key_id, Mapping):
            _key_ids(PrefixKeys(options.kms_key_id))
            options = replace(options, kms_key_id=dict(sorted(options.kms_key_id.items())))
        elif options.kms_key_id is not None:
            check_key_id(options.kms_key_id)
        if options.discovery is not None and not isinstance(options.discovery, Discovery):
            raise ConfigurationError("discovery= is a Discovery(account_ids=[...]), or None")
        _check_binding(options)
        _check_texts(options)
        if isinstance(options.kms_endpoint_url, Mapping) and not options.kms_endpoint_url:
            raise ConfigurationError("kms_endpoint_url= is a URL, or a map of Regions to URLs with at least one")
        if not isinstance(options.max_plaintext_bytes, int) or options.max_plaintext_bytes < 0:
            raise ConfigurationError("max_plaintext_bytes is a number of bytes, 0 or more")
        return options


def without_interop(told: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a client for which another `interop=` decides: format and policy are told again where this one
    set them, and the policy that nobody has to name is not held against it.
    """
    free = {"interop"}
    if told["interop"] is not None:
        free |= {"format", "commitment_policy"}
    elif told["commitment_policy"] is DEFAULT_POLICY:
        free |= {"commitment_policy"}
    return {name: value for name, value in told.items() if name not in free}


def check_switch(name: str, value: Any) -> None:
    """Raise `ConfigurationError` for anything but True and False: the text "false" of a setting would allow."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}= is True or False, not {value!r}")


def _check_texts(options: ClientOptions) -> None:
    for name in ("profile_name", "region_name", "endpoint_url"):
        value = getattr(options, name)
        if not isinstance(value, str | None):
            raise ConfigurationError(f"{name}= is a string, as in boto3, not {type(value).__name__}")
    if not isinstance(options.kms_endpoint_url, str | Mapping | None):
        kind = type(options.kms_endpoint_url).__name__
        raise ConfigurationError(f"kms_endpoint_url= is a URL, or a map of Regions to URLs, not {kind}")


def _key_ids(key_ids: Any) -> tuple[str, ...]:
    if isinstance(key_ids, str):
        raise ConfigurationError(f"decrypt_key_ids= is a list of KMS keys, not one: [{key_ids!r}]")
    if not isinstance(key_ids, Iterable):
        raise ConfigurationError(f"decrypt_key_ids= is a list of KMS keys, not {type(key_ids).__name__}")
    return tuple(check_key_id(key_id) for key_id in key_ids)


def _keyrings(given: Any) -> tuple[Keyring, ...]:
    keyrings = () if given is None else tuple(given) if isinstance(given, list | tuple) else (given,)
    for keyring in keyrings:
        missing = [name for name in _KEYRING if not hasattr(keyring, name)]
        if missing or isinstance(keyring, type):
            lacking = f"{type(keyring).__name__}, which has no {missing[0]!r}" if missing else f"the class {keyring!r}"
            raise ConfigurationError(
                "keyring= takes a RawAesKeyring, a RawRsaKeyring, an object with the methods of arrowseal.Keyring, or "
                f"several of these, not {lacking}"
            )
    return keyrings


def _grant_tokens(tokens: Any) -> tuple[str, ...]:
    given = tuple(tokens) if isinstance(tokens, Iterable) and not isinstance(tokens, str) else (None,)
    if not all(isinstance(token, str) and token for token in given):
        raise ConfigurationError("grant_tokens= is a list of strings, as CreateGrant answers them")
    if len(given) > _MAX_GRANT_TOKENS:
        raise ConfigurationError(f"{len(given)} grant tokens are more than the {_MAX_GRANT_TOKENS} that KMS takes")
    return given


def _check_binding(options: ClientOptions) -> None:
    if options.bind_location is None:
        return
    if options.bind_location not in get_args(Binding):
        raise ConfigurationError(f"bind_location={options.bind_location!r} is not known: None, 'prefix' or 'object'")
    for keyring in options.keyring:
        if KMS_CONTEXT not in keyring.wraps:
            raise ConfigurationError(
                f"bind_location={options.bind_location!r} needs an encryption context to bind the place into, and "
                f"{type(keyring).__name__} has none, as raw keys have. Use a KMS key, or leave bind_location= out"
            )
    if not isinstance(options.encryption_context, AnyContext) and LOCATION_NAME in options.encryption_context:
        raise ConfigurationError(f"bind_location= sets {LOCATION_NAME!r}: leave it out of encryption_context=")
