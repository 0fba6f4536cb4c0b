"""Which objects a dataset consists of: those of a prefix, of a pattern, or of a list."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import ConfigurationError, LocationError, ObjectNotFoundError
from arrowseal.location import ObjectLocation, locate, locate_prefix

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

    from arrowseal.client import Client
    from arrowseal.location import Url
    from arrowseal.store import ListedObject

HIDDEN: Final = ("_", ".")
"""What names begin with that are no part of a dataset: `_SUCCESS`, `.part-0.crc`, `_temporary/...`."""
_BESIDE: Final = ".instruction"
"""Objects that hold the encryption metadata of others."""
_SPECIAL: Final = re.compile(r"[*?\[]")
_LOGS: Final = re.compile(
    r"(?:^|/)(?:(?P<Delta>_delta_log)/|(?P<Hudi>\.hoodie)/|metadata/(?P<Iceberg>[^/]+\.metadata\.json)$)"
)
"""What says that a table is no more than some of the files that lie there."""
_IF_MISSING: Final = "; a prefix is read with a slash at its end, or with dataset=True"


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a dataset."""

    location: ObjectLocation
    path: str
    """Its key below the base of the dataset."""
    stored_bytes: int | None = None
    """None where it was not listed, but named."""
    last_modified: dt.datetime | None = None
    etag: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of the objects that are found belong to the dataset. Those that are named one by one always do."""

    ignore_prefixes: str | Sequence[str] | None = HIDDEN
    shows_keys: bool = False
    """Whether directories `name=value` are part of it whatever they begin with: to polars they are, to pyarrow not."""
    path_suffix: str | Sequence[str] | None = None
    path_ignore_suffix: str | Sequence[str] | None = None
    last_modified_begin: dt.datetime | None = None
    last_modified_end: dt.datetime | None = None

    def __post_init__(self) -> None:
        for name in ("last_modified_begin", "last_modified_end"):
            moment = getattr(self, name)
            if moment is not None and getattr(moment, "tzinfo", None) is None:
                raise ConfigurationError(f"{name}= is a datetime with a time zone")
        for name in ("ignore_prefixes", "path_suffix", "path_ignore_suffix"):
            if not isinstance(getattr(self, name), Sequence | None):
                raise ConfigurationError(f"{name}= is a string or several, not {type(getattr(self, name)).__name__}")

    def takes(self, path: str, listed: ListedObject) -> bool:
        """Whether an object that was listed is one of them, by its path below the base."""
        if not path or path.endswith(("/", _BESIDE)):
            return False
        hidden = _several(self.ignore_prefixes or ())
        *directories, name = path.split("/")
        shown = (part for part in directories if not (self.shows_keys and "=" in part))
        if hidden and any(component.startswith(hidden) for component in (*shown, name)):
            return False
        key = listed.location.key
        if self.path_suffix is not None and not key.endswith(_several(self.path_suffix)):
            return False
        if self.path_ignore_suffix is not None and key.endswith(_several(self.path_ignore_suffix)):
            return False
        when, begin, end = listed.last_modified, self.last_modified_begin, self.last_modified_end
        return not ((begin and (when is None or when < begin)) or (end and (when is None or when > end)))

    def nothing_at(self, place: object) -> ObjectNotFoundError:
        """The error for a place without any."""
        hidden = " or ".join(map(repr, _several(self.ignore_prefixes or ())))
        beside = f", names that begin with {hidden} aside: see ignore_prefixes=" if hidden else ""
        return ObjectNotFoundError(f"{place}: there are no objects of a dataset there{beside}")


def _several(texts: str | Sequence[str]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def table_with_log(locations: Iterable[ObjectLocation]) -> str | None:
    """The first Delta, Hudi or Iceberg table whose log is among these, for messages."""
    for location in locations:
        log = _LOGS.search(location.key)
        if log is not None:
            return f"the {log.lastgroup} table {ObjectLocation(location.bucket, location.key[: log.start()])}"
    return None


@contextmanager
def telling_of_prefixes() -> Iterator[None]:
    """Of an object that is not there, the error says how a prefix is read: a request would have to ask if it is one."""
    try:
        yield
    except ObjectNotFoundError as error:
        error.args = (f"{error}{_IF_MISSING}",)
        raise


def find(
    client: Client, source: Url | Sequence[Url], base_dir: str | None = None, selection: Selection | None = None
) -> tuple[list[Found], str]:
    """The objects of a dataset in the order of their keys, or of the list, and the URL that stands for all of them.

    A prefix is `s3://bucket/path/`, or without the slash if there is no such object; in a pattern `*`, `?` and `[...]`
    stay within one level and `**` goes through all. The path of an object begins below the prefix, below what comes
    before the first special character of a pattern, and at the bucket for one object or a list; `base_dir` says
    otherwise. What a list names twice is there twice; what several of its prefixes and patterns find is there once.

    Raises `ObjectNotFoundError` if there are none, `LocationError` for what is no location. Warns where the log of a
    Delta, Hudi or Iceberg table comes up: which of its files count is not asked.
    """
    chosen = selection or Selection()
    if isinstance(source, Sequence) and not isinstance(source, str):
        if not source:
            raise LocationError("no object named: the list is empty")
        several = _of_list(client, source, chosen)
        shown = str(source[0]) if len(source) == 1 else f"{source[0]} and {len(source) - 1} more"
        objects = [_below(found, base_dir or "") for found in several]
    else:
        shown = str(source)
        objects = _of_one(client, source, chosen)
        if base_dir is not None:
            objects = [_below(found, base_dir) for found in objects]
    if not objects:
        raise chosen.nothing_at(shown)
    return objects, shown


def _below(found: Found, base_dir: str) -> Found:
    base = _base_key(base_dir)
    key = found.location.key
    path = key[len(base) :] if key.startswith(base) else key
    return Found(found.location, path, found.stored_bytes, found.last_modified, found.etag)


def _base_key(base_dir: str) -> str:
    key = locate_prefix(base_dir).key if base_dir.startswith("s3://") else base_dir
    return key and key.strip("/") + "/"


def _of_list(client: Client, urls: Sequence[Url], selection: Selection) -> list[Found]:
    """An entry is an object, unless it is a prefix by its slash, or a pattern."""
    objects: list[Found] = []
    come_upon: set[ObjectLocation] = set()
    for url in urls:
        location = locate_prefix(url)
        if not isinstance(url, ObjectLocation) and (location.key.endswith("/") or _SPECIAL.search(location.key)):
            there = {found.location for found in objects}
            new = [found for found in _of_one(client, url, selection) if found.location not in there]
            come_upon.update(found.location for found in new)
            objects += new
        elif location in come_upon:
            come_upon.remove(location)  # that one is meant
        else:
            objects.append(Found(locate(location), location.key))
    return objects


def _of_one(client: Client, url: Any, selection: Selection) -> list[Found]:
    location = locate_prefix(url)
    key = location.key
    if isinstance(url, str) and _SPECIAL.search(key):
        return _of_pattern(client, location, selection)
    if not key or key.endswith("/"):
        return _under(client, ObjectLocation(location.bucket, key), selection)
    return _under(client, ObjectLocation(location.bucket, key + "/"), selection) or _itself(client, location)


def _itself(client: Client, location: ObjectLocation) -> list[Found]:
    """The object of that name alone, which a listing tells without opening it."""
    return [_found(listed, location.key) for listed in client.list(location) if listed.location == location]


def _under(client: Client, prefix: ObjectLocation, selection: Selection) -> list[Found]:
    listed = ((entry, entry.location.key[len(prefix.key) :]) for entry in _listed(client, prefix))
    return [_found(entry, path) for entry, path in listed if selection.takes(path, entry)]


def _listed(client: Client, prefix: ObjectLocation) -> Iterable[ListedObject]:
    """What is there, with a warning where not all of it counts: no listing tells files that were deleted there."""
    listed = [*client.list(prefix)]
    table = table_with_log(entry.location for entry in listed)
    if table is not None:
        warnings.warn(
            f"{prefix}: {table} has a log that says which files count, and it is not read: rows that were deleted or "
            "replaced there come along. Give a list of the files that count",
            RuntimeWarning,
            stacklevel=2,
        )
    return listed


def _of_pattern(client: Client, location: ObjectLocation, selection: Selection) -> list[Found]:
    first = _SPECIAL.search(location.key)
    literal = location.key[: first.start()] if first else location.key
    base = literal[: literal.rfind("/") + 1]
    try:
        matches = re.compile(_regex(location.key), re.DOTALL).fullmatch
    except re.error as error:
        message = f"{location} is no pattern ({error}): give an ObjectLocation for an object of that name"
        raise LocationError(message) from None
    listed = _listed(client, ObjectLocation(location.bucket, literal))
    return [
        _found(entry, path)
        for entry in listed
        if matches(entry.location.key)
        for path in [entry.location.key[len(base) :]]
        if selection.takes(path, entry)
    ]


def _regex(pattern: str) -> str:
    r"""The pattern as a regular expression.

    >>> _regex("a/*.parquet"), _regex("a/**/x?")
    ('a/[^/]*\\.parquet', 'a/(?:.*/)?x[^/]')
    """
    parts, at = [], 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        elif pattern[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            parts.append("[^/]")
            at += 1
        elif pattern[at] == "[" and "]" in pattern[at + 2 :]:
            end = pattern.index("]", at + 2)
            inside = pattern[at + 1 : end].replace("\\", "\\\\")
            parts.append("[^/" + inside[1:] + "]" if inside[0] in "!^" else f"[{inside}]")
            at = end + 1
        else:
            parts.append(re.escape(pattern[at]))
            at += 1
    return "".join(parts)


def _found(listed: ListedObject, path: str) -> Found:
    return Found(listed.location, path, listed.stored_bytes, listed.last_modified, listed.etag)
