"""Encrypted objects as a file system of `pyarrow.fs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSystemHandler, FileType, PyFileSystem

from arrowseal.exceptions import BucketNotFoundError, ConfigurationError, ObjectNotFoundError
from arrowseal.fs.access import Access, bare
from arrowseal.fs.files import InputFile
from arrowseal.fs.side_by_side import side_by_side
from arrowseal.fs.tree import Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyarrow.fs import FileSelector

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption
    from arrowseal.suites import AnyContext

_ARGUMENTS: Final = {
    "acl": "ACL",
    "cache-control": "CacheControl",
    "content-type": "ContentType",
    "content-language": "ContentLanguage",
    "expires": "Expires",
}
"""The metadata of an output stream that pyarrow's own S3 file system knows, as boto3 names it."""


class SealedFileSystem(PyFileSystem):  # type: ignore[misc]
    """A `pyarrow.fs.FileSystem` over encrypted objects, for whatever takes `filesystem=`. Paths are `bucket/key`.

    Files read are pinned to one version; every byte is proven before Arrow sees it, and arrays point into it without a
    copy. Their size is exact; so are those of `get_file_info`, except that listings through a client which also reads
    plain objects have none. A file written appears when it is closed: see `arrowseal.fs.files.OutputFile`.

    Directories are prefixes: making one sends nothing. What S3 cannot do whole, moving or deleting several files, may
    be half done when it fails. Safe to share between threads; equal if configured equally; pickles by reference.

    Args:
        client: the client; if not given, the default one when the file system is made.
        encryption, encryption_context, kms_key_id, allow_plaintext, s3_additional_kwargs: as in `Client.object` for all
            files that are read, and as in `Client.open` for all that are written.

    Raises, in every method, what the client does: `FileNotFoundError` and `PermissionError` are among it.

    >>> import pyarrow.parquet as pq  # doctest: +SKIP
    >>> pq.read_table("lake/trips", columns=["fare"], filesystem=SealedFileSystem(client))  # doctest: +SKIP
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        encryption: Encryption | None = None,
        encryption_context: Mapping[str, str] | AnyContext | None = None,
        kms_key_id: str | None = None,
        allow_plaintext: bool | None = None,
        s3_additional_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        access = Access.through(
            client,
            encryption=encryption,
            encryption_context=encryption_context,
            kms_key_id=kms_key_id,
            allow_plaintext=allow_plaintext,
            s3_additional_kwargs=s3_additional_kwargs,
        )
        super().__init__(SealedHandler(access))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.handler.access,)

    def __hash__(self) -> int:
        return hash(self.handler)

    def __repr__(self) -> str:
        return f"<SealedFileSystem through {self.handler.access.client!r}>"


class SealedHandler(FileSystemHandler):  # type: ignore[misc]
    """What a `SealedFileSystem` does: `pyarrow.fs.PyFileSystem` calls this, from threads of its own as well."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._tree = Tree(access)

    def __eq__(self, other: object) -> bool:
        return self.access == other.access if isinstance(other, SealedHandler) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.access)

    def __reduce__(self) -> tuple[Any, ...]:
        return SealedHandler, (self.access,)

    def get_type_name(self) -> str:
        return "s3cse"

    def normalize_path(self, path: str) -> str:
        return bare(path)

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [_info(path, entry) for path, entry in zip(paths, side_by_side(self._tree.entry, paths), strict=True)]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        depth = None if selector.recursive else 1
        found = self._below(selector.base_dir, depth, missing_ok=selector.allow_not_found)
        return [_info(entry.path, entry) for entry in found]

    def create_dir(self, path: str, recursive: bool) -> None:
        self._tree.make_directory(path)
        parent = bare(path).rpartition("/")[0]
        if recursive and "/" in parent:
            self.create_dir(parent, recursive)

    def delete_dir(self, path: str) -> None:
        self._delete(self._below(path))
        self._tree.forget_directory(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self._delete(self._below(path, missing_ok=missing_dir_ok))
        self._tree.forget_directory(path)
        self._tree.make_directory(path)

    def delete_root_dir_contents(self) -> None:
        raise ConfigurationError("the contents of all buckets are not deleted here: name a bucket")

    def delete_file(self, path: str) -> None:
        entry = self._tree.entry(path)
        if entry is None or entry.is_directory:
            raise ObjectNotFoundError(f"s3://{bare(path)}: there is no such file")
        self._delete([entry])

    def move(self, src: str, dest: str) -> None:
        entry = self._tree.entry(src)
        if entry is None:
            raise ObjectNotFoundError(f"s3://{bare(src)}: there is nothing to move")
        if not entry.is_directory:
            self._tree.move(src, dest)
            return
        old, new = bare(src), bare(dest)
        if new == old:
            return
        if new.startswith(f"{old}/"):
            raise ConfigurationError(f"s3://{old}/ is not moved into itself: name a place outside of it")
        if self._tree.children(dest):
            raise ConfigurationError(f"s3://{bare(dest)} is a directory that is not empty: nothing is moved there")
        files = [found.path for found in self._below(src) if not found.is_directory]
        side_by_side(lambda path: self._tree.move(path, new + path.removeprefix(old)), files)
        self._tree.forget_directory(src)
        self._tree.make_directory(dest)

    def copy_file(self, src: str, dest: str) -> None:
        self._tree.copy(src, dest)

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(InputFile(self._tree.open(path)), mode="r")

    def open_input_stream(self, path: str) -> pa.PythonFile:
        return self.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Mapping[Any, Any] | None) -> pa.PythonFile:
        arguments = dict(self.access.keywords.get("s3_additional_kwargs", {})) | _arguments(metadata or {})
        return pa.PythonFile(self._tree.create(path, s3_additional_kwargs=arguments or None), mode="w")

    def open_append_stream(self, path: str, metadata: Mapping[Any, Any] | None) -> pa.PythonFile:
        del metadata
        raise NotImplementedError(f"s3://{bare(path)}: objects are not appended to: write another one beside it")

    def _delete(self, entries: list[Entry]) -> None:
        side_by_side(self._tree.delete, (entry.path for entry in entries if not entry.is_directory))

    def _below(self, path: str, depth: int | None = None, *, missing_ok: bool = False) -> list[Entry]:
        try:
            found = self._tree.below(path, depth)
        except BucketNotFoundError:
            if not missing_ok:
                raise
            return []
        if found is None and not missing_ok:
            raise ObjectNotFoundError(f"s3://{bare(path)}/: there is no such directory: no object is below it")
        return found or []


def _restore(access: Access) -> SealedFileSystem:
    return SealedFileSystem(access.client, **access.keywords)


def _info(path: str, entry: Entry | None) -> FileInfo:
    if entry is None:
        return FileInfo(path, FileType.NotFound)
    if entry.is_directory:
        return FileInfo(path, FileType.Directory)
    return FileInfo(path, FileType.File, size=entry.size, mtime=entry.modified)


def _arguments(metadata: Mapping[Any, Any]) -> dict[str, str]:
    """Of the metadata of a stream what S3 has a place for; pyarrow wants the rest to be ignored."""
    given = {
        (name.decode() if isinstance(name, bytes) else str(name)).lower(): value for name, value in metadata.items()
    }
    return {
        argument: value.decode() if isinstance(value, bytes) else str(value)
        for name, argument in _ARGUMENTS.items()
        if (value := given.get(name)) is not None
    }
