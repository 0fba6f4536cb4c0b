"""Every name of the notebook utility that this grew out of has its successors in the README, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import arrowseal

README = Path(__file__).parents[2] / "README.md"
NAMES = [
    "read_csv_df",
    "read_parquet_df",
    "write_csv_df",
    "write_parquet_df",
    "file_metadata",
    "metadata_df",
    "counters_df",
    "is_encrypted",
    "list_files",
    "kms_calls",
]


def successors() -> dict[str, list[str]]:
    """The rows of the table: what is here for each name there."""
    inside = re.search(r"<!-- utility:begin -->\n(.*?)<!-- utility:end -->", README.read_text(), re.DOTALL)
    assert inside is not None
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", inside[1], re.MULTILINE)
    return {name: re.findall(r"`arrowseal\.([\w.]+)`", here) for name, here in rows}


def test_every_name_has_its_row() -> None:
    assert list(successors()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_successors_of_a_name_exist(name: str) -> None:
    assert successors()[name]
    for path in successors()[name]:
        found: object = arrowseal
        for part in path.split("."):
            found = getattr(found, part)
        assert callable(found)
