"""User metadata that other tools sent as raw UTF-8, as those in Go do: servers that are not S3 give it back so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import CommitmentPolicy
from arrowseal.operations import migrate, rewrap

if TYPE_CHECKING:
    from lake import Lake

URL, PATH = "s3://lake/a/o", "/lake/a/o"
CONTEXT = {"ort": "Zürich → 語"}
FORBID = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
WRITTEN: dict[str, dict[str, Any]] = {"V3": {}, "V2": {"format": "V2", "commitment_policy": FORBID}}


def raw(text: str) -> str:
    """How it is read off a header."""
    return text.encode().decode("latin-1")


def send_raw(lake: Lake, format: str) -> None:  # noqa: A002
    """Have the object at `URL` carry its encryption context as raw UTF-8."""
    name = "x-amz-meta-x-amz-" + ("t" if format == "V3" else "matdesc")
    headers = lake.s3.server.objects[PATH].headers
    headers[name] = raw(json.dumps(json.loads(headers[name]), ensure_ascii=False))


@pytest.mark.parametrize("lane", ["boto3", "auto"])
@pytest.mark.parametrize("format", WRITTEN)
def test_an_object_whose_context_is_raw_utf_8_is_read_and_rewrapped(
    lake: Lake,
    new_key: str,
    format: str,  # noqa: A002
    lane: str,
) -> None:
    client = lake.make_client(lane=lane, encryption_context=CONTEXT, **WRITTEN[format])
    client.put(URL, b"content")
    send_raw(lake, format)
    assert client.get(URL) == b"content"
    (result,) = rewrap(URL, to_key=new_key, client=client).results
    assert result.state == "done", result.reason
    assert client.replace(kms_key_id=new_key).get(URL) == b"content"
    assert all(value.isascii() for value in lake.s3.server.objects[PATH].headers.values())


def test_an_object_with_other_metadata_of_raw_utf_8_stays_and_its_row_says_why(lake: Lake, new_key: str) -> None:
    client = lake.make_client(**WRITTEN["V2"])
    client.put(URL, b"content", s3_additional_kwargs={"Metadata": {"author": "x"}})
    headers = lake.s3.server.objects[PATH].headers
    headers["x-amz-meta-author"] = raw("Jörg 語")
    headers = dict(headers)
    to_v3 = lake.make_client(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
    for job in (rewrap(URL, to_key=new_key, client=client), migrate(URL, client=to_v3)):
        (result,) = job.results
        assert result.state == "refused"
        assert result.reason.startswith(f"{URL}: its user metadata author is not ASCII")
        assert "Jö" not in result.reason
        assert raw("Jö") not in result.reason
    assert lake.s3.server.objects[PATH].headers == headers
    assert client.get(URL) == b"content"
