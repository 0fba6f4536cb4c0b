"""What a file system is configured by: a client, and how its objects are read and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from arrowseal.defaults import client_of
from arrowseal.encryption import Plain
from arrowseal.location import locate, locate_prefix

if TYPE_CHECKING:
    from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
    from arrowseal.client import Client
    from arrowseal.location import ObjectLocation
    from arrowseal.object_writer import ObjectWriter
    from arrowseal.objects import EncryptedObject

_KEPT: Final = 32
_clients: list[Client] = []

_PROTOCOLS: Final = ("s3cse://", "s3://")
_READING: Final = ("encryption", "encryption_context", "kms_key_id", "allow_plaintext")
_WRITING: Final = ("encryption", "encryption_context", "kms_key_id", "s3_additional_kwargs")


@dataclass(frozen=True, eq=False)
class Access:
    """A client with keywords of `Client.object` and `Client.open`. Two are equal if they pickle to the same thing, or
    are of one client that cannot be pickled.
    """

    client: Client
    keywords: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def through(cls, client: Client | None, **keywords: Any) -> Access:
        """Through a client, or the default one of this moment. Raises `ConfigurationError` for what is no client."""
        chosen = client_of(client)
        given = {name: value for name, value in keywords.items() if value is not None}
        return cls(chosen, given)

    @property
    def plain(self) -> bool:
        """Whether objects that are not encrypted are read as well."""
        allowed = self.keywords.get("allow_plaintext", self.client.options.allow_plaintext)
        return bool(allowed) or isinstance(self.keywords.get("encryption"), Plain)

    def source(self, path: str, **keywords: Any) -> EncryptedObject:
        """The object at a path. Raises what `Client.object` does."""
        return self.client.object(location_of(path), **self._known(_READING) | keywords)

    def writer(self, path: str, mode: str = "wb", **keywords: Any) -> ObjectWriter:
        """A writer of the object at a path. Raises what `Client.open` does."""
        arguments: dict[str, Any] = self._known(_WRITING) | keywords
        writer: ObjectWriter = self.client.open(location_of(path), mode, **arguments)  # type: ignore[call-overload]
        return writer

    def get(self, path: str, **keywords: Any) -> PlaintextBuffer | UnauthenticatedBuffer:
        """All of the object at a path. Raises what `Client.get` does."""
        return self.client.get(location_of(path), **self._known(_READING) | keywords)

    def put(self, path: str, content: Any, **keywords: Any) -> None:
        """Write the object at a path at once. Raises what `Client.put` does."""
        self.client.put(location_of(path), content, **self._known(_WRITING) | keywords)

    def head_keywords(self) -> dict[str, Any]:
        """What `Client.head` takes of the keywords."""
        return self._known(("encryption",))

    def copy_keywords(self) -> dict[str, Any]:
        """What `Client.copy` takes: an encryption by the server that all files have goes for both sides."""
        arm = self.keywords.get("encryption")
        return {"encryption": arm, "source_encryption": arm} if isinstance(arm, Plain) else {}

    def _known(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.keywords[name] for name in names if name in self.keywords}

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.client, self.keywords)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Access):
            return NotImplemented
        return self.keywords == other.keywords and same_client(self.client, other.client)

    def __hash__(self) -> int:
        told = reference(self.client)
        if told is None:
            return id(self.client)
        options = self.client.options
        return hash((str(options.kms_key_id), options.endpoint_url, options.region_name, options.profile_name))


def _restore(client: Client, keywords: dict[str, Any]) -> Access:
    return Access(kept(client), keywords)


def kept(client: Client) -> Client:
    """The first client that was told the same, so that connections and unwrapped data keys serve all file systems that
    are made of the same options, or arrive with each task of a cluster.
    """
    for known in list(_clients):
        if same_client(known, client):
            return known
    _clients.append(client)
    del _clients[:-_KEPT]
    return client


def reference(client: Client) -> Any:
    """What a client pickles to; None for one that holds objects, and cannot be pickled."""
    try:
        return client.__reduce__()
    except TypeError:
        return None


def same_client(one: Client, other: Client) -> bool:
    """Whether two clients are one, or would be after they were pickled."""
    if one is other:
        return True
    told = reference(one)
    return told is not None and told == reference(other)


def bare(path: str) -> str:
    """`bucket/key` of a path or URL, without slashes at its end."""
    for protocol in _PROTOCOLS:
        path = path.removeprefix(protocol)
    return path.rstrip("/")


def location_of(path: str) -> ObjectLocation:
    """The object of a path. Raises `LocationError`, and `DirectoryKeyError` for a bucket or what ends in `/`."""
    for protocol in _PROTOCOLS:
        path = path.removeprefix(protocol)
    return locate(f"s3://{path}")


def is_below_a_bucket(path: str) -> bool:
    """Whether a path may be that of an object. The ARN of an access point has a slash of its own."""
    return "/" in path and bool(prefix_of(path).key)


def prefix_of(path: str) -> ObjectLocation:
    """Of a directory: the prefix of all that is below it. Raises `LocationError`."""
    return locate_prefix(f"s3://{bare(path)}/")
