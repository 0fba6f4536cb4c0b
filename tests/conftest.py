"""Fixtures for all tests: embedded servers, clients on them, and an environment without anybody's AWS settings."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import botocore.loaders
import hypothesis
import pytest

from arrowseal.local import LocalServers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal import Client
    from lake import Lake

# How long an example takes is the machine's affair. The same examples each time, so that a change is judged by what it
# changed; ARROWSEAL_TEST_SEARCH=1 looks for new ones.
hypothesis.settings.register_profile("arrowseal", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("search" if os.environ.get("ARROWSEAL_TEST_SEARCH") else "arrowseal")


# Files that take minutes by themselves: a worker that begins one of them last would keep the others waiting.
_LONG: Final = (
    "typing/test_checks.py",
    "interop/",
    "examples/",
    "file_systems/test_fs_exit.py",
    "integration/test_local.py",
    "integration/test_command",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(name in item.nodeid for name in _LONG))


_MODELS: dict[Any, Any] = {}


def _share_models(init: Any = botocore.loaders.Loader.__init__) -> None:
    """Reads the models of S3 and KMS once, not again for each of the thousands of clients that tests make: parsing them
    takes five times as long as the rest of making a client.
    """

    def initialise(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._cache = _MODELS

    botocore.loaders.Loader.__init__ = initialise  # type: ignore[method-assign]


_share_models()


@pytest.fixture(autouse=True)
def no_aws_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test may read a developer's profile, reach AWS, or see the default client of the test before."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "ARROWSEAL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    yield
    if "arrowseal.defaults" in sys.modules:
        sys.modules["arrowseal.defaults"].reset()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Ctrl-C is heard, here and in children, also where shells start what runs in the background to ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def local_servers() -> Iterator[LocalServers]:
    """S3 and KMS by moto: quick, lenient, one for all tests."""
    with LocalServers() as servers:
        yield servers


@pytest.fixture(scope="session")
def seaweedfs_servers() -> Iterator[LocalServers]:
    """A real S3 server, which checks signatures and checksums; KMS by moto."""
    with LocalServers(s3="seaweedfs") as servers:
        yield servers


@pytest.fixture(scope="session")
def raw_s3(local_servers: LocalServers) -> Any:
    """A plain boto3 S3 client on moto: sees what is stored, without our code."""
    return local_servers.s3_client()


@pytest.fixture(scope="session")
def raw_kms(local_servers: LocalServers) -> Any:
    """A plain boto3 KMS client on moto."""
    return local_servers.kms_client()


@pytest.fixture
def bucket(raw_s3: Any) -> str:
    """The name of a fresh, empty bucket on moto."""
    name = f"bucket-{secrets.token_hex(6)}"
    raw_s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def client(local_servers: LocalServers) -> Client:
    """A client on moto under the servers' KMS key."""
    return local_servers.client()


@pytest.fixture
def local_environ(local_servers: LocalServers, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment variables that point at moto, set."""
    environ = local_servers.environ
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


@pytest.fixture(scope="module")
def served() -> Iterator[Lake]:
    """A bucket in memory and a strict KMS, for the tests of a file."""
    from lake import Lake

    lake = Lake()
    yield lake
    lake.close()


@pytest.fixture
def lake(served: Lake) -> Lake:
    """That bucket, empty, of which nothing was asked."""
    served.empty()
    return served
