"""The store for many small reads: obstore carries them, boto3 everything else.

obstore (`arrowseal[fast]`) sends requests from Rust, in a tenth of the CPU that boto3 takes and outside the GIL. It
does as the boto3 client would: at the endpoint that its own first request for a bucket showed, with its credentials,
which are asked for each minute anew, its certificate authorities, its proxy and its timeouts. What it cannot carry, or
would do otherwise, goes through `LeanStore`: long ranges (which boto3's connections receive with fewer copies, over TLS
in no more time), other arguments, keys that it cannot write, and unless obstore was asked for by name, reads that are
under way alone.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from xml.etree import ElementTree

from arrowseal.etags import etag_of
from arrowseal.exceptions import StoreUnansweredError, TransferError
from arrowseal.fork_lock import ForkLock
from arrowseal.metadata import RESERVED_NAMES
from arrowseal.no_connection import too_many_files
from arrowseal.s3_errors import PASSING_STATUSES, store_error
from arrowseal.store import Body, StoredObject, in_lower_case
from arrowseal.store_lean import LeanStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from obstore import GetOptions

    from arrowseal.counters import Operation
    from arrowseal.learnt_endpoints import BucketEndpoint, LearntEndpoints
    from arrowseal.location import ObjectLocation
    from arrowseal.store_boto3 import Renew

_SHORT: Final = 2**18
"""Up to this length a range is obstore's; what starts at 0 always is, since most objects are small."""
_LOOK_EACH: Final = 64
_CHUNK_BYTES: Final = 2**19
_UNCUT_BYTES: Final = 2**18
_NO_BYTES: Final = memoryview(b"")
_NO_CHUNKS: Final[Iterator[Any]] = iter(())
_REMEMBERED: Final = 10_000  # directories: some 2 MB
_REFRESH: Final = timedelta(minutes=6)  # obstore asks again five minutes before the end: each minute
_CARRIED: Final = frozenset({"IfMatch", "VersionId"})
_ATTRIBUTES: Final = frozenset(
    {"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Cache-Control", "Storage-Class"}
)
_REFUSAL: Final = re.compile(
    r"Server returned (?:non-2xx status code|error response).*?: (\d{3})[^:]*(?:: (.*))?", re.DOTALL
)
_STRICTER: Final = re.compile(r"(InvalidCertificate|AlertReceived|PeerIncompatible)|Parse\(|FromUtf8Error")
"""What obstore alone may not take: boto3 accepts more certificates and ciphers, where no connection of obstore's would
come about, and reads headers that are none and refusals in other encodings.
"""
_NO_NAME: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")  # a part of a key that is empty, "." or ".."
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
# Read by obstore from the environment, unknown to boto3.
_NOT_BOTO3S: Final = {"AWS_PROXY_URL", "AWS_DEFAULT_HEADERS", "AWS_SERVER_SIDE_ENCRYPTION"}


class _Runtime:
    """The threads that run obstore, started once a process. A forked child has not inherited them, and would wait for
    them for ever: it goes on with boto3. So does a process that may have no more threads or files.
    """

    lost = False

    @classmethod
    def forked(cls) -> None:
        cls.lost = cls.lost or "obstore" in sys.modules


os.register_at_fork(after_in_child=_Runtime.forked)


class ObstoreStore(LeanStore):
    """`LeanStore`, whose short reads obstore carries. Safe to share between threads."""

    def __init__(
        self, endpoints: Callable[[], LearntEndpoints], renew: Renew = lambda *_: None, *, always: bool = True
    ) -> None:
        super().__init__(endpoints, renew)
        self._always = always
        self._company = _Company()
        self._lock = ForkLock()
        self._stores: dict[str, tuple[BucketEndpoint, Any]] = {}
        self._neighbours = _Neighbours()

    def get(
        self,
        location: ObjectLocation,
        operation: Operation,
        *,
        byte_range: tuple[int, int],
        arguments: Mapping[str, Any],
    ) -> tuple[StoredObject, Body]:
        start, end = byte_range
        short = start == 0 or abs(end - start) <= _SHORT
        # An index is plain by nature, and says nothing of its neighbours.
        index = location.is_index
        alone = False
        if short and arguments.keys() <= _CARRIED and (index or self._neighbours.sealed(location)):
            alone = not self._always and self._company.alone()
            store = None if alone else self._store(location)
            answer = None if store is None else self._fetch(store, location, operation, byte_range, arguments)
            if answer is not None and (index or _sealed(answer[0])):
                return answer
        try:
            answer = super().get(location, operation, byte_range=byte_range, arguments=arguments)
        finally:
            if alone:
                self._company.left()
        if not index:
            self._neighbours.note(location, sealed=_sealed(answer[0]))
        return answer

    def _store(self, location: ObjectLocation) -> Any:
        """What obstore store for the bucket; None if boto3 has to carry the request."""
        endpoints = self._endpoints()
        endpoint = endpoints.of(location.bucket)
        if endpoint is None or _Runtime.lost or not _carries(location.key) or not _importable():
            return None
        made = self._stores.get(location.bucket)
        if made is None or made[0] is not endpoint:  # learnt anew, with the credentials of then
            with self._lock:
                made = self._stores.get(location.bucket)
                if made is None or made[0] is not endpoint:
                    made = self._stores[location.bucket] = endpoint, _made(endpoint, location.bucket, endpoints)
        return made[1]

    def _fetch(
        self,
        store: Any,
        location: ObjectLocation,
        operation: Operation,
        byte_range: tuple[int, int],
        arguments: Mapping[str, Any],
    ) -> tuple[StoredObject, Body] | None:
        get, failures = _obstore()
        start = byte_range[0]
        options: GetOptions = {"range": {"suffix": -start} if start < 0 else byte_range}
        if "IfMatch" in arguments:
            options["if_match"] = arguments["IfMatch"]
        if "VersionId" in arguments:
            options["version"] = arguments["VersionId"]
        operation.count_request()
        try:
            with operation.timed("s3"):
                result = get(store, location.key, options=options)
        except ValueError:
            operation.count_request(-1)  # a key that obstore cannot write was not asked for
            return None
        except failures as error:
            if _refused(location, str(error)):
                self._stores[location.bucket] = self._stores[location.bucket][0], None
            return None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # which is no `Exception`, and has no name to import
                raise
            _Runtime.lost = True
            return None
        return _stored_object(location, result), ObstoreBody(location, result)


