"""What client-side encryption costs a table: every face and format, CSE V3 and V2 against PLAIN, interleaved.

A read ends when the library's own frame is there, a write when the object is. Sizes are those of the table in the
memory of Arrow. DuckDB reads what `arrowseal.arrow` read, and takes part where it is installed.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

import faces
from arrowseal.cli.flights import as_table, differences
from interleaved import REPLAY, Seconds, measure, show
from protections import ARMS, protections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrowseal.local import LocalServers
    from servers import Endpoint

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "16 MB": 16_000_000, "1 GB": 1_000_000_000}
pytestmark = pytest.mark.one_server
_measured: dict[tuple[str, ...], Seconds] = {}


def comparisons() -> Iterator[Any]:
    """Operation, face, format and size. The largest table is only read, as IPC by pyarrow: other formats take minutes
    to encode or parse, in which encryption would not show, and `test_objects.py` writes as many bytes. So does what
    pandas makes of 16 MB of text.
    """
    for size in SIZES:
        for face in faces.FACES:
            for operation in ["read"] if face in faces.READS_ONLY else ["read", "write"]:
                for name in faces.FORMATS:
                    slow = (size, operation, face, name) == ("16 MB", "write", "pandas", "csv")
                    if (size != "1 GB" or (operation, face, name) == ("read", "pyarrow", "ipc")) and not slow:
                        full = size in ("16 MB", "1 GB")
                        yield pytest.param(operation, face, name, size, marks=[pytest.mark.full] if full else [])


def measured(
    endpoint: Endpoint, servers: LocalServers, operation: str, face: str, name: str, size: str, rounds: int
) -> Seconds:
    """The seconds of all arms of one comparison, measured once; answers are checked before the clock starts."""
    if (operation, face, name, size) not in _measured:
        content = faces.table(SIZES[size])
        frame = faces.of_face(face, content)
        arms: dict[str, Callable[[], object]] = {}
        for arm in protections(endpoint, servers):
            url = arm.url("tables", face, f"{size}.{name}")
            write = partial(faces.write, face, name, frame, url, client=arm.client, encryption=arm.encryption)
            read = partial(faces.read, face, name, url, client=arm.client, allow_plaintext=True)
            write()
            assert differences(as_table(content), read(), typed=name != "csv") == [], arm.name
            arms[arm.name] = read if operation == "read" else write
        _measured[operation, face, name, size] = measure(arms, rounds=rounds, warmup=1)
    return _measured[operation, face, name, size]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(("operation", "face", "name", "size"), list(comparisons()))
@pytest.mark.benchmark(timer=REPLAY, disable_gc=False)
def test_tables(
    benchmark: Any,
    endpoint: Endpoint,
    servers: LocalServers,
    rounds: Callable[[int], int],
    operation: str,
    face: str,
    name: str,
    size: str,
    arm: str,
) -> None:
    if find_spec(face) is None:
        pytest.skip(f"{face} is not installed")
    many = 15 if SIZES[size] < 10_000_000 else 7
    seconds = measured(endpoint, servers, operation, face, name, size, rounds(many))
    show(benchmark, f"{operation} {size} {name}, {face}", seconds, arm, ["PLAIN"], SIZES[size])
