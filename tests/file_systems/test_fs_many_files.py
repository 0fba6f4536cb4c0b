"""Many files of `s3cse://` in one call: side by side, the same files as fsspec means, and what a failure leaves."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault
from fsspec.callbacks import Callback, TqdmCallback
from fsspec.spec import AbstractFileSystem
from seen import Unfortunate, keys, requests, tamper

from arrowseal import TransferOptions
from arrowseal.exceptions import AuthenticationError, ConfigurationError, StoreAccessDeniedError
from arrowseal.fs import S3CseFileSystem, many_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broken_servers import BrokenServers

    from arrowseal import Client

MIB = 2**20
TREE = {
    "a/1.txt": b"one",
    "a/empty.csv": b"",
    "a/b/3.txt": b"3" * 1000,
    "a/b/c/4.txt": b"4",
    "z.txt": b"z",
    "large.bin": random.Random(0).randbytes(9 * MIB),
}
EIGHT = {f"{at}.bin": random.Random(at).randbytes(1000) for at in range(8)}


@pytest.fixture
def fs(resident: Client, servers: BrokenServers) -> S3CseFileSystem:
    return S3CseFileSystem(client=resident)


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def local(root: Path) -> dict[str, bytes | None]:
    """Files and directories below one, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def remote(fs: S3CseFileSystem, root: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}


def get(fs: S3CseFileSystem, lake: str, directory: Path) -> None:
    fs.get(f"{lake}/in/*", f"{directory}/")


def put(fs: S3CseFileSystem, lake: str, directory: Path) -> None:
    fs.put(f"{written(directory, EIGHT)}/*", f"{lake}/out/")


def copy(fs: S3CseFileSystem, lake: str, directory: Path) -> None:
    fs.copy(f"{lake}/in/", f"{lake}/out/", recursive=True)


def cat(fs: S3CseFileSystem, lake: str, directory: Path) -> None:
    written(directory, {path.rpartition("/")[2]: content for path, content in fs.cat(f"{lake}/in/*").items()})


def pipe(fs: S3CseFileSystem, lake: str, directory: Path) -> None:
    fs.pipe({f"{lake}/out/{name}": content for name, content in EIGHT.items()})


@pytest.mark.parametrize("move", [get, put, copy, cat, pipe])
def test_many_files_move_side_by_side(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, tmp_path: Path, move: Callable[..., None]
) -> None:
    fs.pipe({f"{lake}/in/{name}": content for name, content in EIGHT.items()})
    together, waiting = threading.Barrier(8), set(EIGHT)
    directory = tmp_path / "local"
    directory.mkdir()

    def wait_for_the_others(method: str, path: str, headers: dict[str, str]) -> None:
        name = path.partition("?")[0].rpartition("/")[2]
        if name in waiting:
            waiting.discard(name)
            together.wait(30)  # broken if one does not come: then no request gets its answer

    servers.s3.rule = wait_for_the_others
    move(fs, lake, directory)
    assert not together.broken
    found = remote(fs, f"{lake}/out") if move in (put, copy, pipe) else local(directory)
    assert found == EIGHT


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(("recursive", "maxdepth"), [(False, None), (True, None), (True, 1)])
@pytest.mark.parametrize("source", ["", "/a", "/a/", "/*", "/a/*", "/a/**", "/z.txt", "/none"])
def test_the_files_are_those_that_fsspec_takes_one_after_another(
    fs: S3CseFileSystem, lake: str, tmp_path: Path, source: str, recursive: bool, maxdepth: int | None, there: bool
) -> None:
    fs.pipe({f"{lake}/in/{name}": content for name, content in TREE.items() if name != "large.bin"})
    written(tmp_path / "in", {name: content for name, content in TREE.items() if name != "large.bin"})
    how = {"recursive": recursive, "maxdepth": maxdepth}

    def found(move: Callable[..., None], origin: str, target: str, look: Callable[[], Any]) -> Any:
        try:
            move(origin + source, target, **how)
        except Exception as error:
            return type(error), str(error).replace(target, "")
        return look()

    answers = []
    for one, way in enumerate([S3CseFileSystem, AbstractFileSystem]):
        directory, path = tmp_path / f"out{one}", f"{lake}/out{one}"
        directory.mkdir()
        if there:
            (directory / "x").mkdir()
            fs.pipe({f"{path}/x/there": b"", f"{path}/y/there": b""})
        gets, puts, copies = (getattr(way, name).__get__(fs) for name in ("get", "put", "copy"))
        answers.append(
            [
                found(gets, f"{lake}/in", f"{directory}/x", lambda at=directory: local(at)),
                found(puts, str(tmp_path / "in"), f"{path}/x", lambda at=path: remote(fs, at)),
                found(copies, f"{lake}/in", f"{path}/y", lambda at=path: remote(fs, at)),
            ]
        )
    assert answers[0] == answers[1]


