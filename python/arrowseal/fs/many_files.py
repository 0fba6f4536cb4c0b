"""What fsspec does to many files one after another, done to several at a time.

Which files a call means is fsspec's to say: patterns, directories, slashes at the end and lists have rules of many
years. So it is asked, through a stand-in that notes files and does not touch them; what it noted is done side by side.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager, nullcontext, suppress
from threading import Condition, RLock
from typing import TYPE_CHECKING, Any, Final, Self

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem

from arrowseal.cancellation import cancellation
from arrowseal.exceptions import ConfigurationError
from arrowseal.fs.side_by_side import IN_FLIGHT, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

_BYTES_AT_ONCE: Final = 2**28
"""Of files that are read or written at a time. A large one fills the connections alone, and without an index it is held
in memory as a whole.
"""


class ManyFiles(AbstractFileSystem):  # type: ignore[misc]
    """A file system whose calls for many files move sixteen at a time, or `batch_size` if that is fewer; of large files
    as many as have 256 MiB together, or one.

    The first file that fails ends all of them: no more begin, those under way are called off, and its error is raised
    when they have ended. Files that were done by then stay. Where a call writes a path twice, or reads what it writes,
    files go one after another, in their order.

    Callbacks are called by the threads that move the files, one at a time: a file counts when it is done.
    """

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        *,
        batch_size: int | None = None,
        **keywords: Any,
    ) -> None:
        """Read files into local ones, each of which appears whole."""
        plan = _Plan(self, "get_file")
        AbstractFileSystem.get(plan, rpath, lpath, recursive=recursive, maxdepth=maxdepth, **keywords)
        targets = (os.path.abspath(path) if isinstance(path, str | os.PathLike) else path for _, path in plan.pairs)  # noqa: PTH100
        told, room = _Told(callback, len(plan.pairs)), _Room(_BYTES_AT_ONCE)

        def get_file(remote: str, local: Any) -> None:
            size = self._size_to_get(remote) if len(plan.pairs) > 1 else 0
            with room.of(size), told.file(remote, local) as child:
                self.get_file(remote, local, callback=child, **keywords)

        _each(get_file, plan.pairs, _distinct(targets), batch_size)

    def put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        *,
        batch_size: int | None = None,
        **keywords: Any,
    ) -> None:
        """Write local files, each of which appears whole."""
        plan = _Plan(self, "put_file")
        AbstractFileSystem.put(plan, lpath, rpath, recursive=recursive, maxdepth=maxdepth, **keywords)
        told, room = _Told(callback, len(plan.pairs)), _Room(_BYTES_AT_ONCE)

        def put_file(local: Any, remote: str) -> None:
            with room.of(_size_to_put(local)), told.file(local, remote) as child:
                self.put_file(local, remote, callback=child, **keywords)

        targets = (self._strip_protocol(path) for _, path in plan.pairs)
        _each(put_file, plan.pairs, _distinct(targets), batch_size)

    def copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: str | None = None,
        *,
        batch_size: int | None = None,
        **keywords: Any,
    ) -> None:
        """Copy files inside S3: they stay sealed. `on_error="ignore"`, with `recursive` by default, passes over those
        that are gone.
        """
        plan = _Plan(self, "cp_file")
        AbstractFileSystem.copy(plan, path1, path2, recursive=recursive, maxdepth=maxdepth, **keywords)
        passed_over = recursive if on_error is None else on_error != "raise"

        def cp_file(source: str, target: str) -> None:
            with suppress(FileNotFoundError) if passed_over else nullcontext():
                self.cp_file(source, target, **keywords)

        sources, targets = ({self._strip_protocol(pair[at]) for pair in plan.pairs} for at in (0, 1))
        _each(cp_file, plan.pairs, len(targets) == len(plan.pairs) and not sources & targets, batch_size)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **_: Any) -> None:
        """Copy files inside S3, then delete what was copied, and nothing else: what is where it goes already stays, as
        does what `maxdepth` leaves out. Raises `ConfigurationError`, and moves nothing, where one file would be written
        over another that is moved.
        """
        plan = _Plan(self, "cp_file")
        AbstractFileSystem.copy(plan, path1, path2, recursive=recursive, maxdepth=maxdepth)
        stripped = ((self._strip_protocol(source), self._strip_protocol(target)) for source, target in plan.pairs)
        pairs = list(dict.fromkeys((source, target) for source, target in stripped if source != target))
        sources = {source for source, _ in pairs}
        taken = Counter(target for _, target in pairs)
        for source, target in pairs:  # directories meet without a loss
            met = [target] if target in sources else [source] if taken[target] > 1 else []
            if any(map(self.isfile, met)):
                raise ConfigurationError(
                    f"s3://{source} is not moved to s3://{target}, where another file would be lost"
                )
        _each(self.cp_file, pairs, True, None)
        roots = [self._strip_protocol(root) for root in ([path1] if isinstance(path1, str | os.PathLike) else path1)]
        self._remove(sources, roots)

    def cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: str = "raise",
        *,
        batch_size: int | None = None,
        **keywords: Any,
    ) -> Any:
        """The bytes of a file; of several, or of what had to be expanded, by their paths. An error of one of several is
        raised, or left out with `on_error="omit"`, or given in place of the bytes with `"return"`.
        """
        plan = _Plan(self, "cat_file")
        several = AbstractFileSystem.cat(plan, path, recursive=recursive, **keywords)
        paths = [path for (path,) in plan.pairs]
        if not isinstance(several, dict):
            return self.cat_file(paths[0], **keywords)

        def cat_file(path: str) -> Any:
            try:
                return self.cat_file(path, **keywords)
            except Exception as error:
                if on_error == "raise":
                    raise
                return error

        contents = zip(paths, side_by_side(cat_file, paths, _at_once(batch_size)), strict=True)
        return {path: found for path, found in contents if on_error == "return" or not isinstance(found, Exception)}

    def pipe(self, path: Any, value: Any = None, *, batch_size: int | None = None, **keywords: Any) -> None:
        """Write the bytes of a file, or of several: `{path: bytes}`."""
        plan, room = _Plan(self, "pipe_file"), _Room(_BYTES_AT_ONCE)
        AbstractFileSystem.pipe(plan, path, value, **keywords)

        def pipe_file(path: str, value: Any) -> None:
            with room.of(_size_to_put(value)):
                self.pipe_file(path, value, **keywords)

        _each(pipe_file, plan.pairs, _distinct(path for path, _ in plan.pairs), batch_size)

    def _remove(self, files: Iterable[str], roots: Iterable[str]) -> None:
        """Delete files, and no longer remember what they were below."""
        raise NotImplementedError

    def _size_to_get(self, path: str) -> int:
        """Of a file that is there, as far as it is known or soon asked in any case; 0 for what has none."""
        raise NotImplementedError


class _Plan:
    """Stands in for a file system while fsspec works out which files a call means: one method notes them."""

    def __init__(self, fs: AbstractFileSystem, method: str) -> None:
        self._fs = fs
        self._expanded: frozenset[str] = frozenset()
        self._directories: set[str] | None = None
        self.pairs: list[tuple[Any, ...]] = []
        setattr(self, method, lambda *paths, **_: self.pairs.append(paths))

    def expand_path(self, *arguments: Any, **keywords: Any) -> list[str]:
        paths: list[str] = self._fs.expand_path(*arguments, **keywords)
        self._expanded = frozenset(paths)
        return paths

    def isdir(self, path: str) -> bool:
        """Asked of each path that was found, one after another, and a request where listings leave sizes open: so all
        are asked about at once.
        """
        if path not in self._expanded:
            return bool(self._fs.isdir(path))
        if self._directories is None:
            paths = list(self._expanded)
            kinds = side_by_side(self._fs.isdir, paths)
            self._directories = {path for path, is_directory in zip(paths, kinds, strict=True) if is_directory}
        return path in self._directories

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)


class _Told:
    """A callback that is told of many files. Those of fsspec are made for one thread: it is called, and so are those
    that it has for each file, by one at a time.
    """

    def __init__(self, callback: Any, files: int) -> None:
        self._turn = RLock()
        self._callback = _InTurn(callback, self._turn)
        self._callback.set_size(files)

    @contextmanager
    def file(self, source: Any, target: Any) -> Iterator[Any]:
        with _InTurn(self._callback.branched(source, target), self._turn) as child:
            yield child
        self._callback.relative_update()


class _InTurn:
    """A callback whose methods are called while nobody else has the turn."""

    def __init__(self, callback: Any, turn: AbstractContextManager[Any]) -> None:
        self._callback = callback
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._callback, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **keywords: Any) -> Any:
            with self._turn:
                return found(*arguments, **keywords)

        return call

    def __enter__(self) -> Self:
        with self._turn:
            return type(self)(self._callback.__enter__(), self._turn)

    def __exit__(self, *error: object) -> Any:
        with self._turn:
            return self._callback.__exit__(*error)


class _Room:
    """So many bytes for what several threads hold at a time. What needs more has all of it."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Room for so many bytes, when there is."""
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            cancellation().check()  # the others may have been called off while this one waited
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


def _each(move: Callable[..., None], pairs: list[tuple[Any, ...]], in_any_order: bool, batch_size: int | None) -> None:
    side_by_side(lambda pair: move(*pair), pairs, _at_once(batch_size) if in_any_order else 1)


def _at_once(batch_size: int | None) -> int:
    """As many as a caller wants, and sixteen at most; -1 is fsspec's word for no bound."""
    if batch_size is None or batch_size == -1:
        return IN_FLIGHT
    if batch_size < 1:
        raise ConfigurationError(f"batch_size={batch_size!r}: it is how many files go at a time, -1 for as many as can")
    return min(batch_size, IN_FLIGHT)


def _distinct(targets: Iterable[Any]) -> bool:
    every = list(targets)
    return len(set(every)) == len(every)


def _size_to_put(source: Any) -> int:
    """Of a local file or bytes; 0 for what is something else, about which the write will speak."""
    try:
        return os.path.getsize(source) if isinstance(source, str | os.PathLike) else memoryview(source).nbytes  # noqa: PTH202
    except (OSError, TypeError):
        return 0
