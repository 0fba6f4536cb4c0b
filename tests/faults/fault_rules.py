"""Which requests get which fault: rules for `FaultProxy`. Each is safe to share between its threads."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from broken_bodies import Fault, operation_of, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broken_bodies import Rule


def on(
    operation: str, fault: Fault, *, times: int = 1, after: int = 0, part: int | None = None, start: int | None = None
) -> Rule:
    """The fault for so many requests of an operation, after so many that pass; of one part, or of ranges that start at
    a byte.
    """
    matched = 0
    lock = threading.Lock()

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        nonlocal matched
        if operation_of(method, path, headers) != operation:
            return None
        if part is not None and part_of(path) != part:
            return None
        if start is not None and not headers.get("Range", "").startswith(f"bytes={start}-"):
            return None
        with lock:
            matched += 1
            return fault if after < matched <= after + times else None

    return rule


def always(operation: str, fault: Fault, *, part: int | None = None) -> Rule:
    """The fault for every request of an operation."""
    return on(operation, fault, times=2**62, part=part)


def either(*rules: Rule) -> Rule:
    """The first fault that any of the rules has for a request."""

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        for each in rules:
            fault = each(method, path, headers)
            if fault is not None:
                return fault
        return None

    return rule


def randomly(seed: int, rate: float, faults: Mapping[str, Sequence[Fault]]) -> Rule:
    """One of the faults of its operation for a share of the requests, drawn from a seed."""
    draw, lock = random.Random(seed), threading.Lock()

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        choices = faults.get(operation_of(method, path, headers))
        with lock:
            return draw.choice(choices) if choices and draw.random() < rate else None

    return rule


def in_turn(faults: Sequence[Fault | None]) -> Rule:
    """The first fault for the first request, whatever it asks, and so on; None lets one pass."""
    left, lock = list(faults), threading.Lock()

    def rule(*_: object) -> Fault | None:
        with lock:
            return left.pop(0) if left else None

    return rule
