"""Answers that break off: what S3 says of a request is not its content, and goes another way through boto3."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from broken_bodies import Fault
from fault_rules import always, on

from arrowseal.exceptions import (
    KmsUnavailableError,
    ObjectNotFoundError,
    StoreUnansweredError,
    StoreUnavailableError,
    TransferError,
)

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

CONTENT = os.urandom(5 * 2**20 + 1000)
BROKEN = [Fault("truncate", 0), Fault("truncate", 4), Fault("truncate", 60), Fault("reset", 0), Fault("reset", 4)]
STALLED = Fault("stall", 4)


def named(fault: Fault) -> str:
    return f"{fault.kind}-{fault.at}"


@pytest.fixture(scope="module")
def client(listening: BrokenServers) -> Client:
    """One that asks KMS for every object."""
    return listening.client(read_timeout=1, cache=None)


@pytest.fixture
def servers(servers: BrokenServers, client: Client) -> BrokenServers:
    """Servers with one object, without faults so far."""
    client.put("s3://bucket/there", b"x")
    return servers


@pytest.mark.parametrize("fault", [*BROKEN, STALLED], ids=named)
def test_an_answer_of_no_such_object_that_breaks_off_says_so_in_the_end(
    servers: BrokenServers, client: Client, fault: Fault
) -> None:
    servers.s3.rule = on("GetObject", fault, times=2)
    with pytest.raises(ObjectNotFoundError, match="s3://bucket/none"):
        client.get("s3://bucket/none")


def test_answers_of_no_such_object_that_are_all_reset_are_an_error_of_the_store(
    servers: BrokenServers, client: Client
) -> None:
    servers.s3.rule = always("GetObject", Fault("reset", 4))
    with pytest.raises(StoreUnavailableError, match="s3://bucket/none"):
        client.get("s3://bucket/none")


@pytest.mark.parametrize("fault", [*BROKEN, STALLED], ids=named)
def test_a_listing_that_breaks_off_is_asked_for_again_and_never_an_empty_one(
    servers: BrokenServers, client: Client, fault: Fault
) -> None:
    servers.s3.rule = on("ListObjectsV2", fault)
    assert [row.location.key for row in client.list("s3://bucket")] == ["there"]
    assert servers.s3.count("ListObjectsV2") == 2


def test_listings_that_all_break_off_are_an_error(servers: BrokenServers, client: Client) -> None:
    servers.s3.rule = always("ListObjectsV2", Fault("truncate", 0))
    with pytest.raises((TransferError, StoreUnansweredError), match="broke off"):  # by the version of botocore
        client.list("s3://bucket")


@pytest.mark.parametrize("fault", BROKEN, ids=named)
def test_a_listing_of_uploads_that_breaks_off_is_asked_for_again(
    servers: BrokenServers, client: Client, fault: Fault
) -> None:
    file = client.open("s3://bucket/o", "wb")
    file.write(CONTENT)
    servers.s3.rule = on("ListMultipartUploads", fault)
    assert len(client.uploads("s3://bucket")) == 1
    file.abort()


@pytest.mark.parametrize("fault", BROKEN, ids=named)
@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_an_upload_whose_answers_break_off_is_the_object(
    servers: BrokenServers, client: Client, operation: str, fault: Fault
) -> None:
    servers.s3.rule = on(operation, fault)
    client.put("s3://bucket/o", CONTENT)
    assert client.get("s3://bucket/o") == CONTENT


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart"])
def test_a_write_that_is_acknowledged_without_an_etag_is_sent_again(
    servers: BrokenServers, client: Client, operation: str
) -> None:
    servers.s3.rule = on(operation, Fault("drop", code="ETag"))
    content = CONTENT if operation == "UploadPart" else b"small"
    client.put("s3://bucket/o", content)
    assert client.get("s3://bucket/o") == content


@pytest.mark.parametrize("fault", BROKEN, ids=named)
@pytest.mark.parametrize("operation", ["GenerateDataKey", "Decrypt"])
def test_an_answer_of_kms_that_breaks_off_is_asked_for_again(
    servers: BrokenServers, client: Client, operation: str, fault: Fault
) -> None:
    servers.kms_proxy.rule = on(operation, fault)
    client.put("s3://bucket/o", b"x")
    assert client.get("s3://bucket/o") == b"x"


def test_answers_of_kms_that_all_break_off_are_an_error_that_names_the_key(
    servers: BrokenServers, client: Client
) -> None:
    servers.kms_proxy.rule = always("Decrypt", Fault("truncate", 60))
    with pytest.raises(KmsUnavailableError, match=servers.key.arn):
        client.get("s3://bucket/there")
