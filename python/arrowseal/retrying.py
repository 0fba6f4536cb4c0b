"""A store that tries again: one budget of ours over whichever lane carries the requests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from arrowseal.exceptions import UnavailableError
from arrowseal.retries import Budget, Circuit, RetryOptions
from arrowseal.store import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.store import (
        ListedObject,
        ObjectAttributes,
        OpenUpload,
        Payload,
        Store,
        StoredObject,
        StoredRange,
        WrittenPart,
    )

Result = TypeVar("Result")


class RetryingStore:
    """The calls of a `Store`, which are repeated while that may help.

    Four are not: `get`, whose body may break off and is resumed by `Download`, and `put`, `create_upload` and
    `complete_upload`, of which an attempt may have succeeded although it failed, which `Upload` finds out. They take a
    `budget` from here, so that all attempts of a client share one circuit.
    """

    def __init__(self, store: Store, options: RetryOptions) -> None:
        self._store = store
        self._options = options
        self._circuit = Circuit()
        self.get = store.get
        self.check_put = store.check_put
        self.put = store.put
        self.create_upload = store.create_upload
        self.complete_upload = store.complete_upload

    def budget(self) -> Budget:
        """The attempts and the time of one undertaking."""
        return Budget(self._options, self._circuit)

    def repeat(self, operation: Operation, call: Callable[[], Result], budget: Budget | None = None) -> Result:
        """The result of a call, which is repeated within a budget."""
        budget = budget or self.budget()
        while True:
            try:
                result = call()
            except UnavailableError as error:
                budget.pause(error)
                operation.count_retry()
            else:
                budget.progressed()
                return result

    def head(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> StoredObject:
        return self.repeat(operation, lambda: self._store.head(location, operation, arguments=arguments))

    def attributes(
        self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]
    ) -> ObjectAttributes:
        return self.repeat(operation, lambda: self._store.attributes(location, operation, arguments=arguments))

    def tags(self, location: ObjectLocation, operation: Operation, version_id: str | None = None) -> str:
        return self.repeat(operation, lambda: self._store.tags(location, operation, version_id))

    def grants(self, location: ObjectLocation, operation: Operation) -> dict[str, str]:
        return self.repeat(operation, lambda: self._store.grants(location, operation))

    def put_part(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        number: int,
        payload: Payload | StoredRange,
        *,
        arguments: Mapping[str, Any],
    ) -> WrittenPart:
        def call() -> WrittenPart:
            return self._store.put_part(location, operation, upload_id, number, payload, arguments=arguments)

        return self.repeat(operation, call)

    def abort_upload(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        *,
        arguments: Mapping[str, Any] = NOTHING,
    ) -> None:
        self.repeat(operation, lambda: self._store.abort_upload(location, operation, upload_id, arguments=arguments))

    def has_parts(self, upload: OpenUpload, operation: Operation, *, arguments: Mapping[str, Any] = NOTHING) -> bool:
        return self.repeat(operation, lambda: self._store.has_parts(upload, operation, arguments=arguments))

    def copy(
        self,
        source: ObjectLocation,
        target: ObjectLocation,
        operation: Operation,
        *,
        arguments: Mapping[str, Any] = NOTHING,
        source_arguments: Mapping[str, Any] = NOTHING,
    ) -> bool:
        def call() -> bool:
            return self._store.copy(source, target, operation, arguments=arguments, source_arguments=source_arguments)

        return self.repeat(operation, call)

    def delete(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> None:
        self.repeat(operation, lambda: self._store.delete(location, operation, arguments=arguments))

    def list(self, bucket: str, prefix: str, operation: Operation, *, delimiter: str | None) -> Iterator[ListedObject]:
        """Every object under a prefix; pages are asked for as they are needed."""
        token: str | None = None
        while True:
            rows, token = self.repeat(
                operation,
                partial(self._store.list_page, bucket, prefix, operation, delimiter=delimiter, token=token),
            )
            yield from rows
            if token is None:
                return

    def list_uploads(
        self, bucket: str, prefix: str, operation: Operation, *, arguments: Mapping[str, Any] = NOTHING
    ) -> Iterator[OpenUpload]:
        """Every upload under a prefix that is still open."""
        after: OpenUpload | None = None
        while True:
            uploads, after = self.repeat(
                operation,
                partial(self._store.list_uploads_page, bucket, prefix, operation, after=after, arguments=arguments),
            )
            yield from uploads
            if after is None:
                return
