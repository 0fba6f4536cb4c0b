"""Credentials that are not to be had, and configurations that boto3 does not take: told as that, not as of S3."""

from __future__ import annotations

import io
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from arrowseal import Client
from arrowseal.aws_services import AwsServices
from arrowseal.exceptions import (
    ConfigurationError,
    CredentialsError,
    ExpiredCredentialsError,
    StoreAccessDeniedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broken_servers import BrokenServers

URL = "s3://bucket/o"
ROLE = """[default]
region = eu-west-1
role_arn = arn:aws:iam::111122223333:role/analysts
"""
ASSUMED = """source_profile = source
[profile source]
aws_access_key_id = TESTS
aws_secret_access_key = not checked
"""
REFUSED = "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>not today</Message></Error></ErrorResponse>"
GRANTED = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASSUMED</AccessKeyId>"
    "<SecretAccessKey>not checked</SecretAccessKey><SessionToken>token</SessionToken>"
    "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
)

SESSION = (
    b"<CreateSessionOutput><Credentials><AccessKeyId>TESTS</AccessKeyId><SecretAccessKey>not checked</SecretAccessKey>"
    b"<SessionToken>token</SessionToken><Expiration>2020-01-01T00:00:00Z</Expiration></Credentials>"
    b"</CreateSessionOutput>"
)


class Sts(ThreadingHTTPServer):
    """Answers each request with the next of `refusals`, a code of an error, and with credentials behind the last."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusals: list[str] = []
        self.asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: Sts

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        code = self.server.refusals.pop(0) if self.server.refusals else None
        body = (REFUSED.format(code) if code else GRANTED).encode()
        self.send_response(403 if code else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sts]:
    server = Sts()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def make(servers: BrokenServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Client]:
    """Makes clients whose credentials come from a profile with these words."""

    def make(words: str) -> Client:
        config = tmp_path / "config"
        config.write_text(words)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        servers.kms_proxy.reset()
        return Client(
            servers.key.arn, endpoint_url=servers.s3.endpoint, kms_endpoint_url=servers.kms_proxy.endpoint, cache=None
        )

    return make


CALLS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get(URL),
    "put": lambda client: client.put(URL, b"content"),
    "exists": lambda client: client.exists(URL),
    "list": lambda client: client.list("s3://bucket/"),
    "service": lambda client: AwsServices.of(client).ask(URL, client._connections.s3().list_buckets),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_role_that_may_not_be_assumed_is_no_refusal_of_s3_or_kms(
    make: Callable[[str], Client], servers: BrokenServers, sts: Sts, call: str
) -> None:
    sts.refusals = ["AccessDenied"] * 9
    with pytest.raises(CredentialsError, match=r"s3://bucket/.*AccessDenied.*AssumeRole operation: not today"):
        CALLS[call](make(ROLE + ASSUMED))
    assert sts.asked == 1
    assert not servers.s3.count("GetObject") + servers.s3.count("PutObject")


@pytest.mark.parametrize("call", CALLS)
def test_a_token_file_that_is_not_there_is_no_object_that_is_not(
    make: Callable[[str], Client], tmp_path: Path, sts: Sts, call: str
) -> None:
    client = make(ROLE + f"web_identity_token_file = {tmp_path / 'token'}\n")
    with pytest.raises(CredentialsError, match=r"s3://bucket/.*no usable AWS credentials.*No such file.*token"):
        CALLS[call](client)
    assert sts.asked == 0


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_role_whose_source_has_expired_is_assumed_with_what_a_second_look_finds(
    make: Callable[[str], Client], servers: BrokenServers, sts: Sts, call: str
) -> None:
    make(ROLE + ASSUMED).put(URL, b"before")
    client = make(ROLE + ASSUMED)
    sts.refusals, sts.asked = ["ExpiredToken"], 0
    CALLS[call](client)
    assert sts.asked == 2
    sts.refusals = ["ExpiredToken"] * 9
    with pytest.raises(ExpiredCredentialsError, match=f"{URL}.*ExpiredToken.*AssumeRole"):
        CALLS[call](make(ROLE + ASSUMED))


@pytest.mark.parametrize("command", ["/there/is/none", f"{sys.executable} --version"])
def test_a_process_that_gives_no_credentials_is_told(make: Callable[[str], Client], command: str) -> None:
    with pytest.raises(CredentialsError, match="no KMS client: no usable AWS credentials"):
        make(f"[default]\nregion = eu-west-1\ncredential_process = {command}\n").get(URL)


def session(**config: Any) -> boto3.Session:
    """A session with a configuration for all of its clients."""
    given = botocore.session.Session()
    given.set_default_client_config(Config(**config))
    return boto3.Session("TESTS", "not checked", region_name="eu-west-1", botocore_session=given)


@pytest.mark.parametrize(
    ("url", "options", "problem"),
    [
        ("s3://arn:aws:s3::111122223333:accesspoint/many.mrap/o", {"session": session()}, r"botocore\[crt\]"),
        (URL, {"session": session(signature_version="none of them")}, "none of them"),
        (URL, {"session": session(), "endpoint_url": "http://localhost:99999"}, "localhost:99999"),
    ],
)
def test_what_boto3_does_not_send_is_not_tried_again(url: str, options: dict[str, Any], problem: str) -> None:
    client = Client("alias/tables", kms_endpoint_url="http://localhost:1", **options)
    with pytest.raises(ConfigurationError, match=f"^{url}: boto3 does not take this.*{problem}") as refused:
        client.get(url)
    assert not isinstance(refused.value, UnavailableError)


def test_a_configuration_file_with_a_value_in_place_of_the_section_of_s3_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\ns3 = path\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ConfigurationError, match="`s3` has a single value in the AWS configuration file"):
        Client("alias/tables", region_name="eu-west-1").get(URL)


def test_neither_is_what_it_does_not_send_to_kms() -> None:
    client = Client("alias/tables", session=session(signature_version="none"), kms_endpoint_url="http://localhost:1")
    with pytest.raises(ConfigurationError, match=f"{URL}: KMS GenerateDataKey.*Unknown Signature Version"):
        client.put(URL, b"content")


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"use_accelerate_endpoint": True}, "https://bucket.s3-accelerate.amazonaws.com/o"),
        ({"addressing_style": "path"}, "https://s3.eu-west-1.amazonaws.com/bucket/o"),
        ({"use_arn_region": False}, "https://bucket.s3.eu-west-1.amazonaws.com/o"),
    ],
)
def test_the_settings_of_s3_of_a_session_are_kept(settings: dict[str, Any], host: str) -> None:
    class SentError(Exception):
        """The request that was about to go."""

    def send(request: Any, **_: Any) -> None:
        raise SentError(request.url)

    given = session(s3=settings)
    given.events.register("before-send.s3", send)
    with pytest.raises(SentError, match=f"^{host}$"):
        Client("alias/tables", session=given).get(URL)


KMS_OF_SERVICES = """[default]
region = eu-west-1
services = near
[services near]
kms =
  endpoint_url = https://kms.near
