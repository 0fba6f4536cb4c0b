"""Sentences made from the numbers: what to see in each chart, where CSE V3 loses, and the README's three lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from arrowseal.bench.losses import MEASURES, Comparison, comparisons
from arrowseal.bench.results import PLAIN, REUSE, V3, Case, Result, Results
from arrowseal.bench.units import count, duration, figures, size, times
from arrowseal.comparison import SECTION_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Limits: TypeAlias = dict[str, float]
"""`Machine.limits`."""
OPERATIONS: Final = ("read", "write")
KMS_ARMS: Final = ("SSE-KMS", "SSE-KMS, bucket key", "CSE V2", V3, REUSE, "official client")
"""Those that use KMS: here, or inside the server."""


class Chart(NamedTuple):
    """A chart: the stem of its file, its title, and the sentence that says what to see, or None without its data."""

    name: str
    title: str
    reading: Callable[[Results, Limits], str | None]


def cases(results: Results, kind: str, operation: str, *, arms: Iterable[str] = (V3,)) -> list[Case]:
    """Those of a kind that all these arms took part in, from small to large."""
    wanted = set(arms)
    found = [
        case for case in results if (case.kind, case.operation) == (kind, operation) and wanted <= results[case].keys()
    ]
    return sorted(found, key=lambda case: case.plaintext_bytes)


def _ratio_by_size(results: Results, _: Limits) -> str | None:
    texts, all_found = [], []
    for operation in OPERATIONS:
        found = [each for each in comparisons(results) if _beside_plain(each, "object", operation)]
        all_found += found
        if found:
            last = max(found, key=lambda each: each.case.plaintext_bytes)
            texts.append(f"{times(last.ratio)} times PLAIN to {operation} {size(last.case.plaintext_bytes)}")
    if not texts:
        return None
    far = max(all_found, key=lambda each: max(each.ratio.middle, 1 / each.ratio.middle))
    farthest = f"{far.case.operation} of {size(far.case.plaintext_bytes)}, {times(far.ratio)} times"
    return f"CSE V3 takes {' and '.join(texts)}; the largest difference is at the {farthest}."


def _beside_plain(each: Comparison, kind: str, operation: str) -> bool:
    beside = each.against == PLAIN and each.measure == "wall_seconds"
    return beside and (each.case.kind, each.case.operation) == (kind, operation)


def _cost_breakdown(results: Results, _: Limits) -> str | None:
    shares: dict[str, list[tuple[float, str]]] = {}
    for case, arms in results.items():
        for section, share in _shares(arms.get(V3)).items() if case.kind != "object" else ():
            shares.setdefault(section, []).append((share, case.title))
    if not shares:
        return None
    tops = {section: max(found) for section, found in shares.items()}
    heaviest = Counter(
        max((found[place][0], section) for section, found in shares.items())[1]
        for place in range(len(next(iter(shares.values()))))
    )
    crypto, kms = (f"{tops[section][0]:.0%} of its wall time ({tops[section][1]})" for section in ("crypto", "kms"))
    often = heaviest.most_common(1)[0][0]
    return (
        f"Of CSE V3, crypto is at most {crypto} and KMS at most {kms}; "
        f"the largest part, in most cases, is {SECTION_LABELS[often]}."
    )


def _shares(result: Result | None) -> dict[str, float]:
    """Of the wall time, section by section. Empty for arms without counters."""
    wall = result.mean("wall_seconds") if result is not None else None
    if result is None or not wall or result.mean("crypto_seconds") is None:
        return {}
    return {section: seconds / wall for section, seconds in result.sections().items()}


def kms_calls(results: Results, operation: str) -> dict[int, dict[str, tuple[float, bool]]]:
    """By number of files and arm: calls of one run, the most of all cases, and whether they are modelled."""
    found: dict[int, dict[str, tuple[float, bool]]] = {}
    for case, arms in results.items():
        for arm in (arm for arm in KMS_ARMS if arm in arms and case.operation == operation):
            modelled = arms[arm].median("kms_calls_modelled")
            calls = modelled if modelled is not None else arms[arm].median("kms_calls")
            by_arm = found.setdefault(case.files, {})
            if calls is not None:
                by_arm[arm] = max(by_arm.get(arm, (0.0, False)), (calls, modelled is not None))
    return {files: by_arm for files, by_arm in sorted(found.items()) if by_arm}


def _kms_by_files(results: Results, _: Limits) -> str | None:
    texts = []
    for operation in OPERATIONS:
        found = {files: arms for files, arms in kms_calls(results, operation).items() if V3 in arms}
        if found:
            files, arms = max(found.items())
            text = f"to {operation} {files:,} file{'s' * (files != 1)} CSE V3 makes {_calls(arms[V3][0])}"
            others = [f"{count(arms[REUSE][0])} with data key reuse"] if REUSE in arms else []
            others += [f"S3 would make {count(arms['SSE-KMS'][0])} for SSE-KMS (modelled)"] if "SSE-KMS" in arms else []
            texts.append(", ".join([text, *others]))
    return f"{_capital('; '.join(texts))}." if texts else None


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _calls(number: float) -> str:
    return f"{count(number) if number else 'no'} KMS call{'s' * (number != 1)}"


LIMITS: Final = {"read": "open", "write": "seal"}
"""What of `Machine.limits` bounds an operation."""


def _throughput(results: Results, limits: Limits) -> str | None:
    texts = []
    for operation in OPERATIONS:
        measured = cases(results, "object", operation, arms=(V3, PLAIN))
        rates = {case: [results[case][arm].megabytes_per_second or 0.0 for arm in (V3, PLAIN)] for case in measured}
        if rates:
            case = max(rates, key=lambda case: rates[case][0])
            own, plain = rates[case]
            text = f"{operation}s {figures(own)} MB/s at {size(case.plaintext_bytes)} (PLAIN: {figures(plain)})"
            limit = limits.get(LIMITS[operation])
            share = f", {own * 1e6 / limit:.0%} of what one thread {LIMITS[operation]}s from memory" if limit else ""
            texts.append(text + share)
    return f"At its fastest CSE V3 {'; it '.join(texts)}." if texts else None


CHARTS: Final = (
    Chart("ratio-by-size", "Encrypted against not, by size of the object", _ratio_by_size),
    Chart("cost-breakdown", "Where the time of tables goes", _cost_breakdown),
    Chart("kms-calls", "KMS calls of a run, by number of files", _kms_by_files),
    Chart("throughput", "Throughput of objects, and the limits of this machine", _throughput),
)


def losing(found: list[Comparison]) -> list[str]:
    """A sentence for each measure in which CSE V3 loses a case: to whom, how often, and where most."""
    sentences = []
    for measure, label in MEASURES.items():
        beside = [each for each in found if each.measure == measure]
        lost = Counter(each.against for each in beside if each.lost)
        if lost:
            met = Counter(each.against for each in beside)
            against = "; ".join(f"{arm} (in {number} of {met[arm]} cases)" for arm, number in lost.most_common())
            worst = max((each for each in beside if each.lost), key=lambda each: each.ratio.middle)
            sentences.append(
                f"More {label} than {against}. The most beside {worst.against}: "
                f"{times(worst.ratio)} times, to {worst.case.title}. "
                f"Less than another arm in {sum(each.won for each in beside)} of {len(beside)} comparisons."
            )
    return sentences


def telling_lines(results: Results) -> list[str]:
    """Three sentences or, where a run lacks their arms, fewer: the largest objects, the most files, the worst loss."""
    return [line for line in (_largest(results), _most_files(results), _worst(results)) if line is not None]


def _largest(results: Results) -> str | None:
    texts = []
    for operation in OPERATIONS:
        found = cases(results, "object", operation, arms=(V3, PLAIN))
        if found:
            arms = results[found[-1]]
            text = f"to {operation} {size(found[-1].plaintext_bytes)}, {times(arms[V3].ratio(arms[PLAIN]))} times"
            official = arms["official client"].ratio(arms[PLAIN]) if "official client" in arms else None
            texts.append(text + (f" (the official client: {figures(official.middle)})" if official else ""))
    return f"Wall time of CSE V3 against PLAIN, one object: {'; '.join(texts)}." if texts else None


def _most_files(results: Results) -> str | None:
    texts = []
    for operation in OPERATIONS:
        found = [case for case in cases(results, "files", operation, arms=(V3, PLAIN)) if case.files > 1]
        if found:
            case = max(found, key=lambda case: case.files)
            arms = results[case]
            takes = [(V3, "")] + [(REUSE, "with data key reuse ")] * (REUSE in arms)
            told = [
                f"{lead}{times(arms[arm].ratio(arms[PLAIN]))} times{_asked(arms[arm], operation)}"
                for arm, lead in takes
            ]
            texts.append(f"to {case.title}, {'; '.join(told)}")
    return f"Many files against PLAIN: {'. '.join([texts[0], *map(_capital, texts[1:])])}." if texts else None


def _asked(result: Result, operation: str) -> str:
    """Of KMS, where that could be counted: by the first run, and reads that are timed come after it."""
    calls = result.median("kms_calls")
    if calls is None:
        return ""
    return f" after a first read with {_calls(calls)}" if operation == "read" else f" and {_calls(calls)}"


def _worst(results: Results) -> str | None:
    lost = [each for each in comparisons(results) if each.measure == "wall_seconds" and each.lost]
    if not lost:
        return "CSE V3 lost to nobody beyond the interval, in wall time." if comparisons(results) else None
    worst = max(lost, key=lambda each: each.ratio.middle)
    took = results[worst.case][V3].median("wall_seconds") or 0.0
    return (
        f"Where it loses most: to {worst.case.title} takes {duration(took)}, "
        f"{times(worst.ratio)} times what {worst.against} takes."
    )
