"""A raw key and where it comes from: given as bytes, by a function, or in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from arrowseal.data_keys import DataKeyCache, UnwrappedKeys
from arrowseal.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

KeySource: TypeAlias = "bytes | Callable[[], bytes] | os.PathLike[str]"
"""A key: its bytes, a function that answers them, or the path of a file that has them."""

Parsed = TypeVar("Parsed")

_LARGEST_FILE: Final = 65_536


class RawKey(Generic[Parsed]):
    """A key in memory of the core. Bytes are taken over at once and not kept here; a function or a file is asked at the
    first use, and again when the answer is five minutes old. Safe to share between threads; a forked child asks anew.

    Raises `ConfigurationError` for what is no such key, or a file that cannot be read.
    """

    def __init__(self, source: KeySource, parse: Callable[[bytes], Parsed], what: str) -> None:
        self._parse = parse
        self._what = what
        self._fixed: Parsed | None = None
        self.reference: Callable[[], bytes] | os.PathLike[str] | None = None
        """The function or the path; None for a key that was given as bytes."""
        if isinstance(source, bytes):
            self._fixed = self._parsed([source])
        elif isinstance(source, os.PathLike) or callable(source):
            self.reference = source
        else:
            raise ConfigurationError(
                f"{what} is given as bytes, as a function that answers them or as a pathlib.Path, not as "
                f"{type(source).__name__}"
            )
        self._held: UnwrappedKeys[Any] = UnwrappedKeys(DataKeyCache(max_keys=1))

    def get(self) -> Parsed:
        """The key. Raises `ConfigurationError`, and what the function raises."""
        if self._fixed is not None:
            return self._fixed
        parsed: Parsed = self._held.get("key", 1, lambda: self._parsed([self._asked()]))
        return parsed

    def _asked(self) -> Any:
        if not isinstance(self.reference, os.PathLike):
            assert self.reference is not None  # noqa: S101 - bytes are `_fixed`
            return self.reference()
        try:
            with Path(self.reference).open("rb") as file:
                return file.read(_LARGEST_FILE)
        except OSError as error:
            raise ConfigurationError(f"{self._what} {self!r} cannot be read: {error.strerror}") from None

    def _parsed(self, held: list[Any]) -> Parsed:
        """Emptied before anything is raised, so that no frame of a traceback shows the key."""
        if not isinstance(held[0], bytes):
            kind = type(held.pop()).__name__
            raise ConfigurationError(f"{self._what} {self!r} is bytes, not {kind}")
        try:
            return self._parse(held.pop())
        except ValueError as error:
            message = str(error)
        raise ConfigurationError(f"{self._what} {self!r}: {message}")

    def __repr__(self) -> str:
        if self.reference is None:
            return "(bytes)"
        if isinstance(self.reference, os.PathLike):
            return f"(file {os.fspath(self.reference)})"
        return f"(function {getattr(self.reference, '__qualname__', type(self.reference).__name__)})"

    def __reduce__(self) -> Any:
        raise TypeError("a raw key is not pickled")