class _Company:
    """Whether a read is under way beside others. Alone it takes less over an idle connection of boto3; many wait for
    the GIL there, which obstore's do without.
    """

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._beside_others = 0  # reads to come before the next look, forgetting one or the other

    def alone(self) -> bool:
        """Whether there is no other: then `left` has to be called."""
        if self._beside_others > 0:  # two that count down at once may go below
            self._beside_others -= 1
            return False
        if self._one.acquire(blocking=False):
            return True
        self._beside_others = _LOOK_EACH
        return False

    def left(self) -> None:
        self._one.release()


class _Neighbours:
    """Whether the object that was read last, beside an object or else further up, was client-side encrypted.

    Plain objects are boto3's: their label is how the server encrypts, which obstore does not tell.
    """

    def __init__(self) -> None:
        self._sealed: dict[tuple[str, str], bool] = {}

    def sealed(self, location: ObjectLocation) -> bool:
        for place in _places(location):
            known = self._sealed.get(place)
            if known is not None:
                return known
        return False

    def note(self, location: ObjectLocation, *, sealed: bool) -> None:
        if len(self._sealed) > _REMEMBERED:
            self._sealed.clear()
        self._sealed.update(dict.fromkeys(_places(location), sealed))


@functools.cache
def _obstore() -> tuple[Any, tuple[type[Exception], ...]]:
    """What gets an object, and what its failures are; imported when the first one is asked for."""
    import obstore
    import obstore.store
    from obstore.exceptions import BaseError

    return obstore.get, (BaseError, OSError)


def _importable() -> bool:
    try:
        _obstore()
    except (ImportError, OSError):  # for now: there are as many files open as may be
        return False
    return True


def _places(location: ObjectLocation) -> Iterator[tuple[str, str]]:
    """The directories above an object, the nearest one first, the bucket last."""
    directory = location.key
    while directory:
        directory = directory.rpartition("/")[0]
        yield location.bucket, directory


def _sealed(stored: StoredObject) -> bool:
    """Whether the metadata has one of the names of the encryption formats; what it is worth is for others to say."""
    return not RESERVED_NAMES.isdisjoint(map(str.lower, stored.metadata))


