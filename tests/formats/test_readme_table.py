"""The README says what the tests prove."""

from __future__ import annotations

from table import BLOCK, README, rewritten


def test_the_readme_has_the_table_of_the_rows_that_are_tested() -> None:
    text = README.read_text()
    assert BLOCK.search(text)
    assert rewritten(text) == text, "run: python tests/formats/table.py"
