"""CSE against no-CSE: counted operations as one table, and that table as a chart."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from arrowseal.extras import require

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pyarrow as pa
    from matplotlib.figure import Figure

    from arrowseal.counters import OperationRecord

_PLAIN = "PLAIN"
_ORDER = (_PLAIN, "SSE-S3", "SSE-KMS", "SSE-C", "CSE V2", "CSE V3")
ARM_COLOURS = dict(zip(_ORDER, ("#b8bec6", "#98a1ac", "#7b8692", "#626d79", "#7ab6e0", "#1f77b4"), strict=True))
SECTION_COLOURS = {"kms": "#e69f00", "s3": "#009e73", "crypto": "#cc4778", "decode": "#8c6bb1", "other": "#d9dce0"}
SECTION_LABELS = {
    "kms": "KMS",
    "s3": "S3",
    "crypto": "crypto",
    "decode": "bytes to table and back",
    "other": "the rest (Python)",
}


def summarise(records: Iterable[OperationRecord]) -> pa.Table:
    """A row for each operation, file type and encryption, in the order in which they first came, no-CSE first.

    Repeated operations are taken together: medians of wall and CPU seconds; means of the seconds in KMS, S3, crypto and
    decoding, which therefore add up to `wall_seconds_mean` with `other_seconds_mean` where they do not overlap;
    throughput as the sum of plaintext bytes over the sum of wall seconds; S3 requests, KMS calls and retries an
    operation; the sum of `resumed_bytes` and the largest `peak_memory_bytes`. `wall_ratio` and `cpu_ratio` are medians
    over those of `baseline`: the PLAIN arm of the same operation and file type or, without one, its other no-CSE arms
    together; null without any. Group what is alike: the same operation on small and large objects belongs into two
    `Counters`, or `clear` between them. Operations of unknown encryption (a listing) are left out.
    """
    import pyarrow as pa

    arms: dict[tuple[str, str | None], dict[str, list[OperationRecord]]] = {}
    for record in records:
        if record.encryption is not None:
            arms.setdefault((record.operation, record.file_type), {}).setdefault(record.encryption, []).append(record)
    rows: list[dict[str, Any]] = []
    for (operation, file_type), by_encryption in arms.items():
        baseline = _baseline(by_encryption)
        reference = [record for arm in baseline for record in by_encryption[arm]]
        for encryption in sorted(by_encryption, key=_position):
            row: dict[str, Any] = {"operation": operation, "file_type": file_type, "encryption": encryption}
            row |= _aggregate(by_encryption[encryption])
            row |= {f"{of}_ratio": _ratio(by_encryption[encryption], reference, of) for of in ("wall", "cpu")}
            rows.append(row | {"baseline": ", ".join(baseline) or None})
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    types = {"operation": text, "file_type": text, "encryption": text, "baseline": text}
    types |= {"operations": whole, "plaintext_bytes": whole, "peak_memory_bytes": whole, "resumed_bytes": whole}
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, types.get(name, real)) for name in _COLUMNS]))


_SECTIONS = ("kms", "s3", "crypto", "decode")
_COLUMNS = (
    "operation",
    "file_type",
    "encryption",
    "operations",
    "plaintext_bytes",
    "wall_seconds_median",
    "cpu_seconds_median",
    "wall_seconds_mean",
    "kms_seconds_mean",
    "s3_seconds_mean",
    "crypto_seconds_mean",
    "decode_seconds_mean",
    "other_seconds_mean",
    "megabytes_per_second",
    "requests_per_operation",
    "kms_calls_per_operation",
    "retries_per_operation",
    "resumed_bytes",
    "peak_memory_bytes",
    "wall_ratio",
    "cpu_ratio",
    "baseline",
)


def _position(encryption: str) -> tuple[int, str]:
    return (_ORDER.index(encryption) if encryption in _ORDER else len(_ORDER), encryption)


def _baseline(by_encryption: dict[str, list[OperationRecord]]) -> list[str]:
    if _PLAIN in by_encryption:
        return [_PLAIN]
    return sorted((arm for arm in by_encryption if not arm.startswith("CSE")), key=_position)


def _aggregate(records: list[OperationRecord]) -> dict[str, Any]:
    wall = sum(record.wall_seconds for record in records)
    plaintext_bytes = sum(record.plaintext_bytes for record in records)
    sections = {name: fmean(getattr(record, f"{name}_seconds") for record in records) for name in _SECTIONS}
    return {
        "operations": len(records),
        "plaintext_bytes": plaintext_bytes,
        "wall_seconds_median": median(record.wall_seconds for record in records),
        "cpu_seconds_median": median(record.cpu_seconds for record in records),
        "wall_seconds_mean": wall / len(records),
        **{f"{name}_seconds_mean": seconds for name, seconds in sections.items()},
        "other_seconds_mean": max(0.0, wall / len(records) - sum(sections.values())),
        "megabytes_per_second": plaintext_bytes / wall / 1e6 if wall else None,
        "requests_per_operation": fmean(record.requests for record in records),
        "kms_calls_per_operation": fmean(record.kms_calls for record in records),
        "retries_per_operation": fmean(record.retries for record in records),
        "resumed_bytes": sum(record.resumed_bytes for record in records),
        "peak_memory_bytes": max(record.peak_memory_bytes for record in records),
    }


def _ratio(records: list[OperationRecord], reference: list[OperationRecord], of: str) -> float | None:
    below = median(getattr(record, f"{of}_seconds") for record in reference) if reference else 0.0
    return median(getattr(record, f"{of}_seconds") for record in records) / below if below else None


@dataclass(frozen=True)
class _Bar:
    position: float
    arm: dict[str, Any]


def _layout(summary: pa.Table) -> tuple[list[_Bar], list[tuple[float, str]]]:
    """Where each arm's bar goes, top down, and where the headings of their groups go."""
    bars: list[_Bar] = []
    headings: list[tuple[float, str]] = []
    position = 0.0
    group: tuple[str, str | None] | None = None
    for arm in summary.to_pylist():
        if (arm["operation"], arm["file_type"]) != group:
            group = (arm["operation"], arm["file_type"])
            position += 0.5 if headings else 0.0
            headings.append((position, _heading(*group)))
            position += 0.95
        bars.append(_Bar(position, arm))
        position += 1.0
    return bars, headings


