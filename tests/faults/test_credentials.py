"""Credentials that expire, and clocks that are wrong: mended once, and the refused requests sent again."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import threading
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, operation_of
from fault_rules import always, either

import arrowseal
from arrowseal import Client, RetryOptions, TransferOptions
from arrowseal.exceptions import ClockSkewError, CredentialsError, ExpiredCredentialsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broken_bodies import Rule
    from broken_servers import BrokenServers

    MakeClient = Callable[..., Client]

URL = "s3://bucket/o"
CONTENT = os.urandom(11 * 2**20)
EXPIRED = Fault("status", 400, "ExpiredToken")


class Tokens:
    """Session tokens, of which a server takes the newest alone; `issued` counts those that were asked for."""

    def __init__(self, folder: Path) -> None:
        self.issued = 0
        self.wanted = 0
        self.working = True
        self.file = folder / "credentials.json"
        self._lock = threading.Lock()
        self.expire()

    def expire(self) -> None:
        """From now on the next token is the one that is accepted."""
        self.wanted += 1
        self.file.write_text(json.dumps({"Version": 1} | self._named("AccessKeyId", "SecretAccessKey", "SessionToken")))

    def refreshed(self) -> dict[str, str]:
        """What a session asks for when it refreshes its credentials."""
        with self._lock:
            self.issued += 1
            if not self.working:
                raise RuntimeError("no credentials today")
            return self._named("access_key", "secret_key", "token") | {"expiry_time": "2099-01-01T00:00:00Z"}

    def _named(self, *names: str) -> dict[str, str]:
        return dict(zip(names, ("TESTS", "not checked", f"token-{self.wanted}"), strict=True))

    def expiring(self, operation: str, after: int, refusal: Fault = EXPIRED) -> Rule:
        """The token expires once, after so many requests of an operation; any other than the newest is refused."""
        seen, lock = 0, threading.Lock()

        def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
            nonlocal seen
            with lock:
                if operation_of(method, path, headers) == operation:
                    seen += 1
                    if seen == after + 1:
                        self.expire()
                current = headers.get("x-amz-security-token") == f"token-{self.wanted}"
            return None if current else refusal

        return rule


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.fixture(params=["profile", "session", "given"])
def source(request: pytest.FixtureRequest) -> str:
    """Where a client has its credentials from: a profile, a session that was given, or boto3 clients that were."""
    return str(request.param)


@pytest.fixture
def make(
    servers: BrokenServers, tokens: Tokens, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeClient:
    """Makes clients whose credentials can be looked for anew, each in its own way."""

    def make(**options: Any) -> Client:
        transfer = TransferOptions(
            part_bytes=2**20, concurrency=4, retries=RetryOptions(base_seconds=0.001, cap_seconds=0.01)
        )
        endpoints = {"endpoint_url": servers.s3.endpoint, "kms_endpoint_url": servers.kms_proxy.endpoint}
        named: dict[str, Any] = {"transfer": transfer} | endpoints
        if source == "profile":
            print_it = f"import pathlib; print(pathlib.Path({str(tokens.file)!r}).read_text())"
            config = tmp_path / "config"
            config.write_text(f'[default]\nregion = eu-west-1\ncredential_process = {sys.executable} -c "{print_it}"\n')
            monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        else:
            named["session"] = session = refreshing(tokens)
            if source == "given":
                named["s3"] = session.client("s3", endpoint_url=servers.s3.endpoint)
                named["kms"] = session.client("kms", endpoint_url=servers.kms_proxy.endpoint)
        return Client(servers.key.arn, **(named | options))

    return make


def refreshing(tokens: Tokens) -> Any:
    """A boto3 session whose credentials refresh themselves when they think that it is time."""
    import boto3
    import botocore.session
    from botocore.credentials import RefreshableCredentials

    session = botocore.session.Session()
    session._credentials = RefreshableCredentials.create_from_metadata(
        tokens.refreshed(), refresh_using=tokens.refreshed, method="test"
    )
    return boto3.Session(region_name="eu-west-1", botocore_session=session)


@pytest.mark.parametrize("after", [0, 2, 4])
def test_credentials_that_expire_under_a_read_are_refreshed_once_and_only_refused_ranges_asked_again(
    servers: BrokenServers, make: MakeClient, tokens: Tokens, source: str, after: int
) -> None:
    client = make()
    client.put(URL, CONTENT)
    client.get(URL)
    tokens.issued = 0
    servers.s3.reset()
    servers.s3.rule = tokens.expiring("GetObject", after)
    assert client.get(URL) == CONTENT
    assert 1 <= len(servers.s3.struck) <= 8, "no more than those that were on their way, over each lane"
    assert tokens.issued == (0 if source == "profile" else 1)


@pytest.mark.parametrize(
    ("operation", "after"),
    [("CreateMultipartUpload", 0), *(("UploadPart", part) for part in range(3)), ("CompleteMultipartUpload", 0)],
)
def test_credentials_that_expire_under_a_write_are_refreshed_once_and_refused_requests_sent_again(
    servers: BrokenServers, make: MakeClient, tokens: Tokens, source: str, operation: str, after: int
) -> None:
    client = make()
    client.put(URL, b"before")
    tokens.issued = 0
    servers.s3.rule = tokens.expiring(operation, after)
    client.put(URL, CONTENT)
    assert 1 <= len(servers.s3.struck) <= 4
    assert tokens.issued == (0 if source == "profile" else 1)
    assert make().get(URL) == CONTENT
    assert not servers.s3.server.open_uploads


def test_credentials_that_expire_before_a_table_is_written_and_read_are_refreshed(
    servers: BrokenServers, make: MakeClient, tokens: Tokens
) -> None:
    import pyarrow as pa

    client, table = make(), pa.table({"a": [1, 2, 3]})
    client.put(URL, b"before")
    servers.s3.rule = tokens.expiring("PutObject", 0)
    arrowseal.arrow.write_table(table, "s3://bucket/t.parquet", client=client)
    servers.s3.rule = tokens.expiring("GetObject", 0)
    assert arrowseal.arrow.read_table("s3://bucket/t.parquet", client=client).equals(table)


@pytest.mark.parametrize("call", ["head", "exists", "is_encrypted", "copy", "index"])
def test_credentials_that_expire_before_a_head_whose_refusal_says_nothing_are_refreshed(
    servers: BrokenServers, make: MakeClient, tokens: Tokens, source: str, call: str
) -> None:
    client = make()
    client.put(URL, CONTENT)
    tokens.issued = 0
    servers.s3.reset()
    servers.s3.rule = tokens.expiring("HeadObject", 0)
    getattr(client, call)(URL, *(["s3://bucket/copy"] if call == "copy" else []))
    assert tokens.issued == (0 if source == "profile" else 1)


def test_a_head_that_is_refused_says_why(servers: BrokenServers, make: MakeClient) -> None:
    client = make()
    client.put(URL, CONTENT)
    refused = Fault("status", 400, "InvalidRequest")
    servers.s3.rule = either(always("HeadObject", refused), always("GetObject", refused))
    with pytest.raises(StoreError, match=f"{URL}: GetObject failed .InvalidRequest."):
        client.head(URL)
    servers.s3.rule = always("HeadObject", refused)
    with pytest.raises(StoreError, match=f"{URL}: GetObject failed .400."):
        client.head(URL)


@pytest.mark.parametrize("action", ["GenerateDataKey", "Decrypt"])
def test_credentials_that_expire_at_kms_are_refreshed_once(
    servers: BrokenServers, make: MakeClient, tokens: Tokens, source: str, action: str
) -> None:
    client = make(cache=None)
    client.put(URL, b"x")
    tokens.issued = 0
    servers.kms_proxy.rule = tokens.expiring(action, 0, Fault("status", 400, "ExpiredTokenException"))
    client.put(URL, b"y")
    assert client.get(URL) == b"y"
    assert len(servers.kms_proxy.struck) == 1
    assert tokens.issued == (0 if source == "profile" else 1)


@pytest.mark.parametrize("working", [True, False])
def test_credentials_that_stay_expired_are_said_to_be_after_one_more_request(
    servers: BrokenServers, make: MakeClient, tokens: Tokens, working: bool
) -> None:
    client = make()
    client.put(URL, b"before")
    servers.s3.reset()
    tokens.working = working
    servers.s3.rule = always("GetObject", EXPIRED)
    with pytest.raises(ExpiredCredentialsError, match=f"{URL}.*renew"):
        client.get(URL)
    servers.s3.rule = always("PutObject", EXPIRED)
    with pytest.raises(ExpiredCredentialsError, match=URL):
        client.put(URL, b"new")
    assert servers.s3.count("PutObject") == 2
    servers.s3.reset()
    tokens.working = True
    assert make().get(URL) == b"before"


TOO_SKEWED = Fault("status", 403, "RequestTimeTooSkewed")
MINUTES = dt.timedelta(minutes=1)


def strict_about_time(offset: dt.timedelta, most: dt.timedelta, refusal: Fault) -> Rule:
    """Refuses what is signed too far from a server's clock, which is ahead of ours by `offset`."""

    def rule(_method: str, _path: str, headers: dict[str, str]) -> Fault | None:
        now = dt.datetime.now(dt.UTC) + offset
        signed = dt.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        date = ("Date", format_datetime(now, usegmt=True))
        return refusal._replace(headers=(date,)) if abs(now - signed) > most else None

    return rule


