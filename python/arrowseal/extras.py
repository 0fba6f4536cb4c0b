"""Optional dependencies, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from arrowseal.exceptions import MissingExtraError


def require(module: str, extra: str) -> Any:
    """The module of that name, imported now. The result is untyped: the module may not be there for a type checker.

    Raises:
        MissingExtraError: the package is not installed; the message names the extra that brings it.

    Example:
        >>> require("json", "pandas").dumps([1])
        '[1]'
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # The package is there and broken: its own words help more.
        message = f"{package} is not installed; it comes with: pip install 'arrowseal[{extra}]'"
        raise MissingExtraError(message) from error
