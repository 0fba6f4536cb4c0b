"""The process that watches over the embedded SeaweedFS: run as `run_seaweedfs.py WEED FLAGS...`, by path.

SeaweedFS does not notice when the program that wanted it is gone. This one does: it stops the server and removes the
data when its standard input ends, which happens however the parent went, or on SIGTERM. Standard library only.

SeaweedFS is killed, not asked: it sometimes hangs when asked, and its data are not to be kept.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def leave_with_watcher() -> None:
    """In the child, on Linux: get SIGTERM if this process is killed and cannot see to it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def signals(*numbers: signal.Signals) -> int:
    """A file descriptor that becomes readable at such a signal. The signals do nothing else: an exception out of a
    handler could hit the very code that stops the server.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return readable


def unix_sockets(pid: int) -> list[Path]:
    """The Unix sockets of a process that lie in the file system, as far as /proc tells. It puts some beside its
    directory, and a killed process leaves them.
    """
    inodes = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
        # Columns of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path
        rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        return [Path(row[7]) for row in rows if len(row) == 8 and row[6] in inodes and row[7].startswith(os.sep)]
    return []


def main() -> int:
    """Run the server in a temporary directory until it, or the parent, is gone."""
    wakeup = signals(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    with tempfile.TemporaryDirectory(prefix="arrowseal-", ignore_cleanup_errors=True) as directory:
        # No settings but ours: HOME is where it would look for a user's configuration.
        environment = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        environment |= {"HOME": directory, "TMPDIR": directory}
        server = subprocess.Popen(  # noqa: S603 - the command of processes.py
            sys.argv[1:],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            preexec_fn=leave_with_watcher,  # safe: this process has one thread
        )
        select.select([sys.stdin, wakeup], [], [])  # nobody writes to stdin: readable means ended
        if server.poll() is not None:
            return server.returncode or 1
        server.send_signal(signal.SIGSTOP)  # so that no socket comes after the list is made
        sockets = unix_sockets(server.pid)
        server.kill()
        server.wait()
        for path in sockets:
            path.unlink(missing_ok=True)
        return 0


if __name__ == "__main__":
    sys.exit(main())
