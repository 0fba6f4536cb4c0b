"""Copies and deletions of objects that others overwrite or delete at the same moment."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, operation_of
from fault_rules import always, either, on

from arrowseal import CSE, PLAIN, TransferOptions, copying, store_boto3
from arrowseal.exceptions import ObjectChangedError, ObjectNotFoundError, StoreError, UploadNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_bodies import Rule
    from broken_servers import BrokenServers

    from arrowseal import Encryption

SOURCE, TARGET = "s3://bucket/source", "s3://bucket/target"
LARGE = 9 * 2**20
"""Written in parts, so that an index lies beside it."""


def before(operation: str, act: Callable[[], object], *, key: str = "target") -> Rule:
    """What somebody does right before the first request of an operation for a key."""
    done = False

    def rule(method: str, path: str, headers: dict[str, str]) -> None:
        nonlocal done
        if not done and operation_of(method, path, headers) == operation and path.partition("?")[0].endswith(key):
            done = True
            act()

    return rule


def test_what_is_overwritten_while_it_is_copied_is_copied_as_it_is_then(servers: BrokenServers) -> None:
    client, others = servers.client(), servers.client()
    client.put(SOURCE, b"before")
    servers.s3.rule = before("CopyObject", lambda: others.put(SOURCE, b"after"))
    client.copy(SOURCE, TARGET)
    assert client.get(TARGET) == b"after"


def test_a_copy_is_done_whatever_becomes_of_the_index_meanwhile(servers: BrokenServers) -> None:
    client, others = servers.client(), servers.client()
    client.put(SOURCE, bytes(LARGE))
    servers.s3.rule = before("CopyObject", lambda: others.put(SOURCE, b"1" * LARGE), key="_arrowseal.target.index")
    client.copy(SOURCE, TARGET)
    servers.s3.reset()
    with client.object(TARGET) as copied:
        assert copied.read_at(LARGE - 5, 5) == bytes(5)


def test_a_copy_of_what_was_deleted_meanwhile_names_what_is_not_there(servers: BrokenServers) -> None:
    client, others = servers.client(), servers.client()
    client.put(SOURCE, b"before")
    servers.s3.rule = before("CopyObject", lambda: others.delete(SOURCE))
    with pytest.raises(ObjectNotFoundError, match=f"^{SOURCE}: deleted before it was copied to {TARGET}$"):
        client.copy(SOURCE, TARGET)


def test_a_copy_in_parts_of_what_is_overwritten_meanwhile_is_none_and_names_it(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_boto3, "_COPY_LIMIT", 0)
    client, others = servers.client(), servers.client()
    client.put(SOURCE, b"before")
    servers.s3.rule = before("UploadPartCopy", lambda: others.put(SOURCE, b"after"))
    with pytest.raises(ObjectChangedError, match=f"^{SOURCE}: overwritten while it was copied to {TARGET}: "):
        client.copy(SOURCE, TARGET)
    assert not client.exists(TARGET)
    assert client.uploads("s3://bucket") == []


def test_deleting_what_is_gone_is_no_error_on_servers_that_have_one(servers: BrokenServers) -> None:
    client = servers.client()
    servers.s3.rule = always("DeleteObject", Fault("status", 404, "NoSuchKey"))
    client.delete(SOURCE)
    assert servers.s3.count("DeleteObject") == 1


@pytest.mark.parametrize(("status", "code"), [(405, "MethodNotAllowed"), (404, "404")])
def test_nothing_is_taken_for_deleted_by_what_takes_no_deletions(
    servers: BrokenServers, status: int, code: str
) -> None:
    client = servers.client()
    client.put(SOURCE, b"here")
    servers.s3.rule = always("DeleteObject", Fault("status", status, code))
    with pytest.raises(StoreError, match=rf"^{SOURCE}: DeleteObject failed \({code}\)") as raised:
        client.delete(SOURCE)
    assert not isinstance(raised.value, ObjectNotFoundError)


@pytest.mark.parametrize("lane", ["boto3", "obstore"])
@pytest.mark.parametrize(
    "fault",
    [Fault("flip", 3), Fault("flip", 50), Fault("flip", 250), Fault("shorten", 100), Fault("truncate", 100)],
    ids=lambda fault: f"{fault.kind}-{fault.at}",
)
def test_a_data_key_in_an_instruction_file_goes_along_unharmed_whatever_happens_to_what_is_looked_at(
    servers: BrokenServers, fault: Fault, lane: Any
) -> None:
    client = servers.client(lane=lane, instruction_files=True)
    client.put(SOURCE, b"content", encryption=CSE(instruction_file=True))
    file = servers.s3.server.objects["/bucket/source.instruction"]
    servers.s3.rule = on("GetObject", fault)
    client.move(SOURCE, TARGET)
    assert [name for name, _ in servers.s3.struck] == ["GetObject"]
    assert servers.s3.server.objects["/bucket/target.instruction"].body == file.body
    assert client.get(TARGET) == b"content"
    assert not [path for path in servers.s3.server.objects if path.startswith("/bucket/source")]


@pytest.mark.parametrize("lane", ["boto3", "obstore"])
def test_an_instruction_file_that_comes_in_part_is_asked_for_again(servers: BrokenServers, lane: Any) -> None:
    client = servers.client(lane=lane, instruction_files=True)
    client.put(SOURCE, b"content", encryption=CSE(instruction_file=True))
    servers.s3.rule = lambda method, path, _: (
        Fault("shorten", 100) if path.endswith(".instruction") and not servers.s3.struck else None
    )
    assert client.get(SOURCE) == b"content"
    assert servers.s3.struck


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every copy takes parts, of 5 MiB."""
    monkeypatch.setattr(store_boto3, "_COPY_LIMIT", 0)
    monkeypatch.setattr(copying, "COPIED_PART", 5 * 2**20)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("fault", [Fault("status", 503), Fault("lost-answer"), Fault("reset-before")], ids=repr)
