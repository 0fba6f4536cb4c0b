"""Progress: a bar on a terminal, silence elsewhere, and lines either way."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from arrowseal import progress as module
from arrowseal.progress import BarProgress, SilentProgress, progress

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_nothing_but_lines_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2, "work") as done:
        done.advance(doing="this")
        done.write("a line")
    assert isinstance(done, SilentProgress)
    assert tuple(capsys.readouterr()) == ("a line\n", "")


def test_on_a_terminal_a_bar_is_shown_and_lines_stay_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(2, "work") as done:
        done.advance(0, doing="this")
        done.advance(2)
        done.write("a line")
    assert isinstance(done, BarProgress)
    assert "work" in terminal.getvalue()
    assert "this" in terminal.getvalue()
    assert capsys.readouterr().out == "a line\n"


def test_without_tqdm_or_when_not_wanted_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(progress(1, "work", show=False), SilentProgress)
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert isinstance(progress(1, "work"), SilentProgress)
