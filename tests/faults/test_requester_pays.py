"""Writes into buckets whose requests say who pays and who owns the bucket: all of them do, also behind faults."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import pytest
from broken_bodies import Fault
from fault_rules import on

if TYPE_CHECKING:
    from broken_bodies import Rule
    from broken_servers import BrokenServers

URL = "s3://bucket/o"
CONTENT = os.urandom(5 * 2**20 + 1000)
SAID = {"RequestPayer": "requester", "ExpectedBucketOwner": "111122223333"}


def refusing(rule: Rule | None = None) -> Rule:
    """The bucket refuses whoever leaves one of them out; otherwise `rule`."""

    def refused(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        if headers.get("x-amz-request-payer") != "requester" or "x-amz-expected-bucket-owner" not in headers:
            return Fault("status", 403, "AccessDenied")
        return rule(method, path, headers) if rule is not None else None

    return refused


def test_a_write_in_parts_that_is_given_up_leaves_none(servers: BrokenServers) -> None:
    servers.s3.rule = refusing()
    file = servers.client().open(URL, "wb", s3_additional_kwargs=SAID)
    file.write(CONTENT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file.abort()
    assert servers.s3.server.open_uploads == {}


def test_a_beginning_that_was_not_answered_leaves_no_upload(servers: BrokenServers) -> None:
    servers.s3.rule = refusing(on("CreateMultipartUpload", Fault("lost-answer")))
    servers.client().put(URL, CONTENT, s3_additional_kwargs=SAID)
    assert servers.s3.server.open_uploads == {}


@pytest.mark.parametrize(("content", "operation"), [(b"content", "PutObject"), (CONTENT, "CompleteMultipartUpload")])
def test_a_create_only_write_whose_answer_is_lost_knows_its_own_object(
    servers: BrokenServers, content: bytes, operation: str
) -> None:
    servers.s3.rule = refusing(on(operation, Fault("lost-answer")))
    written = servers.client().put(URL, content, if_none_match="*", s3_additional_kwargs=SAID)
    assert written.plaintext_bytes == len(content)
