"""What became faster or slower between two commits: `python benches/compare_commits.py OLD NEW [--rounds N]`.

Both are built in release, outside of this tree, with the packages of this environment, and each runs in a process of
its own on the same servers. In every round each arm runs in both, one right after the other, in orders drawn anew.
A ratio new/old has moved if its 95 % interval leaves out 1, by `LEAST` or more. Of some twenty arms one does so by
chance: what moved is therefore measured once more, in new processes, and told only if it moves the same way again.

Exit code 1 if something became slower.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from arrowseal.bench.intervals import Interval, of_median, of_ratio
from arrowseal.local import LocalServers
from arrowseal.text_tables import table
from servers import BUCKET, Endpoint, available, server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "target" / "commits"
"""Builds are kept: what they depend on takes longest, and mostly is the same."""
LEAST = 0.03
"""Two processes of the same code differ by a percent or two, by where their memory happens to lie."""
WARMUP = 2
OLD, NEW = "old", "new"

Seconds = dict[str, dict[str, list[float]]]
"""Of every round, by arm and commit."""


def git(*arguments: str) -> str:
    """What a git command prints. Raises `SystemExit` with its own words."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return done.stdout.strip()


def build(commit: str, folder: Path) -> Path:
    """Check a commit out and build its extension in release; the folder to import `arrowseal` from."""
    folder.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    package = folder / "python"
    # Commits with the same Rust share one extension.
    rust = "-".join(git("rev-parse", f"{commit}:{name}")[:12] for name in ("rust", "Cargo.toml", "Cargo.lock"))
    extension = TARGET / f"{rust}.so"
    if not extension.exists():
        command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "arrowseal-py"]
        subprocess.run(command, cwd=folder, env=os.environ | {"CARGO_TARGET_DIR": str(TARGET)}, check=True)
        built = next(path for path in (TARGET / "release").glob("lib_core.*") if path.suffix in (".so", ".dylib"))
        shutil.copy(built, extension)
    shutil.copy(extension, package / "arrowseal" / "_core.abi3.so")
    return package


class Contestant:
    """The process of one commit."""

    def __init__(self, package: Path, prefix: str, environ: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("commit_arms.py")), prefix],
            env=inherited | environ | {"PYTHONPATH": str(package)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        where, *self.arms = self._answer().split("\t")
        assert Path(where).is_relative_to(package), f"{where} was imported, not what was built in {package}"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a commit does not run these arms: its own words stand above")
        return line.rstrip("\n")

    def run(self, arm: str) -> float:
        """The seconds of one run."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{arm}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextlib.contextmanager
def contestants(packages: dict[str, Path], environ: dict[str, str]) -> Iterator[dict[str, Contestant]]:
    """A process for each commit."""
    with contextlib.ExitStack() as stack:
        made = {}
        for name, package in packages.items():
            made[name] = Contestant(package, name, environ)
            stack.callback(made[name].close)
        yield made


def measure(both: dict[str, Contestant], arms: Sequence[str], rounds: int, seed: int) -> Seconds:
    """All arms in turn, both commits side by side."""
    draw, order, sides = random.Random(seed), list(arms), [OLD, NEW]
    for arm in order * WARMUP:
        for side in sides:
            both[side].run(arm)
    seconds: Seconds = {arm: {side: [] for side in sides} for arm in arms}
    for _ in range(rounds):
        draw.shuffle(order)
        for arm in order:
            draw.shuffle(sides)
            for side in sides:
                seconds[arm][side].append(both[side].run(arm))
    return seconds


def ratio(seconds: dict[str, list[float]]) -> Interval:
    """New to old, paired by round."""
    found = of_ratio(dict(enumerate(seconds[NEW])), dict(enumerate(seconds[OLD])))
    assert found is not None
    return found


def direction(interval: Interval) -> int:
    """1 for slower, -1 for faster, 0 for neither."""
    if interval.low > 1 and interval.middle >= 1 + LEAST:
        return 1
    return -1 if interval.high < 1 and interval.middle <= 1 / (1 + LEAST) else 0


def compare(packages: dict[str, Path], environ: dict[str, str], rounds: int, only: str) -> int:
    """Measure, measure again what moved, print, and return the exit code."""
    with contestants(packages, environ) as both:
        arms = [arm for arm in both[OLD].arms if arm in both[NEW].arms and only in arm]
        seconds = measure(both, arms, rounds, seed=2013)
    first = {arm: direction(ratio(seconds[arm])) for arm in arms}
    suspected = [arm for arm in arms if first[arm]]
    if suspected:
        print(f"{len(suspected)} of {len(arms)} arms moved; once more, in new processes:", *suspected, sep="\n  ")
        with contestants(packages, environ) as both:
            again = measure(both, suspected, rounds, seed=2014)
        for arm in suspected:
            if direction(ratio(again[arm])) != first[arm]:
                first[arm] = 0
    rows = []
    for arm in arms:
        told = seconds[arm]
        interval = ratio(told)
        rows.append(
            [
                arm,
                *(f"{of_median(told[side]).middle * 1e3:.2f}" for side in (OLD, NEW)),
                f"{interval.middle:.3f}",
                f"{interval.low:.3f} - {interval.high:.3f}",
                {1: "SLOWER", -1: "faster", 0: ""}[first[arm]],
            ]
        )
    print(*table(["arm", "old ms", "new ms", "new/old", "95 %", ""], rows, right=[1, 2, 3]), sep="\n")
    moved = sum(1 for arm in arms if first[arm])
    print(f"{moved} of {len(arms)} ratios moved." if moved else f"None of {len(arms)} ratios moved.")
    return int(any(each > 0 for each in first.values()))


def main() -> int:
    """Build both, start the servers, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("old", help="a commit, a branch or a tag")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=15, help="7 or more (default: 15)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only arms whose names contain this")
    arguments = parser.parse_args()
    if arguments.rounds < 7:
        parser.error("fewer than 7 rounds say nothing")
    commits = {OLD: arguments.old, NEW: arguments.new}
    commits = {name: git("rev-parse", "--verify", f"{commit}^{{commit}}") for name, commit in commits.items()}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arrowseal-commits-")))
        TARGET.mkdir(parents=True, exist_ok=True)
        packages = {}
        for name, commit in commits.items():
            print(f"{name}: {git('log', '-1', '--format=%h %s', commit)}", flush=True)
            packages[name] = build(commit, folder / name)
        servers = stack.enter_context(LocalServers(s3="seaweedfs"))
        (folder / "objects").mkdir()
        endpoint: Endpoint = stack.enter_context(server(available()[0], servers, folder / "objects"))
        environ = endpoint.environ(servers) | {"ARROWSEAL_BUCKET": BUCKET}
        return compare(packages, environ, arguments.rounds, arguments.only)


if __name__ == "__main__":
    sys.exit(main())
