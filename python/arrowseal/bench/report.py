"""A run in words and tables: for the terminal, as RESULTS.md, and as the blocks that its HTML page shows too.

Everything is computed from the raw rows, and the same run always gives the same text.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from arrowseal.bench import earlier, readings
from arrowseal.bench.document import Block, Code, Heading, Items, Paragraph, Picture, Table, markdown
from arrowseal.bench.intervals import FEWEST_ROUNDS, Interval
from arrowseal.bench.losses import MEASURES, comparisons
from arrowseal.bench.results import PLAIN, SECTIONS, Case, Result, Results, results
from arrowseal.bench.units import count, duration, figures, milliseconds, size, times
from arrowseal.text_tables import WIDTH, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from arrowseal.bench.samples import Run

_MEDIANS: Final = (
    "first_row_seconds",
    "peak_memory_bytes",
    "requests",
    "kms_calls",
    "kms_calls_modelled",
    "bytes_up",
    "bytes_down",
    *(f"{section}_seconds" for section in SECTIONS),
)
KINDS: Final = {"object": "Objects", "table": "Tables", "files": "Many files"}


def summarise(run: Run) -> pa.Table:
    """One row for each case and arm, ordered as measured and as in `arms.py`.

    Columns: those that name the case and the arm; `rounds`; medians over rounds of everything in `Sample`, the ends of
    their 95 % intervals for `wall_seconds` and `cpu_seconds` (`_low`, `_high`); `megabytes_per_second` of plaintext;
    `wall_ratio` and `cpu_ratio`, how many times PLAIN of the same case, paired by round, with `_low` and `_high`. Null
    where something was not measured; ratios of PLAIN itself, and without a PLAIN arm, are null too.
    """
    import pyarrow as pa

    rows = []
    for case, arms in results(run).items():
        for arm, result in arms.items():
            row: dict[str, Any] = {name: getattr(case, name) for name in Case.__dataclass_fields__}
            row |= {"arm": arm, "rounds": result.rounds, "megabytes_per_second": result.megabytes_per_second}
            for measure in ("wall", "cpu"):
                ratio = result.ratio(arms.get(PLAIN), f"{measure}_seconds") if arm != PLAIN else None
                row |= _columns(f"{measure}_seconds", result.interval(f"{measure}_seconds"))
                row |= _columns(f"{measure}_ratio", ratio)
            rows.append(row | {name: result.median(name) for name in _MEDIANS})
    texts = dict.fromkeys(("workload", "operation", "kind", "format", "face", "arm"), pa.string())
    wholes = dict.fromkeys(("plaintext_bytes", "files", "rounds"), pa.int64())
    reals = [f"{of}{end}" for of in _INTERVALS for end in ("", "_low", "_high")] + ["megabytes_per_second", *_MEDIANS]
    return pa.Table.from_pylist(rows, schema=pa.schema(texts | wholes | dict.fromkeys(reals, pa.float64())))


_INTERVALS: Final = ("wall_seconds", "wall_ratio", "cpu_seconds", "cpu_ratio")


def _columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    ends = interval or (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def text(run: Run) -> str:
    """For a terminal of 100 columns: a table for each case, what was not measured, and where CSE V3 loses."""
    found = results(run)
    return "\n".join(_text(run, found)) + "\n"


def _text(run: Run, found: Results) -> Iterator[str]:
    for case, arms in found.items():
        shown = _table(arms, _SHORT).without_empty_columns()
        yield from ("", _title(case), *table(shown.header, shown.rows, right=shown.right))
    yield from _listed("How to read it", _notes(run, found))
    yield from _listed("Not measured", _absences(run))
    yield from _listed("Where CSE V3 loses", _losses(found))


def _listed(title: str, sentences: list[str]) -> Iterator[str]:
    if sentences:
        yield from ("", title)
    for sentence in sentences:
        yield from textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ")


def results_markdown(run: Run, charts: list[Path]) -> str:
    """RESULTS.md. `charts` are links, relative to it; of an absolute path only the name is written."""
    return markdown(document(run, charts))


def telling_lines(run: Run) -> list[str]:
    """The README's three sentences about a run, without markup; fewer where the run lacks what they are about."""
    return readings.telling_lines(results(run))


def document(run: Run, charts: list[Path]) -> list[Block]:
    """All of the report: how it was measured, the charts, where CSE V3 loses, all tables, what is missing."""
    found = results(run)
    parts = _about(run, found), _charts(run, found, charts), _where_we_lose(found), _before(run, found), _tables(found)
    return [block for part in (*parts, _missing(run)) for block in part]