"""


@pytest.mark.parametrize(
    ("environ", "configured", "expected"),
    [
        ({}, "", "https://s3.near"),
        ({}, KMS_OF_SERVICES, "https://kms.near"),
        ({"AWS_ENDPOINT_URL_KMS": "https://kms.here"}, KMS_OF_SERVICES, "https://kms.here"),
        ({"AWS_ENDPOINT_URL": "https://all.here"}, "", "https://s3.near"),
        ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, KMS_OF_SERVICES, "https://s3.near"),
    ],
)
def test_another_s3_is_also_kms_unless_something_names_an_endpoint_for_kms(
    environ: dict[str, str], configured: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(configured)
    for name, value in (environ | {"AWS_CONFIG_FILE": str(tmp_path / "config")}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    connections = Client("alias/tables", endpoint_url="https://s3.near")._connections
    assert connections.kms().meta.endpoint_url == expected
    assert connections.s3().meta.endpoint_url == "https://s3.near"


@pytest.mark.parametrize("before", [0, 1], ids=["at first", "when it is renewed"])
def test_the_session_of_a_directory_bucket_is_refused_by_s3_and_the_permission_is_its_own(before: int) -> None:
    place, sessions = "s3://bucket--usw2-az1--x-s3/o", 0

    def answer(request: Any, **_: Any) -> AWSResponse:
        nonlocal sessions
        if "?session" not in request.url:
            return AWSResponse(request.url, 200, {"Content-Length": "0", "ETag": '"e"'}, _Body())
        sessions += 1
        if sessions > before:
            return AWSResponse(request.url, 403, {}, _Body(REFUSED.format("AccessDenied").encode()))
        return AWSResponse(request.url, 200, {}, _Body(SESSION))

    given = session()
    given.events.register("before-send.s3", answer)
    with pytest.raises(StoreAccessDeniedError, match=rf"{place}.*needs s3express:CreateSession$"):
        Client("alias/tables", session=given, kms_endpoint_url="http://localhost:1").head(place)
    assert sessions == before + 1


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()
