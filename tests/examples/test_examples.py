"""What the documentation shows runs as it stands there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import arrowseal
import arrowseal.pandas as spd
from arrowseal.local import LocalServers

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[2] / "README.md"
# Programs, not modules: importing them would start a server or the command.
PROGRAMS = {"arrowseal.__main__", "arrowseal.local.run_moto", "arrowseal.local.run_seaweedfs"}
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(arrowseal.__path__, "arrowseal.")
    if found.name not in PROGRAMS and not found.name.endswith("._core")
)


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServers]:
    """The bucket, the alias and the region of the README's example, on servers of this machine."""
    with LocalServers(bucket="lake", alias="alias/tables", region="eu-west-1") as servers:
        for name, value in servers.environ.items():
            monkeypatch.setenv(name, value)
        yield servers


def readme_examples() -> list[str]:
    """The README's Python."""
    examples: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) == 4
    return examples


def test_the_ten_lines_of_the_readme_run_as_they_stand(lake: LocalServers, capsys: pytest.CaptureFixture[str]) -> None:
    flights = pd.DataFrame({"dest": ["ORD", "LAX", "ORD"], "arr_delay": [3.0, -2.0, 5.0], "tail": ["a", "b", "c"]})
    spd.to_parquet(flights, "s3://lake/flights.parquet", client=lake.client())
    exec(readme_examples()[0], {})
    shown = capsys.readouterr().out
    assert "CSE V3" in shown
    assert "[3 rows x" in shown, "a row for each of read_parquet, to_csv and head"
    late = spd.read_csv("s3://lake/late.csv", client=lake.client())
    assert late.to_dict("list") == {"dest": ["LAX", "ORD"], "arr_delay": [-2.0, 4.0]}


def test_the_example_of_parts_and_datasets_runs_as_it_stands(
    lake: LocalServers, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(readme_examples()[1], {})
    shown = capsys.readouterr().out
    assert shown.startswith("2 files")
    assert "12" in shown
    assert "22.75" in shown, "the sum over both partitions"


def test_the_example_of_large_objects_and_many_runs_as_it_stands(
    lake: LocalServers, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    exec(readme_examples()[2], names)
    assert capsys.readouterr().out == "b'day 30'\n"
    puts = [
        record for record in names["client"].counters if record.key.startswith("days/") and record.operation == "put"
    ]
    assert (len(puts), sum(record.kms_calls for record in puts)) == (31, 1)
    assert lake.client().get("s3://lake/hours.csv") == b"0\n12\n"


def test_the_example_of_a_table_of_athena_runs_as_it_stands(
    lake: LocalServers, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(readme_examples()[3], {})
    shown = capsys.readouterr().out
    assert shown.startswith(
        "CREATE EXTERNAL TABLE IF NOT EXISTS `trips` (\n  `fare` double\n)\nPARTITIONED BY (`year` int)"
    )
    assert f"'kms_key'='{lake.kms_key_arn}'" in shown
    assert shown.count("PARTITION (`year`=") == 2


def test_what_the_readme_links_to_and_its_test_line_runs_is_in_the_source_distribution() -> None:
    settings = tomllib.loads((README.parent / "pyproject.toml").read_text())
    included = [one["path"] for one in settings["tool"]["maturin"]["include"] if one["format"] == "sdist"]
    files = {path.relative_to(README.parent).as_posix() for pattern in included for path in README.parent.glob(pattern)}
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert "tests/README.md" in links
    assert {*links, *settings["project"]["license-files"]} <= files
    assert {f"{folder}/" for folder in settings["tool"]["pytest"]["ini_options"]["testpaths"]} <= {
        f"{name.split('/')[0]}/" for name in files
    }


def test_the_switches_that_the_readme_names_exist() -> None:
    text = README.read_text()
    for name in re.findall(r"arrowseal\.([A-Za-z_0-9.]+)", text):
        target: object = arrowseal
        for part in name.rstrip(".").split("."):
            target = getattr(target, part)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0, f"see the captured output of {sys.executable} -m doctest"