def test_a_tree_with_empty_and_indexed_files_goes_there_and_back(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, tmp_path: Path
) -> None:
    fs.put(f"{written(tmp_path / 'in', TREE)}/", f"{lake}/one", recursive=True)
    fs.mv(f"{lake}/one", f"{lake}/two", recursive=True)
    assert sorted(keys(servers, lake)) == sorted([*(f"two/{name}" for name in TREE), "two/_arrowseal.large.bin.index"])
    fs.get(f"{lake}/two", str(tmp_path / "out"), recursive=True)
    assert local(tmp_path / "out") == local(tmp_path / "in")


MOVED = {name: name.encode() for name in ("x/f", "x/g", "x/d/h", "x/d/e/i")}


@pytest.mark.parametrize(
    ("source", "target", "how", "gone", "new"),
    [
        ("x/f", "x/", {}, [], []),
        ("x/f", "x", {}, [], []),
        ("x/*", "x/", {}, [], []),
        ("x/**", "x", {"recursive": True}, [], []),
        ("x/d", "x", {"recursive": True}, [], []),
        ("x/d/", "x", {"recursive": True}, ["x/d/h", "x/d/e/i"], ["x/h", "x/e/i"]),
        ("x/*", "x/d", {"recursive": True}, list(MOVED), ["x/d/f", "x/d/g", "x/d/d/h", "x/d/d/e/i"]),
        ("x", "y", {"recursive": True, "maxdepth": 1}, ["x/f", "x/g"], ["y/f", "y/g"]),
        ("x", "y", {"recursive": True}, list(MOVED), ["y/f", "y/g", "y/d/h", "y/d/e/i"]),
        (["x/f", "x/d/h"], "x/", {}, ["x/d/h"], ["x/h"]),
    ],
)
def test_a_move_removes_what_it_copied_elsewhere_and_nothing_else(
    fs: S3CseFileSystem, lake: str, source: Any, target: str, how: dict[str, Any], gone: list[str], new: list[str]
) -> None:
    fs.pipe({f"{lake}/{name}": content for name, content in MOVED.items()})
    paths = [f"{lake}/{path}" for path in source] if isinstance(source, list) else f"s3cse://{lake}/{source}"
    fs.mv(paths, f"{lake}/{target}", **how)
    contents = [MOVED[name] for name in gone]
    left = {name: content for name, content in MOVED.items() if name not in gone}
    assert remote(fs, lake) == left | dict(zip(new, contents, strict=True))


@pytest.mark.parametrize(
    ("sources", "target"),
    [(["x/f", "x/g"], ["x/g", "x/f"]), (["x/f", "x/g"], ["y", "y"]), (["x/f", "x/g"], ["x/g", "y"])],
)
def test_files_are_not_moved_over_each_other(
    fs: S3CseFileSystem, lake: str, sources: list[str], target: list[str]
) -> None:
    fs.pipe({f"{lake}/{name}": content for name, content in MOVED.items()})
    with pytest.raises(ConfigurationError, match="another file would be lost"):
        fs.mv([f"{lake}/{path}" for path in sources], [f"{lake}/{path}" for path in target])
    assert remote(fs, lake) == MOVED


def test_an_empty_directory_that_was_moved_is_no_longer_where_it_was(fs: S3CseFileSystem, lake: str) -> None:
    fs.pipe_file(f"{lake}/a/f", b"f")
    fs.mkdir(f"{lake}/a/empty")
    fs.mv(f"{lake}/a", f"{lake}/b", recursive=True)
    assert fs.isdir(f"{lake}/b")
    assert not fs.exists(f"{lake}/a")
    assert not fs.exists(f"{lake}/a/empty")


def test_what_order_decides_keeps_its_order(fs: S3CseFileSystem, lake: str, tmp_path: Path) -> None:
    many = [f"{lake}/{name:02}/same" for name in range(20)]
    fs.pipe({path: path.encode() for path in many})
    fs.get(many, f"{tmp_path}/")
    assert (tmp_path / "same").read_bytes() == many[-1].encode()
    fs.copy(many, [f"{lake}/one", f"s3cse://{lake}/one"] * 10)
    assert fs.cat(f"{lake}/one") == many[-1].encode()
    fs.copy(many[:-1], many[1:])
    assert set(fs.cat(many).values()) == {many[0].encode()}


