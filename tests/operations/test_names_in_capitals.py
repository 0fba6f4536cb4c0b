"""Servers that answer names of user metadata in capitals, as those written in Go do: MinIO for one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from broken_bodies import Fault
from fault_rules import on

from arrowseal import PLAIN, SSE_S3, RawAesKeyring
from arrowseal.operations import migrate, rewrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal import Client
    from arrowseal.encryption import Encryption
    from lake import Lake

URL = "s3://lake/a/o"
MINE = {"Metadata": {"team": "weather"}}


@pytest.fixture(params=["boto3", "auto"])
def client(lake: Lake, request: pytest.FixtureRequest) -> Iterator[Client]:
    lake.s3.server.capitals = True
    yield lake.make_client(lane=request.param, allow_plaintext=True)
    lake.s3.server.capitals = False


def test_a_write_whose_answer_was_lost_is_known_for_ours(lake: Lake, client: Client) -> None:
    lake.s3.rule = on("PutObject", Fault("lost-answer"))
    client.put(URL, b"x", if_none_match="*")
    assert lake.s3.struck
    assert client.get(URL) == b"x"


def test_another_wrap_is_rewrapped_and_all_of_the_old_one_is_gone(lake: Lake, client: Client) -> None:
    raw = RawAesKeyring(os.urandom(32))
    client.put(URL, b"x", s3_additional_kwargs=MINE)
    names = {name for name in lake.s3.server.objects["/lake/a/o"].headers if "-meta-" in name}
    (result,) = rewrap(URL, to_key=raw, client=client).results
    assert result.state == "done", result.reason
    (result,) = rewrap(URL, to_key=lake.key_arn, client=client.replace(keyring=raw)).results
    assert result.state == "done", result.reason
    assert {name for name in lake.s3.server.objects["/lake/a/o"].headers if "-meta-" in name} == names
    assert lake.make_client().get(URL) == b"x"


@pytest.mark.parametrize(("was", "to"), [(PLAIN, None), (None, PLAIN), (None, SSE_S3())])
def test_objects_are_migrated_once(lake: Lake, client: Client, was: Encryption | None, to: Encryption | None) -> None:
    client.put(URL, b"x", encryption=was, s3_additional_kwargs=MINE)
    for state in ("done", "already"):
        (result,) = migrate(URL, to=to, client=client).results
        assert result.state == state, result.reason
    assert client.get(URL) == b"x"
    assert lake.s3.server.objects["/lake/a/o"].headers["x-amz-meta-team"] == "weather"
