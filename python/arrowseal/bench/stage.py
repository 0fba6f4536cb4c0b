"""Where a run takes place: an S3 and a KMS, near or as if they were further away, and the proxies that count.

S3 is SeaweedFS, started for the run, or any server that is named; KMS is the embedded one unless a key is named. What
is written lies in a bucket of its own, or under a prefix of a bucket that was named, and is deleted at the end.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrowseal.exceptions import ConfigurationError, CredentialsError
from arrowseal.local import LocalServers
from arrowseal.local.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Wire:
    """What lies between this machine and the servers; nothing by default."""

    latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    kms_latency_seconds: float = 0.0

    @property
    def direct(self) -> bool:
        """Whether there is nothing in between."""
        return self == Wire()


@dataclass(frozen=True)
class Named:
    """An S3 server, and a KMS key, that the user names instead of the embedded ones."""

    endpoint_url: str | None = None
    bucket: str | None = None
    kms_key_id: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class Stage:
    """The servers of a run. `environ` leads to them, `counting` through the proxies that count."""

    bucket: str
    prefix: str
    server: str
    environ: Mapping[str, str]
    counting: Mapping[str, str]
    proxies: tuple[Proxy, Proxy] | None
    """Before S3 and KMS; None where TLS lets nobody count."""

    def tally(self) -> dict[str, int]:
        """What passed so far; empty where nobody counts."""
        if self.proxies is None:
            return {}
        s3, kms = (proxy.tally() for proxy in self.proxies)
        return {"requests": s3[0], "kms_calls": kms[0], "bytes_up": s3[1], "bytes_down": s3[2]}


@contextmanager
def stage(named: Named, wire: Wire) -> Iterator[Stage]:
    """Start what is needed, and leave nothing behind.

    Raises `ConfigurationError` for what does not go together, `CredentialsError` where the environment has none for the
    server that is named, `MissingExtraError` without `arrowseal[local]`.
    """
    with ExitStack() as stack:
        embedded = named.endpoint_url is None
        local = None
        if embedded or named.kms_key_id is None:
            local = stack.enter_context(LocalServers(s3="seaweedfs" if embedded else "moto"))
        environ = _environ(named, local)
        bucket = stack.enter_context(_bucket(named, environ, local))
        s3_url, kms_url = environ["AWS_ENDPOINT_URL_S3"], environ.get("AWS_ENDPOINT_URL_KMS", "")
        if not (s3_url.startswith("http://") and kms_url.startswith("http://")):
            if not wire.direct:
                raise ConfigurationError("--latency, --bandwidth and --kms-latency take servers without TLS")
            yield Stage(bucket, _prefix(), _label(named, local), environ, environ, None)
            return
        s3 = Proxy(s3_url, latency_seconds=wire.latency_seconds, bytes_per_second=wire.bytes_per_second)
        kms = Proxy(kms_url, latency_seconds=wire.kms_latency_seconds)
        proxies = stack.enter_context(s3), stack.enter_context(kms)
        counting = environ | {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_ENDPOINT_URL_KMS": kms.endpoint}
        measured = environ if wire.direct else counting
        yield Stage(bucket, _prefix(), _label(named, local), measured, counting, proxies)


def _environ(named: Named, local: LocalServers | None) -> dict[str, str]:
    environ = dict(local.environ) if local is not None else {}
    if named.endpoint_url is None:
        return environ
    missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not os.environ.get(name)]
    if missing:
        raise CredentialsError(f"{named.endpoint_url}: {' and '.join(missing)} must be set for a server that is named")
    own = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    region = named.region or own.get("AWS_REGION") or own.get("AWS_DEFAULT_REGION") or "us-east-1"
    environ |= own | {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL_S3": named.endpoint_url}
    if named.kms_key_id is not None:
        environ["ARROWSEAL_KMS_KEY_ID"] = named.kms_key_id
    elif local is not None:
        environ["AWS_ENDPOINT_URL_KMS"] = local.kms_endpoint
    return environ


def s3_client(environ: Mapping[str, str]) -> Any:
    """A boto3 client on the server of a stage."""
    import boto3

    session = boto3.Session(
        environ["AWS_ACCESS_KEY_ID"],
        environ["AWS_SECRET_ACCESS_KEY"],
        environ.get("AWS_SESSION_TOKEN"),
        region_name=environ["AWS_REGION"],
    )
    return session.client("s3", endpoint_url=environ["AWS_ENDPOINT_URL_S3"])


@contextmanager
def _bucket(named: Named, environ: Mapping[str, str], local: LocalServers | None) -> Iterator[str]:
    if named.endpoint_url is None and local is not None:
        yield local.bucket
        return
    s3 = s3_client(environ)
    if named.bucket is not None:
        yield named.bucket
        return
    bucket = f"arrowseal-bench-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=bucket)
    try:
        yield bucket
    finally:
        s3.delete_bucket(Bucket=bucket)


def sweep(on: Stage) -> None:
    """Delete what the run wrote."""
    s3 = s3_client(on.environ)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=on.bucket, Prefix=on.prefix):
        for row in page.get("Contents", ()):
            s3.delete_object(Bucket=on.bucket, Key=row["Key"])


def _prefix() -> str:
    return f"bench-{secrets.token_hex(4)}/"


def _label(named: Named, local: LocalServers | None) -> str:
    kms = f"KMS key {named.kms_key_id}" if named.kms_key_id is not None else "embedded KMS (moto)"
    s3 = "embedded SeaweedFS" if named.endpoint_url is None else f"S3 at {named.endpoint_url}"
    return f"{s3}, {kms}" + (" on loopback" if local is not None and named.endpoint_url is None else "")
