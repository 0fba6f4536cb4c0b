"""`cp`: where files may be written, and that they are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arrowseal.cli.copy import _below, _folder, _single, write_file
from arrowseal.exceptions import LocationError


@pytest.mark.parametrize("name", ["../a", "a/../../b", "..", "/etc/passwd", "a//b", "./a", "a/."])
def test_a_key_cannot_choose_a_file_outside_the_target(name: str) -> None:
    with pytest.raises(LocationError, match="would leave"):
        _below(Path("target"), name)


def test_other_keys_keep_their_names_below_the_target() -> None:
    assert _below(Path("target"), "a/..b/c..d") == Path("target/a/..b/c..d")


@pytest.mark.parametrize(
    ("url", "key"), [("s3://bucket", ""), ("s3://bucket/", ""), ("s3://bucket/a", "a/"), ("s3://bucket/a/", "a/")]
)
def test_a_prefix_copied_as_a_tree_is_a_folder(url: str, key: str) -> None:
    assert _folder(url).key == key


def test_the_lines_say_what_goes_where(tmp_path: Path) -> None:
    assert str(_single("a/b.csv", "s3://bucket/x/")) == "upload: a/b.csv to s3://bucket/x/b.csv"
    assert str(_single("s3://bucket/b.csv", "c.csv")) == "download: s3://bucket/b.csv to c.csv"
    assert str(_single("s3://bucket/b.csv", str(tmp_path))) == f"download: s3://bucket/b.csv to {tmp_path}/b.csv"
    assert str(_single("s3://bucket/b.csv", "s3://other")) == "copy: s3://bucket/b.csv to s3://other/b.csv"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    write_file(target, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(target, b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_file(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_file_that_is_replaced_keeps_its_permissions_from_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").touch(mode=0o600)
    seen: list[int] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: (seen.append(path.stat().st_mode), replace(path, to)))
    write_file(tmp_path / "mine", b"decrypted")
    assert [mode & 0o777 for mode in (*seen, (tmp_path / "mine").stat().st_mode)] == [0o600, 0o600]


@pytest.mark.parametrize("name", ["\N{CJK UNIFIED IDEOGRAPH-6F22}" * 85, "\N{GRINNING FACE}" * 63, "a" * 255])
def test_a_name_may_be_as_long_as_the_file_system_takes_whatever_its_characters(tmp_path: Path, name: str) -> None:
    write_file(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"


def test_a_device_that_is_full_is_named() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_file(Path("/dev/full"), b"content")
    assert caught.value.filename == "/dev/full"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
