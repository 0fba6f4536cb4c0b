"""Which client a call without `client=` uses."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import os
import signal
import threading

import pytest

import arrowseal
from arrowseal import Client
from arrowseal.defaults import default_client
from arrowseal.exceptions import ConfigurationError


def seen_in_thread() -> Client:
    seen: list[Client] = []
    thread = threading.Thread(target=lambda: seen.append(default_client()))
    thread.start()
    thread.join()
    return seen[0]


def test_configure_holds_for_every_thread() -> None:
    client = arrowseal.configure("alias/a")
    assert default_client() is client
    assert seen_in_thread() is client


def test_using_holds_for_its_block_and_gives_way_after_an_error() -> None:
    outer, inner = arrowseal.configure("alias/outer"), Client("alias/inner")
    seen = []
    with contextlib.suppress(ZeroDivisionError), arrowseal.using(inner):
        seen.append(default_client())
        raise ZeroDivisionError
    assert seen == [inner]
    assert default_client() is outer


def test_new_threads_do_not_see_a_using_block_unless_they_run_in_its_context() -> None:
    outer, inner = arrowseal.configure("alias/outer"), Client("alias/inner")
    with arrowseal.using(inner):
        assert seen_in_thread() is outer
        assert contextvars.copy_context().run(default_client) is inner


def test_reset_forgets_the_configured_client() -> None:
    arrowseal.configure("alias/a")
    arrowseal.reset()
    assert default_client().options.kms_key_id is None


def test_a_child_forked_while_another_thread_makes_the_default_client_makes_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slowly() -> Client:
        begun.set()
        goes_on.wait(30)
        return Client()

    arrowseal.reset()
    monkeypatch.setattr("arrowseal.defaults.Client", slowly)
    thread = threading.Thread(target=default_client)
    thread.start()
    begun.wait(30)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)  # ends one that waits for ever
        monkeypatch.undo()
        os._exit(0 if isinstance(default_client(), Client) else 1)
    exit_status = os.waitpid(child, 0)[1]
    goes_on.set()
    thread.join()
    assert exit_status == 0


def test_configure_takes_a_client_as_well() -> None:
    client = Client("alias/a")
    assert arrowseal.configure(client) is client
    assert default_client() is client


def test_configure_shows_the_arguments_of_a_client_and_that_it_gives_one() -> None:
    shown = inspect.signature(arrowseal.configure)
    assert shown.parameters == inspect.signature(Client).parameters
    assert shown.return_annotation is Client


def test_using_takes_a_client_and_nothing_else() -> None:
    with pytest.raises(ConfigurationError, match="not str"), arrowseal.using("alias/a"):  # type: ignore[arg-type]
        pass