class ObstoreBody:
    """The bytes of an answer of obstore: lent as they are if taken at once, otherwise copied to where they belong."""

    at_once_bytes: ClassVar[int] = 2**21

    def __init__(self, location: ObjectLocation, result: Any) -> None:
        self._location = location
        self._result = result
        self._chunks: Iterator[Any] | None = None
        self._chunk = _NO_BYTES

    def readinto(self, target: memoryview, /) -> int:
        while not self._chunk:
            chunk = self._next(_UNCUT_BYTES)
            if chunk is None:
                return 0
            self._chunk = memoryview(chunk)
        count = min(len(target), len(self._chunk))
        target[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count

    def take(self, size: int, /) -> Any:
        if not self._chunk:
            self._chunk = memoryview(self._next(size) or b"")
        if len(self._chunk) == size:
            taken, self._chunk = self._chunk, _NO_BYTES
            return taken
        if len(self._chunk) < size:
            content = bytearray(size)
            filled = 0
            with memoryview(content) as target:
                while filled < size and (count := self.readinto(target[filled:])):
                    filled += count
            return bytes(content[:filled])
        taken, self._chunk = self._chunk[:size], self._chunk[size:]
        return taken

    def _next(self, uncut_bytes: int) -> Any:
        if self._chunks is None:
            self._chunks = _chunks(self._result, uncut_bytes)
        try:
            return next(self._chunks, None)
        except _obstore()[1] as error:
            raise TransferError(f"{self._location}: the body broke off ({type(error).__name__})") from None

    def interrupt(self) -> None:
        """Nobody has a way to its connections, which end waits by their timeouts."""

    def close(self) -> None:
        self._result, self._chunk, self._chunks = None, _NO_BYTES, _NO_CHUNKS


def _chunks(result: Any, uncut_bytes: int) -> Iterator[Any]:
    start, end = result.range
    if end - start <= uncut_bytes:
        yield result.bytes()
    else:  # each chunk is cleared and copied once more, with the GIL held
        yield from result.stream(min_chunk_size=_CHUNK_BYTES)


def _stored_object(location: ObjectLocation, result: Any) -> StoredObject:
    meta, attributes = result.meta, result.attributes
    return StoredObject(
        location=location,
        metadata=in_lower_case({name: value for name, value in attributes.items() if name not in _ATTRIBUTES}),
        stored_bytes=meta["size"],
        etag=etag_of(meta["e_tag"] or ""),
        version_id=meta["version"],
        last_modified=meta["last_modified"],
        content_type=attributes.get("Content-Type"),
        ranged=True,  # obstore refuses an answer that is not
    )


def _refused(location: ObjectLocation, text: str) -> bool:
    """Raise the error of ours for one of obstore; return if boto3 shall ask again and say, and whether for all of the
    bucket: there is no connection for obstore.
    """
    text, _, source = text.partition("\n\nDebug source:")
    refusal = _REFUSAL.search(text)
    if refusal is None:
        stricter = _STRICTER.search(source)
        if "HTTP error" in text and stricter is None and not too_many_files(source):
            raise StoreUnansweredError(f"{location}: GetObject failed: no answer, or a broken one") from None
        return stricter is not None and stricter[1] is not None
    status = int(refusal[1])
    if status in (404, 412, *PASSING_STATUSES) or status >= 500:
        code, message = _code_and_message(refusal[2] or "", status)
        raise store_error(code, status, message, location, "GetObject") from None
    return False  # an empty object, another Region, refused or expired credentials: boto3 knows how to go on


def _code_and_message(body: str, status: int) -> tuple[str, str]:
    try:
        root = ElementTree.fromstring(body.strip())  # noqa: S314 - expat of today expands nothing without bounds
    except ElementTree.ParseError:
        return str(status), ""
    return root.findtext("{*}Code") or str(status), root.findtext("{*}Message") or ""


def _carries(key: str) -> bool:
    """Whether obstore asks for this key, and not for one that it takes for the same."""
    return _NO_NAME.search(key) is None


def _made(endpoint: BucketEndpoint, bucket: str, endpoints: LearntEndpoints) -> Any:
    """What obstore store for a bucket; None if it would not do what the boto3 client does."""
    from obstore.store import S3Store

    options = _client_options(endpoint, endpoints.s3)
    if options is None or _NOT_BOTO3S & os.environ.keys():
        return None

    def credentials() -> Any:
        frozen = endpoints.frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _REFRESH,
        }

    failures: tuple[type[Exception], ...] = (ValueError, *_obstore()[1])
    try:
        return S3Store(
            bucket,
            aws_endpoint_url_s3=endpoint.base,  # not `endpoint`, which the environment variable of that name overrides
            virtual_hosted_style_request=True,  # which means: the endpoint names the bucket already
            region=endpoint.region,
            skip_signature=False,
            request_payer=False,
            s3_express=False,
            client_options=options,
            retry_config={"max_retries": 0},
            credential_provider=credentials,
        )
    except failures:
        return None  # authorities in another form, or what others have left in the environment, of which it reads more


def _client_options(endpoint: BucketEndpoint, s3: Any) -> Any:
    from botocore.utils import get_environ_proxies

    config, secure = s3.meta.config, endpoint.base.startswith("https:")
    proxies = get_environ_proxies(endpoint.base) if config.proxies is None else config.proxies
    proxy = proxies.get("https" if secure else "http")
    tls = secure or (proxy or "").startswith("https:")
    trusted = _authorities(s3) if tls else None
    if tls and (trusted is None or config.client_cert):
        return None
    ambient = any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES)
    if config.proxies_config or (ambient and not proxy):
        return None  # obstore would take the one in the environment
    options = {
        "allow_http": not secure,
        "allow_invalid_certificates": False,
        "user_agent": endpoint.user_agent,
        "timeout": timedelta(days=1),  # of a whole answer: reads that stand still end it
    }
    if trusted is not None:  # alone: it would trust whom the machine and SSL_CERT_FILE do as well
        options |= {"root_certificate": trusted, "disable_system_certificates": True}
    for name in ("connect_timeout", "read_timeout"):
        seconds = getattr(config, name)
        if isinstance(seconds, (int, float)):
            options[name] = timedelta(seconds=seconds)
    return options | ({"proxy_url": proxy} if proxy else {})


def _authorities(s3: Any) -> bytes | None:
    """The certificates of all whom the boto3 client trusts; None where it verifies nothing, or has no such file."""
    from botocore.httpsession import get_cert_path

    bundle = get_cert_path(s3._endpoint.http_session._verify)  # noqa: SLF001 - what came of settings and environment
    try:
        return Path(bundle).read_bytes() if bundle else None
    except OSError:
        return None