def set_clocks(servers: BrokenServers, offset: dt.timedelta) -> None:
    """Both servers are ahead of this machine by so much."""
    servers.s3.rule = strict_about_time(offset, 15 * MINUTES, TOO_SKEWED)
    expired = Fault("status", 400, "InvalidSignatureException", message="Signature expired: it is now earlier than")
    servers.kms_proxy.rule = strict_about_time(offset, 5 * MINUTES, expired)


@pytest.mark.parametrize("source", ["profile", "session"], indirect=True)
@pytest.mark.parametrize("minutes", [-90, 20, 60 * 24 * 400])
def test_a_wrong_clock_is_noticed_once_and_signatures_go_by_that_of_the_server(
    servers: BrokenServers, make: MakeClient, minutes: int
) -> None:
    set_clocks(servers, minutes * MINUTES)
    client = make()
    client.put(URL, CONTENT)
    assert client.get(URL) == CONTENT
    assert client.head(URL).stored_bytes == len(CONTENT) + 16
    assert len(servers.kms_proxy.struck) == 1
    assert len(servers.s3.struck) == 0, "KMS said so first"


@pytest.mark.parametrize("source", ["profile", "session"], indirect=True)
@pytest.mark.parametrize("call", ["get", "head", "list"])
def test_a_clock_that_is_wrong_for_s3_alone_is_noticed_by_whatever_comes_first(
    servers: BrokenServers, make: MakeClient, call: str
) -> None:
    make().put(URL, b"x")
    servers.s3.rule = strict_about_time(30 * MINUTES, 15 * MINUTES, TOO_SKEWED)
    client = make()
    getattr(client, call)("s3://bucket" if call == "list" else URL)
    assert len(servers.s3.struck) == 1
    client.put(URL, CONTENT)
    assert client.get(URL) == CONTENT
    assert len(servers.s3.struck) == 1


@pytest.mark.parametrize("source", ["given"], indirect=True)
def test_a_client_that_was_given_is_not_touched_and_the_error_says_by_how_much_the_clock_is_wrong(
    servers: BrokenServers, make: MakeClient
) -> None:
    client = make()
    client.put(URL, b"x")
    set_clocks(servers, 30 * MINUTES)
    with pytest.raises(ClockSkewError, match=f"{URL}.*30 minutes.*set it"):
        client.get(URL)
    with pytest.raises(ClockSkewError, match=f"{URL}.*30 minutes.*set it"):
        client.put(URL, b"x")
    assert len(servers.s3.struck) == len(servers.kms_proxy.struck) == 2


@pytest.mark.parametrize("source", ["session"], indirect=True)
def test_a_signature_that_does_not_fit_is_no_wrong_clock(servers: BrokenServers, make: MakeClient) -> None:
    client = make()
    refusal = Fault("status", 400, "InvalidSignatureException", message="The request signature we calculated")
    servers.kms_proxy.rule = lambda *_: refusal
    with pytest.raises(CredentialsError, match="secret access key") as caught:
        client.put(URL, b"x")
    assert type(caught.value) is CredentialsError
    assert len(servers.kms_proxy.log) == 1
