"""The official Python client, installed once into an environment beside pytest's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from official_process import OfficialClient, official_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def official_python(pytestconfig: pytest.Config) -> Path:
    """The interpreter of the official client's environment, made at first use and kept in pytest's cache."""
    assert pytestconfig.cache is not None
    return official_environment(pytestconfig.cache.mkdir("official-client-environment"))


@pytest.fixture(scope="session", params=["moto", "seaweedfs"])
def official(request: pytest.FixtureRequest, official_python: Path) -> Iterator[OfficialClient]:
    """The official client on each embedded S3."""
    servers = request.getfixturevalue("local_servers" if request.param == "moto" else "seaweedfs_servers")
    client = OfficialClient(official_python, servers)
    yield client
    client.close()
