"""Functions that stand in for a library's own: its signature and arguments, then ours by keyword.

`reads` and `writes` turn a function that parses (or builds) bytes into one that reads (or writes) an object. Signatures
are taken from the installed library, so that its newest arguments work and a wrong one is the `TypeError` that the
library would raise, before any request.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from arrowseal.exceptions import ConfigurationError
from arrowseal.tables.partitioned_sink import is_partitioned, sink_partitioned
from arrowseal.tables.refusal import filter_names
from arrowseal.tables.table_object import TableObject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation, Url
    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.sink import Sink
    from arrowseal.writing import PutResult

Table = TypeVar("Table")
Arguments = dict[str, Any]
"""Arguments of the library's function by name, without the one that says where."""
_Sink = Callable[[Any, Any, "ObjectLocation | None", Arguments], None]

_SHARED: Final = {
    "client": "Client | None",
    "encryption": "Encryption | None",
    "encryption_context": "Mapping[str, str] | None",
    "kms_key_id": "str | None",
    "bucket": "str | None",
    "key": "str | None",
    "progress": "ProgressOption | None",
}
READ_KEYWORDS: Final = _SHARED | {
    "allow_plaintext": "bool | None",
    "version_id": "str | None",
    "verify_checksum": "bool | None",
}
WRITE_KEYWORDS: Final = _SHARED | {"s3_additional_kwargs": "Mapping[str, Any] | None"}

_CREDENTIALS = "requests go through a client: give client=, or arrowseal.configure(...)"
_NO_PARTITIONS = "no columns part nothing: leave it out for one object, or give dataset=True for many"
_PARTITIONS_OF_MANY = (
    "one object has no partitions; read_parquet and scan_parquet take them from the keys of many: give a prefix "
    "(s3://bucket/table/) or a list of URLs, be it of one"
)
_NOT_TAKEN: Final = {
    "storage_options": _CREDENTIALS,
    "credential_provider": _CREDENTIALS,
    "filesystem": _CREDENTIALS,
    "partition_cols": _NO_PARTITIONS,
    "partition_by": _NO_PARTITIONS,
    "hive_partitioning": _PARTITIONS_OF_MANY,
    "hive_schema": _PARTITIONS_OF_MANY,
    "mode": "objects are written whole, mode 'w' only",
}


def reads(
    like: Callable[..., Any],
    table_format: TableFormat,
    *,
    columns: tuple[str, ...] = (),
    columns_there: Callable[[Buffer, ObjectLocation, Arguments], Collection[str]] = lambda *_: (),
    passes_to: Callable[..., Any] | None = None,
) -> Callable[[Callable[[Buffer, ObjectLocation, Arguments], Table]], Callable[..., Table]]:
    """Makes `parse(content, location, arguments)` a face that stands in for `like`.

    `columns` are the arguments of `like` that name columns, and `columns_there` says which the object has, for errors.
    `passes_to` is the function that takes the arguments that `like` does not name.
    """

    def decorate(parse: Callable[[Buffer, ObjectLocation, Arguments], Table]) -> Callable[..., Table]:
        stand_in = _StandIn(parse.__name__, like, READ_KEYWORDS, passes_to=passes_to)

        @functools.wraps(parse)
        def face(*args: Any, **kwargs: Any) -> Table:
            url, arguments, own = stand_in.bind(args, kwargs)
            table_object = TableObject.at(url, own)
            location = table_object.location
            return table_object.read(
                stand_in.name,
                table_format,
                lambda content: parse(content, location, arguments),
                columns_asked=[
                    *_names(arguments.get(argument) for argument in columns),
                    *filter_names(arguments.get("filters")),
                ],
                columns_there=lambda content: columns_there(content, location, arguments),
            )

        return stand_in.dress(face)

    return decorate


def reads_parts(
    like: Callable[..., Any],
    table_format: TableFormat,
    *,
    whole: Callable[[Arguments], bool],
    columns: tuple[str, ...] = (),
    columns_there: Callable[[Ranges], Collection[str]] = lambda _: (),
    passes_to: Callable[..., Any] | None = None,
) -> Callable[[Callable[[Ranges, Arguments], Table]], Callable[..., Table]]:
    """`reads` for a `parse(source, arguments)` that asks for ranges; `whole` says which arguments need all of them."""

    def decorate(parse: Callable[[Ranges, Arguments], Table]) -> Callable[..., Table]:
        stand_in = _StandIn(parse.__name__, like, READ_KEYWORDS, passes_to=passes_to)

        @functools.wraps(parse)
        def face(*args: Any, **kwargs: Any) -> Table:
            url, arguments, own = stand_in.bind(args, kwargs)
            return TableObject.at(url, own).read_parts(
                stand_in.name,
                table_format,
                lambda source: parse(source, arguments),
                whole=whole(arguments),
                columns_asked=[
                    *_names(arguments.get(argument) for argument in columns),
                    *filter_names(arguments.get("filters")),
                ],
                columns_there=columns_there,
            )

        return stand_in.dress(face)

    return decorate


def scans(
    like: Callable[..., Any],
) -> Callable[[Callable[[TableObject, Arguments], Table]], Callable[..., Table]]:
    """Makes `scan(table_object, arguments)`, which requests nothing yet, a face that stands in for `like`."""

    def decorate(scan: Callable[[TableObject, Arguments], Table]) -> Callable[..., Table]:
        stand_in = _StandIn(scan.__name__, like, READ_KEYWORDS)

        @functools.wraps(scan)
        def face(*args: Any, **kwargs: Any) -> Table:
            url, arguments, own = stand_in.bind(args, kwargs)
            return scan(TableObject.at(url, own), arguments)

        return stand_in.dress(face)

    return decorate


