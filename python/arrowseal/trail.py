"""Where the KMS calls went: the records of CloudTrail as a frame, and what would have saved calls.

>>> import json, pathlib, tempfile
>>> from arrowseal.trail import read_trail
>>> record = {"eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "eventTime": "2026-01-01T00:00:00Z",
...           "userIdentity": {"arn": "arn:aws:iam::111122223333:role/analysts", "invokedBy": "fas.s3.amazonaws.com"},
...           "requestParameters": {"encryptionContext": {"aws:s3:arn": "arn:aws:s3:::lake/2013/flights.csv"}}}
>>> with tempfile.TemporaryDirectory() as folder:
...     path = pathlib.Path(folder) / "events.json"
...     _ = path.write_text(json.dumps({"Records": [record]}))
...     trail = read_trail([path])
>>> [(row["api"], row["kind"], row["bucket"], row["prefix"], row["calls"]) for row in trail.rows()]
[('Decrypt', 'SSE-KMS', 'lake', '2013/', 1)]
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from arrowseal.data_keys import SharedDataKeys
from arrowseal.exceptions import ConfigurationError
from arrowseal.frames import Framed
from arrowseal.trail_records import APIS, BUCKET_KEY, CSE, SSE_KMS, KmsEvent, kms_events, looked_up, records

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

BUCKET_KEY_SAVES: Final = 100
"""Of so many calls that S3 would make without a bucket key, one is left: the best case that AWS names."""
LOOKUP_PAUSE: Final = 0.5
"""Seconds: LookupEvents takes two requests a second of an account and Region."""
CACHED_SECONDS: Final = 300
"""How long a reader remembers a data key: `DataKeyCache`, at most."""
PREFIX_DEPTH: Final = 2

MODEL: Final = (
    "Data key reuse (CSE): the GenerateDataKey calls of one caller and key within 15 minutes would have been one for "
    "each 10,000 objects, and the Decrypt calls within 5 minutes one: what was written together is read together; a "
    "reader of objects from many writes saves less. Only calls of the same bound location count together.",
    "Bucket keys (SSE-KMS): of the calls of one caller, key and bucket one in 100 is left, the best that AWS names "
    '("up to 99 percent").',
    "Refused calls are not counted as saved. CSE calls show bucket and prefix only where the location is bound "
    "(bind_location=).",
)
DELAY: Final = (
    "CloudTrail delivers within some 15 minutes, and LookupEvents answers as late: the calls of the last quarter of an "
    "hour may be missing."
)


class Trail(Framed):
    """Calls of KMS that CloudTrail recorded: one row for each caller, service, API, key, kind, bucket and prefix, those
    with the most calls first. `events` has the single calls, `len` counts them. Memory: some 650 bytes a call.
    """

    def __init__(self, events: Iterable[KmsEvent], prefix_depth: int = PREFIX_DEPTH) -> None:
        if not isinstance(prefix_depth, int) or prefix_depth < 0:
            raise ConfigurationError("prefix_depth is a number of directories, 0 or more")
        self._events = sorted(events, key=attrgetter("time"))
        self._depth = prefix_depth

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        return f"<Trail: {len(self)} calls of KMS>"

    @property
    def events(self) -> Events:
        """The single calls, oldest first; also a frame."""
        return Events(self._events)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the frame.

        `calls` counts all of them, `refused` those with an error code among them; `first` and `last` are UTC.
        `with_reuse` and `with_bucket_key` say how many would have been left by `MODEL`, and are None where that does
        not apply.
        """
        grouped: dict[tuple[Any, ...], list[KmsEvent]] = defaultdict(list)
        for event in self._events:
            group = event.caller, event.via, event.api, event.kms_key, event.kind, event.bucket, self._prefix(event)
            grouped[group].append(event)
        found = [self._row(group, events) for group, events in grouped.items()]
        return sorted(found, key=lambda row: (-row["calls"], row["caller"], row["api"], row["prefix"] or ""))

    def saved(self) -> dict[str, tuple[int, int]]:
        """For `"data key reuse"` and `"bucket keys"`: of how many calls, how many would have been left."""
        rows = self.rows()
        names = {"data key reuse": "with_reuse", "bucket keys": "with_bucket_key"}
        applies = {name: [row for row in rows if row[column] is not None] for name, column in names.items()}
        return {
            name: (sum(row["calls"] for row in applies[name]), sum(row[column] for row in applies[name]))
            for name, column in names.items()
        }

    def to_arrow(self) -> pa.Table:
        """The rows as a pyarrow table."""
        import pyarrow as pa

        text, number, moment = pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")
        names = ("caller", "via", "api", "kms_key", "kind", "bucket", "prefix")
        schema = [(name, text) for name in names] + [("calls", number), ("refused", number)]
        schema += [("first", moment), ("last", moment), ("with_reuse", number), ("with_bucket_key", number)]
        return pa.Table.from_pylist(self.rows(), pa.schema(schema))

    def _prefix(self, event: KmsEvent) -> str | None:
        """The directory of an object, cut to the depth that was asked for."""
        if event.key is None:
            return None
        directories = event.key.split("/")[:-1][: self._depth]
        return "".join(f"{name}/" for name in directories)

    def _row(self, group: tuple[Any, ...], events: Sequence[KmsEvent]) -> dict[str, Any]:
        names = ("caller", "via", "api", "kms_key", "kind", "bucket", "prefix")
        row = dict(zip(names, group, strict=True))
        refused = sum(event.error is not None for event in events)
        row |= {"calls": len(events), "refused": refused, "first": events[0].time, "last": events[-1].time}
        reused, shared = None, None
        if row["kind"] == CSE and row["api"] in ("GenerateDataKey", "Decrypt"):
            # One context, one data key: what is bound to different locations shares none.
            bound: dict[str | None, list[dt.datetime]] = defaultdict(list)
            for event in events:
                if event.error is None:
                    bound[event.key].append(event.time)
            reused = refused + sum(_with_reuse(times, row["api"]) for times in bound.values())
        if row["kind"] == SSE_KMS and row["api"] != "ReEncrypt":
            shared = refused + math.ceil((len(events) - refused) / BUCKET_KEY_SAVES)
        return row | {"with_reuse": reused, "with_bucket_key": shared}


