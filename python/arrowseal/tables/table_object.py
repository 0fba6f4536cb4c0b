"""One object that holds one table: get and parse, build and put. Every face goes through here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from arrowseal.defaults import default_client
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import locate
from arrowseal.tables.refusal import is_refusal, refusal
from arrowseal.tables.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sized

    from typing_extensions import Buffer

    from arrowseal.client import Client
    from arrowseal.location import ObjectLocation, Url
    from arrowseal.tables.formats import TableFormat
    from arrowseal.writing import PutResult

Table = TypeVar("Table")


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
        client = rest.pop("client", None)
        if client is not None and not hasattr(client, "counters"):
            raise ConfigurationError(f"client= takes an arrowseal.Client, not {type(client).__name__}")
        return cls(location, default_client() if client is None else client, rest)

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

    def parsed(
        self,
        content: Buffer,
        table_format: TableFormat,
        parse: Callable[[Buffer], Table],
        columns_asked: Iterable[str] = (),
        columns_there: Callable[[Buffer], Collection[str]] = lambda _: (),
    ) -> Table:
        """`parse(content)` with the errors of `read`, for content that was got before."""
        try:
            return parse(content)
        except BaseException as error:
            if not is_refusal(error):
                raise
            failure = error
        # Not within the except block: there the library's exception would become the context of ours.
        raise refusal(
            failure,
            location=self.location,
            table_format=table_format,
            read=parse,
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
                with counted.timed("decode"):
                    write(Sink(file))
                return file.commit()


def _rows(table: object) -> int | None:
    # Readers that give chunks have no length yet.
    return len(table) if hasattr(table, "__len__") else None
