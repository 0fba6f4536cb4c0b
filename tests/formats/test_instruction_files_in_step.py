"""An object and its instruction file are of one write, also when nobody heard what became of the object."""

from __future__ import annotations

import _thread
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import CSE, PLAIN, RetryOptions, TransferOptions
from arrowseal.exceptions import StoreUnansweredError, UploadNotFoundError

if TYPE_CHECKING:
    from memory_store import Lake
    from writers import Keys

    from arrowseal import Client

BESIDE = CSE(instruction_file=True)
URL, OBJECT, FILE = "s3://lake/a", "a", "a.instruction"
LONG = bytes(5 * 2**20 + 1)
"""Longer than a part."""
WRITES = pytest.mark.parametrize(("content", "call"), [(b"new", "put"), (LONG, "complete_upload")])


@pytest.fixture
def client(lake: Lake, keys: Keys) -> Client:
    options = TransferOptions(part_bytes=5 * 2**20, retries=RetryOptions(attempts=2, base_seconds=0))
    return lake.client(keys.arn, kms=keys.kms, instruction_files=True, transfer=options)


def strike(lake: Lake, call: str) -> None:
    """Ctrl-C when the store has done it, and before it answers."""

    def answer(name: str, key: str) -> None:
        if (name, key) == (call, OBJECT):
            _thread.interrupt_main()
            time.sleep(0.2)  # where it strikes whoever sends from the main thread

    lake.store.answer = answer


@WRITES
@pytest.mark.parametrize("encryption", [BESIDE, CSE()])
def test_ctrl_c_while_a_write_waits_for_its_answer_leaves_an_object_that_opens(
    client: Client, lake: Lake, content: bytes, call: str, encryption: CSE
) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    strike(lake, call)
    with pytest.raises(KeyboardInterrupt):
        client.put(URL, content, encryption=encryption)
    assert client.get(URL) == content
    assert (FILE in lake.store.objects) == bool(encryption.instruction_file)


def test_ctrl_c_under_a_plain_write_leaves_no_file_of_the_earlier_object(client: Client, lake: Lake) -> None:
    client.put(URL, b"old", encryption=BESIDE)
    strike(lake, "put")
    with pytest.raises(KeyboardInterrupt):
        client.put(URL, b"new", encryption=PLAIN)
    assert client.get(URL, allow_plaintext=True) == b"new"


@WRITES
@pytest.mark.parametrize(("lost", "told"), [(2, nullcontext()), (99, pytest.warns(RuntimeWarning, match="look at it"))])
def test_a_file_whose_object_may_have_been_taken_is_not_taken_back(
    client: Client, lake: Lake, content: bytes, call: str, lost: int, told: Any
) -> None:
    def answer(name: str, key: str) -> None:
        lose = name == call or (name == "head" and lake.store.calls["head"] <= lost)
        if lose and key == OBJECT:
            raise StoreUnansweredError(f"{key}: no answer")

    client.put(URL, b"old", encryption=BESIDE)
    lake.store.answer = answer
    with told, pytest.raises((StoreUnansweredError, UploadNotFoundError)):
        client.put(URL, content, encryption=BESIDE)
    lake.store.answer = lambda *_: None
    assert client.get(URL) == content
