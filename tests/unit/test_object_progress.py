"""How far one object is: what the caller's function is told, and when there is a bar."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from arrowseal.counters import Counters
from arrowseal.exceptions import ConfigurationError, MissingExtraError
from arrowseal.location import ObjectLocation
from arrowseal.options import ClientOptions
from arrowseal.progress import (
    SILENT,
    ObjectBar,
    ReportedProgress,
    check_progress,
    in_notebook,
    object_progress,
    tracked,
)

HERE = ObjectLocation("lake", "2013/flights.csv")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def attach_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal as standard error. No fixture: pytest's own capture would take its place again."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def test_a_function_is_told_of_every_piece_and_of_a_new_beginning() -> None:
    told: list[tuple[int, int | None, ObjectLocation]] = []
    done = ReportedProgress(lambda *how_far: told.append(how_far), HERE)
    done.begin(10)
    done.advance(4)
    done.begin(10)
    done.advance(4)
    done.advance(6)
    assert told == [(0, 10, HERE), (4, 10, HERE), (0, 10, HERE), (4, 10, HERE), (10, 10, HERE)]


def test_a_bar_has_a_name_a_rate_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach_terminal(monkeypatch)
    bar = ObjectBar("reading flights.csv")
    bar.begin(3_000_000)
    bar.advance(1_500_000)
    bar.close()
    bar.advance(1_500_000)  # a thread that was late
    text = terminal.getvalue()
    assert "reading flights.csv:   0%" in text
    assert "B/s" in text
    assert "100%" not in text
    assert text.endswith("\r"), "the line is empty again"


def test_a_bar_of_a_dataset_has_the_name_of_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach_terminal(monkeypatch)
    progress = object_progress(True, "writing", ObjectLocation("lake", "trips/"))
    progress.begin(3_000_000)
    progress.advance(1_500_000)
    progress.close()
    assert "writing s3://lake/trips/:   0%" in terminal.getvalue()


def test_what_comes_in_one_piece_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach_terminal(monkeypatch)
    bar = ObjectBar("reading")
    bar.begin(5)
    bar.advance(5)
    bar.close()
    assert terminal.getvalue() == ""


def test_a_bar_is_shown_only_where_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    attach_terminal(monkeypatch)
    assert isinstance(object_progress(True, "reading", HERE), ObjectBar)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert object_progress(True, "reading", HERE) is SILENT
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=type("ZMQInteractiveShell", (), {})))
    assert in_notebook()
    assert isinstance(object_progress(True, "reading", HERE), ObjectBar)


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_what_is_no_progress_is_refused_before_any_request(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="bytes_done, bytes_total, location"):
        check_progress(wrong)


def test_bars_without_tqdm_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(MissingExtraError, match=r"arrowseal\[progress\]"):
        ClientOptions.checked(commitment_policy=None, encryption_context=None, progress=True)


def test_after_the_block_the_operation_tells_whom_it_told_before() -> None:
    with Counters().operation("get", HERE) as operation:
        with tracked(operation, lambda *_: None, "reading", HERE):
            inner = operation.progress
            with tracked(operation, False, "reading", HERE):
                assert operation.progress is inner
        assert operation.progress is SILENT
