"""One writer, several threads: each finds it as the one before has left it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import Client, TransferOptions
from arrowseal.progress import ObjectProgress
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.object_writer import ObjectWriter

PART = 5 * 2**20
CALLS: dict[str, Callable[[ObjectWriter], Any]] = {
    "commit": lambda writer: writer.commit(),
    "write": lambda writer: writer.write(b"more"),
    "close": lambda writer: writer.close(),
    "abort": lambda writer: writer.abort(),
}


class _Meanwhile(ObjectProgress):
    """Gives another thread time for a call between the end of a commit and that of its writer."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._begun = False
        self.outcome: list[Any] = []

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.outcome.append(call())
        except Exception as error:
            self.outcome.append(error)

    def close(self) -> None:
        if not self._begun:
            self._begun = True
            self._thread.start()
            self._thread.join(0.3)

    def ended(self) -> Any:
        self._thread.join(10)
        return self.outcome.pop()


@pytest.fixture
def client() -> Client:
    kms, server = StrictKms(), MemoryS3()
    transfer = TransferOptions(part_bytes=PART, publish_index=False)
    return Client(kms.create_key(), s3=s3_in_memory(server), kms=kms, transfer=transfer)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [10, PART + 1])
@pytest.mark.parametrize("call", CALLS)
def test_what_another_thread_does_as_a_commit_ends_finds_a_writer_that_was_committed(
    client: Client, call: str, size: int
) -> None:
    writer = client.open("s3://bucket/o", "wb")
    writer.write(bytes(size))
    writer._operation.progress = meanwhile = _Meanwhile(lambda: CALLS[call](writer))
    assert writer.commit().plaintext_bytes == size
    outcome = meanwhile.ended()
    if call in ("commit", "write"):
        assert isinstance(outcome, ValueError)
        assert str(outcome) == "s3://bucket/o: this writer was committed"
    else:
        assert outcome is None
    assert client.get("s3://bucket/o") == bytes(size)
