"""What a job over many objects did: a row for each, as a frame, and as JSON lines that a later run goes on from."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeAlias

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.frames import Framed
from arrowseal.location import ObjectLocation, locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from arrowseal.exceptions import ArrowSealError
    from arrowseal.store import ListedObject

State = Literal["planned", "done", "already", "skipped", "refused", "changed", "failed"]
"""`done`; `already` as it was asked for; `skipped`: not what the job is about; `refused` by a rule, which `reason`
names; `changed`: others wrote or deleted it meanwhile, it is left as it is; `failed`.
"""
STATES: Final[tuple[State, ...]] = ("planned", "done", "already", "skipped", "refused", "changed", "failed")
FINISHED: Final = frozenset({"done", "already"})
TROUBLE: Final = frozenset({"refused", "changed", "failed"})


@dataclass(frozen=True, kw_only=True)
class ObjectResult:
    """What became of one object."""

    location: ObjectLocation
    state: State
    reason: str = ""
    """Why it was not done; for what is done, what is to be known about it."""
    asked: str = ""
    """What the job was told to make of it."""
    before: str | None = None
    """How it was protected: `"CSE V2"`, `"PLAIN"`."""
    after: str | None = None
    way: str | None = None
    """`"copied"`, `"copied in parts"`, `"sent again"` (still sealed), `"instruction file"`, `"written anew"`."""
    key: str | None = None
    """The key that wraps its data key now, as far as that is known."""
    wrapped_key: str | None = None
    """The first 16 hex digits of the SHA-256 of the encrypted data key that it had: those that share one are alike."""
    kms_call: str | None = None
    """What KMS is asked for each distinct `wrapped_key`: `"ReEncrypt"`, `"Decrypt"`, `"Encrypt"`."""
    stored_bytes: int = 0
    etag: str | None = None
    last_modified: dt.datetime | None = None
    version_id: str | None = None
    old_version_id: str | None = None
    """The version that it replaced, which stays what it was."""
    not_kept: str = ""
    """What the server did not keep, by the names of boto3."""
    target: str | None = None
    """The new object, where it has another name."""
    error: type[ArrowSealError] | None = field(default=None, repr=False)
    """The kind of error that `reason` is the text of. Not in frames and files."""

    def as_dict(self) -> dict[str, Any]:
        """A row: `path` in place of the location."""
        return {"path": str(self.location)} | {
            name: value for name, value in asdict(self).items() if name not in ("location", "error")
        }

    def is_still(self, listed: ListedObject) -> bool:
        """Whether a listing shows the object as this row left it."""
        return (
            self.state in FINISHED
            and self.etag == listed.etag
            and self.last_modified is not None
            and listed.last_modified is not None
            and int(self.last_modified.timestamp()) == int(listed.last_modified.timestamp())
        )


_COLUMNS: Final = tuple(
    "path" if one.name == "location" else one.name for one in fields(ObjectResult) if one.name != "error"
)


@dataclass(frozen=True)
class JobReport(Framed):
    """A row for each object, in the order of the listing."""

    results: tuple[ObjectResult, ...]
    job: ClassVar[str] = "job"
    caution: ClassVar[str] = ""

    def count(self, state: State) -> int:
        """How many objects are in that state."""
        return sum(result.state == state for result in self.results)

    @property
    def ok(self) -> bool:
        """Whether no object was refused, changed meanwhile, or failed."""
        return not any(result.state in TROUBLE for result in self.results)

    def summary(self) -> dict[str, Any]:
        """Counts: objects by state, bytes, distinct encrypted data keys, old versions that stay what they were, and how
        often KMS is asked for the data keys that are there, by API.
        """
        to_do = [result for result in self.results if result.state in ("planned", "done")]
        states = Counter(result.state for result in self.results)
        calls = {(result.kms_call, result.wrapped_key) for result in to_do if result.kms_call is not None}
        return {
            "objects": len(self.results),
            **{state: states[state] for state in STATES if states[state]},
            "stored_bytes": sum(result.stored_bytes for result in to_do),
            "wrapped_keys": len({result.wrapped_key for result in to_do} - {None}),
            "old_versions": sum(result.old_version_id is not None for result in self.results),
            "kms_calls": dict(Counter(call for call, _ in calls)),
        }

    def to_arrow(self) -> pa.Table:
        """A row for each object, with the columns of `ObjectResult` (`path` in place of the location)."""
        pa = require("pyarrow", "pandas")
        types = {"stored_bytes": pa.int64(), "last_modified": pa.timestamp("us", tz="UTC")}
        rows = [result.as_dict() for result in self.results]
        return pa.table(
            {name: pa.array([row[name] for row in rows], types.get(name, pa.string())) for name in _COLUMNS}
        )

    def __repr__(self) -> str:
        states = Counter(result.state for result in self.results)
        told = ", ".join(f"{states[state]:,} {state}" for state in STATES if states[state]) or "nothing to do"
        return f"<{type(self).__name__}: {len(self.results):,} objects ({told})>"


Resume: TypeAlias = "JobReport | str | os.PathLike[str] | Any"
"""A report, a frame of one, or the path of a file of JSON lines."""


_BEGINNING: Final = b'{"path": "s3://'
"""How each line of such a file begins."""


class Journal:
    """A file to which each row is appended when it is known, as a line of JSON; with no path it keeps nothing.

    A line goes out in one write, so that a killed process leaves at most a torn last line, which readers pass over. A
    file system that runs full may take a part of it: the rest is tried, which raises `OSError`, and what comes later
    begins a line of its own. Safe to share between threads.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._lock = threading.Lock()
        self._file = None if path is None else Path(path).open("ab", buffering=0)  # noqa: SIM115
        self._is_torn = self._file is not None and self._file.tell() > 0 and not _ends_a_line(Path(path or ""))

    def add(self, result: ObjectResult) -> None:
        """Append a row."""
        if self._file is not None:
            text = json.dumps(result.as_dict(), default=_text, ensure_ascii=False) + "\n"
            with self._lock:
                line = ("\n" + text if self._is_torn else text).encode()
                self._is_torn = True
                while line:
                    line = line[self._file.write(line) :]
                self._is_torn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def earlier_results(resume: Resume | None, asked: str) -> Mapping[str, ObjectResult]:
    """What an earlier run of the same job says of objects, by their URLs; the last word counts.

    Raises `ConfigurationError` for what is no report, `OSError` for a file that cannot be read.
    """
    if resume is None:
        return {}
    if isinstance(resume, JobReport):
        results: Iterable[ObjectResult] = resume.results
    elif isinstance(resume, str | os.PathLike):
        results = _of_file(Path(resume))
    else:
        results = _of_frame(resume)
    return {str(result.location): result for result in results if result.asked == asked}


def _of_file(path: Path) -> Sequence[ObjectResult]:
    content, results = path.read_bytes(), []
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # torn when its writer was killed
            results.append(_result(json.loads(line)))
    # Rows would be appended to whatever it is. One whose writer was killed at its first row is a report still.
    if content and not results and not content.startswith(_BEGINNING[: len(content)]):
        raise ConfigurationError(f"{path} has no row of a report: resume= takes the file that report= named before")
    return results


def _of_frame(frame: Any) -> Sequence[ObjectResult]:
    pa = require("pyarrow", "pandas")
    try:
        rows = (frame if isinstance(frame, pa.Table) else pa.table(frame)).to_pylist()
        return [_result(row) for row in rows]
    except (TypeError, ValueError, KeyError, pa.ArrowException):
        raise ConfigurationError(
            "resume= takes a report, a frame of one, or the path of the file that report= named"
        ) from None


def _result(row: Mapping[str, Any]) -> ObjectResult:
    values = {name: row[name] for name in _COLUMNS if name != "path"}
    moment = values["last_modified"]
    if isinstance(moment, str):
        values["last_modified"] = dt.datetime.fromisoformat(moment)
    return ObjectResult(location=locate(row["path"]), **values)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