def writes(
    like: Callable[..., Any], table_format: TableFormat
) -> Callable[[Callable[[Any, Sink, ObjectLocation, Arguments], None]], Callable[..., PutResult]]:
    """Makes `write(frame, sink, location, arguments)` a face that stands in for the method `like` of frames."""

    def decorate(write: Callable[[Any, Sink, ObjectLocation, Arguments], None]) -> Callable[..., PutResult]:
        stand_in = _StandIn(write.__name__, like, WRITE_KEYWORDS, frame="df", returns="PutResult")

        @functools.wraps(write)
        def face(*args: Any, **kwargs: Any) -> PutResult:
            url, arguments, own = stand_in.bind(args, kwargs)
            frame = arguments.pop("df")
            table_object = TableObject.at(url, own)
            return table_object.write(
                stand_in.name,
                table_format,
                frame,
                lambda sink: write(frame, sink, table_object.location, arguments),
            )

        return stand_in.dress(face)

    return decorate


def sinks(
    like: Callable[..., Any], table_format: TableFormat
) -> Callable[[_Sink], Callable[..., PutResult | list[PutResult]]]:
    """Makes `sink(frame, into, location, arguments)` a face that stands in for the method `like` of lazy frames. `into`
    is a file or, without a location, a `polars.PartitionBy` that makes files of ours. Nothing is there unless the query
    succeeds.
    """

    def decorate(sink: _Sink) -> Callable[..., PutResult | list[PutResult]]:
        stand_in = _StandIn(sink.__name__, like, WRITE_KEYWORDS, frame="lf", returns="PutResult | list[PutResult]")

        @functools.wraps(sink)
        def face(*args: Any, **kwargs: Any) -> PutResult | list[PutResult]:
            url, arguments, own = stand_in.bind(args, kwargs)
            frame = arguments.pop("lf")
            if is_partitioned(url):

                def write(into: Any) -> None:
                    sink(frame, into, None, arguments)

                return sink_partitioned(stand_in.name, table_format, url, own, write)
            table_object = TableObject.at(url, own)
            return table_object.write(
                stand_in.name, table_format, frame, lambda file: sink(frame, file, table_object.location, arguments)
            )

        return stand_in.dress(face)

    return decorate


@dataclass
class _StandIn:
    name: str
    like: Callable[..., Any]
    own: dict[str, str]
    frame: str | None = None
    returns: Any = None
    passes_to: Callable[..., Any] | None = None
    library: inspect.Signature = field(init=False)
    where: str = field(init=False)

    def __post_init__(self) -> None:
        signature = inspect.signature(self.like)
        parameters = list(signature.parameters.values())
        at = 0
        if self.frame is not None:
            parameters[0] = parameters[0].replace(name=self.frame)
            at = 1
        # bucket= and key= may say it instead.
        parameters[at] = parameters[at].replace(default=None)
        self.where = parameters[at].name
        self.library = signature.replace(parameters=parameters)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Url | None, Arguments, dict[str, Any]]:
        """Where, the library's arguments, and ours."""
        own = {name: kwargs.pop(name) for name in tuple(kwargs) if self._is_own(name, kwargs[name])}
        try:
            arguments = dict(self.library.bind(*args, **kwargs).arguments)
        except TypeError as error:
            wrong = TypeError(f"{self.name}() {error}")
        else:
            where, flat = arguments.pop(self.where, None), self._flat(arguments)
            self._check(flat)
            return where, flat, own
        raise wrong

    def dress(self, face: Callable[..., Table]) -> Callable[..., Table]:
        """The face under its own signature, not that of the function within."""
        parameters = list(self.library.parameters.values())
        rest = [parameters.pop()] if parameters[-1].kind is Parameter.VAR_KEYWORD else []
        ours = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in self.own.items()
            if name not in self.library.parameters
        ]
        returns = self.returns or self.library.return_annotation
        signature = self.library.replace(parameters=[*parameters, *ours, *rest], return_annotation=returns)
        del face.__wrapped__  # type: ignore[attr-defined]
        face.__signature__ = signature  # type: ignore[attr-defined]
        return face

    def _is_own(self, name: str, value: Any) -> bool:
        # polars has an `encryption=` of its own (Parquet Modular Encryption): the value tells whose it is, and what is
        # nobody's is told with ours.
        theirs = name in self.library.parameters and type(value).__module__.startswith("polars.")
        return name in self.own and not theirs

    def _check(self, arguments: Arguments) -> None:
        for name, reason in _NOT_TAKEN.items():
            value = arguments.get(name)
            if value is None or value is False:
                continue
            known = self.library.parameters.get(name)  # not if it is among those that the library passes on
            default = None if known is None else known.default
            if value is not default and not (isinstance(value, str) and value == default):
                raise ConfigurationError(f"{self.name}() takes no {name}= here: {reason}")

    def _flat(self, arguments: Arguments) -> Arguments:
        rest = next((p.name for p in self.library.parameters.values() if p.kind is Parameter.VAR_KEYWORD), None)
        passed_on: Arguments = arguments.pop(rest, {}) if rest is not None else {}
        if self.passes_to is not None:
            known = inspect.signature(self.passes_to).parameters
            for name in passed_on:
                if name not in known:
                    message = f"{self.passes_to.__name__}() got an unexpected keyword argument {name!r}"
                    raise TypeError(message)
        return arguments | passed_on


def _names(values: Iterable[Any]) -> list[str]:
    """The column names among arguments that take one name, several, positions, or something else altogether."""
    names: list[str] = []
    for value in values:
        if isinstance(value, str):
            names.append(value)
        elif isinstance(value, Collection):  # not an iterator, which the library needs whole
            names.extend(name for name in value if isinstance(name, str))
    return names