# What fails


def test_a_file_that_is_refused_ends_the_others_and_no_half_of_any_is_left(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, tmp_path: Path
) -> None:
    contents = {f"{at:03}": random.Random(at).randbytes(2000) for at in range(100)}
    fs.pipe({f"{lake}/{name}": content for name, content in contents.items()})
    tamper(servers, f"{lake}/005")
    with pytest.raises(AuthenticationError, match="005"):
        fs.get(f"{lake}/*", f"{tmp_path}/")
    found = local(tmp_path)
    assert found.items() <= contents.items()
    assert "005" not in found
    assert len(found) < 100


def test_a_file_that_is_refused_does_not_wait_for_one_before_it(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, tmp_path: Path
) -> None:
    fs.pipe({f"{lake}/{at:03}": bytes(2000) for at in range(100)})
    tamper(servers, f"{lake}/001")
    asked: set[str] = set()
    nobody_sets_it = threading.Event()

    def hold_the_first(method: str, path: str, headers: dict[str, str]) -> None:
        name = path.partition("?")[0].rpartition("/")[2]
        asked.add(name)
        if name == "000" and method == "GET":
            nobody_sets_it.wait(2)

    servers.s3.rule = hold_the_first
    with pytest.raises(AuthenticationError, match="001"):
        fs.get([f"{lake}/{at:03}" for at in range(100)], f"{tmp_path}/")
    assert len(asked) < 100


