"""Tables in client-side encrypted S3 objects, for pandas, polars and pyarrow.

>>> import arrowseal  # doctest: +SKIP
>>> arrowseal.configure(kms_key_id="alias/tables")  # doctest: +SKIP
>>> flights = arrowseal.pandas.read_parquet("s3://lake/flights.parquet")  # doctest: +SKIP

Everything is imported when it is first used: `import arrowseal` alone costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arrowseal import aio, arrow, athena, counters, emr, exceptions, fs, local, operations, trail
    from arrowseal import pandas as pandas
    from arrowseal import polars as polars
    from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
    from arrowseal._core import __version__ as __version__
    from arrowseal.client import Client
    from arrowseal.counters import Counters
    from arrowseal.data_keys import DataKeyCache
    from arrowseal.defaults import configure, default_client, reset, using
    from arrowseal.discovery import Discovery
    from arrowseal.encryption import CSE, PLAIN, SSE_C, SSE_KMS, SSE_S3
    from arrowseal.exceptions import ArrowSealError
    from arrowseal.head import ObjectHead
    from arrowseal.keyring import Keyring
    from arrowseal.location import ObjectLocation
    from arrowseal.raw_keyring import RawAesKeyring, RawRsaKeyring
    from arrowseal.retries import RetryOptions
    from arrowseal.store import ListedObject, OpenUpload
    from arrowseal.suites import ANY, V2, V3, CommitmentPolicy, Format
    from arrowseal.transfer import TransferOptions
    from arrowseal.writing import PutResult

# These need an extra: `from arrowseal import *` and what looks at all names work without.
_FACES = ("pandas", "polars")
_SUBMODULES = (
    "aio",
    "arrow",
    "athena",
    "counters",
    "emr",
    "exceptions",
    "fs",
    "local",
    "operations",
    "trail",
    *_FACES,
)
_HOMES = {
    "ANY": "suites",
    "CSE": "encryption",
    "PLAIN": "encryption",
    "SSE_C": "encryption",
    "SSE_KMS": "encryption",
    "SSE_S3": "encryption",
    "V2": "suites",
    "V3": "suites",
    "ArrowSealError": "exceptions",
    "Client": "client",
    "CommitmentPolicy": "suites",
    "Counters": "counters",
    "DataKeyCache": "data_keys",
    "Discovery": "discovery",
    "Format": "suites",
    "Keyring": "keyring",
    "ListedObject": "store",
    "ObjectHead": "head",
    "ObjectLocation": "location",
    "OpenUpload": "store",
    "PlaintextBuffer": "_core",
    "PutResult": "writing",
    "RawAesKeyring": "raw_keyring",
    "RawRsaKeyring": "raw_keyring",
    "RetryOptions": "retries",
    "TransferOptions": "transfer",
    "UnauthenticatedBuffer": "_core",
    "__version__": "_core",
    "configure": "defaults",
    "default_client": "defaults",
    "reset": "defaults",
    "using": "defaults",
}

__all__ = [
    "ANY",
    "CSE",
    "PLAIN",
    "SSE_C",
    "SSE_KMS",
    "SSE_S3",
    "V2",
    "V3",
    "ArrowSealError",
    "Client",
    "CommitmentPolicy",
    "Counters",
    "DataKeyCache",
    "Discovery",
    "Format",
    "Keyring",
    "ListedObject",
    "ObjectHead",
    "ObjectLocation",
    "OpenUpload",
    "PlaintextBuffer",
    "PutResult",
    "RawAesKeyring",
    "RawRsaKeyring",
    "RetryOptions",
    "TransferOptions",
    "UnauthenticatedBuffer",
    "aio",
    "arrow",
    "athena",
    "configure",
    "counters",
    "default_client",
    "emr",
    "exceptions",
    "fs",
    "local",
    "operations",
    "reset",
    "trail",
    "using",
]


if not TYPE_CHECKING:  # which would then know every name, mistyped ones too

    def __getattr__(name: str) -> object:
        if name in _SUBMODULES:
            return import_module(f"arrowseal.{name}")
        try:
            home = _HOMES[name]
        except KeyError:
            raise AttributeError(f"module 'arrowseal' has no attribute {name!r}") from None
        value = getattr(import_module(f"arrowseal.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    special = {name for name in globals() if name.startswith("__")}
    return sorted({*special, "__version__", *__all__, *(face for face in _FACES if find_spec(face) is not None)})
