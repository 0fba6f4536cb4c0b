"""Runs every arm of every workload: seeded, checked, warmed up, then in rounds drawn anew; and counted apart."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrowseal.bench import worker
from arrowseal.bench.arms import kms_calls_modelled
from arrowseal.bench.data import of_arm
from arrowseal.bench.environments import interpreter
from arrowseal.bench.samples import Absence, Sample
from arrowseal.exceptions import ArrowSealError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from arrowseal.bench.arms import ArmOf
    from arrowseal.bench.stage import Stage


class AbsentError(Exception):
    """An arm does not take part; its words say why."""


class Process:
    """The process of one arm, which takes one command at a time."""

    def __init__(self, arm: ArmOf, environ: Mapping[str, str]) -> None:
        python = interpreter(arm)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        foreign = {} if python == Path(sys.executable) else {"PYTHONPATH": ""}
        self.elsewhere = bool(foreign)
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [str(python), "-P", str(Path(worker.__file__)), str(arm.path), arm.name],
            env=inherited | dict(environ) | foreign,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, do: str, **told: Any) -> dict[str, Any]:
        """The answer to a command. Raises `AbsentError` for an arm that cannot, or that failed."""
        pipes = self._process.stdin, self._process.stdout
        if pipes[0] is None or pipes[1] is None:
            raise AbsentError("its process has no pipes")
        try:
            pipes[0].write(json.dumps({"do": do} | told) + "\n")
            pipes[0].flush()
            answer: dict[str, Any] = json.loads(pipes[1].readline() or '{"error": "its process ended"}')
        except BrokenPipeError:
            answer = {"error": "its process ended"}
        if "absent" in answer or "error" in answer:
            raise AbsentError(answer.get("absent") or answer["error"])
        return answer

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)


@dataclass
class Bench:
    """Where the arms run, how often, and what came of it so far."""

    stage: Stage
    rounds: int
    seed: int
    say: Callable[[str], None]
    samples: list[Sample] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def run(self, workloads: Iterable[dict[str, Any]], arms: Sequence[ArmOf]) -> None:
        """Measure all workloads, one after the other."""
        with ExitStack() as stack:
            begun: dict[str, tuple[Process, Process]] = {}
            started: dict[str, tuple[Process, Process]] = {}
            for arm in arms:
                try:
                    process, counted = (Process(arm, environ) for environ in (self.stage.environ, self.stage.counting))
                    stack.callback(process.close)
                    stack.callback(counted.close)
                    begun[arm.name] = process, counted
                except (AbsentError, ArrowSealError) as error:
                    self.absences.append(Absence(arm.name, "", str(error)))
            # Interpreters start side by side: imports take longer than all else here.
            for arm in [arm for arm in arms if arm.name in begun]:
                process, counted = begun[arm.name]
                try:
                    versions = process.ask("versions")["versions"]
                except (AbsentError, ArrowSealError) as error:
                    self.absences.append(Absence(arm.name, "", str(error)))
                else:
                    # A package that runs elsewhere is listed with the arm, since another version may be here.
                    label = f" ({arm.name})" if process.elsewhere else ""
                    self.versions |= {name + label: number for name, number in versions.items()}
                    started[arm.name] = process, counted
            for workload in workloads:
                self._measure(workload, [arm for arm in arms if arm.name in started], started)

    def _measure(
        self, told: dict[str, Any], arms: Sequence[ArmOf], started: Mapping[str, tuple[Process, Process]]
    ) -> None:
        title = " ".join(word for word in (told["operation"], told["name"], told["face"]) if word)
        prepared: list[ArmOf] = []
        counts: dict[str, dict[str, Any]] = {}
        expected: list[Any] | None = None
        for arm in arms:
            workload = of_arm(told, arm.name, self.stage.bucket, self.stage.prefix)
            if not arm.takes_part(workload):
                continue
            try:
                process, counted = started[arm.name]
                process.ask("prepare", **asdict(workload))
                found = process.ask("check")["fingerprint"]
                expected = expected or found
                if not _agree(found, expected):
                    raise AbsentError(f"its answer differs from that of {prepared[0].name}")
                counts[arm.name] = self._counts(counted, workload)
                prepared.append(arm)
            except AbsentError as absent:
                self.absences.append(Absence(arm.name, title, str(absent)))
        self.say(f"{title}: {len(prepared)} arms, {self.rounds} rounds")
        draw = random.Random(f"{self.seed} {title}")  # noqa: S311 - an order, not a key
        order, samples = list(prepared), []
        for number in range(-1, self.rounds):  # the first one warms up
            draw.shuffle(order)
            for arm in tuple(order):
                process, _ = started[arm.name]
                try:
                    taken = process.ask("run", repeat=told.get("repeat", 1))
                    taken |= process.ask("first_row") if told["operation"] == "read" else {}
                except AbsentError as absent:
                    # Half of its rounds would be compared with all of the others'.
                    self.absences.append(Absence(arm.name, title, str(absent)))
                    order.remove(arm)
                else:
                    samples += [_sample(told, arm.name, number, taken, counts[arm.name])] if number >= 0 else []
        self.samples += [sample for sample in samples if sample.arm in {arm.name for arm in order}]

    def _counts(self, process: Process, workload: worker.Workload) -> dict[str, Any]:
        """What one run asks of S3 and KMS: the first one, when no data key is cached yet."""
        process.ask("prepare", **asdict(workload))
        before = self.stage.tally()
        process.ask("run", repeat=1)
        after = self.stage.tally()
        return {name: after[name] - before[name] for name in before}


def _agree(one: Any, other: Any) -> bool:
    """Whether two answers are the same; sums of floats depend on their order."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_agree, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _sample(told: dict[str, Any], arm: str, number: int, taken: dict[str, Any], counts: dict[str, Any]) -> Sample:
    described = {
        name: told[name] for name in ("name", "operation", "kind", "format", "face", "plaintext_bytes", "files")
    }
    described["workload"] = described.pop("name")
    if told["operation"] == "read" and taken.get("first_row_seconds") is None:
        taken["first_row_seconds"] = taken["wall_seconds"]  # it hands out the whole
    modelled = kms_calls_modelled(arm, told["files"])
    return Sample(**described, arm=arm, round=number, kms_calls_modelled=modelled, **taken, **counts)
