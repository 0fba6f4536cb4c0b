"""A lock that is free in a forked child.

A child has a copy of each lock, as it was at that moment, and of the threads only the one that forked: what another one
held there would stay held for ever.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class ForkLock:
    """`threading.Lock`, or what `make` gives, in each process its own. For `with` statements.

    Where a lock is taken several times for each small object, `threading.Lock` itself costs less.
    """

    __slots__ = ("__weakref__", "_lock", "_make")

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._lock = make()
        _locks.add(self)

    def renew(self) -> None:
        """Make it free, of whoever held it."""
        self._lock = self._make()

    # The methods of the lock, not ones that call them: Ctrl-C comes at the beginning or the end of a call, and a lock
    # that is taken by then stays taken. A block ends with the lock that it began with.

    @property
    def __enter__(self) -> Callable[[], bool]:
        return self._lock.__enter__  # type: ignore[no-any-return]

    @property
    def __exit__(self) -> Callable[..., None]:  # noqa: PYI036 - a property
        return self._lock.__exit__  # type: ignore[no-any-return]


_locks: Final[weakref.WeakSet[ForkLock]] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


os.register_at_fork(after_in_child=_renew_all)
