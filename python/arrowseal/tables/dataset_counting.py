"""A dataset is one operation of the counters, and one progress, however many objects and threads it takes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from arrowseal.progress import SILENT, ObjectProgress, check_progress, object_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.progress import ProgressOption

Value = TypeVar("Value")


@dataclass(frozen=True)
class Answer(Generic[Value]):
    """What is found out of a file, where rows are expected: it weighs nothing."""

    value: Value
    nbytes: int = 0


class TogetherProgress(ObjectProgress):
    """Adds up what several objects tell, for one that was begun with the bytes of all."""

    def __init__(self, whole: ObjectProgress) -> None:
        self._whole = whole

    def begin(self, total: int | None) -> None:
        """One of the objects begins."""

    def advance(self, count: int) -> None:
        self._whole.advance(count)

    def close(self) -> None:
        """One of the objects has ended."""


class Underway:
    """An operation under way that is no block: what is read takes turns with who reads it."""

    def __init__(
        self,
        client: Client,
        name: str,
        location: ObjectLocation,
        file_type: str | None,
        *,
        progress: ProgressOption | None = None,
        total: int | None = None,
    ) -> None:
        option = client.options.progress if progress is None else check_progress(progress)
        self.operation: Operation
        self.operation, self._succeeded = client.counters.begin(name, location)
        self.operation.file_type = self.operation.file_type or file_type
        self._before = self.operation.progress
        self._whole = SILENT if option is False else object_progress(option, "reading", location)
        if self._whole is not SILENT:
            self._whole.begin(total)
            self.operation.progress = TogetherProgress(self._whole)

    def end(self, *, succeeded: bool) -> None:
        """The operation is over, and leaves its row if it succeeded."""
        self._whole.close()
        self.operation.progress = self._before
        if succeeded:
            self._succeeded()


@contextmanager
def told_together(
    operation: Operation, option: ProgressOption, location: ObjectLocation, total: int | None
) -> Iterator[None]:
    """Inside this block, reads that are told `progress=False` and count for `operation` have one progress."""
    if option is False:
        yield
        return
    before, whole = operation.progress, object_progress(option, "reading", location)
    if whole is not SILENT:
        whole.begin(total)
        operation.progress = TogetherProgress(whole)
    try:
        yield
    finally:
        whole.close()
        operation.progress = before
