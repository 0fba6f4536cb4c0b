"""Signals that ask the command to end: it ends as by Ctrl-C, so that it takes back what is half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
"""What `timeout`, service managers and containers end a process with, and a terminal that is closed."""


class Terminated(KeyboardInterrupt):
    """A signal other than that of Ctrl-C ended the command; `number` is which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def ending_by_signals() -> Iterator[None]:
    """Inside this block a signal that asks the process to end raises `Terminated`; those that come while it cleans up
    do nothing. Signals that are ignored (`nohup`) or that somebody listens to stay as they are.
    """
    ended = False

    def end(number: int, _: object) -> None:
        nonlocal ended
        if not ended:  # `timeout` sends its signal twice: to the process, and to its group
            ended = True
            raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