def _about(run: Run, found: Results) -> Iterator[Block]:
    settings, machine = run.settings, run.machine
    yield Heading(1, "What client-side encryption costs: the last run")
    yield Paragraph("Made by this command, which repeats it; nothing here is written by hand.")
    yield Code(settings.command)
    yield Items(readings.telling_lines(found))
    yield Heading(2, "How it was measured")
    yield Items(_notes(run, found))
    rate = f"{size(settings.bytes_per_second)}/s" if settings.bytes_per_second else "not limited"
    kms = duration(settings.kms_latency_seconds) if settings.kms_latency_seconds else "none"
    latency = duration(settings.latency_seconds) if settings.latency_seconds else "none"
    features = ", ".join(machine.features) or "none of those looked for"
    limits = ", ".join(f"{name} {figures(rate / 1e6)} MB/s" for name, rate in machine.limits.items())
    rows = [
        ("started", settings.started),
        ("setting", f"{'quick' if settings.quick else 'full'}, {settings.rounds} rounds, seed {settings.seed}"),
        ("server", settings.server),
        ("network", f"added latency {latency}, bandwidth {rate}; added latency of KMS {kms}"),
        ("processor", f"{machine.processor}; {machine.cores} cores in use; {features}"),
        ("memory", size(machine.memory_bytes)),
        ("one thread, from memory", limits),
        ("system", machine.system),
        ("Python", machine.python),
        *((name, version) for name, version in sorted(machine.versions.items())),
    ]
    yield Table(["", "this run"], rows, left=[1])


def _notes(run: Run, found: Results) -> list[str]:
    """How to read the figures, and what makes them weaker than they look."""
    notes = [
        "Figures are medians over rounds, in brackets 95 % intervals (bootstrap). Arms take turns in an order drawn "
        "anew each round.",
        "x PLAIN: wall time against the PLAIN arm of the same case, the median of the ratios of the rounds. 1st: until "
        "the first row, or byte, is in the caller's hands.",
        "Requests, KMS calls and bytes are those of a first run, counted on the wire and not timed. Timed reads come "
        "after another one: the arms of arrowseal have their data keys cached by then, and ask KMS nothing.",
        "KMS model: calls that S3 would make inside, which no client sees; a model, not a count.",
    ]
    rounds = {result.rounds for arms in found.values() for result in arms.values()}
    if rounds and min(rounds) < FEWEST_ROUNDS:
        fewest = min(rounds)
        notes.append(
            f"Only {fewest} round{'s' * (fewest != 1)}, fewer than {FEWEST_ROUNDS}: the intervals are the range that "
            "was seen, which holds the true value in less than 95 of 100 runs."
        )
    without = [case.title for case, arms in found.items() if PLAIN not in arms]
    if without:
        which = "any case" if len(without) == len(found) else f"{'; '.join(without)}"
        notes.append(f"No PLAIN arm in {which}: hence no ratio to it.")
    if "SeaweedFS" in run.settings.server and any(sample.format == "csv" for sample in run.samples):
        notes.append(
            "SeaweedFS compresses what compresses when it is stored, and text does: rows of CSV measure that as well, "
            "which encrypted text, that does not compress, is spared. They say less of encryption than they seem to."
        )
    if run.settings.latency_seconds == 0 and run.settings.bytes_per_second is None:
        notes.append("No network in between unless the server is far away: loopback hides what round trips cost.")
    return notes


def _charts(run: Run, found: Results, charts: list[Path]) -> Iterator[Block]:
    """A chart that was not drawn still has its sentence."""
    by_name = {path.stem: path for path in charts}
    for chart in readings.CHARTS:
        reading = chart.reading(found, run.machine.limits)
        if reading is not None:
            yield Heading(2, chart.title)
            if chart.name in by_name:
                yield Picture(by_name[chart.name], chart.title)
            yield Paragraph(reading)


def _losses(found: Results) -> list[str]:
    compared = comparisons(found)
    if not compared:
        return ["Nothing to compare: CSE V3 and another arm have no round of the same case in common."]
    chance = len(compared) * 0.025
    return [
        *(readings.losing(compared) or ["In no case, beyond the interval."]),
        f"Of {len(compared):,} comparisons some {chance:.0f} would stand here by chance, if nothing differed.",
    ]


