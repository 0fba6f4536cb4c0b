"""The boto3 clients of one arrowseal client: made when first needed, made anew in a forked child."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import threading
import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from arrowseal.authorities import read_once
from arrowseal.awaited_answers import end_waits
from arrowseal.credentials import credentials_error, refresh
from arrowseal.exceptions import (
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    ExpiredCredentialsError,
    InsecureEndpointError,
)
from arrowseal.learnt_endpoints import LearntEndpoints
from arrowseal.no_connection import not_again
from arrowseal.server_clock import sign_ahead

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from botocore.parsers import ResponseParserFactory
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client

    from arrowseal.options import ClientOptions

_POOLED: Final = 256
"""Idle connections kept: as many as threads and their ranges may have had in flight. They cost a socket each."""


class Connections:
    """Holds or makes an S3 and a KMS client. Safe to share between threads."""

    def __init__(
        self, options: ClientOptions, session: boto3.Session | None, s3: S3Client | None, kms: KMSClient | None
    ) -> None:
        if session is not None and (options.profile_name or options.region_name):
            raise ConfigurationError("give either session=, or profile_name= and region_name=, not both")
        for name, given, ability in (
            ("session", session, "client"),
            ("s3", s3, "get_object"),
            ("kms", kms, "decrypt"),
        ):
            if given is not None and not hasattr(given, ability):
                expected = "a boto3 session" if name == "session" else f"a boto3 client for {name.upper()}"
                raise ConfigurationError(f"{name}= takes {expected}, not {type(given).__name__}")
        self._options = options
        self._given: dict[str, Any] = {"session": session, "s3": s3, "kms": kms}
        self._made: dict[Any, Any] = {}
        self._renewed_at = 0.0
        self._seconds_ahead = 0.0
        self._lock = threading.Lock()
        _all.add(self)
        if kms is not None:
            self._check_kms_endpoint(kms)

    @property
    def by_reference(self) -> bool:
        """Whether all of it can be made again elsewhere from the options: nothing was handed in as an object."""
        return all(given is None for given in self._given.values())

    @property
    def handed_in(self) -> dict[str, Any]:
        """What was handed in, by the names of the arguments."""
        return dict(self._given)

    def s3(self) -> S3Client:
        """The S3 client. Raises `ConfigurationError` if boto3 cannot make one."""
        client: S3Client = self._client("s3", self._options.endpoint_url)
        return client

    @property
    def own_s3(self) -> bool:
        """Whether the S3 client is made here, so that nobody else can have put hooks on it."""
        return self._given["s3"] is None

    def endpoints(self) -> LearntEndpoints:
        """The S3 client with what it showed of the buckets that were asked for."""
        learnt: LearntEndpoints | None = self._made.get("endpoints")
        if learnt is not None:
            return learnt
        with self._lock:
            s3 = self._kept("s3", self._options.endpoint_url)
            learnt = self._made.get("endpoints")
            if learnt is None:
                session = self._given["session"] or self._made["session"]
                learnt = self._made["endpoints"] = LearntEndpoints(s3, session.get_credentials)
            return learnt

    def kms(self, region: str | None = None) -> KMSClient:
        """The KMS client of a Region; of the session's own one for None. One that was handed in serves every Region, as
        it is. Raises `InsecureEndpointError` for plain http off loopback, `ConfigurationError`.
        """
        client: KMSClient = self._client("kms", self._options.kms_endpoint_url, region)
        return client

    def other(self, service: str) -> Any:
        """A client of another service with the same credentials, at the endpoint that boto3 finds."""
        return self._client(service, None)

    def _client(self, service: str, endpoint_url: str | Mapping[str, str] | None, region: str | None = None) -> Any:
        if self._given.get(service) is not None:
            return self._given[service]
        with self._lock:
            return self._kept(service, endpoint_url, region)

    def _kept(self, service: str, endpoint_url: str | Mapping[str, str] | None, region: str | None = None) -> Any:
        made = self._made.get((service, region))
        if made is None:
            made = self._make(service, endpoint_url, region)
            if service == "kms":
                self._check_kms_endpoint(made)
            self._made[service, region] = made
        return made

    def _make(self, service: str, endpoint_url: str | Mapping[str, str] | None, region: str | None) -> Any:
        import boto3
        from botocore.exceptions import BotoCoreError

        try:
            if self._given["session"] is None and "session" not in self._made:
                self._made["session"] = boto3.Session(
                    profile_name=self._options.profile_name, region_name=self._options.region_name
                )
            session = self._given["session"] or self._made["session"]
            other = self._options.endpoint_url
            if service == "kms" and endpoint_url is None and other and not _names_kms_endpoint(session):
                endpoint_url = other
            if isinstance(endpoint_url, Mapping):
                endpoint_url = endpoint_url.get(region or session.region_name or "")
            client = session.client(
                service, region_name=region, endpoint_url=endpoint_url, config=_config(service, session)
            )
        except (BotoCoreError, ValueError, OSError) as error:
            subject = f"no {service.upper()} client"
            raise credentials_error(error, subject) or ConfigurationError(f"{subject}: {error}") from None
        read_once(client)
        end_waits(client)
        if service == "s3" and (endpoint := getattr(client, "_endpoint", None)) is not None:
            endpoint._response_parser_factory = _parsers()  # noqa: SLF001 - of this client alone
        if service != "s3":  # which has one attempt, and whose short ways know no hooks but botocore's
            client.meta.events.register_first("needs-retry", not_again)
        if self._seconds_ahead:
            sign_ahead(client, session.get_credentials, self._seconds_ahead)
        return client

    def renew(self, error: CredentialsError, begun: float) -> None:
        """Do about an error what can be done, once for all requests that were begun (`time.monotonic`) before that.

        Expired credentials are looked for anew, and those that were handed in refreshed where they can be. By a clock
        that is wrong nothing more is signed, but by clients that were handed in.
        """
        if not isinstance(error, ExpiredCredentialsError | ClockSkewError):
            return
        with self._lock:
            if begun < self._renewed_at:
                return
            if isinstance(error, ClockSkewError):
                self._seconds_ahead = error.seconds
            else:
                for credentials in self._given_credentials():
                    refresh(credentials)
            self._made = {}
            self._renewed_at = time.monotonic()

    def _given_credentials(self) -> list[Any]:
        """Those of what was handed in, each once."""
        session = self._given["session"]
        found = [session.get_credentials()] if session is not None else []
        # A client of botocore has no public way to them.
        found += [client._get_credentials() for client in self._given.values() if hasattr(client, "_get_credentials")]  # noqa: SLF001
        return list({id(credentials): credentials for credentials in found}.values())

    def forget(self) -> None:
        """Start without clients, after a fork: sockets must not be shared with the parent, and a thread that is not
        here may have held the lock, or those of clients, when it was forked.
        """
        self._made = {}
        self._lock = threading.Lock()

    def _check_kms_endpoint(self, kms: KMSClient) -> None:
        url = urlsplit(kms.meta.endpoint_url)
        if url.scheme == "https" or self._options.allow_insecure_kms_endpoint or _is_loopback(url.hostname or ""):
            return
        raise InsecureEndpointError(
            f"the KMS endpoint {url.scheme}://{url.netloc} is not https: data keys would cross the network in clear. "
            "Use https, or say allow_insecure_kms_endpoint=True"
        )


def _names_kms_endpoint(session: boto3.Session) -> bool:
    """Whether environment or profile name an endpoint for KMS in particular, which boto3 takes from there."""
    below: Any = session._session  # noqa: SLF001 - boto3 has no way to it
    if below.get_config_variable("ignore_configured_endpoint_urls"):
        return False
    services = below.full_config.get("services", {}).get(below.get_scoped_config().get("services"), {})
    of_kms = services.get("kms")
    return bool(os.environ.get("AWS_ENDPOINT_URL_KMS") or (isinstance(of_kms, dict) and of_kms.get("endpoint_url")))


def _config(service: str, session: boto3.Session) -> Config | None:
    """What differs from boto3's defaults and from the user's configuration, which this is merged into."""
    from botocore.config import Config

    if service != "s3":
        # Attempts stay boto3's. Each of many threads may ask for a data key, and to connect takes longer than to ask.
        return Config(max_pool_connections=_POOLED) if service == "kms" else None
    # The rest of it is merged name by name, but this one name stands for all settings of S3.
    below: Any = session._session  # noqa: SLF001 - boto3 has no way to it
    if isinstance(below.get_scoped_config().get("s3"), str):  # of which botocore makes an AttributeError
        raise ConfigurationError(
            "no S3 client: `s3` has a single value in the AWS configuration file, where it is a section of settings, "
            "each in an indented line of its own"
        )
    given: Any = below.get_default_client_config()
    settings: Any = dict(getattr(given, "s3", None) or {}, payload_signing_enabled=False)
    return Config(
        # One budget, ours: attempts below it would multiply with its own.
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=_POOLED,
        # The tag proves what was sealed, a CRC32 guards the wire. A second, cryptographic hash of every body, which
        # boto3 takes over plain http only, would cost several times what sealing does.
        s3=settings,
    )


def _parsers() -> ResponseParserFactory:
    """Those of botocore, but for times, in all spellings of which a listing would spend a third of its time."""
    from botocore.parsers import ResponseParserFactory

    parsers = ResponseParserFactory()
    parsers.set_parser_defaults(timestamp_parser=_timestamp)
    return parsers


def _timestamp(value: Any) -> dt.datetime:
    """What an answer gives as a time: as S3 writes it in listings, or as botocore reads it."""
    if isinstance(value, str) and value.endswith("Z"):
        with contextlib.suppress(ValueError):
            return dt.datetime.fromisoformat(value)
    from botocore.utils import parse_timestamp

    return parse_timestamp(value)


_all: weakref.WeakSet[Connections] = weakref.WeakSet()


def _forget_all() -> None:
    for connections in list(_all):
        connections.forget()


os.register_at_fork(after_in_child=_forget_all)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
