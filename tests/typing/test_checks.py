"""The code checks itself: formatters, linters, type checkers and the tests of the Rust core, as one test each."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from notices import NOTICES, notices

REPOSITORY = Path(__file__).parents[2]
CARGO = ["cargo", "--quiet"]
# The profile that the extension was built with: its object files are there already.
RELEASE = ["--release", "--locked", "--workspace"]


def passes(*command: str) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}", pytrace=False)


def tool(*arguments: str) -> None:
    passes(sys.executable, "-m", *arguments)


def test_python_is_formatted() -> None:
    tool("ruff", "format", "--check", ".")


def test_python_is_free_of_lint() -> None:
    tool("ruff", "check", ".")


def test_python_and_the_use_of_it_are_typed() -> None:
    tool("mypy")


def test_the_stub_of_the_core_is_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # By itself: as a module of the package it would take an analysis of the whole package with it.
    package = tmp_path / "arrowseal"
    package.mkdir()
    (package / "__init__.pyi").touch()
    shutil.copy(REPOSITORY / "python" / "arrowseal" / "_core.pyi", package)
    monkeypatch.setenv("MYPYPATH", str(tmp_path))
    allowed = Path(__file__).with_name("stubtest_allowlist.txt")
    tool("mypy.stubtest", "arrowseal._core", "--allowlist", str(allowed), "--ignore-unused-allowlist")


def test_rust_is_formatted() -> None:
    passes("cargo", "fmt", "--all", "--check")


@pytest.mark.timeout(1800)
def test_rust_is_free_of_lint() -> None:
    passes(*CARGO, "clippy", *RELEASE, "--all-targets", "--", "--deny", "warnings")


@pytest.mark.timeout(1800)
def test_the_tests_of_the_core_pass() -> None:
    passes(*CARGO, "test", *RELEASE, "--tests")  # clippy has compiled the examples


def test_the_core_stands_on_one_copy_of_aws_lc() -> None:
    lock = (REPOSITORY / "Cargo.lock").read_text()
    assert lock.count('name = "aws-lc-sys"') == 1


def test_the_notices_have_the_licence_of_everything_that_is_linked() -> None:
    assert NOTICES.read_text(encoding="utf-8") == notices(), "run: python tests/typing/notices.py"


def test_the_notices_are_part_of_what_is_distributed() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert NOTICES.relative_to(REPOSITORY).as_posix() in project["project"]["license-files"]
