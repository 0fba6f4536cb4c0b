"""One object in parts, and its index: what the tests of ranges read."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broken_servers import BrokenServers

MIB, S = 2**20, 2**16
SIZE = 11 * MIB + 12_345
URL, PATH, INDEX = "s3://bucket/dir/o", "/bucket/dir/o", "/bucket/dir/_arrowseal.o.index"
CONTENT = random.Random(6).randbytes(SIZE)


def with_object(servers: BrokenServers) -> BrokenServers:
    """Servers that hold it, and have logged nothing."""
    servers.client().put(URL, CONTENT)
    servers.s3.reset()
    return servers
