"""What others write while a job is at work stays, whichever conditions a server honours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN
from arrowseal.operations import migrate, placing, rewrap, rewrapping
from arrowseal.operations.placing import Placer

if TYPE_CHECKING:
    from lake import Lake

URL = "s3://lake/a/o"


def test_without_conditions_an_object_that_was_overwritten_since_it_was_looked_at_stays(
    lake: Lake, new_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.client.put(URL, b"before")
    lake.s3.server.ignored |= {"CopyObject", "PutObject", "CompleteMultipartUpload"}
    place = Placer.place

    def overtaken(placer: Placer, what: Any) -> Any:
        lake.client.put(URL, b"theirs")
        return place(placer, what)

    monkeypatch.setattr(Placer, "place", overtaken)
    (row,) = rewrap(URL, to_key=new_key, client=lake.client, unconditional=True).results
    assert row.state == "changed"
    assert lake.client.get(URL) == b"theirs"


@pytest.fixture
def nine_mib(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An object that is too long for one copy, on a server that ignores conditions where parts become an object."""
    monkeypatch.setattr(rewrapping, "COPY_LIMIT", 6 * 2**20)
    lake.s3.server.ignored.add("CompleteMultipartUpload")
    content = os.urandom(9 * 2**20)
    lake.client.put(URL, content)
    return content


def test_a_long_object_is_not_copied_in_parts_where_conditions_hold_only_for_what_is_sent_at_once(
    lake: Lake, new_key: str, nine_mib: bytes
) -> None:
    def overwrite(method: str, path: str, headers: dict[str, str]) -> None:
        if method in ("PUT", "POST") and "/a/o" in path and "if-match" in headers:
            lake.s3.rule = lambda *_: None
            lake.client.put(URL, b"theirs")

    lake.s3.rule = overwrite
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    lake.s3.reset()
    assert row.state == "changed"
    assert lake.client.get(URL) == b"theirs"
    lake.client.put(URL, nine_mib)
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert (row.state, row.way) == ("done", "sent again")
    assert lake.make_client(kms_key_id=new_key).get(URL) == nine_mib


def test_what_is_too_long_to_be_held_in_memory_is_refused_there(
    lake: Lake, new_key: str, nine_mib: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_AT_ONCE", 2**20)
    (row,) = rewrap(URL, to_key=new_key, client=lake.client).results
    assert row.state == "failed"
    assert "unconditional=True" in row.reason
    assert lake.client.get(URL) == nine_mib


def test_what_another_job_wrote_beside_an_object_does_not_take_its_place(lake: Lake) -> None:
    lake.client.put(URL, b"content", encryption=PLAIN)

    def overwrite(method: str, path: str, _: object) -> None:
        if method == "HEAD" and path.partition("?")[0].endswith(".migrating"):
            lake.s3.rule = lambda *_: None
            lake.client.put("s3://lake/a/_arrowseal.o.migrating", b"theirs")

    lake.s3.rule = overwrite
    (row,) = migrate(URL, client=lake.client.replace(allow_plaintext=True)).results
    lake.s3.reset()
    assert row.state == "changed"
    assert "let one migrate at a time" in row.reason
    assert lake.client.get(URL, allow_plaintext=True) == b"content"