def _where_we_lose(found: Results) -> Iterator[Block]:
    yield Heading(2, "Where CSE V3 loses")
    yield Paragraph("Every case in which the interval of the ratio to another arm lies wholly above 1.")
    yield Items(_losses(found))
    lost: dict[tuple[str, str], list[str]] = {}
    for each in comparisons(found):
        if each.lost:
            lost.setdefault((each.case.title, MEASURES[each.measure]), []).append(f"{each.against} {times(each.ratio)}")
    if lost:
        rows = [[title, measure, "; ".join(against)] for (title, measure), against in lost.items()]
        yield Table(["case", "CSE V3 takes more", "how many times"], rows, left=[1, 2])


def _before(run: Run, found: Results) -> Iterator[Block]:
    rows = earlier.rows(found, run.settings)
    if rows:
        yield Heading(2, "Measured before, and again")
        yield Paragraph("Ratios of wall time that were measured by hand earlier, as medians without intervals.")
        yield Table(["", "then", "now", "whether they agree"], rows, left=[3])


def _tables(found: Results) -> Iterator[Block]:
    for kind, title in KINDS.items():
        cases = [case for case in found if case.kind == kind]
        if cases:
            yield Heading(2, title)
        for case in cases:
            yield Heading(3, _title(case))
            yield _table(found[case], _LONG).without_empty_columns()


def _title(case: Case) -> str:
    """With how much one run moves, unless its name says so."""
    moved = "" if case.kind == "object" else f" ({size(case.plaintext_bytes)})"
    return f"{case.title[0].upper()}{case.title[1:]}{moved}"


def _missing(run: Run) -> Iterator[Block]:
    yield Heading(2, "What was not measured")
    yield Items(_absences(run)) if run.absences else Paragraph("Every arm took part in every workload that it has.")


def _absences(run: Run) -> list[str]:
    """Where one reason holds for several workloads, it is said once."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in run.absences:
        found.setdefault((each.arm, each.reason), []).append(each.workload)
    return [
        f"{arm}{f' ({where})' if (where := '; '.join(filter(None, workloads))) else ''}: {reason}"
        for (arm, reason), workloads in found.items()
    ]


_Column = tuple[str, "Callable[[Result, Result | None], str]"]


def _median(of: str, scale: float = 1.0) -> Callable[[Result, Result | None], str]:
    def cell(result: Result, _: Result | None) -> str:
        value = result.median(of)
        return figures(value / scale) if value is not None else ""

    return cell


def _counted(of: str) -> Callable[[Result, Result | None], str]:
    return lambda result, _: count(result.median(of))


def _interval(of: str) -> Callable[[Result, Result | None], str]:
    return lambda result, _: milliseconds(result.interval(of))


def _ratio(result: Result, plain: Result | None) -> str:
    return "1" if result.arm == PLAIN else times(result.ratio(plain))


_COUNTS: Final[tuple[_Column, ...]] = (
    ("requests", _counted("requests")),
    ("KMS calls", _counted("kms_calls")),
    ("KMS model", _counted("kms_calls_modelled")),
)
_RATE: Final[_Column] = ("MB/s", lambda result, _: figures(result.megabytes_per_second))
_MEMORY: Final[_Column] = ("peak MB", _median("peak_memory_bytes", 1e6))
_SHORT: Final[tuple[_Column, ...]] = (
    ("wall ms", _median("wall_seconds", 1e-3)),
    ("x PLAIN", _ratio),
    ("CPU ms", _median("cpu_seconds", 1e-3)),
    ("1st ms", _median("first_row_seconds", 1e-3)),
    ("reqs", _counted("requests")),
    ("KMS", _counted("kms_calls")),
    ("model", _counted("kms_calls_modelled")),
    _MEMORY,
)
_LONG: Final[tuple[_Column, ...]] = (
    ("wall ms", _interval("wall_seconds")),
    ("x PLAIN", _ratio),
    ("CPU ms", _interval("cpu_seconds")),
    ("1st ms", _median("first_row_seconds", 1e-3)),
    _RATE,
    *_COUNTS,
    ("MB up", _median("bytes_up", 1e6)),
    ("MB down", _median("bytes_down", 1e6)),
    _MEMORY,
)


def _table(arms: dict[str, Result], columns: tuple[_Column, ...]) -> Table:
    plain = arms.get(PLAIN)
    rows = [[arm, *(cell(result, plain) for _, cell in columns)] for arm, result in arms.items()]
    return Table(["arm", *(title for title, _ in columns)], rows)
