"""Work that is called off: it ends at its next look, and cleans up undisturbed."""

from __future__ import annotations

import threading
from contextvars import copy_context

import pytest

from arrowseal.cancellation import (
    Cancellation,
    CancelledWork,
    also_cancelled_by,
    cancellation,
    cancelled_by,
    shielded,
)
from arrowseal.exceptions import StoreUnavailableError
from arrowseal.retries import Budget, Circuit, RetryOptions


def test_work_that_was_called_off_ends_at_its_next_look_and_its_cleaning_up_does_not() -> None:
    cancel = Cancellation()
    with cancelled_by(cancel):
        cancellation().check()
        cancel.cancel()
        with shielded():
            cancellation().check()
        with pytest.raises(CancelledWork):
            cancellation().check()
    cancellation().check()


def test_threads_are_called_off_through_a_copy_of_the_context() -> None:
    cancel, seen = Cancellation(), []
    with cancelled_by(cancel):
        thread = threading.Thread(target=copy_context().run, args=(lambda: seen.append(cancellation()),))
    thread.start()
    thread.join()
    assert seen == [cancel]


def test_an_outage_of_many_attempts_ends_in_its_own_error() -> None:
    circuit = Circuit()
    budget = Budget(RetryOptions(attempts=1_100, cap_seconds=0.0), circuit)
    for _ in range(1_099):
        budget.pause(StoreUnavailableError("503"))
        circuit.give()  # something else succeeds
    with pytest.raises(StoreUnavailableError, match="503"):
        budget.pause(StoreUnavailableError("503"))


def test_a_pause_before_a_retry_ends_when_the_work_is_called_off() -> None:
    cancel = Cancellation()
    budget = Budget(RetryOptions(base_seconds=1e6, cap_seconds=1e6, deadline_seconds=1e9))
    timer = threading.Timer(0.05, cancel.cancel)
    timer.start()
    with cancelled_by(cancel), pytest.raises(CancelledWork):  # otherwise it would sleep for days
        budget.pause(StoreUnavailableError("down"))


@pytest.mark.parametrize("outer", [False, True])
def test_a_pause_of_work_that_two_may_call_off_ends_when_either_does(*, outer: bool) -> None:
    caller, own = Cancellation(), Cancellation()
    budget = Budget(RetryOptions(base_seconds=1e6, cap_seconds=1e6, deadline_seconds=1e9))
    timer = threading.Timer(0.05, (caller if outer else own).cancel)
    timer.start()
    with cancelled_by(caller), also_cancelled_by(own), pytest.raises(CancelledWork):  # otherwise it sleeps for days
        budget.pause(StoreUnavailableError("down"))
