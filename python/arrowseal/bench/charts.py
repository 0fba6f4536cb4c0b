"""The charts of a run, each as a PNG with its sentence. Uses no pyplot, hence neither a display nor its state."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final, Literal

from arrowseal.bench.intervals import FEWEST_ROUNDS
from arrowseal.bench.readings import CHARTS, LIMITS, OPERATIONS, cases, kms_calls
from arrowseal.bench.results import PLAIN, REUSE, V2, V3, Case, Result, Results, results
from arrowseal.bench.units import count, duration, figures, size
from arrowseal.comparison import SECTION_COLOURS, SECTION_LABELS
from arrowseal.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from arrowseal.bench.samples import Run

_DPI: Final = 150
_WIDTH: Final = 11.5
"""Inches, as the demo's chart."""
_SMALL: Final = 8
# Colour and marker of an arm. The colours are those of Okabe and Ito that are told apart by everyone; besides, each has
# a marker of its own.
_STYLES: Final = {
    PLAIN: ("#626d79", "o"),
    V3: ("#0072b2", "o"),
    V2: ("#56b4e9", "s"),
    REUSE: ("#e69f00", "^"),
    "SSE-KMS": ("#626d79", "D"),
    "SSE-KMS, bucket key": ("#98a1ac", "v"),
    "boto3": ("#cc79a7", "X"),
    "obstore": ("#009e73", "P"),
    "official client": ("#d55e00", "*"),
}
_RATIO_TICKS: Final = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)


def draw(run: Run, folder: Path) -> list[Path]:
    """Draw the charts for which a run has the data into a folder, which is made; the names are those of `CHARTS`.

    Raises `MissingExtraError` if matplotlib is not installed; `arrowseal[plot]` brings it.
    """
    figure_module = require("matplotlib.figure", "plot")
    folder.mkdir(parents=True, exist_ok=True)
    found, limits, paths = results(run), run.machine.limits, []
    for chart in CHARTS:
        reading = chart.reading(found, limits)
        if reading is None:
            continue
        # A first height; each painter sets the one it needs.
        figure: Figure = figure_module.Figure(figsize=(_WIDTH, 4.6), dpi=_DPI, layout="constrained")
        if chart.name == "ratio-by-size":
            _draw_ratios(figure, found)
        elif chart.name == "cost-breakdown":
            _draw_breakdown(figure, found)
        elif chart.name == "kms-calls":
            _draw_kms_calls(figure, found)
        else:
            _draw_throughput(figure, found, limits)
        _head(figure, chart.title, reading)
        path = folder / f"{chart.name}.png"
        figure.savefig(path)
        paths.append(path)
    return paths


def _head(figure: Figure, title: str, reading: str) -> None:
    """The title, and what to see below it, in a strip that the panels leave free."""
    lines = textwrap.wrap(reading, 140)
    inches = 0.5 + 0.19 * len(lines)
    height = figure.get_figheight() + inches
    figure.set_figheight(height)
    figure.text(0.01, 1 - 0.1 / height, title, fontsize=13, fontweight="bold", va="top")
    figure.text(0.01, 1 - 0.4 / height, "\n".join(lines), fontsize=9.5, va="top", linespacing=1.3)
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, 0, 1, 1 - inches / height))


def _panels(figure: Figure, found: Results, kind: str) -> list[tuple[str, list[Case], Axes]]:
    """One panel an operation, with the cases of a kind that CSE V3 took part in."""
    wanted = [(operation, measured) for operation in OPERATIONS if (measured := cases(found, kind, operation))]
    row: Sequence[Axes] = figure.subplots(1, len(wanted), sharey=True, squeeze=False)[0]
    return [(operation, measured, axes) for (operation, measured), axes in zip(wanted, row, strict=True)]


