"""The report of a job loses no row, whatever the disk takes of it at a time."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from arrowseal import ObjectLocation
from arrowseal.operations.report import Journal, ObjectResult, earlier_results

if TYPE_CHECKING:
    from pathlib import Path


class SlowDisk:
    """A file that takes a few bytes at a time, and none at all while it is full."""

    def __init__(self, path: Path, left: int) -> None:
        self._path = path
        self.left = left

    def write(self, data: bytes) -> int:
        """How many bytes it took."""
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = data[: min(7, self.left)]
        self.left -= len(taken)
        with self._path.open("ab") as file:
            return file.write(taken)

    def close(self) -> None:
        """Nothing is open."""


def row(number: int) -> ObjectResult:
    return ObjectResult(location=ObjectLocation("lake", f"a/{number}"), state="done", asked="x", key="kéy")


def test_a_row_that_is_written_piece_by_piece_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report"
    with Journal(report) as journal:
        monkeypatch.setattr(journal, "_file", SlowDisk(report, 2**20))
        journal.add(row(1))
        journal.add(row(2))
    assert list(earlier_results(report, "x").values()) == [row(1), row(2)]


@pytest.mark.parametrize("left", [0, 5, 30])
def test_a_full_disk_costs_the_row_that_it_tore_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    report = tmp_path / "report"
    with Journal(report) as journal:
        journal.add(row(1))
        disk = SlowDisk(report, left)
        monkeypatch.setattr(journal, "_file", disk)
        with pytest.raises(OSError, match="No space left"):
            journal.add(row(2))
        disk.left = 2**20
        journal.add(row(3))
    assert list(earlier_results(report, "x").values()) == [row(1), row(3)]
    with Journal(report) as journal:
        journal.add(row(4))
    assert list(earlier_results(report, "x").values()) == [row(1), row(3), row(4)]
