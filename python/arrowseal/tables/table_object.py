"""One object that holds one table: get and parse, build and put. Every face goes through here."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from arrowseal.defaults import client_of
from arrowseal.exceptions import ObjectChangedError
from arrowseal.location import locate
from arrowseal.tables.ranges import Content
from arrowseal.tables.refusal import is_refusal, raised_by, refusal
from arrowseal.tables.sink import Sink, told_as_raised

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized

    from typing_extensions import Buffer

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation, Url
    from arrowseal.objects import EncryptedObject
    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.ranges import Ranges
    from arrowseal.writing import PutResult

Table = TypeVar("Table")
Source = TypeVar("Source")
_OF_WHOLE_READS: Final = frozenset({"verify_checksum", "progress"})


@dataclass(frozen=True)
class TableObject:
    """Where a table is, through which client, and with which keywords of `Client.get` or `Client.put`."""

    location: ObjectLocation
    client: Client
    keywords: Mapping[str, Any]

    @classmethod
    def at(cls, url: Url | None, keywords: Mapping[str, Any]) -> TableObject:
        """From what a face was given besides the library's arguments: `bucket`, `key` and `client` are taken out of the
        keywords. Raises `LocationError` for anything but one S3 object, `ConfigurationError` for what is no client.
        """
        rest = dict(keywords)
        location = locate(url, bucket=rest.pop("bucket", None), key=rest.pop("key", None))
        return cls(location, client_of(rest.pop("client", None)), rest)

    def read(
        self,
        operation: str,
        table_format: TableFormat,
        parse: Callable[[Buffer], Table],
        *,
        columns_asked: Iterable[str] = (),
        columns_there: Callable[[Buffer], Collection[str]] = lambda _: (),
    ) -> Table:
        """What `parse` makes of the proven content, counted as one operation with the rows of the result.

        `parse` is called with the whole content, which is read-only and nobody else's: it may keep it without a copy.
        `columns_asked` and `columns_there` are the columns that the arguments name and those of the table, for errors.

        Raises:
            NotATableError: `parse` failed on the content; its own exception is not shown, since it may quote it.
            ColumnNotFoundError: it failed, and columns asked for are not there.
        """
        with self.client.counters.operation(operation, self.location, file_type=table_format.value) as counted:
            content = self.client.get(self.location, **self.keywords)
            with counted.timed("decode"):
                table = self.parsed(content, table_format, parse, columns_asked, columns_there)
            counted.rows = _rows(table)
            return table

    def read_parts(
        self,
        operation: str,
        table_format: TableFormat,
        parse: Callable[[Ranges], Table],
        *,
        whole: bool = False,
        columns_asked: Iterable[str] = (),
        columns_there: Callable[[Ranges], Collection[str]] = lambda _: (),
    ) -> Table:
        """`read` for a `parse` that asks for the ranges that it needs. Those of one version of the object: if it is
        overwritten meanwhile, all is read once more.

        `whole`: it will need everything, which is then fetched as `Client.get` does; so is an object whose checksum is
        to be verified. Decoding is timed with the fetches that it waits for.

        Raises what `read` does, and `ObjectChangedError` for an object that is overwritten again and again.
        """
        asked = list(columns_asked)
        with self.client.counters.operation(operation, self.location, file_type=table_format.value) as counted:

            def once() -> Table:
                with self.source(counted, whole=whole) as source, counted.timed("decode"):
                    return self.parsed(source, table_format, parse, asked, columns_there, wrap=Content)

            try:
                table = once()
            except ObjectChangedError:
                counted.count_retry()
                table = once()
            counted.rows = _rows(table)
            return table

    @contextmanager
    def source(self, counted: Operation, *, whole: bool = False) -> Iterator[Ranges]:
        """The object to read ranges of, its requests counted there; `whole`: all of its content."""
        if whole or self.keywords.get("verify_checksum"):
            yield Content(self.client.get(self.location, **self.keywords))
            return
        with self.opened(counted) as source:
            yield source

    def opened(self, counted: Operation, size_hint: int | None = None) -> EncryptedObject:
        """The object to read ranges of, which is to be closed. No progress is shown of ranges. With a `size_hint` of 0
        it is asked for whole, as if it was small, and by ranges if it is not.
        """
        keywords = {name: value for name, value in self.keywords.items() if name not in _OF_WHOLE_READS}
        return self.client.object(self.location, counted=counted, two_passes=True, size_hint=size_hint, **keywords)

    def parsed(
        self,
        content: Source,
        table_format: TableFormat,
        parse: Callable[[Source], Table],
        columns_asked: Iterable[str] = (),
        columns_there: Callable[[Source], Collection[str]] = lambda _: (),
        *,
        wrap: Callable[[bytes], Source] = lambda content: content,  # type: ignore[assignment,return-value]
    ) -> Table:
        """`parse(content)` with the errors of `read`, for content that was got before. `wrap` makes of bytes what
        `parse` takes.
        """
        try:
            return parse(content)
        except BaseException as error:
            if not is_refusal(error):
                raise
            failure = error
        # Not within the except block: there the library's exception would become the context of ours.
        raise raised_by(content, failure) or refusal(
            failure,
            location=self.location,
            table_format=table_format,
            read=lambda other: parse(wrap(other)),
            columns_asked=columns_asked,
            columns_there=lambda: columns_there(content),
        )

    def write(
        self, operation: str, table_format: TableFormat, table: Sized, write: Callable[[Sink], object]
    ) -> PutResult:
        """Stores what `write` makes of the table while it is made: sealed and sent part by part. If it fails, there is
        no object.
        """
        with self.client.counters.operation(operation, self.location, file_type=table_format.value) as counted:
            counted.rows = _rows(table)
            with self.client.open(self.location, "wb", **self.keywords) as file:
                sink = Sink(file)
                with counted.timed("decode"), told_as_raised([sink]):
                    write(sink)
                return file.commit()


def _rows(table: object) -> int | None:
    # Readers that give chunks have no length yet.
    return len(table) if hasattr(table, "__len__") else None
