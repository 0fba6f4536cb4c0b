"""The core in a child that was forked while other threads of its parent were at work in it."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization as files
from cryptography.hazmat.primitives.asymmetric import rsa

from arrowseal._core import DataKey, RsaPrivateKey, Survey
from core_messages import KEY, MIB, seal

if TYPE_CHECKING:
    from collections.abc import Callable

# Without a warning of newer Pythons: that a process has threads when it is forked is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def unwrapping() -> Callable[[], object]:
    key = rsa.generate_private_key(65537, 2048)
    der = key.private_bytes(files.Encoding.DER, files.PrivateFormat.PKCS8, files.NoEncryption())
    private = RsaPrivateKey(der)
    wrapped = private.public_key().wrap(DataKey.generate(), "115")
    return lambda: private.unwrap(wrapped, "115")


def opening() -> Callable[[], object]:
    message = seal(bytes(2 * MIB))
    survey = Survey(DataKey(KEY), message.suite_id, message.message_id, message.commitment, len(message.stored))
    opener = survey.receive(message.stored)
    return lambda: opener.range(0, 2 * MIB).receive(message.stored[: 2 * MIB])


@pytest.mark.parametrize("work_of", [unwrapping, opening])
def test_a_child_forked_while_threads_work_does_the_same_work(work_of: Callable[[], Callable[[], object]]) -> None:
    work, ended, exits = work_of(), threading.Event(), []

    def work_on() -> None:
        while not ended.is_set():
            work()

    with ThreadPoolExecutor(3) as pool:
        threads = [pool.submit(work_on) for _ in range(3)]
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(60)  # ends one that waits for ever
                try:
                    work()
                    os._exit(0)
                finally:
                    os._exit(1)
            exits.append(os.waitpid(child, 0)[1])
        ended.set()
        for thread in threads:
            thread.result()
    assert exits == [0] * 10
