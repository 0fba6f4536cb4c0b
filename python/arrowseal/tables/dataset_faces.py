"""Functions of table libraries that read and write one object, taught datasets: prefixes, patterns, lists, partitions.

What a call names many objects with is `dataset=True`, a list, a URL that ends in `/` or has a `*`, or an argument that
only datasets have. The habits are those of awswrangler.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from arrowseal.exceptions import ConfigurationError
from arrowseal.location import locate_prefix
from arrowseal.tables.dataset_listing import telling_of_prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

Face = TypeVar("Face", bound=Callable[..., Any])
Arguments = dict[str, Any]

READ_KEYWORDS: Final = {
    "dataset": "bool | None",
    "partition_filter": "Callable[[dict[str, str]], bool] | None",
    "path_suffix": "str | Sequence[str] | None",
    "path_ignore_suffix": "str | Sequence[str] | None",
    "last_modified_begin": "datetime | None",
    "last_modified_end": "datetime | None",
    "chunked": "bool | int | None",
    "use_threads": "bool | int | None",
}
WRITE_KEYWORDS: Final = {
    "dataset": "bool | None",
    "mode": "Literal['append', 'overwrite', 'overwrite_partitions'] | None",
    "max_rows_by_file": "int | None",
    "use_threads": "bool | int | None",
}
_OF_BOTH: Final = {"use_threads"}
"""Also an argument of libraries, for one object."""
_CLIENT: Final = frozenset({"client", "encryption", "encryption_context", "kms_key_id", "progress"})
_OF_READS: Final = _CLIENT | {"allow_plaintext", "version_id"}
_OF_WRITES: Final = _CLIENT | {"s3_additional_kwargs"}
_PAST_THE_CLIENT: Final = ("storage_options", "credential_provider", "filesystem")


def reads_datasets(
    read: Callable[[Any, Any, Arguments, Arguments], Any], own: Iterable[str] = tuple(READ_KEYWORDS)
) -> Callable[[Face], Face]:
    """Teaches a face to read many objects: `read(face, source, arguments, own)` gets the arguments of the library, and
    those for `arrowseal.arrow.dataset` and about it.
    """
    keywords = {name: READ_KEYWORDS[name] for name in own}

    def decorate(face: Face) -> Face:
        def many(source: Any, arguments: Arguments, given: Arguments) -> Any:
            return read(face, source, arguments, given | _taken(face.__name__, arguments, _OF_READS))

        return _taught(face, many, keywords, at=0, is_many=_reads_many, if_missing=telling_of_prefixes)

    return decorate


def writes_datasets(write: Callable[[Any, Any, Arguments, Arguments], Any], partitions: str) -> Callable[[Face], Face]:
    """Teaches a face to write many objects: `write(frame, base_dir, arguments, own)`. `partitions` is the argument of
    the library that names the columns which part it.
    """

    def decorate(face: Face) -> Face:
        def many(base: Any, arguments: Arguments, given: Arguments) -> Any:
            frame = arguments.pop("df")
            return write(frame, base, arguments, given | _taken(face.__name__, arguments, _OF_WRITES))

        return _taught(face, many, WRITE_KEYWORDS, at=1, is_many=lambda _, arguments: bool(arguments.get(partitions)))

    return decorate


def _reads_many(source: Any, arguments: Arguments) -> bool:
    is_pattern = isinstance(source, str) and not source.endswith("/")
    return names_many(source) and not (is_pattern and arguments.get("glob") is False)


def names_many(source: Any) -> bool:
    """Whether it stands for many objects by itself."""
    if isinstance(source, (list, tuple)):
        return True
    return isinstance(source, str) and source.startswith("s3://") and (source.endswith("/") or "*" in source)


def _taught(
    face: Face,
    many: Callable[[Any, Arguments, Arguments], Any],
    keywords: dict[str, str],
    *,
    at: int,
    is_many: Callable[[Any, Arguments], bool],
    if_missing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Face:
    signature = inspect.signature(face)
    parameters = list(signature.parameters.values())
    where = parameters[at].name
    ours = {name: note for name, note in keywords.items() if name not in signature.parameters}

    @functools.wraps(face)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in tuple(kwargs) if name in ours}
        given = {name: value for name, value in given.items() if value is not None}
        try:
            arguments = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:
            return face(*args, **kwargs)  # which says what is wrong in its own words
        source = arguments.get(where)
        wanted = given.pop("dataset", None)
        says_so = wanted or (wanted is None and (given.keys() - _OF_BOTH or is_many(source, arguments)))
        if not says_so:
            may_be_many = wanted is None and arguments.get("version_id") is None
            with if_missing() if may_be_many else nullcontext():
                return face(*args, **kwargs, **given)
        arguments.pop(where, None)
        for parameter in signature.parameters.values():
            if parameter.kind is Parameter.VAR_KEYWORD:
                arguments |= arguments.pop(parameter.name, {})
        if source is None:
            source = locate_prefix(bucket=arguments.pop("bucket", None), key=arguments.pop("key", None))
        elif arguments.get("bucket") is not None or arguments.get("key") is not None:
            raise ConfigurationError("give either a URL, or bucket= and key=, not both")
        return many(source, arguments, given)

    named = [parameter for parameter in parameters if parameter.kind is not Parameter.VAR_KEYWORD]
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in ours.items()
    ]
    rest = parameters[len(named) :]
    call.__signature__ = signature.replace(parameters=[*named, *added, *rest])  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def _taken(face: str, arguments: Arguments, names: frozenset[str]) -> Arguments:
    """What goes to the client, taken out of the arguments; what would go past it is refused."""
    for name in _PAST_THE_CLIENT:
        if arguments.pop(name, None) not in (None, "auto"):
            raise ConfigurationError(f"{face}() takes no {name}= here: give client=, or arrowseal.configure(...)")
    arguments.pop("bucket", None)
    arguments.pop("key", None)
    if arguments.pop("verify_checksum", None):
        raise ConfigurationError(f"{face}() takes no verify_checksum= for many objects: they are proven by their tags")
    return {name: value for name in names if (value := arguments.pop(name, None)) is not None}


def rows_at_a_time(
    frames: Iterator[Any], rows: int, join: Callable[[list[Any]], Any], cut: Callable[[Any, int, int], Any]
) -> Iterator[Any]:
    """Frames or tables cut, `cut(frame, begin, end)`, and joined to exactly so many rows, the last one excepted."""
    waiting: list[Any] = []
    count = 0
    for frame in frames:
        begin = 0
        while count + len(frame) - begin >= rows:
            end = begin + rows - count
            yield join([*waiting, cut(frame, begin, end)])
            waiting, count, begin = [], 0, end
        if begin < len(frame):
            waiting.append(cut(frame, begin, len(frame)))
            count += len(frame) - begin
    if waiting:
        yield join(waiting)
