"""The servers of all benchmarks, started once; and ratios in the terminal, which pytest-benchmark keeps to itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.local import LocalServers
from official_process import OfficialClient, official_environment
from servers import BUCKET, SERVERS, Endpoint, available, discarding, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


QUICK_ROUNDS = 7


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`."""
    parser.addoption("--quick", action="store_true", help="benchmarks: small sizes and few rounds, within 5 minutes")


def pytest_configure(config: pytest.Config) -> None:
    """What modules say of their benchmarks."""
    config.addinivalue_line("markers", "full: takes too long for --quick")
    config.addinivalue_line("markers", "one_server: the client is what matters; runs on the first server that is there")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for."""
    first = available()[0]

    def wanted(item: pytest.Item) -> bool:
        if config.getoption("--quick") and item.get_closest_marker("full"):
            return False
        on = item.callspec.params.get("endpoint", first) if hasattr(item, "callspec") else first
        return on == first or item.get_closest_marker("one_server") is None

    left_out = [item for item in items if not wanted(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if wanted(item)]


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> Callable[[int], int]:
    """How many rounds a comparison has that wants so many: fewer with `--quick`, but never fewer than seven."""
    return lambda many: QUICK_ROUNDS if pytestconfig.getoption("--quick") else many


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_anybody() -> None:
    """Peers that read the environment shall find the benchmark's own servers only."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def servers() -> Iterator[LocalServers]:
    """SeaweedFS for S3, moto for KMS, both on loopback."""
    with LocalServers(s3="seaweedfs") as servers:
        yield servers


@pytest.fixture(scope="session", params=SERVERS)
def endpoint(
    request: pytest.FixtureRequest, servers: LocalServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """Each S3 server in turn; versitygw where it is on the PATH."""
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(server(request.param, servers, tmp_path_factory.mktemp("objects")))
        except LookupError as absent:
            pytest.skip(str(absent))


@pytest.fixture(scope="session")
def discarding_endpoint() -> Iterator[Endpoint]:
    """A server that keeps nothing."""
    with discarding() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def official(pytestconfig: pytest.Config, servers: LocalServers) -> Iterator[Callable[[Endpoint], OfficialClient]]:
    """The official Python client on a server, one process for each."""
    assert pytestconfig.cache is not None
    python = official_environment(pytestconfig.cache.mkdir("official-client-environment"))
    started: dict[Endpoint, OfficialClient] = {}

    def on(endpoint: Endpoint) -> OfficialClient:
        if endpoint not in started:
            environ = endpoint.environ(servers) | {"ARROWSEAL_BUCKET": BUCKET}
            started[endpoint] = OfficialClient(python, servers, environ)
        return started[endpoint]

    yield on
    for client in started.values():
        client.close()


@pytest.fixture(scope="session")
def one_shot(pytestconfig: pytest.Config) -> Iterator[Callable[[int], float]]:
    """Seconds that AWS-LC's one-shot open takes from memory, for a size: `rust/core/examples/one_shot.rs`."""
    command = ["cargo", "run", "--quiet", "--release", "-p", "arrowseal-core", "--example", "one_shot"]
    root: Path = pytestconfig.rootpath
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def seconds(size: int) -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{size}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield seconds
        assert process.stdin is not None
        process.stdin.close()


_recorded: list[tuple[str, str]] = []


@pytest.fixture
def record() -> Callable[[str, str], None]:
    """Takes what a benchmark found that is not a time: what, and how much."""
    return lambda what, found: _recorded.append((what, found))


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Median and ratios of every arm, group by group."""
    session = getattr(config, "_benchmarksession", None)
    groups: dict[str, list[Any]] = {}
    for one in getattr(session, "benchmarks", ()):
        groups.setdefault(one.group or one.name, []).append(one)
    for group, arms in groups.items():
        terminalreporter.section(group, sep="-")
        for one in arms:
            told = ", ".join(f"{name}: {value}" for name, value in one.extra_info.items())
            arm = (one.params or {}).get("arm", one.name)
            terminalreporter.write_line(f"{arm:<26} {one.stats.median:9.4f} s   {told}")
    for what, found in _recorded:
        terminalreporter.write_line(f"{what}: {found}")
