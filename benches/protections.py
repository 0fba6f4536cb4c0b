"""The ways of one pipeline to protect an object, each with a client that writes and reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from arrowseal import CSE, PLAIN, V2, V3, CommitmentPolicy
from servers import BUCKET

if TYPE_CHECKING:
    from arrowseal.client import Client
    from arrowseal.local import LocalServers
    from servers import Endpoint

ARMS = ["PLAIN", "CSE V2", "CSE V3"]


class Protection(NamedTuple):
    """An arm: its client, and what its writes are told."""

    name: str
    client: Client
    encryption: Any

    def url(self, *names: str) -> str:
        """Of an object of its own."""
        return f"s3://{BUCKET}/{'/'.join((self.name, *names))}".replace(" ", "-")


def protections(endpoint: Endpoint, servers: LocalServers) -> list[Protection]:
    """All of `ARMS` on a server."""
    forbids = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    usual = endpoint.client(servers)
    return [
        Protection("PLAIN", usual, PLAIN),
        Protection("CSE V2", endpoint.client(servers, commitment_policy=forbids, format=V2), CSE(format=V2)),
        Protection("CSE V3", usual, CSE(format=V3)),
    ]
