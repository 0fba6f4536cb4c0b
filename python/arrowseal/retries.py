"""One budget for what may pass by itself: attempts with growing, jittered pauses, within a deadline."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Final, TypeVar

from arrowseal.cancellation import cancellation
from arrowseal.exceptions import (
    ClockSkewError,
    ConfigurationError,
    ExpiredCredentialsError,
    ThrottledError,
    UnavailableError,
)
from arrowseal.fork_lock import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
_jitter: Final = random.SystemRandom()
_DOUBLINGS: Final = 64
"""Beyond any cap by then; a thousand more and no float holds it."""


@dataclass(frozen=True)
class RetryOptions:
    """How long something that may pass is tried again. Raises `ConfigurationError` for values that cannot be.

    `attempts` counts those in a row that bring nothing; whatever progress is made starts the count anew. Pauses are
    drawn between 0 and `base_seconds`, doubled each time up to `cap_seconds`: many clients must not return at once.
    """

    attempts: int = 6
    deadline_seconds: float = 120.0
    base_seconds: float = 0.1
    cap_seconds: float = 5.0

    def __post_init__(self) -> None:
        seconds = self.deadline_seconds, self.base_seconds, self.cap_seconds
        if not isinstance(self.attempts, Integral) or not all(isinstance(number, Real) for number in seconds):
            raise ConfigurationError("attempts is a whole number, and seconds are numbers")
        if self.attempts < 1 or min(seconds) < 0:
            raise ConfigurationError("retries take at least one attempt, and seconds that are not negative")


STORE_RETRIES: Final = RetryOptions()
"""For S3: a broken connection or a 503 is gone within seconds, or an outage."""
THROTTLED_KMS: Final = RetryOptions(attempts=40, deadline_seconds=120.0, cap_seconds=5.0)
"""For throttled KMS calls: a quota shared by a whole account frees up by waiting, and only so."""
UNAVAILABLE_KMS: Final = RetryOptions(attempts=3, deadline_seconds=30.0)
"""For KMS calls that fail otherwise, on top of boto3's own attempts."""


class Circuit:
    """What keeps a client that is refused again and again from adding to the load: shared by all its undertakings.

    Every repetition takes a token, every success gives one back. Without tokens nothing is repeated.
    """

    TOKENS: Final = 100

    def __init__(self) -> None:
        self._tokens = self.TOKENS
        self._lock = ForkLock()

    def take(self) -> bool:
        """Whether one more repetition is allowed."""
        with self._lock:
            self._tokens -= self._tokens > 0
            return self._tokens > 0

    def give(self) -> None:
        """Something succeeded."""
        if self._tokens < self.TOKENS:
            with self._lock:
                self._tokens += self._tokens < self.TOKENS


class Budget:
    """What is left of the attempts and the time of one undertaking. Not shared between threads."""

    def __init__(self, options: RetryOptions, circuit: Circuit | None = None) -> None:
        self._options = options
        self._circuit = circuit or Circuit()
        self._deadline = time.monotonic() + options.deadline_seconds
        self._failed = 0
        self._renewed = False

    def progressed(self) -> None:
        """Something was achieved: attempts count from the start again."""
        self._failed = 0
        self._circuit.give()

    def pause(self, error: Exception) -> None:
        """Wait before the next attempt, or raise `error` if there is to be none."""
        try:
            seconds = self._pause_after(error)
            if seconds is None:
                raise error
        finally:
            del error  # which holds this frame if it was raised here
        cancellation().sleep(seconds)

    def _pause_after(self, error: Exception) -> float | None:
        """How long to wait before the next attempt; None if there is to be none."""
        if isinstance(error, ExpiredCredentialsError | ClockSkewError):
            if self._renewed:
                return None
            self._renewed = True
        self._failed += 1
        doubled = min(self._failed - 1, _DOUBLINGS)
        longest = min(self._options.cap_seconds, self._options.base_seconds * 2**doubled)
        seconds = _jitter.uniform(0, longest)
        if self._failed >= self._options.attempts or time.monotonic() + seconds > self._deadline:
            return None
        return seconds if self._circuit.take() else None


def call_kms(call: Callable[[], Result], retried: Callable[[], None]) -> Result:
    """The result of a KMS call, which is repeated while KMS throttles it or is unavailable; `retried` counts."""
    budgets = Budget(THROTTLED_KMS), Budget(UNAVAILABLE_KMS)
    while True:
        try:
            return call()
        except UnavailableError as error:
            budgets[0 if isinstance(error, ThrottledError) else 1].pause(error)
            retried()
