"""Uploads whose beginning was not answered: their ids are lost, and they go, but never those of somebody else."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault
from fault_rules import either, on

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

URL = "s3://bucket/o"
CONTENT = os.urandom(5 * 2**20 + 1000)
LOST = [Fault("lost-answer"), Fault("truncate", 0), Fault("truncate", 60), Fault("reset", 10)]


@pytest.fixture(scope="module")
def client(listening: BrokenServers) -> Client:
    return listening.client()


@pytest.fixture(scope="module")
def somebody(listening: BrokenServers) -> Any:
    """A boto3 client of another program."""
    return listening.s3.client()


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: f"{fault.kind}-{fault.at}")
@pytest.mark.parametrize("times", [1, 3])
def test_a_beginning_that_was_not_answered_leaves_no_upload(
    servers: BrokenServers, client: Client, fault: Fault, times: int
) -> None:
    servers.s3.rule = on("CreateMultipartUpload", fault, times=times)
    client.put(URL, CONTENT)
    assert servers.s3.count("CreateMultipartUpload") == times + 1
    assert client.get(URL) == CONTENT
    assert servers.s3.server.open_uploads == {}


def test_a_write_that_fails_after_a_beginning_that_was_not_answered_leaves_no_upload(
    servers: BrokenServers, client: Client
) -> None:
    servers.s3.rule = on("CreateMultipartUpload", Fault("lost-answer"))
    file = client.open(URL, "wb")
    file.write(CONTENT)
    file.abort()
    assert servers.s3.server.open_uploads == {}


@pytest.mark.parametrize("whose", ["of another object", "that began before", "with a part", "that begins later"])
def test_an_upload_of_somebody_else_stays(servers: BrokenServers, client: Client, somebody: Any, whose: str) -> None:
    def begin() -> str:
        key = "o2" if whose == "of another object" else "o"
        return str(somebody.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"])

    theirs = "" if whose == "that begins later" else begin()
    if whose == "that began before":
        earlier = datetime.now(UTC) - timedelta(seconds=30)
        servers.s3.server.open_uploads[theirs].initiated = earlier.strftime("%Y-%m-%dT%H:%M:%SZ")
    if whose == "with a part":
        somebody.upload_part(Bucket="bucket", Key="o", UploadId=theirs, PartNumber=1, Body=b"x")
    servers.s3.rule = on("CreateMultipartUpload", Fault("lost-answer"))
    with client.open(URL, "wb") as file:
        file.write(CONTENT)
        theirs = theirs or begin()
    assert list(servers.s3.server.open_uploads) == [theirs]


def test_another_writer_of_this_process_keeps_its_upload(servers: BrokenServers, client: Client) -> None:
    other = client.open(URL, "wb")
    other.write(CONTENT)
    (theirs,) = servers.s3.server.open_uploads.values()
    while not theirs.parts:
        time.sleep(0.01)
    theirs.parts.clear()  # as if it still were on its way
    servers.s3.rule = on("CreateMultipartUpload", Fault("lost-answer"))
    client.put(URL, CONTENT)
    assert list(servers.s3.server.open_uploads.values()) == [theirs]
    other.abort()
    assert servers.s3.server.open_uploads == {}


@pytest.mark.parametrize("operation", ["ListParts", "ListMultipartUploads"])
@pytest.mark.parametrize("fault", [Fault("truncate", 0), Fault("status", 403, "AccessDenied")], ids=str)
def test_nothing_is_given_up_on_answers_that_say_nothing(
    servers: BrokenServers, client: Client, operation: str, fault: Fault
) -> None:
    servers.s3.rule = either(on("CreateMultipartUpload", Fault("lost-answer")), on(operation, fault, times=99))
    client.put(URL, CONTENT)
    assert client.get(URL) == CONTENT
    assert len(servers.s3.server.open_uploads) == 1
