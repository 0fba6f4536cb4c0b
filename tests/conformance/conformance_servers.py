"""What the conformance tests run on: servers, and the lanes to them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from arrowseal.connections import Connections
from arrowseal.lanes import store_of
from arrowseal.options import ClientOptions
from arrowseal.store_boto3 import Boto3Store

if TYPE_CHECKING:
    from collections.abc import Callable

    import boto3

    from arrowseal.store import Store

LANES = ["boto3 as it is", "boto3", "obstore"]
SERVERS = ["moto", "seaweedfs"] + (["versitygw"] if shutil.which("versitygw") else [])


def lane_over(connections: Connections, lane: str) -> Store:
    """The store of one lane."""
    if lane == "boto3 as it is":
        return Boto3Store(connections.s3, connections.renew)
    return store_of(connections, lane)  # type: ignore[arg-type]


class Server(NamedTuple):
    """An S3 server, and a session with credentials for it."""

    name: str
    endpoint: str
    session: Callable[[], boto3.Session]

    def s3(self) -> Any:
        """A plain boto3 client."""
        return self.session().client("s3", endpoint_url=self.endpoint)

    def connections(self, session: boto3.Session | None = None) -> Connections:
        """What a client stands on that was given a session."""
        options = ClientOptions(endpoint_url=self.endpoint)
        return Connections(options, session or self.session(), None, None)

    def store(self, lane: str, session: boto3.Session | None = None) -> Store:
        """The store of one lane."""
        return lane_over(self.connections(session), lane)
