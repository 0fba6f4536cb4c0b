"""Reports of benchmark runs: tables, text, Markdown, README lines and the page, of runs that were made up."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.bench import charts, page, report
from arrowseal.bench.arms import ARMS
from arrowseal.bench.losses import comparisons
from arrowseal.bench.results import results
from arrowseal.bench.samples import Absence, Run, Sample, load
from arrowseal.text_tables import WIDTH
from made_up_runs import made_up_run, with_everything

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rows(run: Run) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["operation"], row["workload"], row["arm"]): row for row in report.summarise(run).to_pylist()}


def with_samples(run: Run, changed: Callable[[Sample], Sample]) -> Run:
    return replace(run, samples=[changed(sample) for sample in run.samples])


def with_walls(walls: dict[str, list[float]]) -> Run:
    """One read, of which each arm takes these seconds, round by round."""
    one = next(sample for sample in made_up_run().samples if sample.operation == "read")
    samples = [
        replace(one, arm=arm, round=number, wall_seconds=wall)
        for arm, seconds in walls.items()
        for number, wall in enumerate(seconds)
    ]
    return replace(made_up_run(), samples=samples)


def exchanged(sample: Sample) -> Sample:
    return replace(sample, arm={"PLAIN": "CSE V3", "CSE V3": "PLAIN"}.get(sample.arm, sample.arm))


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """The third round was slow for both: the medians, 2 and 2, would give 1."""
    summary = rows(with_walls({"PLAIN": [1.0, 2.0, 50.0], "CSE V3": [1.5, 2.0, 100.0]}))
    row = summary["read", "object 10 KB", "CSE V3"]
    assert (row["wall_ratio"], row["wall_ratio_low"], row["wall_ratio_high"]) == pytest.approx((1.5, 1.0, 2.0))
    assert (row["wall_seconds"], row["wall_seconds_low"], row["wall_seconds_high"]) == (2.0, 1.5, 100.0)
    assert summary["read", "object 10 KB", "PLAIN"]["wall_ratio"] is None


def test_exchanging_the_names_of_plain_and_cse_inverts_the_result() -> None:
    run = made_up_run(rounds=8)
    summary, swapped = rows(run), rows(with_samples(run, exchanged))
    for (operation, workload, arm), row in summary.items():
        other = swapped[operation, workload, {"PLAIN": "CSE V3", "CSE V3": "PLAIN"}.get(arm, arm)]
        own = ("wall_seconds", "wall_seconds_low", "wall_seconds_high", "megabytes_per_second", "requests", "bytes_up")
        assert [row[name] for name in own] == [other[name] for name in own]
    for operation in ("read", "write"):
        for workload in ("object 10 KB", "object 64,000 KB"):
            row, other = (each[operation, workload, "CSE V3"] for each in (summary, swapped))
            for measure in ("wall_ratio", "cpu_ratio"):
                ends = (row[measure], row[f"{measure}_high"], row[f"{measure}_low"])
                inverted = (other[measure], other[f"{measure}_low"], other[f"{measure}_high"])
                assert inverted == pytest.approx([1 / end for end in ends], rel=1e-12)


def test_cases_stand_as_measured_and_arms_as_in_their_list() -> None:
    summary = report.summarise(with_everything()).to_pylist()
    order = [arm.name for arm in ARMS]
    first = [row["arm"] for row in summary if (row["operation"], row["workload"]) == ("read", "object 10 KB")]
    assert first == sorted(first, key=order.index)
    assert [row["workload"] for row in summary][:1] == ["object 10 KB"]
    assert {row["arm"] for row in summary} == set(order)


def test_an_arm_that_is_not_in_the_list_comes_last() -> None:
    run = made_up_run(arms=("PLAIN", "CSE V3", "a new one"))
    assert [row["arm"] for row in report.summarise(run).to_pylist()][:3] == ["PLAIN", "CSE V3", "a new one"]


def test_faces_are_cases_of_their_own() -> None:
    run = made_up_run(sizes=(), faces=("pandas", "polars"), arms=("PLAIN", "CSE V3", "polars native"))
    summary = report.summarise(run).to_pylist()
    native = [row for row in summary if row["arm"] == "polars native"]
    assert {row["face"] for row in native} == {"polars"}
    plain = next(row for row in summary if (row["arm"], row["face"]) == ("PLAIN", "polars"))
    assert native[0]["wall_ratio"] == pytest.approx(native[0]["wall_seconds"] / plain["wall_seconds"], rel=0.15)


def test_without_a_plain_arm_there_are_no_ratios_and_the_report_says_so() -> None:
    run = made_up_run(arms=("CSE V3", "boto3"))
    assert {row["wall_ratio"] for row in report.summarise(run).to_pylist()} == {None}
    for shown in (report.text(run), report.results_markdown(run, [])):
        assert "No PLAIN arm in any case: hence no ratio to it." in flat(shown)
    assert not any("PLAIN" in line for line in report.telling_lines(run))


def flat(text: str) -> str:
    return " ".join(text.replace("\\", "").split())


def test_where_plain_is_missing_in_one_case_that_case_is_named() -> None:
    run = made_up_run()
    gone = ("PLAIN", "read", "object 10 KB")
    samples = [sample for sample in run.samples if (sample.arm, sample.operation, sample.workload) != gone]
    assert "No PLAIN arm in read object 10 KB: hence" in flat(report.text(replace(run, samples=samples)))


@pytest.mark.parametrize("rounds", [1, 3, 6])
def test_fewer_than_seven_rounds_are_said_plainly(rounds: int) -> None:
    run = made_up_run(rounds=rounds)
    for shown in (report.text(run), report.results_markdown(run, []), page.html(run, [])):
        assert f"Only {rounds} round{'s' * (rounds != 1)}, fewer than 7" in flat(shown)


def test_seven_rounds_are_enough() -> None:
    assert "fewer than" not in report.text(made_up_run(rounds=7))


def test_what_was_not_measured_is_listed_with_its_reason() -> None:
    reason = "not supported by this server"
    absences = [
        Absence("SSE-C", "read a", reason),
        Absence("SSE-C", "write a", reason),
        Absence("s3fs", "", "no | pip"),
    ]
    run = replace(made_up_run(), absences=absences)
    assert f"- SSE-C (read a; write a): {reason}\n- s3fs: no | pip\n" in report.text(run)
    assert f"- SSE-C (read a; write a): {reason}\n- s3fs: no \\| pip\n" in report.results_markdown(run, [])
    assert f"<li>SSE-C (read a; write a): {reason}</li><li>s3fs: no | pip</li>" in page.html(run, [])


def test_losses_are_those_whose_interval_lies_wholly_above_one() -> None:
    walls = {
        "PLAIN": [1.0] * 7,
        "CSE V3": [1.2, 1.3, 1.2, 1.2, 1.3, 1.2, 1.1],
        "boto3": [0.5, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5],  # less in the median, and not surely
        "s3fs": [9.0] * 7,
    }
    found = {each.against: each for each in comparisons(results(with_walls(walls))) if each.measure == "wall_seconds"}
    assert {against for against, each in found.items() if each.lost} == {"PLAIN"}
    assert {against for against, each in found.items() if each.won} == {"s3fs"}
    text = flat(report.text(with_walls(walls)))
    assert "More wall time than PLAIN (in 1 of 1 cases). The most beside PLAIN: 1.20 (1.10 to 1.30) times" in text


def test_data_key_reuse_is_no_opponent_of_cse_but_v2_is() -> None:
    run = made_up_run(arms=("CSE V2", "CSE V3", "CSE V3, data key reuse"))
    assert {each.against for each in comparisons(results(run))} == {"CSE V2"}


def test_a_run_in_which_nothing_is_lost_says_that() -> None:
    run = with_walls({"PLAIN": [2.0] * 7, "CSE V3": [1.0] * 7})
    samples = [replace(sample, first_row_seconds=None, peak_memory_bytes=5) for sample in run.samples]
    assert "In no case, beyond the interval." in report.text(replace(run, samples=samples))


def test_modelled_calls_have_a_column_of_their_own() -> None:
    run = made_up_run(arms=("PLAIN", "SSE-KMS", "CSE V3"), sizes=(), faces=("pandas",), files=(1_000,))
    row = rows(run)["write", "1,000 Parquet files", "SSE-KMS"]
    assert (row["kms_calls"], row["kms_calls_modelled"]) == (0.0, 1_000.0)
    line = next(line for line in report.results_markdown(run, []).splitlines() if line.startswith("| SSE-KMS"))
    header = next(line for line in report.results_markdown(run, []).splitlines() if "KMS model" in line and "|" in line)
    cells, names = ([cell.strip() for cell in each.split("|")] for each in (line, header))
    assert (cells[names.index("KMS calls")], cells[names.index("KMS model")]) == ("0", "1")
    assert "KMS model: calls that S3 would make inside, which no client sees; a model, not a count" in flat(
        report.text(run)
    )


@pytest.mark.parametrize("overlap", [1, 10])
def test_sections_add_up_to_the_wall_time_side_by_side_or_not(overlap: int) -> None:
    times = {"wall_seconds": 1.0, "kms_seconds": 0.1, "s3_seconds": 0.3, "crypto_seconds": 0.2, "decode_seconds": 0.2}
    run = made_up_run(arms=("CSE V3",), sizes=(10_000,), rounds=3)
    changed = {name: seconds * (1 if name == "wall_seconds" else overlap) for name, seconds in times.items()}
    run = with_samples(run, lambda sample: replace(sample, **changed))
    for arms in results(run).values():
        sections = arms["CSE V3"].sections()
        assert sum(sections.values()) == pytest.approx(1.0)
        assert sections["s3"] == pytest.approx(0.3 if overlap == 1 else 3 / 8)
        assert sections["other"] == pytest.approx(0.2 if overlap == 1 else 0.0, abs=1e-9)


def test_the_kms_calls_of_reads_are_told_as_those_of_a_first_read_which_the_times_leave_out() -> None:
    run = with_samples(
        made_up_run(sizes=(), faces=("pandas",), files=(10,)), lambda each: replace(each, kms_calls=10.0)
    )
    read, written = report.telling_lines(run)[0].split(". To write ")
    assert "times after a first read with 10 KMS calls" in read
    assert "times and 10 KMS calls" in written
    assert "those of a first run, counted on the wire and not timed" in report.results_markdown(run, [])


def test_kms_calls_that_nobody_could_count_are_not_told_as_none() -> None:
    run = with_samples(
        made_up_run(sizes=(), faces=("pandas",), files=(10,)), lambda each: replace(each, kms_calls=None)
    )
    assert "KMS" not in report.telling_lines(run)[0]


def test_ratios_measured_before_agree_or_it_is_said_why_not() -> None:
    obstore = [0.15, 0.17, 0.18, 0.18, 0.19, 0.2, 0.2]
    run = with_walls({"boto3": [1.0] * 7, "obstore": obstore, "official client": [9.0] * 7})
    alike = replace(run, settings=replace(run.settings, server="versitygw at home"))
    told = {"what differs: then on versitygw, now on made up, no server": run, "nothing of what is known": alike}
    for reason, each in told.items():
        markdown = report.results_markdown(each, [])
        assert "| read 10 KB: obstore, times boto3 | 0.18 | 0.18 (0.15 to 0.20) | agrees |" in markdown
        assert f"| 3.46 | 9.00 (9.00 to 9.00) | now above; {reason}" in markdown
    assert "Measured before" not in report.results_markdown(made_up_run(sizes=(1_000_000,)), [])


def test_the_terminal_gets_lines_of_100_columns() -> None:
    lines = report.text(with_everything()).splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_the_same_saved_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = with_everything()
    run.save(tmp_path / "run")
    again = load(tmp_path / "run")
    for made in (report.results_markdown, page.html):
        assert made(again, []) == made(run, [])
    assert report.text(again) == report.text(run)


def test_results_name_the_command_the_machine_and_the_server() -> None:
    markdown = flat(report.results_markdown(made_up_run(), []))
    for said in (
        "arrowseal bench --output results",
        "made up, no processor",
        "made up, no server",
        "aes, vaes",
        "7 rounds",
    ):
        assert said in markdown
    assert "| boto3 | 1.44.0 |" in markdown


def test_a_server_that_compresses_text_is_not_held_against_plain_objects() -> None:
    run = with_samples(made_up_run(), lambda sample: replace(sample, format="parquet"))
    text = with_samples(run, lambda sample: replace(sample, format="csv"))
    for each, told in ((run, False), (text, True)):
        on_seaweedfs = replace(each, settings=replace(each.settings, server="embedded SeaweedFS, embedded KMS"))
        assert ("SeaweedFS compresses" in flat(report.results_markdown(on_seaweedfs, []))) is told
    elsewhere = replace(text, settings=replace(text.settings, server="versitygw"))
    assert "SeaweedFS compresses" not in flat(report.results_markdown(elsewhere, []))


def test_what_a_library_says_is_no_markup() -> None:
    odd = "<b>a|b</b> [x](y) *z*"
    run = replace(made_up_run(), absences=[Absence("s3fs", "", odd)])
    assert r"- s3fs: \<b\>a\|b\</b\> \[x\](y) \*z\*" in report.results_markdown(run, [])
    shown = page.html(run, [])
    assert "&lt;b&gt;a|b&lt;/b&gt;" in shown
    assert odd not in shown


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Path]]:
    """A run with a bit of everything, and its charts."""
    arms = ("PLAIN", "SSE-KMS", "CSE V3", "CSE V3, data key reuse", "official client")
    run = made_up_run(arms=arms, faces=("pandas",), files=(10,))
    return run, charts.draw(run, tmp_path_factory.mktemp("charts"))


def test_a_chart_is_linked_as_given_but_never_by_an_absolute_path(drawn: tuple[Run, list[Path]]) -> None:
    run, paths = drawn
    path, folder = paths[0], paths[0].parent
    assert f"]({path.name})" in report.results_markdown(run, [path])
    assert f"]({folder.name}/{path.name})" in report.results_markdown(run, [path.relative_to(folder.parent)])
    assert str(folder) not in report.results_markdown(run, paths)


def test_every_chart_has_its_sentence_and_the_page_holds_it(drawn: tuple[Run, list[Path]]) -> None:
    run, paths = drawn
    assert [path.stem for path in paths] == ["ratio-by-size", "cost-breakdown", "kms-calls", "throughput"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    shown = page.html(run, paths)
    pictures = re.findall(r'<img alt="[^"]+" src="data:image/png;base64,[A-Za-z0-9+/=]+">\n<p>[A-Z][^<]+\.</p>', shown)
    assert len(pictures) == len(paths)


def test_the_page_needs_no_other_host_and_no_script(drawn: tuple[Run, list[Path]]) -> None:
    shown = page.html(*drawn)
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", re.sub(r"base64,[^\"]+", "", shown))


def test_what_has_no_data_is_not_drawn(tmp_path: Path) -> None:
    run = made_up_run(arms=("boto3", "obstore"))
    assert charts.draw(run, tmp_path) == []
    only_objects = [path.stem for path in charts.draw(made_up_run(sizes=(10_000,)), tmp_path)]
    assert only_objects == ["ratio-by-size", "kms-calls", "throughput"]


def test_a_chart_is_drawn_of_one_operation_and_one_round(tmp_path: Path) -> None:
    run = made_up_run(rounds=1, sizes=(10_000,), faces=("pandas",))
    reads = replace(run, samples=[sample for sample in run.samples if sample.operation == "read"])
    assert len(charts.draw(reads, tmp_path)) == 4


def test_the_telling_lines_are_about_the_largest_objects_the_most_files_and_the_worst_loss() -> None:
    run = with_everything()
    summary = rows(run)
    largest, files, worst = report.telling_lines(run)
    row = summary["read", "object 64,000 KB", "CSE V3"]
    assert f"to read 64 MB, {row['wall_ratio']:.2f} ({row['wall_ratio_low']:.2f} to" in largest
    assert "1,000 KMS calls" in files
    assert "with data key reuse" in files
    assert "times what obstore takes" in worst


def test_a_run_without_any_row_is_still_a_report() -> None:
    empty = replace(made_up_run(), samples=[])
    assert report.telling_lines(empty) == []
    assert report.summarise(empty).num_rows == 0
    assert "SSE-C: not supported by this server" in report.results_markdown(empty, [])
    assert "Nothing to compare" in report.text(empty)
