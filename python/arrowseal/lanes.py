"""Which lane carries the requests of a client: boto3 alone, or obstore for many small reads beside it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.store_boto3 import Boto3Store
from arrowseal.store_lean import LeanStore
from arrowseal.store_obstore import ObstoreStore

if TYPE_CHECKING:
    from arrowseal.connections import Connections
    from arrowseal.options import Lane
    from arrowseal.store import Store


def store_of(connections: Connections, lane: Lane) -> Store:
    """The store of a client. An S3 client that was handed in is used as it is, with whatever hooks are on it.

    Raises `ConfigurationError` (`MissingExtraError`) where obstore was asked for by name and cannot be used.
    """
    if lane == "obstore":
        require("obstore", "fast")
        if not connections.own_s3:
            raise ConfigurationError(
                "lane='obstore' cannot use an S3 client that was handed in: leave s3= or lane= out"
            )
    if not connections.own_s3:
        return Boto3Store(connections.s3, connections.renew)
    if lane == "boto3" or find_spec("obstore") is None:
        return LeanStore(connections.endpoints, connections.renew)
    return ObstoreStore(connections.endpoints, connections.renew, always=lane == "obstore")
