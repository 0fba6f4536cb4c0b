"""Jobs over the objects of a prefix: side by side, with a row for each, and going on where an earlier run was ended."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from arrowseal.cancellation import answered
from arrowseal.exceptions import (
    ArrowSealError,
    ConfigurationError,
    CredentialsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    SecurityError,
)
from arrowseal.location import INSTRUCTION_SUFFIX, ObjectLocation, locate_prefix
from arrowseal.operations.report import Journal, ObjectResult, State, earlier_results
from arrowseal.progress import check_progress
from arrowseal.progress import progress as bar
from arrowseal.tables.dataset_lanes import Lanes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from arrowseal.counters import Operation
    from arrowseal.location import Url
    from arrowseal.operations.report import Resume
    from arrowseal.progress import Progress, ProgressOption
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import ListedObject

CONCURRENCY: Final = 16
_OURS: Final = "_arrowseal."
"""What the names of our own objects beside others begin with: indexes, probes, what is being migrated."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job over many objects is run."""

    asked: str
    dry_run: bool
    concurrency: int
    progress: ProgressOption
    report: str | os.PathLike[str] | None
    resume: Resume | None
    under: str | None = None
    """The key that objects are under which an earlier run has done, where its name alone does not say so."""
    asked_is_all: bool = True
    """Whether `asked` says all that is asked for. Otherwise what an earlier run has done is looked at again."""

    def __post_init__(self) -> None:
        if not isinstance(self.concurrency, int) or self.concurrency < 1:
            raise ConfigurationError("concurrency= is a number of objects at a time, 1 or more")
        check_progress(self.progress)


def run_job(
    objects: Sequence[ListedObject],
    each: Callable[[ListedObject], ObjectResult],
    options: JobOptions,
    doing: str,
) -> tuple[ObjectResult, ...]:
    """`each` for all objects, and what became of them. What an earlier run finished and nobody touched since is not
    asked for again. Errors of one object, whosever they are, are its row; those that all would have end the job:
    `CredentialsError`.
    """
    earlier = {
        path: row
        for path, row in earlier_results(options.resume, options.asked).items()
        if options.asked_is_all and options.under in (None, row.key)
    }
    results: dict[int, ObjectResult] = {}
    teller = _Teller(options.progress, len(objects), doing)

    def run(at: int, listed: ListedObject) -> None:
        known = earlier.get(str(listed.location))
        if known is not None and known.is_still(listed):
            results[at] = replace(known, state="already", reason="done by an earlier run")
        else:
            results[at] = _result(each, listed, options.asked)
            if not options.dry_run:
                journal.add(results[at])
        teller.tell(listed.location)

    with (
        Journal(None if options.dry_run else options.report) as journal,
        teller.shown,
        Lanes(options.concurrency, 2 * options.concurrency) as lanes,
    ):
        for at, listed in enumerate(objects):
            lanes.do(partial(run, at, listed), weight=1)
        lanes.finish()
    return tuple(results[at] for at in range(len(objects)))


def _result(each: Callable[[ListedObject], ObjectResult], listed: ListedObject, asked: str) -> ObjectResult:
    state: State = "failed"
    kind: type[ArrowSealError] | None = None
    try:
        with answered():
            return each(listed)
    except CredentialsError:
        raise
    except ArrowSealError as error:
        if isinstance(error, PreconditionFailedError | ObjectNotFoundError):
            state = "changed"
        elif isinstance(error, SecurityError | ConfigurationError):
            state = "refused"
        kind, reason = type(error), " ".join(str(error).split())
    except Exception as error:
        # Others' words may quote the content, and the report is a file.
        reason = (
            f"{listed.location}: {type(error).__name__}, whose message is left out because it may quote the content"
        )
    return ObjectResult(
        location=listed.location,
        state=state,
        reason=reason,
        error=kind,
        asked=asked,
        stored_bytes=listed.stored_bytes,
    )


def objects_of(store: RetryingStore, url: Url, operation: Operation, suffix: str) -> list[ListedObject]:
    """The object of that name, or else all under the prefix, without our own beside them and instruction files.

    Raises `ObjectNotFoundError` if there are none. Memory: some 0.5 KB for each object.
    """
    prefix, suffixes = locate_prefix(url), {suffix, INSTRUCTION_SUFFIX}
    if prefix.key and not prefix.key.endswith("/"):
        first: ListedObject | None = next(
            store.list(prefix.bucket, prefix.key, operation, delimiter=None), None
        )  # nothing sorts before the name itself
        if first is not None and first.location == prefix:
            return [first]
        prefix = ObjectLocation(prefix.bucket, prefix.key + "/")
    rows = [*_visible(store.list(prefix.bucket, prefix.key, operation, delimiter=None))]
    names = {row.location.key for row in rows}
    # Those of the usual suffix belong to objects also where others are looked for.
    found = [row for row in rows if not any(_is_beside(row.location.key, one, names) for one in suffixes)]
    if not found:
        raise ObjectNotFoundError(f"{url}: there are no objects there")
    return found


def _visible(rows: Iterator[ListedObject]) -> Iterator[ListedObject]:
    # Consoles and engines mark directories by empty objects whose names end in a slash; one with content is none.
    return (
        row
        for row in rows
        if not row.location.name.startswith(_OURS) and not (row.location.key.endswith("/") and not row.stored_bytes)
    )


def _is_beside(key: str, suffix: str, names: set[str]) -> bool:
    return key.endswith(suffix) and key.removesuffix(suffix) in names


class _Teller:
    """Says how many objects are done: to a bar, or to a function, which is called as those of transfers are."""

    def __init__(self, option: ProgressOption, total: int, doing: str) -> None:
        self._tell = option if callable(option) else None
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self.shown: Progress = bar(total, doing, unit=" objects", show=None if option is True else False)

    def tell(self, location: ObjectLocation) -> None:
        with self._lock:
            self._done += 1
            if self._tell is not None:
                self._tell(self._done, self._total, location)
        self.shown.advance()
