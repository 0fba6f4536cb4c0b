"""The words of `legacy=`: what each admits, and that nothing else is a word."""

from __future__ import annotations

from typing import Any

import pytest

from arrowseal import Client
from arrowseal.exceptions import ConfigurationError
from arrowseal.legacy import check_legacy


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (False, set()),
        ((), set()),
        (True, {"wrapping", "content"}),
        ("wrapping", {"wrapping"}),
        ("content", {"content"}),
        (("content", "wrapping"), {"wrapping", "content"}),
        (["content"], {"content"}),
        (frozenset({"wrapping"}), {"wrapping"}),
    ],
)
def test_each_way_of_saying_it_means_what_it_says(value: Any, words: set[str]) -> None:
    assert check_legacy(value) == words
    assert Client("alias/a", legacy=value).options.legacy == words


@pytest.mark.parametrize(
    "value", ["", "all", "Wrapping", "wrapping,content", ("kms",), 1, None, {"content": True}, b"content"]
)
def test_anything_else_is_refused_before_any_request(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="legacy="):
        check_legacy(value)