def _heading(operation: str, file_type: str | None) -> str:
    named = file_type is None or file_type in operation
    return operation if named else f"{operation} · {file_type}"


def draw(summary: pa.Table, path: str | os.PathLike[str] | None = None, *, title: str | None = None) -> Figure:
    """The table of `summarise` as a figure: medians on the left, each with its ratio to the baseline, and on the right
    where the time went. Uses no pyplot, hence neither a display nor the matplotlib state of the process.

    Raises:
        MissingExtraError: matplotlib is not installed; `arrowseal[plot]` brings it.
        ValueError: the table is empty.
    """
    figure_module = require("matplotlib.figure", "plot")
    patches = require("matplotlib.patches", "plot")
    lines = require("matplotlib.lines", "plot")
    if summary.num_rows == 0:
        message = "nothing to plot: no operation was counted yet"
        raise ValueError(message)
    bars, headings = _layout(summary)
    longest = max(bar.arm["wall_seconds_mean"] for bar in bars)
    scale, unit = (1.0, "s") if longest >= 1 else (1e3, "ms")

    lowest = bars[-1].position + 0.7
    # Inches: a row of 0.26 fits a line of text of 9 points; title, axis and legend take some 1.9.
    figure: Figure = figure_module.Figure(figsize=(11.5, 0.26 * lowest + 1.9), dpi=150, layout="constrained")
    figure.suptitle(title or "Client-side encryption against none", fontsize=13, fontweight="bold")
    medians, sections = figure.subplots(1, 2, sharey=True)

    for bar in bars:
        seconds = bar.arm["wall_seconds_median"] * scale
        colour = ARM_COLOURS.get(bar.arm["encryption"], "#444444")
        medians.barh(bar.position, seconds, height=0.82, color=colour)
        medians.annotate(
            _bar_label(bar.arm),
            (seconds, bar.position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        left = 0.0
        for name, section_colour in SECTION_COLOURS.items():
            width = bar.arm[f"{name}_seconds_mean"] * scale
            sections.barh(bar.position, width, left=left, height=0.82, color=section_colour)
            left += width
        wall = bar.arm["wall_seconds_mean"] * scale
        sections.plot([wall, wall], [bar.position - 0.41, bar.position + 0.41], color="#222222", linewidth=1.2)

    medians.set_title("Wall time, median (and how many times the no-CSE arm)", fontsize=10, loc="left")
    sections.set_title("Where the time went, mean", fontsize=10, loc="left")
    medians.margins(x=0.22)  # room for the labels right of the bars
    sections.use_sticky_edges = False  # a part of no width at the end of the longest bar would have it cut off there
    medians.set_ylim(lowest, -0.7)
    medians.set_yticks(
        [position for position, _ in headings] + [bar.position for bar in bars],
        [heading for _, heading in headings] + [bar.arm["encryption"] for bar in bars],
        fontsize=9,
    )
    for label in medians.get_yticklabels()[: len(headings)]:
        label.set_fontweight("bold")
    for axes in (medians, sections):
        axes.set_xlabel(unit, fontsize=9)
        axes.set_xlim(left=0)
        axes.tick_params(axis="x", labelsize=8)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e6e8eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [patches.Patch(color=SECTION_COLOURS[name], label=SECTION_LABELS[name]) for name in SECTION_COLOURS]
    handles.append(
        lines.Line2D([], [], color="#222222", linewidth=1.2, label="wall time (less than the parts where they overlap)")
    )
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), fontsize=8, frameon=False)
    if path is not None:
        figure.savefig(path)
    return figure


def _bar_label(arm: dict[str, Any]) -> str:
    seconds = arm["wall_seconds_median"]
    text = f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
    if arm["wall_ratio"] is None or arm["encryption"] == arm["baseline"]:
        return text
    return f"{text}  ({arm['wall_ratio']:.2f}\N{MULTIPLICATION SIGN})"