class Events(Framed):
    """Single calls of KMS, oldest first, with the columns of `KmsEvent`."""

    def __init__(self, events: Sequence[KmsEvent]) -> None:
        self._events = events

    @property
    def first(self) -> KmsEvent:
        """The oldest."""
        return self._events[0]

    @property
    def last(self) -> KmsEvent:
        """The newest."""
        return self._events[-1]

    def __iter__(self) -> Iterator[KmsEvent]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def to_arrow(self) -> pa.Table:
        """The calls as a pyarrow table."""
        import pyarrow as pa

        names = [field.name for field in fields(KmsEvent)]
        schema = pa.schema([(name, pa.timestamp("us", tz="UTC") if name == "time" else pa.string()) for name in names])
        columns = {name: [getattr(event, name) for event in self._events] for name in names}
        return pa.table(columns, schema=schema)


def read_trail(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    prefix_depth: int = PREFIX_DEPTH,
) -> Trail:
    """Read CloudTrail's records of KMS calls from files, `.gz` or not, and from all files below directories.

    Args:
        files: one path or several.
        since, until: only calls from then, and before then; with a time zone.
        prefix_depth: of the directories of an object's key, so many make the prefix that calls are counted by.

    Raises:
        ConfigurationError: a file has no records of CloudTrail, or a time no zone.
        OSError: a file cannot be read.
    """
    _check_times(since, until)
    paths: Any = [files] if isinstance(files, str) or hasattr(files, "__fspath__") else files
    return Trail(_within(kms_events(records(paths)), since, until), prefix_depth)


def look_up_trail(
    cloudtrail: Any,
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    prefix_depth: int = PREFIX_DEPTH,
    pause: float = LOOKUP_PAUSE,
) -> Trail:
    """Ask CloudTrail's LookupEvents, by a boto3 client of it, for the KMS calls of its Region: 90 days at most, and two
    requests a second: `pause` is the seconds between them. Raises what boto3 does.
    """
    _check_times(since, until)
    times = {"StartTime": since, "EndTime": until}
    asked = {name: value for name, value in times.items() if value is not None}

    def found() -> Iterator[dict[str, Any]]:
        for api in APIS:
            attributes = [{"AttributeKey": "EventName", "AttributeValue": api}]
            for page in cloudtrail.get_paginator("lookup_events").paginate(LookupAttributes=attributes, **asked):
                yield from (looked_up(event) for event in page.get("Events", ()))
                time.sleep(pause)

    return Trail(_within(kms_events(found()), since, until), prefix_depth)


def _check_times(since: Any, until: Any) -> None:
    for name, moment in {"since": since, "until": until}.items():
        if moment is not None and getattr(moment, "tzinfo", None) is None:
            raise ConfigurationError(f"{name}= is a datetime with a time zone")


def _within(events: Iterable[KmsEvent], since: dt.datetime | None, until: dt.datetime | None) -> Iterator[KmsEvent]:
    for event in events:
        if (since is None or event.time >= since) and (until is None or event.time < until):
            yield event


def _with_reuse(times: Sequence[dt.datetime], api: str) -> int:
    """How many calls would have been left, of calls at these times in order."""
    seconds = SharedDataKeys.MAX_SECONDS if api == "GenerateDataKey" else CACHED_SECONDS
    most = SharedDataKeys.MAX_OBJECTS if api == "GenerateDataKey" else len(times) + 1
    left, began, served = 0, None, 0
    for moment in times:
        if began is None or served >= most or (moment - began).total_seconds() >= seconds:
            left, began, served = left + 1, moment, 0
        served += 1
    return left


__all__ = ["BUCKET_KEY", "DELAY", "MODEL", "Events", "KmsEvent", "Trail", "look_up_trail", "read_trail"]
