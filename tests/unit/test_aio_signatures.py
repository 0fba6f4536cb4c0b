"""The awaited forms stand in for the others: every one of them is there, with its signature and documentation."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

import arrowseal.aio.arrow
import arrowseal.aio.pandas
import arrowseal.aio.polars
from arrowseal import Client
from arrowseal.aio import AsyncClient, AsyncObjectWriter

if TYPE_CHECKING:
    from types import ModuleType

NOT_AWAITED = {"open", "data_key_reuse", "counters", "options"}
CALLS = [name for name in vars(Client) if not name.startswith("_") and name not in NOT_AWAITED]
MODULES = [
    (arrowseal.aio.arrow, arrowseal.arrow),
    (arrowseal.aio.pandas, arrowseal.pandas),
    (arrowseal.aio.polars, arrowseal.polars),
]
FACES = [(awaited, face, name) for awaited, face in MODULES for name in face.__all__ if not name.startswith("scan")]


@pytest.mark.parametrize("name", CALLS)
def test_every_call_of_the_client_is_awaited_with_its_own_arguments(name: str) -> None:
    client = Client("alias/a")
    call = getattr(AsyncClient(client), name)
    assert inspect.iscoroutinefunction(call)
    assert inspect.signature(call) == inspect.signature(getattr(client, name))
    assert call.__doc__ == getattr(client, name).__doc__


def test_open_takes_the_same_arguments_and_gives_a_writer_without_a_request() -> None:
    client = Client("alias/a")
    calls = AsyncClient(client)
    assert inspect.signature(calls.open).parameters == inspect.signature(client.open).parameters
    assert isinstance(calls.open("s3://lake/o", "wb"), AsyncObjectWriter)


@pytest.mark.parametrize(("awaited", "face", "name"), FACES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_function_for_tables_is_awaited_with_its_own_arguments(
    awaited: ModuleType, face: ModuleType, name: str
) -> None:
    call: Any = getattr(awaited, name)
    assert inspect.iscoroutinefunction(call)
    assert inspect.signature(call) == inspect.signature(getattr(face, name))
    assert call.__doc__ == getattr(face, name).__doc__
    assert awaited.__all__ == face.__all__


def test_what_requests_nothing_is_not_awaited() -> None:
    for name in ("scan_csv", "scan_ipc", "scan_ndjson", "scan_parquet"):
        assert getattr(arrowseal.aio.polars, name) is getattr(arrowseal.polars, name)
