"""Parsing and writing what an encrypted object says of itself: once for each object that is read or written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import V2, V3
from arrowseal.metadata import bound_context, parse, render

if TYPE_CHECKING:
    from arrowseal import Format

CONTEXTS = {
    "no context": {},
    "10 entries": {f"name-{number}": f"value {number}" for number in range(10)},
}


def rendering(sealed_format: Format, context: str) -> dict[str, Any]:
    """What `render` takes, of the lengths that KMS and the core give."""
    suite = sealed_format.suite
    return {
        "encrypted_data_key": os.urandom(184),
        "message_id": os.urandom(suite.message_id_bytes or suite.iv_bytes),
        "commitment": os.urandom(suite.commitment_bytes) if suite.committing else None,
        "context": bound_context(CONTEXTS[context], sealed_format),
    }


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("sealed_format", [V2, V3], ids=["V2", "V3"])
def test_parsing(benchmark: Any, sealed_format: Format, context: str) -> None:
    told = rendering(sealed_format, context)
    stored = render(sealed_format, **told) | {"owner": "somebody"}
    benchmark.group = f"parse metadata, {context}"
    found = benchmark(parse, stored)
    assert (found.encrypted_data_key, found.message_id) == (told["encrypted_data_key"], told["message_id"])
    assert dict(found.context) == told["context"]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("sealed_format", [V2, V3], ids=["V2", "V3"])
def test_rendering(benchmark: Any, sealed_format: Format, context: str) -> None:
    told = rendering(sealed_format, context)
    benchmark.group = f"render metadata, {context}"
    stored = benchmark(render, sealed_format, **told)
    found = parse(stored)
    assert found is not None
    assert found.encrypted_data_key == told["encrypted_data_key"]
