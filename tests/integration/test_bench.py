"""The harness of `arrowseal bench` measures what is there, and favours no arm."""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import arrowseal.cli
import arrowseal.cli.bench
from arrowseal.bench.arms import ARMS, OBJECTS, ArmOf
from arrowseal.bench.rounds import Bench
from arrowseal.bench.samples import Machine, Run, Settings, load
from arrowseal.bench.stage import Stage
from arrowseal.local.proxy import Proxy
from servers import discarding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers

SENT = 100_000
WORKLOAD: dict[str, Any] = {
    "name": "object",
    "operation": "write",
    "kind": "object",
    "format": "bytes",
    "face": "",
    "plaintext_bytes": SENT,
    "files": 1,
    "source": "",
}


@dataclass(frozen=True)
class Dummy(ArmOf):
    """An arm whose script is the dummy."""

    @property
    def path(self) -> Path:
        return Path(__file__).parents[1] / "dummy_contestant.py"


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """Where dummies write down how long they took."""
    folder = tmp_path / "clock"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def discarded() -> Iterator[tuple[Any, Proxy, Proxy]]:
    with discarding() as server, Proxy(server.url) as s3, Proxy(server.url) as kms:
        yield server, s3, kms


@pytest.fixture
def measure(discarded: tuple[Any, Proxy, Proxy], clock: Path) -> Any:
    """Runs dummies that sleep for so many seconds, by the names of their arms."""
    server, s3, kms = discarded

    def run(**seconds: float) -> Bench:
        told = {"DUMMY_SECONDS": json.dumps(seconds), "DUMMY_BYTES": str(SENT), "DUMMY_CLOCK": str(clock)}
        environ = told | {"AWS_ENDPOINT_URL_S3": server.url, "AWS_ENDPOINT_URL_KMS": server.url}
        counting = environ | {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_ENDPOINT_URL_KMS": kms.endpoint}
        bench = Bench(Stage("b", "p/", "discarding", environ, counting, (s3, kms)), 7, 2013, lambda _: None)
        bench.run([WORKLOAD], [Dummy(name, "dummy", OBJECTS) for name in seconds])
        return bench

    return run


def walls(bench: Bench, arm: str) -> list[float]:
    return [sample.wall_seconds for sample in bench.samples if sample.arm == arm]


def beyond_its_own_clock(bench: Bench, clock: Path, arm: str) -> float:
    """How much longer than the arm itself says a round is measured, at least: an arm sleeps as long as it was told, or
    longer on a busy machine, and the harness is right to say so.
    """
    own = [float(line) for line in (clock / arm).read_text().split()]
    return min(wall / max(seconds for seconds in own if seconds <= wall) for wall in walls(bench, arm))


def test_a_known_delay_and_known_bytes_are_measured_within_5_percent(measure: Any, clock: Path) -> None:
    bench = measure(PLAIN=0.2)
    assert not bench.absences
    assert len(walls(bench, "PLAIN")) == 7
    assert 1 <= beyond_its_own_clock(bench, clock, "PLAIN") <= 1.05
    for sample in bench.samples:
        assert (sample.requests, sample.kms_calls) == (1, 0)
        assert sample.bytes_up is not None
        assert SENT <= sample.bytes_up <= 1.05 * SENT


def test_swapping_the_names_of_two_arms_swaps_the_result(measure: Any, clock: Path) -> None:
    for seconds in ({"PLAIN": 0.25, "CSE": 0.5}, {"PLAIN": 0.5, "CSE": 0.25}):
        bench = measure(**seconds)
        for arm, delay in seconds.items():
            assert min(walls(bench, arm)) >= delay
            assert 1 <= beyond_its_own_clock(bench, clock, arm) <= 1.05
            (clock / arm).unlink()


def test_arms_take_turns_and_each_round_has_all_of_them(measure: Any) -> None:
    bench = measure(PLAIN=0.0, CSE=0.0, other=0.0)
    rounds = [[sample.arm for sample in bench.samples if sample.round == number] for number in range(7)]
    assert all(sorted(each) == ["CSE", "PLAIN", "other"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    assert statistics.fmean(walls(bench, "PLAIN")) > 0


def test_what_is_counted_is_a_first_read_and_what_is_timed_comes_after_it(
    local_servers: LocalServers, bucket: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(SENT))
    environ = local_servers.environ
    with Proxy(environ["AWS_ENDPOINT_URL_S3"]) as s3, Proxy(environ["AWS_ENDPOINT_URL_KMS"]) as kms:
        counting = environ | {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_ENDPOINT_URL_KMS": kms.endpoint}
        bench = Bench(Stage(bucket, "p/", "moto", environ, counting, (s3, kms)), 3, 2013, lambda _: None)
        bench.run(
            [WORKLOAD | {"operation": "read", "source": str(source)}], [arm for arm in ARMS if arm.name == "CSE V3"]
        )
    assert not bench.absences
    assert [(sample.kms_calls, sample.kms_seconds) for sample in bench.samples] == [(1, 0)] * 3


def test_an_arm_that_cannot_start_is_absent_and_says_why(measure: Any) -> None:
    with discarding() as server:
        stage = Stage("b", "p/", "discarding", {"AWS_ENDPOINT_URL_S3": server.url}, {}, None)
        bench = Bench(stage, 1, 1, lambda _: None)
        bench.run([WORKLOAD], [Dummy("PLAIN", "dummy", OBJECTS)])
    assert [(absence.arm, absence.reason) for absence in bench.absences] == [("PLAIN", "KeyError: 'DUMMY_SECONDS'")]
    assert not bench.samples


def test_an_arm_that_fails_on_the_way_is_absent_with_all_its_rounds_and_the_others_go_on(measure: Any) -> None:
    bench = measure(PLAIN=0.0, tired=0.0)
    assert [(absence.arm, absence.reason) for absence in bench.absences] == [("tired", "RuntimeError: no more")]
    assert len(walls(bench, "PLAIN")) == 7
    assert not walls(bench, "tired")


def test_a_run_that_is_saved_is_read_back(measure: Any, tmp_path: Path) -> None:
    bench = measure(PLAIN=0.0)
    settings = Settings(True, 7, 2013, "discarding", "arrowseal bench", "2026-01-01T00:00:00+00:00")
    machine = Machine("processor", ["aes"], 2, 1, "Linux", "3.11", {}, {"seal": 1.0})
    run = Run(settings, machine, bench.samples, bench.absences)
    run.save(tmp_path)
    assert load(tmp_path) == run


def test_every_arm_has_its_script_and_its_name_once() -> None:
    assert all(arm.path.is_file() for arm in ARMS)
    assert len({arm.name for arm in ARMS}) == len(ARMS)


@pytest.mark.parametrize(
    "words",
    [
        ["--rounds", "0"],
        ["--latency", "fast"],
        ["--bandwidth", "1GB"],
        ["--bucket", "lake"],
        ["--arm", "no such arm"],
        ["--endpoint-url", "https://s3.us-east-1.amazonaws.com"],
    ],
)
def test_what_makes_no_sense_is_refused_with_the_exit_code_of_misuse(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert arrowseal.cli.main(["bench", *words]) == arrowseal.cli.MISUSED
    assert capfd.readouterr().err


@pytest.mark.parametrize("text", ["20", "0.02", "20 minutes"])
def test_a_latency_has_a_unit_since_20_seconds_are_a_thousand_times_what_is_meant(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it like 20ms"):
        arrowseal.cli.bench.seconds(text)


@pytest.mark.parametrize("option", ["--output", "--results"])
def test_a_folder_that_the_report_cannot_go_to_is_told_before_the_work(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("arrowseal.bench.stage.stage", lambda *_: pytest.fail("the work began"))
    Path("a-file").touch()
    assert arrowseal.cli.main(["bench", "--quick", option, "a-file"]) == arrowseal.cli.FAILED
    assert "a-file: File exists" in capsys.readouterr().err
