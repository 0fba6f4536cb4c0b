"""What a client is told, checked, and what it is made of; `Client` adds what it does.

The options of a client are one frozen value, `ClientOptions`; what is an object, a boto3 session or client, is none of
them.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from arrowseal.connections import Connections
from arrowseal.counters import Counters
from arrowseal.data_keys import DataKeyCache, Reuse
from arrowseal.keyrings import Keyrings
from arrowseal.lanes import store_of
from arrowseal.options import ClientOptions, Lane, without_interop
from arrowseal.reading import Reader
from arrowseal.retrying import RetryingStore
from arrowseal.suites import MAX_CONTENT_BYTES, V3, AnyContext, CommitmentPolicy, Format
from arrowseal.transfer import TransferOptions
from arrowseal.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import boto3
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client

    from arrowseal.binding import Binding
    from arrowseal.discovery import Discovery
    from arrowseal.keyring import Keyring
    from arrowseal.legacy import Legacy
    from arrowseal.progress import ProgressOption

Owner = TypeVar("Owner")
Arguments = ParamSpec("Arguments")


def _named_as_called(
    init: Callable[Concatenate[Owner, Arguments], None],
) -> Callable[Concatenate[Owner, Arguments], None]:
    """Errors of arguments name what was called, and for an unknown one the option that may be meant."""
    known = [*inspect.signature(init).parameters][1:]
    init.__qualname__ = "Client"

    @functools.wraps(init)
    def checked(self: Owner, /, *args: Arguments.args, **options: Arguments.kwargs) -> None:
        for name in options.keys() - known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            hint = f": {near[0]}= may be meant" if near else ""
            message = f"{type(self).__name__}() got an unexpected keyword argument {name!r}{hint}"
            raise TypeError(message)
        init(self, *args, **options)

    return checked


class Configured:
    """The arguments of a `Client`.

    Which keys:
        kms_key_id: the KMS key that wraps data keys: id, ARN or alias. An alias is resolved once, by KMS's own answer.
            Keys of other accounts are given as ARNs. The ARN of a key in another Region is asked for there, so that an
            object written under a multi-Region key is read under the replica whose ARN is given. Or a map of bucket
            prefixes to keys, `{"s3://lake/tenant-1/": "alias/one", "s3://lake": "alias/lake"}`: the longest that holds
            a place wins, as directories go, on reads as well as writes; a place that none holds is a `NoKeyError`.
        decrypt_key_ids: more KMS keys to try on reads, in this order, after `kms_key_id`.
        keyring: `RawAesKeyring`, `RawRsaKeyring`, an object of one's own (see `arrowseal.Keyring`), or several. KMS
            comes first where both are given. The first that has a key for a place writes there; on reads the first that
            knows the wrap, and the next one if the data key was not wrapped under its key.
        grant_tokens: go along with each GenerateDataKey, Decrypt and ReEncrypt: a grant takes effect with its token at
            once, without it within five minutes.
        discovery: `Discovery(account_ids=[...])` reads objects under whichever KMS key of these accounts they have,
            after all other keyrings. Read there what the owner of a foreign key gets to see.

    What is written, and read:
        format: `arrowseal.V3`, or `arrowseal.V2` for readers that do not know V3 (needs a policy that allows it).
        commitment_policy: whether objects must commit to their key; REQUIRE_ENCRYPT_REQUIRE_DECRYPT unless given.
        allow_plaintext: also read objects that are not client-side encrypted.
        legacy: also read old wraps of data keys (`"wrapping"`), AES-CBC content (`"content"`) or both (True).
        instruction_files: read encrypted data keys that lie beside their objects, in files with the suffix
            `".instruction"` (True) or another one. Such files are then copied and deleted with their objects and shown
            in no listing; `CSE(instruction_file=True)` writes one. Looking for one takes a request for each object that
            has no encryption metadata of its own, and for each that is written without a file.
        encryption_context: bound to every object written, and expected on every read; `arrowseal.ANY` accepts any.
        bind_location: `"prefix"` binds bucket and directory of each object into its encryption context, `"object"` the
            whole place, as entry `arrowseal:location`; reads expect it, also beside `arrowseal.ANY`. What was put in
            the place of another object is refused before KMS is asked. `"prefix"` fits `data_key_reuse`: a data key a
            directory. Other clients have to give the entry. KMS keys only: raw keys bind no context.
        interop: `"analytics"` writes what Athena, EMR and Presto read: format V2, and the policy that allows it.
        max_plaintext_bytes: larger objects are refused before any memory is taken.

    How S3 and KMS are reached:
        session, s3, kms: a boto3 session, or boto3 clients, to use as they are, `kms` for every Region; otherwise
            boto3's own defaults, environment and configuration files decide (`AWS_ENDPOINT_URL*` included).
        profile_name, region_name: as in boto3.
        endpoint_url: another S3; also the KMS endpoint, unless `kms_endpoint_url`, AWS_ENDPOINT_URL_KMS or the
            `services` of the profile name one.
        kms_endpoint_url: another KMS, or a map of Regions to such URLs.
        allow_insecure_kms_endpoint: accept a plain-http KMS endpoint that is not on this machine.
        cache: bounds of the unwrapped data keys that reads remember, so that objects which share one cost one KMS call;
            None asks KMS for every object. A revoked grant takes effect within five minutes.
        transfer: how large objects are moved: the size of ranges, and how many are in flight.
        progress: True shows a bar for each object that takes more than one piece, where a terminal or a notebook is
            attached (`arrowseal[progress]`); a function is told instead: see `arrowseal.progress.ReportProgress`.
        lane: what carries short reads: obstore where it is installed (`arrowseal[fast]`) and does as boto3 would
            (`"auto"`), boto3 always (`"boto3"`), or obstore, which must be there (`"obstore"`). An S3 client that was
            handed in is always used as it is, and plain objects are boto3's: obstore hides how the server encrypts. So
            is, with `"auto"`, a read that is under way alone: it takes less there. Those of obstore do not wait for the
            GIL.

    Raises:
        ConfigurationError: the options contradict each other (`PolicyConflictError` where the policy forbids a format).
    """

    @_named_as_called
    def __init__(
        self,
        kms_key_id: str | Mapping[str, str] | None = None,
        *,
        session: boto3.Session | None = None,
        s3: S3Client | None = None,
        kms: KMSClient | None = None,
        format: Format | str = V3,  # noqa: A002 - the public word for it
        commitment_policy: CommitmentPolicy | str | None = None,
        allow_plaintext: bool = False,
        encryption_context: Mapping[str, str] | AnyContext | None = None,
        interop: str | None = None,
        profile_name: str | None = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        kms_endpoint_url: str | Mapping[str, str] | None = None,
        decrypt_key_ids: Sequence[str] = (),
        keyring: Keyring | Sequence[Keyring] | None = None,
        grant_tokens: Sequence[str] = (),
        discovery: Discovery | None = None,
        bind_location: Binding | None = None,
        legacy: Legacy = False,
        instruction_files: bool | str | None = False,
        max_plaintext_bytes: int = MAX_CONTENT_BYTES,
        allow_insecure_kms_endpoint: bool = False,
        cache: DataKeyCache | None = DataKeyCache(),  # noqa: B008 - frozen
        transfer: TransferOptions = TransferOptions(),  # noqa: B008 - frozen
        progress: ProgressOption = False,
        lane: Lane = "auto",
    ) -> None:
        told = dict(locals())
        handed_in = {name: told.pop(name) for name in ("session", "s3", "kms")}
        del told["self"]
        self._options = ClientOptions.checked(**told)
        self._connections = Connections(self._options, **handed_in)
        self._store = RetryingStore(store_of(self._connections, self._options.lane), self._options.transfer.retries)
        self._keyrings = Keyrings(self._connections.kms, self._options, self._connections.renew)
        self._reuse = Reuse()
        self._reader = Reader(self._store, self._keyrings, self._options)
        self._writer = Writer(self._store, self._keyrings, self._options, self._reuse)
        self.counters = Counters()
        """One row for each operation of this client."""

    @property
    def options(self) -> ClientOptions:
        """What this client was told; frozen."""
        return self._options

    def replace(self, **options: Any) -> Self:
        """A client that was told the same but for these options. It uses what was handed to this one, a boto3 session
        or clients, and has keyrings, caches and counters of its own. Another `interop=` decides format and policy anew.
        Raises what `Client` does.

        >>> from arrowseal import Client
        >>> Client("alias/tables").replace(kms_key_id="alias/archive").options.kms_key_id
        'alias/archive'
        """
        told = vars(self._options) | self._connections.handed_in
        if options.get("interop", self._options.interop) != self._options.interop:
            told = without_interop(told)
        return type(self)(**(told | options))

    def __repr__(self) -> str:
        told = self._options
        words = told.kms_key_id, told.format.value, told.commitment_policy.value
        more = f" keyring={list(told.keyring)!r}" if told.keyring else ""
        return "<arrowseal.Client kms_key_id={!r}{} format={} commitment_policy={}>".format(words[0], more, *words[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._connections.by_reference:
            raise TypeError(
                "a client that was given session=, s3= or kms= cannot be pickled: those objects cannot. Give "
                "profile_name=, region_name= and endpoint_url= instead"
            )
        for keyring in self._options.keyring:
            keyring.__reduce_ex__(2)  # one that holds a key raises a TypeError
        return _restore, (type(self), vars(self._options))


def _restore(kind: type[Configured], options: Mapping[str, Any]) -> Configured:
    return kind(**options)