def _tidy(axes: Axes, title: str, grid: Literal["x", "y"]) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=_SMALL)
    axes.grid(axis=grid, color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _sizes(axes: Axes, measured: list[Case]) -> None:
    """Sizes side by side: evenly, since they rise by factors."""
    axes.set_xticks(range(len(measured)), [size(case.plaintext_bytes) for case in measured])
    axes.set_xlim(-0.5, len(measured) - 0.5)
    axes.set_xlabel("size of the object", fontsize=9)


def _draw_ratios(figure: Figure, found: Results) -> None:
    lowest, highest = 1.0, 1.0
    panels = _panels(figure, found, "object")
    for operation, measured, axes in panels:
        axes.axhline(1, color=_STYLES[PLAIN][0], linewidth=1.2)
        for place, arm in enumerate((V3, V2, REUSE)):
            points = []
            for position, case in enumerate(measured):
                arms = found[case]
                ratio = arms[arm].ratio(arms.get(PLAIN)) if arm in arms else None
                if ratio is not None:
                    points.append((position + (place - 1) * 0.12, ratio))
                    lowest, highest = min(lowest, ratio.low), max(highest, ratio.high)
            if points:
                colour, marker = _STYLES[arm]
                middles = [ratio.middle for _, ratio in points]
                below = [ratio.middle - ratio.low for _, ratio in points]
                above = [ratio.high - ratio.middle for _, ratio in points]
                axes.errorbar(
                    [position for position, _ in points],
                    middles,
                    yerr=[below, above],
                    color=colour,
                    marker=marker,
                    markersize=6,
                    capsize=3,
                    linewidth=1.2,
                    label=arm,
                    zorder=_depth(arm),
                )
        _tidy(axes, operation, "y")
        _sizes(axes, measured)
    for _, _, axes in panels:
        axes.set_yscale("log")
        axes.set_ylim(lowest / 1.08, highest * 1.08)
        ticks = _ticks(lowest / 1.08, highest * 1.08)
        axes.set_yticks(ticks, [f"{tick:g}\N{MULTIPLICATION SIGN}" for tick in ticks])
        axes.minorticks_off()
    first = panels[0][2]
    rounds = min(result.rounds for _, measured, _ in panels for case in measured for result in found[case].values())
    bars = "95 % interval" if rounds >= FEWEST_ROUNDS else f"range of {rounds} rounds"
    first.set_ylabel(f"wall time, times PLAIN ({bars}, log scale)", fontsize=9)
    first.annotate("PLAIN", (-0.48, 1), xytext=(0, 3), textcoords="offset points", fontsize=_SMALL)
    _legend(figure, first)


def _depth(arm: str) -> int:
    """What the chart is about lies on top."""
    return 4 if arm == V3 else 3


def _ticks(low: float, high: float) -> list[float]:
    ticks = [tick for tick in _RATIO_TICKS if low <= tick <= high]
    return ticks if len(ticks) >= 3 else sorted({1.0, round(low, 2), round(high, 2)})


def _legend(figure: Figure, *panels: Axes) -> None:
    labelled: dict[Any, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        labelled |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(labelled.values()),
        list(labelled),
        loc="outside lower right",
        ncols=len(labelled),
        fontsize=_SMALL,
        frameon=False,
    )


def _draw_breakdown(figure: Figure, found: Results) -> None:
    """One small chart a case, each with a scale of its own: cases differ by factors, their arms do not."""
    shown = [case for case in found if case.kind != "object" and V3 in found[case]]
    # Reads and writes of the same thing stand side by side.
    names = list(dict.fromkeys((case.workload, case.face) for case in shown))
    arms = [arm for arm in (PLAIN, V2, V3, REUSE) if any(arm in found[case] for case in shown)]
    figure.set_figheight(1.6 + len(names) * (0.75 + 0.25 * len(arms)))
    grid = figure.subplots(len(names), len(OPERATIONS), squeeze=False)
    for row, name in zip(grid, names, strict=True):
        for operation, axes in zip(OPERATIONS, row, strict=True):
            case = next((c for c in shown if (c.workload, c.face, c.operation) == (*name, operation)), None)
            if case is None:
                axes.set_visible(False)
            else:
                _draw_case(axes, case, found[case], arms)
    patches = require("matplotlib.patches", "plot")
    handles = [patches.Patch(color=SECTION_COLOURS[name], label=SECTION_LABELS[name]) for name in SECTION_COLOURS]
    title = "wall time, mean of the rounds; what is done side by side is shown by its share"
    look: dict[str, Any] = {"fontsize": _SMALL, "title_fontsize": _SMALL, "frameon": False}
    figure.legend(handles=handles, title=title, loc="outside lower right", ncols=len(handles), **look)


def _draw_case(axes: Axes, case: Case, results_of: dict[str, Result], arms: list[str]) -> None:
    rows = [(place, results_of[arm]) for place, arm in enumerate(arms) if arm in results_of]
    longest = max(result.mean("wall_seconds") or 0.0 for _, result in rows)
    scale, unit = (1.0, "s") if longest >= 1 else (1e3, "ms")
    for place, result in rows:
        wall = result.mean("wall_seconds") or 0.0
        left = 0.0
        for name, seconds in result.sections().items():
            width, colour = seconds * scale, SECTION_COLOURS[name]
            axes.barh(place, width, left=left, height=0.78, color=colour, edgecolor="white", linewidth=0.6)
            left += width
        axes.annotate(
            duration(wall),
            (wall * scale, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=_SMALL,
        )
    _tidy(axes, f"{case.title} ({size(case.plaintext_bytes)})", "x")
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_yticks([place for place, _ in rows], [result.arm for _, result in rows])
    axes.set_xlabel(unit, fontsize=_SMALL)
    axes.set_xlim(0, longest * scale * 1.16)  # room for the labels right of the bars
    axes.tick_params(axis="y", length=0)


def _draw_kms_calls(figure: Figure, found: Results) -> None:
    """A row for each arm below each number of files; what is modelled is hollow."""
    panels = [(operation, kms_calls(found, operation)) for operation in OPERATIONS]
    panels = [(operation, calls) for operation, calls in panels if calls]
    most = max(sum(len(arms) + 1.4 for arms in calls.values()) for _, calls in panels)
    figure.set_figheight(1.8 + 0.24 * most)
    row: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False)[0]
    for (operation, calls), axes in zip(panels, row, strict=True):
        position = 0.0
        places: list[float] = []
        labels: list[str] = []
        headings: set[int] = set()
        for files, arms in calls.items():
            headings.add(len(labels))
            places.append(position)
            labels.append(f"{files:,} file{'s' * (files != 1)}")
            for arm, (number, modelled) in arms.items():
                position += 1
                _dot(axes, position, arm, number, modelled=modelled)
                places.append(position)
                labels.append(arm)
            position += 1.4
        _tidy(axes, operation, "x")
        axes.set_yticks(places, labels)
        for place, label in enumerate(axes.get_yticklabels()):
            label.set_fontweight("bold" if place in headings else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(position - 0.6, -0.8)
        # Zero has a place too: linear up to one call, then by factors of ten.
        axes.set_xscale("symlog", linthresh=1)
        top = max(number for arms in calls.values() for number, _ in arms.values())
        axes.set_xlim(-0.15, max(10.0, top) * 4)
        ticks = [0, *(10**power for power in range(7) if 10**power <= max(10.0, top) * 2)]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("KMS calls of one run", fontsize=9)
    lines = require("matplotlib.lines", "plot")
    about = {"marker": "o", "linestyle": "", "markersize": 7, "color": "#444444"}
    handles = [
        lines.Line2D([], [], label="counted on the wire", **about),
        lines.Line2D([], [], label="made inside the server: a model, not counted", fillstyle="none", **about),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=2, fontsize=_SMALL, frameon=False)


def _dot(axes: Axes, position: float, arm: str, number: float, *, modelled: bool) -> None:
    colour, _ = _STYLES.get(arm, ("#444444", "o"))
    axes.plot([0, number], [position] * 2, color=colour, linewidth=1.2, linestyle=":" if modelled else "-")
    face = "white" if modelled else colour
    axes.plot(number, position, "o", color=colour, markerfacecolor=face, markersize=7, clip_on=False, zorder=3)
    axes.annotate(
        count(number), (number, position), xytext=(8, 0), textcoords="offset points", va="center", fontsize=_SMALL
    )


def _draw_throughput(figure: Figure, found: Results, limits: dict[str, float]) -> None:
    panels = _panels(figure, found, "object")
    for operation, measured, axes in panels:
        for arm in (PLAIN, V3, REUSE, "boto3", "obstore", "official client"):
            rates = {
                position: rate
                for position, case in enumerate(measured)
                if arm in found[case] and (rate := found[case][arm].megabytes_per_second)
            }
            if rates:
                colour, marker = _STYLES[arm]
                own = arm in (PLAIN, V3, REUSE)
                style: dict[str, Any] = {"linestyle": "-" if own else "--", "linewidth": 1.2, "markersize": 5}
                style |= {"color": colour, "marker": marker, "zorder": _depth(arm)}
                axes.plot(list(rates), list(rates.values()), label=arm, **style)
        shown = sorted((limits[name] / 1e6, name) for name in (LIMITS[operation], "copy") if name in limits)
        for rate, name in shown:
            axes.axhline(rate, color="#222222", linewidth=1, linestyle=":")
            below = len(shown) > 1 and name == shown[0][1]  # the two may lie on each other
            axes.annotate(
                f"{name} in memory, one thread: {figures(rate)} MB/s",
                (-0.48, rate),
                xytext=(0, -3 if below else 3),
                textcoords="offset points",
                va="top" if below else "bottom",
                fontsize=_SMALL,
            )
        _tidy(axes, operation, "y")
        _sizes(axes, measured)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    first = panels[0][2]
    first.set_ylabel("plaintext, MB/s (log scale)", fontsize=9)
    _legend(figure, *(axes for _, _, axes in panels))
