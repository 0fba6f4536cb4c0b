"""The chunks of a plan as they arrive, and what is decoded of them while the rest is on its way.

pyarrow decodes row groups, several side by side, on threads of Python. One of Arrow's own is nothing to Python: for
each call to a file of ours it makes a state of a thread, with pages of memory, and ends that again, which interrupts
the other processors: a third of what decoding takes. Arrow's threads go by columns, and stay where a plan has more of
these than of parts, and there are processors for them; and for a file that is here in one piece, which calls nothing
of ours.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.exceptions import TransferError
from arrowseal.outcomes import results
from arrowseal.standby import Threads
from arrowseal.tables.ranges import Fetched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    import pyarrow.parquet as pq

    from arrowseal.tables.parquet import ParquetFooter, Plan

WAVE_BYTES: Final = 64 * 2**20
"""Compressed bytes of a wave. Enough to keep all connections busy, and little beside what they decode to."""
TURN_BYTES: Final = 8 * 2**20
"""Compressed bytes that are decoded at once while the rest of a wave is on its way. Smaller turns only get into the way
of what arrives.
"""


def decoded(
    footer: ParquetFooter, plan: Plan, opening: Mapping[str, Any], reading: Mapping[str, Any]
) -> Iterator[tuple[pa.Table, Plan]]:
    """The tables of the parts of a plan, in their order and at least one, with options of `pyarrow.parquet.ParquetFile`
    and of its `read`. As many are in work as there are processors, but of large row groups no more than make up a wave.
    Raises pyarrow's errors, what the source does, and `TransferError` in a forked child, where no work goes on.
    """

    def table(fetched: Fetched, part: Plan, **told: Any) -> pa.Table:
        file = footer.open(fetched.file(), opening)
        return read_row_groups(file, part.row_groups, part.columns, **{**reading, **told})

    leaves = footer.metadata.num_columns if plan.columns is None else len(plan.columns)
    parts = footer.parts(plan, TURN_BYTES)
    # Row groups of a gigabyte are no more in work at a time than fetched.
    room = max(WAVE_BYTES, pa.cpu_count() * TURN_BYTES)
    most = min(len(parts), pa.cpu_count(), -(-room // max(1, *(part.bytes for part in parts))))
    by_columns = len(parts) == 1 or most < min(leaves, pa.cpu_count()) or not reading.get("use_threads", True)
    in_work: deque[tuple[list[Future[pa.Table]], Plan]] = deque()
    with Threads(most) as threads:
        for fetched, wave in fetched_waves(footer, plan):
            if by_columns or fetched.in_one:
                while in_work:
                    yield _first(in_work, threads)
                yield table(fetched, wave), wave
                continue
            for part in footer.parts(wave, TURN_BYTES):
                _check_not_forked(threads)
                in_work.append(([threads.submit(table, fetched, part, use_threads=False)], part))
                while in_work and (len(in_work) == most or in_work[0][0][0].done()):
                    yield _first(in_work, threads)
        while in_work:
            yield _first(in_work, threads)


def read_row_groups(
    file: pq.ParquetFile, row_groups: Sequence[int], columns: Sequence[str] | None, **reading: Any
) -> pa.Table:
    """`file.read_row_groups`, also with dictionaries within lists and structs: of these pyarrow reads no more than one
    row group at a time.
    """
    try:
        return file.read_row_groups(row_groups, columns, **reading)
    except pa.ArrowNotImplementedError:
        if len(row_groups) < 2:
            raise
    return pa.concat_tables([file.read_row_groups([group], columns, **reading) for group in row_groups])


def _first(in_work: deque[tuple[list[Future[pa.Table]], Plan]], threads: Threads) -> tuple[pa.Table, Plan]:
    _check_not_forked(threads)
    future, part = in_work.popleft()
    return results(future)[0], part


def _check_not_forked(threads: Threads) -> None:
    if threads.forked:
        raise TransferError("these row groups were on their way before the process was forked: read them anew there")


def fetched_waves(footer: ParquetFooter, plan: Plan) -> Iterator[tuple[Fetched, Plan]]:
    """What the waves of a plan are decoded from: the next is fetched while one is in use."""
    waves = footer.parts(plan, WAVE_BYTES)
    if len(waves) == 1:
        yield from _fetched_in_turn(footer, plan)
        return
    with Threads(1) as beside:
        ahead = [beside.submit(footer.fetch, waves[0])]
        for wave, following in zip(waves, [*waves[1:], None], strict=True):
            _check_not_forked(beside)
            [fetched] = results(ahead)
            if following is not None:
                ahead.append(beside.submit(footer.fetch, following))
            yield fetched, wave


def _fetched_in_turn(footer: ParquetFooter, plan: Plan) -> Iterator[tuple[Fetched, Plan]]:
    """The chunks of one wave part by part: one is decoded while the next are on their way."""
    parts = footer.parts(plan, TURN_BYTES)
    if len(parts) == 1 or footer.takes_whole(plan):
        yield footer.fetch(plan), plan
        return
    yield from zip(Fetched.in_turn(footer.source, [part.ranges for part in parts]), parts, strict=True)