def test_an_upload_beside_one_that_fails_is_given_up(
    travelling: Client, options: dict[str, Any], lake: str, servers: BrokenServers, tmp_path: Path
) -> None:
    client = type(travelling)(**options, transfer=TransferOptions(part_bytes=5 * MIB, concurrency=2))
    fs = S3CseFileSystem(client=client)
    written(tmp_path, {f"{at}.bin": bytes(21 * MIB) for at in range(3)} | {"no.bin": b"small"})
    started, nobody_sets_it = threading.Event(), threading.Event()

    def refuse(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        if "partNumber" in path:
            started.set()
            nobody_sets_it.wait(1)
        if "no.bin" in path:
            started.wait(5)
            return Fault("status", 403, "AccessDenied")
        return None

    servers.s3.rule = refuse
    with pytest.raises(StoreAccessDeniedError, match=r"no\.bin"):
        fs.put(f"{tmp_path}/*", f"{lake}/out/")
    assert started.is_set()
    servers.s3.rule = lambda *_: None
    assert not len(client.uploads(f"s3://{lake}/"))
    assert keys(servers, lake) == []


def test_what_cat_cannot_read_is_raised_left_out_or_returned(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers
) -> None:
    good, bad = f"{lake}/good", f"{lake}/bad"
    fs.pipe({good: bytes(100), bad: bytes(100)})
    tamper(servers, bad, 50)
    with pytest.raises(AuthenticationError, match="bad"):
        fs.cat([good, bad])
    assert fs.cat([good, bad], on_error="omit") == {good: bytes(100)}
    returned = fs.cat([good, bad], on_error="return")
    assert returned[good] == bytes(100)
    assert isinstance(returned[bad], AuthenticationError)
    with pytest.raises(AuthenticationError):
        fs.cat(bad, on_error="return")


def test_copies_pass_over_what_is_gone_where_they_may(fs: S3CseFileSystem, lake: str) -> None:
    fs.pipe({f"{lake}/a": b"a", f"{lake}/b": b"b"})
    pairs = [f"{lake}/a", f"{lake}/none", f"{lake}/b"], [f"{lake}/x/{name}" for name in "anb"]
    with pytest.raises(FileNotFoundError, match="none"):
        fs.copy(*pairs)
    fs.copy(*pairs, on_error="ignore")
    assert remote(fs, f"{lake}/x") == {"a": b"a", "b": b"b"}


# Who is told, and how many go at a time


class Watching(Callback):  # type: ignore[misc]
    """Notes sizes and values, and whether two threads were in it or its children at once."""

    busy = threading.Lock()
    overlapped = False

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.children: dict[str, Watching] = {}
        self.closed = False

    def branched(self, path_1: str, path_2: str, **_: Any) -> Watching:
        self.children[path_1] = Watching()
        return self.children[path_1]

    def call(self, *_: Any, **__: Any) -> None:
        assert not self.closed
        if not Watching.busy.acquire(blocking=False):
            Watching.overlapped = True
            return
        threading.Event().wait(0.002)
        Watching.busy.release()

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("move", ["get", "put"])
def test_callbacks_are_told_of_every_file_by_one_thread_at_a_time(
    fs: S3CseFileSystem, lake: str, tmp_path: Path, move: str
) -> None:
    fs.pipe({f"{lake}/{name}": content for name, content in EIGHT.items()})
    told = Watching()
    getattr(fs, move)(
        *((f"{lake}/*", f"{tmp_path}/") if move == "get" else (f"{written(tmp_path, EIGHT)}/*", f"{lake}/out/")),
        callback=told,
    )
    assert (told.size, told.value) == (8, 8)
    assert [(child.size, child.value, child.closed) for child in told.children.values()] == [(1000, 1000, True)] * 8
    assert not Watching.overlapped


def test_a_bar_counts_files(fs: S3CseFileSystem, lake: str, tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    fs.pipe({f"{lake}/{name}": content for name, content in EIGHT.items()})
    with TqdmCallback(tqdm_kwargs={"disable": True}) as bar:
        fs.get(f"{lake}/*", f"{tmp_path}/", callback=bar)
        assert (bar.size, bar.value) == (8, 8)


@pytest.fixture
def most_puts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """How many files were written at once."""
    under_way, most, turn = 0, 0, threading.Lock()
    put_file = S3CseFileSystem.put_file

    def counted(self: S3CseFileSystem, *arguments: Any, **keywords: Any) -> None:
        nonlocal under_way, most
        with turn:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.05)
        put_file(self, *arguments, **keywords)
        with turn:
            under_way -= 1

    monkeypatch.setattr(S3CseFileSystem, "put_file", counted)
    return lambda: most


def test_no_more_files_go_at_a_time_than_the_caller_says(
    fs: S3CseFileSystem, lake: str, tmp_path: Path, most_puts: Callable[[], int]
) -> None:
    fs.put(f"{written(tmp_path, EIGHT)}/*", f"{lake}/", batch_size=2)
    assert most_puts() == 2
    fs.put(f"{tmp_path}/*", f"{lake}/", batch_size=-1)
    assert most_puts() == 8
    with pytest.raises(ConfigurationError, match="batch_size=0"):
        fs.put(f"{tmp_path}/*", f"{lake}/", batch_size=0)


def test_large_files_do_not_go_beside_each_other(
    fs: S3CseFileSystem, lake: str, tmp_path: Path, most_puts: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_files, "_BYTES_AT_ONCE", 2500)
    fs.put(f"{written(tmp_path, EIGHT)}/*", f"{lake}/")
    assert most_puts() == 2
    monkeypatch.setattr(many_files, "_BYTES_AT_ONCE", 999)
    fs.get(f"{lake}/*", f"{tmp_path / 'out'}/")
    assert local(tmp_path / "out") == EIGHT


def test_where_listings_leave_sizes_open_files_are_asked_about_side_by_side(
    resident: Client, lake: str, servers: BrokenServers, options: dict[str, Any], tmp_path: Path
) -> None:
    fs = S3CseFileSystem(**options, allow_plaintext=True)
    S3CseFileSystem(client=resident).pipe({f"{lake}/{name}": content for name, content in EIGHT.items()})
    together = threading.Barrier(8)

    def wait_for_the_others(method: str, path: str, headers: dict[str, str]) -> None:
        if method == "HEAD":
            together.wait(5)

    servers.s3.rule = wait_for_the_others
    requests(servers)
    fs.get(f"{lake}/*.bin", f"{tmp_path}/")
    assert not together.broken
    assert local(tmp_path) == EIGHT
    assert requests(servers).count("HeadObject") == 8


def test_a_transaction_of_many_files_shows_all_or_none(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, tmp_path: Path
) -> None:
    written(tmp_path, EIGHT)
    with fs.transaction:
        fs.put(f"{tmp_path}/*", f"{lake}/put/")
        fs.pipe({f"{lake}/pipe/{name}": content for name, content in EIGHT.items()})
        assert keys(servers, lake) == []
    assert remote(fs, f"{lake}/put") == remote(fs, f"{lake}/pipe") == EIGHT
    with suppress(Unfortunate), fs.transaction:
        fs.put(f"{tmp_path}/*", f"{lake}/other/")
        raise Unfortunate
    assert not any(key.startswith("other/") for key in keys(servers, lake))