@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload"])
@pytest.mark.parametrize("encryption", [None, PLAIN], ids=repr)
def test_a_fault_costs_a_copy_in_parts_the_request_that_it_struck(
    servers: BrokenServers, operation: str, fault: Fault, encryption: Encryption | None
) -> None:
    client = servers.client(transfer=TransferOptions(part_bytes=2**24))  # without an index, which is copied too
    content = random.Random(1).randbytes(12 * 2**20)
    client.put(SOURCE, content, encryption=encryption)
    servers.s3.reset()
    servers.s3.rule = on(operation, fault)
    client.copy(SOURCE, TARGET)
    assert servers.s3.struck
    assert servers.s3.count(operation) == {"UploadPartCopy": 3}.get(operation, 1) + 1
    assert sum(map(servers.s3.count, ("CreateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload"))) == 6
    assert client.get(TARGET, allow_plaintext=True) == content
    assert client.uploads("s3://bucket") == []


@pytest.mark.usefixtures("in_parts")
def test_what_lay_there_before_is_not_taken_for_a_copy_that_was_not_made(servers: BrokenServers) -> None:
    client = servers.client()
    client.put(SOURCE, b"before", encryption=PLAIN)
    client.copy(SOURCE, TARGET)
    client.put(SOURCE, b"after.", encryption=PLAIN)
    servers.s3.rule = always("CompleteMultipartUpload", Fault("status", 404, "NoSuchUpload"))
    with pytest.raises(UploadNotFoundError):
        client.copy(SOURCE, TARGET)
    assert client.get(TARGET, allow_plaintext=True) == b"before"


@pytest.mark.usefixtures("in_parts")
def test_parts_are_copied_side_by_side(servers: BrokenServers) -> None:
    client, barrier = servers.client(), threading.Barrier(3, timeout=30)
    client.put(SOURCE, bytes(12 * 2**20))

    def rule(method: str, path: str, headers: dict[str, str]) -> None:
        if operation_of(method, path, headers) == "UploadPartCopy":
            barrier.wait()

    servers.s3.rule = rule
    client.copy(SOURCE, TARGET)
    assert servers.s3.count("UploadPartCopy") == 3
    assert client.get(TARGET) == bytes(12 * 2**20)


def test_a_copy_in_parts_says_why_it_failed_and_warns_of_what_it_could_not_take_back(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_boto3, "_COPY_LIMIT", 0)
    client, others = servers.client(), servers.client()
    client.put(SOURCE, b"before")
    servers.s3.rule = either(
        before("UploadPartCopy", lambda: others.put(SOURCE, b"after")),
        always("AbortMultipartUpload", Fault("status", 403, "AccessDenied")),
    )
    with (
        pytest.warns(ResourceWarning, match="may still be stored .* `arrowseal uploads --abort`"),
        pytest.raises(ObjectChangedError, match="overwritten while it was copied"),
    ):
        client.copy(SOURCE, TARGET)
    servers.s3.reset()
    assert len(client.uploads("s3://bucket")) == 1
