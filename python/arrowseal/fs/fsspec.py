"""Encrypted objects as a file system of fsspec, by the protocol `s3cse://`."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable
from glob import has_magic
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.utils import isfilelike

from arrowseal.exceptions import ConfigurationError, ObjectNotFoundError
from arrowseal.fs.access import Access, is_below_a_bucket, reference
from arrowseal.fs.fsspec_files import CompressedFile, SealedBufferedFile, text_into
from arrowseal.fs.many_files import ManyFiles
from arrowseal.fs.side_by_side import side_by_side
from arrowseal.fs.storage_options import client_of, storage_options_of
from arrowseal.fs.tree import Entry, Tree
from arrowseal.local_files import replacing
from arrowseal.outgoing import check_put_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption

_EXPIRY_SECONDS: Final = 1.0
_FOR_EVER: Final = 1e9
"""Seconds: JSON has no infinity, and that of fsspec takes no null."""
_HINT_SECONDS: Final = 60.0
"""How long a size helps to decide what is read beside what. It need not be right."""
_HINTS: Final = {"default_cache", "default_block_size", "default_fill_cache", "fill_cache"}
"""What libraries tell the file systems that they know about caches; there is none of that kind here."""
_OF_LOOPS: Final = {"asynchronous", "loop", "batch_size"}
"""What they tell those of fsspec that run in an event loop. For this one fsspec has a wrapper that does."""


class S3CseFileSystem(ManyFiles):
    """fsspec over encrypted objects: `s3cse://bucket/key`, wherever a library takes such URLs.

    >>> import pandas  # doctest: +SKIP
    >>> options = {"kms_key_id": "alias/tables", "region_name": "eu-west-1"}  # doctest: +SKIP
    >>> pandas.read_parquet("s3cse://lake/trips.parquet", columns=["fare"], storage_options=options)  # doctest: +SKIP

    A file is read as in `SealedBufferedFile`, and written as in `OutputFile`: it appears when it is closed, and not if
    an exception closes it. Sizes are those of the plaintext: exact in `info` and of files, and in listings as
    `arrowseal.fs.tree.Tree` says. What `info` found or `open` read is remembered for a second, `listings_expiry_time`;
    what is done through this object is seen at once. Content is never remembered: each `open` asks anew.

    An object may be overwritten between the requests of a library: a file stays with the version it was opened on.
    `get`, `put`, `copy`, `cat`, `pipe` and `rm` of many files move several at a time, as `ManyFiles` says.
    `cat_ranges` raises errors unless it is told `on_error="return"`: refused bytes must not pass for an answer.

    Safe to share between threads; equal if configured equally. fsspec does not cache instances: they are made at no
    cost, and clients, which are not, are kept by their options.

    Args:
        client: a client to use as it is; instead of it, the options:
        options: those of `arrowseal.Client` that are references: `kms_key_id`, `profile_name`, `region_name`,
            `endpoint_url`, `allow_plaintext`, `encryption_context`, ... Without any, the default client of the moment.
            No credentials: boto3 finds them wherever the file system is unpickled. They are what `to_json` shows.
        encryption: as in `Client.object` for all files that are read, and as in `Client.open` for all that are written;
            pickles have it, JSON does not.
        s3_additional_kwargs: as in `Client.open` for all files that are written, where a call names none of its own.
        listings_expiry_time: seconds; None for ever, until `invalidate_cache`.

    Raises, in every method, what the client does: `FileNotFoundError` and `PermissionError` are among it.
    `ConfigurationError` for options that do not exist.
    """

    protocol = "s3cse"
    root_marker = ""
    cachable = False

    def __init__(
        self,
        *,
        client: Client | None = None,
        encryption: Encryption | None = None,
        s3_additional_kwargs: Mapping[str, Any] | None = None,
        listings_expiry_time: float | None = _EXPIRY_SECONDS,
        use_listings_cache: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(use_listings_cache=False)
        told = {name: value for name, value in options.items() if name not in _OF_LOOPS}
        sent = check_put_arguments(s3_additional_kwargs, None, None) or None
        self.access = Access.through(client_of(client, told), encryption=encryption, s3_additional_kwargs=sent)
        lasting = _FOR_EVER if listings_expiry_time is None else min(listings_expiry_time, _FOR_EVER)
        self._expiry = lasting if use_listings_cache else 0.0
        self._tree = Tree(self.access)

    # What it is

    @property
    def storage_options(self) -> dict[str, Any]:
        """What makes an equal file system elsewhere: the options of the client that JSON has a form for."""
        told, sent = storage_options_of(self.access.client), self.access.keywords.get("s3_additional_kwargs", {})
        if sent:
            kept = {name: value for name, value in sent.items() if isinstance(value, str | int | dict)}
            told["s3_additional_kwargs"] = kept
        if self._expiry != _EXPIRY_SECONDS:
            told["listings_expiry_time"] = self._expiry
        return told

    @storage_options.setter
    def storage_options(self, given: dict[str, Any]) -> None:
        """Here fsspec notes what it was called with. What the client was told says more, and carries no objects."""

    @property
    def fsid(self) -> str:
        return f"s3cse_{self._fs_token}"

    @property
    def _fs_token(self) -> str:
        client = self.access.client
        told = json.dumps(self.storage_options, sort_keys=True) + ("" if reference(client) else str(id(client)))
        told += repr(self.access.keywords.get("encryption", ""))
        return sha256(told.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.access == other.access if isinstance(other, S3CseFileSystem) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.access)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.access, self._expiry)

    def __repr__(self) -> str:
        return f"<S3CseFileSystem through {self.access.client!r}>"

    # What is there

    def info(self, path: str, version_id: str | None = None, refresh: bool = False, **_: Any) -> dict[str, Any]:
        """Of a file or directory: `name`, `type`, `size`, `LastModified`, `mtime`, `ETag`, `VersionId`. `refresh` asks
        anew in any case.
        """
        path, seconds = self._strip_protocol(path), 0.0 if refresh else self._expiry
        entry = self._tree.lately(path, seconds) if version_id is None else self._tree.version(path, version_id)
        if entry is None:
            raise ObjectNotFoundError(f"s3://{path}: no such object, and none below it")
        return _info(entry)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is directly in a directory; of a file, itself."""
        path = self._strip_protocol(path)
        children = self._tree.children(path)
        if children is None:
            return [self.info(path) if detail else self.info(path)["name"]]
        ordered = sorted(children, key=lambda entry: entry.path)
        return [_info(entry) for entry in ordered] if detail else [entry.path for entry in ordered]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        prefix: str = "",
        **_: Any,
    ) -> Any:
        """All files below a path, by one listing; with `maxdepth`, by one for each directory, side by side. With a
        `prefix`, those that begin with it below the path.
        """
        path = self._strip_protocol(path)
        if maxdepth is not None and maxdepth < 1:
            raise ConfigurationError("maxdepth is at least 1")
        try:
            entries = self._tree.below(path, maxdepth)
            root = Entry(path, is_directory=True) if entries is not None else self._tree.lately(path, self._expiry)
        except FileNotFoundError:  # no such bucket: nothing is found in it
            entries, root = None, None
        every = [*([root] if root else ()), *(entries or ())]
        found = [entry for entry in every if withdirs or not entry.is_directory]
        if prefix:
            found = [entry for entry in found if entry.path.startswith(f"{path}/{prefix}")]
        infos = {entry.path: _info(entry) for entry in sorted(found, key=lambda entry: entry.path)}
        return infos if detail else list(infos)

    def exists(self, path: str, **keywords: Any) -> bool:
        """Whether there is such a file or directory. What prevents an answer is raised."""
        return bool(self._type(path, **keywords))

    def isfile(self, path: str) -> bool:
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        return self._type(path) == "directory"

    def _type(self, path: str, **keywords: Any) -> str | None:
        try:
            found: str = self.info(path, **keywords)["type"]
        except FileNotFoundError:
            return None
        return found

    def modified(self, path: str) -> dt.datetime:
        """When the object was written, by the server's clock."""
        moment: dt.datetime | None = self.info(path).get("LastModified")
        if moment is None:
            raise ConfigurationError(f"s3://{self._strip_protocol(path)} is a directory: only objects have a time")
        return moment

    def created(self, path: str) -> dt.datetime:
        """The same: an object is only ever written whole."""
        return self.modified(path)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what `info` and listings found at and around a path, or all of it."""
        if path is None:
            self._tree.recent.forget_all()
        else:
            self._tree.recent.forget(self._strip_protocol(path))
            self._tree.recent.forget_all(self._strip_protocol(path))
        super().invalidate_cache(path)

    # Reading and writing

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **keywords: Any,
    ) -> Any:
        """A file, as `fsspec.AbstractFileSystem.open`. Keywords are also those of `Client.object`, to read, and of
        `Client.open`, to write: `encryption_context`, `version_id`, `s3_additional_kwargs`, ...
        """
        codec = get_compression(path, compression)
        if "r" in mode or ("b" in mode and codec is None):
            return super().open(path, mode, block_size, cache_options, compression, **keywords)
        texts = {name: keywords.pop(name) for name in ("encoding", "errors", "newline") if name in keywords}
        below = super().open(path, mode.replace("t", "").replace("b", "") + "b", block_size, cache_options, **keywords)
        file = below if codec is None else CompressedFile(compr[codec](below, mode="w"), below)
        return file if "b" in mode else text_into(file, **texts)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        cache_type: str = "none",
        size: int | None = None,
        **keywords: Any,
    ) -> Any:
        del size  # the object tells itself
        path = self._strip_protocol(path)
        keywords = {name: value for name, value in keywords.items() if name not in _HINTS}
        if mode == "rb":
            source = self._tree.open(path, **keywords)
            caching: dict[str, Any] = {"cache_type": cache_type, "cache_options": cache_options}
            return SealedBufferedFile(self, path, source, block_size=block_size, **caching, **keywords)
        if mode not in ("wb", "xb"):
            raise NotImplementedError(f"s3://{path}: mode {mode!r}: objects are read, or written whole, not changed")
        return self._tree.create(path, mode, autocommit=autocommit, **keywords)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **keywords: Any) -> bytes:
        """The bytes of a file, or of a slice of it."""
        path = self._strip_protocol(path)
        if start is None and end is None:
            return bytes(self.access.get(path, **keywords))
        with self._tree.open(path, **keywords) as source:
            begin, stop, _ = slice(start, end).indices(source.size)
            return bytes(source.read_at(begin, max(0, stop - begin)))

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "raise",
        **keywords: Any,
    ) -> list[Any]:
        """The bytes of many ranges: those of a file by one `EncryptedObject.read_ranges`, files side by side.

        What lies close together is fetched together in any case: `max_gap` is not needed.
        """
        del max_gap
        begins = list(starts) if isinstance(starts, Iterable) else [starts] * len(paths)
        stops = list(ends) if isinstance(ends, Iterable) else [ends] * len(paths)
        if not len(paths) == len(begins) == len(stops):
            raise ConfigurationError("cat_ranges takes as many starts and ends as paths")
        wanted: dict[str, list[int]] = {}
        for at, path in enumerate(paths):
            wanted.setdefault(self._strip_protocol(path), []).append(at)
        results: list[Any] = [None] * len(paths)

        def read(path: str) -> None:
            try:
                with self._tree.open(path, **keywords) as source:
                    slices = [slice(begins[at], stops[at]).indices(source.size) for at in wanted[path]]
                    ranges = [(begin, max(0, stop - begin)) for begin, stop, _ in slices]
                    contents: list[Any] = [bytes(content) for content in source.read_ranges(ranges)]
            except Exception as error:
                if on_error != "return":
                    raise
                contents = [error] * len(wanted[path])
            for at, content in zip(wanted[path], contents, strict=True):
                results[at] = content

        side_by_side(read, wanted)
        return results

    def pipe_file(self, path: str, value: Any, mode: str = "overwrite", **keywords: Any) -> None:
        """Write the bytes of a file. `mode="create"` raises `FileExistsError` where there is one."""
        path = self._strip_protocol(path)
        if self._intrans:
            super().pipe_file(path, value, mode, **keywords)
            return
        if mode == "create":
            keywords["if_none_match"] = "*"
        self.access.put(path, value, **keywords)
        self._tree.recent.forget(path)

    def put_file(
        self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **keywords: Any
    ) -> None:
        """Write a local file, in pieces: it appears whole."""
        if os.path.isdir(lpath):  # noqa: PTH112 - fsspec's own paths are strings
            self.makedirs(rpath, exist_ok=True)
            return
        if self._intrans:
            super().put_file(lpath, rpath, callback, mode, **keywords)
            return
        with open(lpath, "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            callback.set_size(size)
            self.pipe_file(rpath, file, mode, **keywords)
            callback.relative_update(size)

    def get_file(
        self, rpath: str, lpath: Any = None, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **keywords: Any
    ) -> None:
        """Read a file into a local one, which appears whole: not if the read fails midway."""
        if outfile is not None or isfilelike(lpath):
            super().get_file(rpath, lpath, callback, outfile, **keywords)
        elif self.isdir(rpath):
            Path(lpath).mkdir(parents=True, exist_ok=True)
        else:
            with replacing(Path(lpath)) as file:
                super().get_file(rpath, lpath, callback, file, **keywords)

    def touch(self, path: str, truncate: bool = True, **keywords: Any) -> None:
        """Make an empty file. The time of one that is there cannot be changed: `truncate=False` raises
        `NotImplementedError` then.
        """
        if not truncate and self.exists(path):
            raise NotImplementedError(f"s3://{self._strip_protocol(path)}: the time of an object cannot be changed")
        self.pipe_file(path, b"", **keywords)

    def _size_to_get(self, path: str) -> int:
        entry = self._tree.lately(self._strip_protocol(path), _HINT_SECONDS)
        return 0 if entry is None else entry.size or 0

    # Moving and removing

    def cp_file(self, path1: str, path2: str, version_id: str | None = None, **_: Any) -> None:
        """Copy a file inside S3, or a version of it: it stays sealed."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self._is_known_directory(source):
            self.mkdir(target)
            return
        try:
            self._tree.copy(source, target, version_id)
        except ObjectNotFoundError:
            if not self.isdir(source):
                raise
            self.mkdir(target)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **keywords: Any) -> None:
        """As in `ManyFiles`. Onto itself it does nothing, and a directory does not go into itself."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if source == target:
            return
        if recursive and isinstance(source, str) and f"{target}/".startswith(f"{source}/"):
            raise ConfigurationError(f"s3://{source}/ is not moved into itself: nothing of it would be left")
        if isinstance(source, str) and self._is_no_pattern(source):
            inside = str(path2).endswith("/") or self.isdir(target)
            self._tree.move(source, f"{target}/{source.rpartition('/')[2]}" if inside else target)
            return
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **keywords)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files, several at a time; with `recursive`, all that is below directories."""
        roots = [self._strip_protocol(root) for root in ([path] if isinstance(path, str | os.PathLike) else path)]
        gone = {root for root in roots if self._is_no_pattern(root)}
        others = [root for root in roots if root not in gone]
        if others or not gone:
            gone.update(self.expand_path(others, recursive=recursive, maxdepth=maxdepth))
        self._remove(gone, roots)

    def _remove(self, files: Iterable[str], roots: Iterable[str]) -> None:
        side_by_side(self._rm, sorted(files, reverse=True))
        for root in roots:
            self._tree.forget_directory(root)

    def _rm(self, path: str) -> None:
        path = self._strip_protocol(path)
        if is_below_a_bucket(path) and not self._is_known_directory(path):
            self._tree.delete(path)

    def _is_no_pattern(self, path: str) -> bool:
        """Whether a name with characters of patterns is that of a file, as DuckDB moves and removes them: taken for a
        pattern it would be another's.
        """
        return bool(has_magic(path)) and self.isfile(path)

    def _is_known_directory(self, path: str) -> bool:
        entry = self._tree.recent.get(path, self._expiry)
        return entry is not None and entry.is_directory

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """S3 has no directories: nothing is sent, and this object remembers that there is an empty one."""
        del create_parents
        self._tree.make_directory(self._strip_protocol(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """As `mkdir`."""
        del exist_ok
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """No longer remember an empty directory."""
        self._tree.forget_directory(self._strip_protocol(path))


def _restore(access: Access, expiry: float) -> S3CseFileSystem:
    return S3CseFileSystem(client=access.client, listings_expiry_time=expiry, **access.keywords)


def _info(entry: Entry) -> dict[str, Any]:
    if entry.is_directory:
        return {"name": entry.path, "size": 0, "type": "directory"}
    info: dict[str, Any] = {"name": entry.path, "size": entry.size, "type": "file", "ETag": entry.etag}
    if entry.modified is not None:
        info |= {"LastModified": entry.modified.astimezone(dt.UTC), "mtime": entry.modified.timestamp()}
    return info if entry.version_id is None else info | {"VersionId": entry.version_id}
