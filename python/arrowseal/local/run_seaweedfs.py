"""The process that watches over the embedded SeaweedFS: run as `run_seaweedfs.py WEED FLAGS...`, by path.

SeaweedFS does not notice when the program that wanted it is gone. This one does: it stops the server and removes the
data when its standard input ends, which happens however the parent went, or on SIGTERM. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import tempfile

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0  # it takes two to close its volumes and remove its sockets
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def leave_with_watcher() -> None:
    """In the child, on Linux: get SIGTERM if this process is killed and cannot send it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> int:
    """Run the server in a temporary directory until it, or the parent, is gone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
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
        try:
            while server.poll() is None:
                if select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
                    return 0  # nobody writes there: readable means ended
            return server.returncode or 1
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


if __name__ == "__main__":
    sys.exit(main())
