"""The command as a process of its own: pipes, signals, terminals, and what it imports."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from command_runs import ARROWSEAL

if TYPE_CHECKING:
    from pathlib import Path

    from command_runs import Run


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_is_no_error(
    environment: dict[str, str], run: Run, folder: str, unbuffered: str
) -> None:
    run("cp", "-", f"{folder}/a", stdin=b"a" * 1_000_000)
    words = [*ARROWSEAL, "cat", f"{folder}/a"]
    buffering = environment | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffering) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("cp - {url} <&-", 2, "arrowseal: standard input is closed"),
        ("cp {url} - >&-", 2, "arrowseal: standard output is closed"),
        ("cat {url} >&-", 2, "arrowseal: standard output is closed"),
        ("ls {url} >&-", 0, ""),
    ],
)
def test_a_stream_that_the_process_was_started_without_is_told_where_it_is_needed(
    environment: dict[str, str], run: Run, folder: str, command: str, code: int, said: str
) -> None:
    url = f"{folder}/a"
    run("cp", "-", url, stdin=b"a")
    words = f"{shlex.join(ARROWSEAL)} {command.format(url=url)}"
    done = subprocess.run(["/bin/sh", "-c", words], stderr=subprocess.PIPE, env=environment, check=False)
    assert done.stderr.decode().startswith(said)
    assert done.returncode == code
    assert done.stderr.count(b"\n") == bool(said)
    assert run("cat", url).stdout == b"a"


def test_a_name_that_the_terminal_has_no_characters_for_is_escaped_and_ends_nothing(
    environment: dict[str, str], run: Run, folder: str, tmp_path: Path
) -> None:
    names = ["\N{LATIN SMALL LETTER U WITH DIAERESIS}1", "\N{LATIN SMALL LETTER U WITH DIAERESIS}2", "a"]
    for name in names:
        run("cp", "-", f"{folder}/{name}", stdin=b"a")
    ascii_only = environment | {"PYTHONIOENCODING": "ascii"}
    for words in (["ls", f"{folder}/"], ["cp", "--recursive", folder, str(tmp_path)]):
        done = subprocess.run([*ARROWSEAL, *words], capture_output=True, env=ascii_only, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.count(b"\\xfc") == len(names) - 1 + (words[0] == "cp") * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_without_standard_error_messages_do_not_go_among_the_bytes(
    environment: dict[str, str], run: Run, folder: str
) -> None:
    run("cp", "-", f"{folder}/a", stdin=b"a")
    words = f"{shlex.join([*ARROWSEAL, 'cat', f'{folder}/missing', f'{folder}/a'])} 2>&-"
    done = subprocess.run(["/bin/sh", "-c", words], stdout=subprocess.PIPE, env=environment, check=False)
    assert (done.returncode, done.stdout) == (1, b"a")


def test_ctrl_c_gives_130_and_no_traceback(environment: dict[str, str], folder: str) -> None:
    words = [*ARROWSEAL, "cp", "-", f"{folder}/a"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"a" * 2**20)  # more than a pipe holds: once it is gone, the command waits for more
        process.stdin.flush()
        waiting = array.array("i", [1])
        while waiting[0]:
            time.sleep(0.2)
            fcntl.ioctl(process.stdin, termios.FIONREAD, waiting)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b""


def test_nothing_slow_is_imported_for_the_help() -> None:
    program = (
        "import sys; from arrowseal.cli import main; code = main(['cp', '--help'])\n"
        "print(code, sorted({'boto3', 'botocore', 'pyarrow', 'pandas', 'polars', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n0 []\n")


def test_local_serves_the_region_that_it_is_told(environment: dict[str, str]) -> None:
    show = "import os; print(os.environ['AWS_REGION'], os.environ['ARROWSEAL_KMS_KEY_ID'])"
    words = ["local", "--region", "eu-west-1", "--", sys.executable, "-c", show]
    shown = subprocess.run([*ARROWSEAL, *words], capture_output=True, text=True, check=True, env=environment).stdout
    assert shown.startswith("eu-west-1 arn:aws:kms:eu-west-1:")


def on_a_terminal(environment: dict[str, str], *words: str | Path) -> str:
    """What a command shows where standard error is a terminal."""
    terminal, end = os.openpty()
    command = [*ARROWSEAL, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end, env=environment) as process:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as screen:  # EIO is its end on Linux
            while piece := screen.read(2**16):
                shown += piece
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def test_a_terminal_shows_how_far_one_object_or_several_are(
    run: Run, environment: dict[str, str], folder: str, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("a.bin", "b.bin"):
        (tmp_path / "tree" / name).write_bytes(bytes(3_000_000))
    run("cp", "tree", folder, "--recursive")
    one = on_a_terminal(environment, "cp", f"{folder}/a.bin", tmp_path / "one")
    assert re.search(r"reading a\.bin: +\d+%.*/3\.00M .*B/s\]", one)
    assert re.search(r"cp: +\d+%.*/6\.00M ", on_a_terminal(environment, "cp", folder, tmp_path / "all", "--recursive"))
    for quiet in ("--quiet", "--no-progress"):
        assert on_a_terminal(environment, "cp", f"{folder}/a.bin", tmp_path / "one", quiet) == ""
