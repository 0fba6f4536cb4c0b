"""What tests of file systems look at and do behind them: what is stored, listed, and changed by somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyarrow.fs import FileSelector, FileType

if TYPE_CHECKING:
    from broken_servers import BrokenServers


class Unfortunate(Exception):  # noqa: N818
    """What happens in a test."""


def kinds(fs: Any, *paths: str) -> list[str]:
    """What pyarrow is told of paths."""
    return [info.type.name for info in fs.get_file_info(list(paths))]


def below(fs: Any, path: str) -> list[str]:
    """The files in a directory, by their paths in it."""
    infos = fs.get_file_info(FileSelector(path, recursive=True))
    return sorted(info.path.removeprefix(path + "/") for info in infos if info.type is FileType.File)


def keys(servers: BrokenServers, lake: str) -> list[str]:
    """The keys of a bucket, those of indexes included."""
    return sorted(path.removeprefix(f"/{lake}/") for path in servers.s3.server.objects if path.startswith(f"/{lake}/"))


def tamper(servers: BrokenServers, path: str, at: int = 100) -> None:
    """Flip a bit of what is stored."""
    lying = servers.s3.server.objects["/" + path]
    body = bytearray(lying.body)
    body[at] ^= 1
    servers.s3.server.objects["/" + path] = lying._replace(body=bytes(body))


def requests(servers: BrokenServers) -> list[str]:
    """The operations since this was asked last."""
    operations = [seen.operation for seen in servers.s3.log]
    servers.s3.log.clear()
    return operations
