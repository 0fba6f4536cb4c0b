"""`arrowseal cp`: files to objects, objects to files, objects to objects, with the habits of `aws s3 cp`."""

from __future__ import annotations

import errno
import os
import stat
import sys
from concurrent.futures import as_completed
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from arrowseal.cancellation import Cancellation, cancelled_by
from arrowseal.cli import DONE, FAILED, describe, opened, sse, visible
from arrowseal.cli.connection import connect
from arrowseal.exceptions import ArrowSealError, ConfigurationError, CredentialsError, LocationError, StoreError
from arrowseal.local_files import replacing
from arrowseal.location import ObjectLocation, check_key, locate, locate_prefix
from arrowseal.progress import attached, progress
from arrowseal.standby import Threads

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption
    from arrowseal.progress import Progress, ProgressOption

STREAM = "-"
WORKERS = 4  # each holds one object in memory; more only contend for a usual link

Place: TypeAlias = "Path | ObjectLocation"


class Arms(NamedTuple):
    """How the target is to be encrypted, None as the client does it, and what it takes to read the source."""

    target: Encryption | None
    source: Encryption | None


@dataclass(frozen=True)
class Transfer:
    """One object on its way. At least one side is an object."""

    source: Place
    target: Place
    stored_bytes: int = 0
    refused: LocationError | OSError | None = None
    """Why it cannot be copied: what `run` raises."""

    def __str__(self) -> str:
        local = isinstance(self.source, Path), isinstance(self.target, Path)
        verb = {(True, False): "upload", (False, True): "download", (False, False): "copy"}[local]
        return visible(f"{verb}: {self.source} to {self.target}")

    def run(self, client: Client, arms: Arms, progress: ProgressOption = False) -> None:
        """Do it. A file appears whole or not at all, like an object."""
        encryption, reading = arms
        if self.refused is not None:
            raise self.refused
        if isinstance(self.source, Path):
            assert isinstance(self.target, ObjectLocation)  # noqa: S101 - by construction
            with self.source.open("rb") as file:
                client.put(self.target, file, encryption=encryption, progress=progress)
        elif isinstance(self.target, Path):
            write_file(self.target, client.get(self.source, encryption=reading, progress=progress))
        else:
            client.copy(self.source, self.target, encryption=encryption, source_encryption=reading)


def run(arguments: argparse.Namespace) -> int:
    """Copy what the arguments name."""
    source, target, recursive = arguments.source, arguments.target, arguments.recursive
    _check(source, target, recursive, arguments.encryption)
    client = connect(arguments)
    arms = _arms(arguments)
    shown = not arguments.quiet and not arguments.no_progress and attached() and find_spec("tqdm") is not None
    if source == STREAM:
        client.put(locate(target), opened(sys.stdin, "input").buffer, encryption=arms.target, progress=shown)
        return DONE
    if target == STREAM:
        opened(sys.stdout, "output")  # or the object is fetched for nothing
        write_stdout(client.get(locate(source), encryption=arms.source, progress=shown))
        return DONE
    transfers = list(_tree(client, source, target) if recursive else [_single(source, target)])
    if not transfers:
        raise StoreError(f"there is nothing under {source}")
    return _run_all(transfers, client, arms, quiet=arguments.quiet, shown=shown)


def _check(source: str, target: str, recursive: bool, encryption: str | None) -> None:
    remote = [is_url(source), is_url(target)]
    if not any(remote):
        raise ConfigurationError("cp needs an s3:// URL on at least one side")
    if recursive and STREAM in (source, target):
        raise ConfigurationError("--recursive does not go with standard input or output")
    if encryption is not None and not remote[1]:
        raise ConfigurationError("--encryption is for what is written to S3, not for downloads")
    if encryption == "cse" and remote[0]:
        raise ConfigurationError(
            "--encryption cse is for uploads: a copy inside S3 keeps what is sealed and cannot seal; "
            "`arrowseal migrate` does"
        )


def _arms(arguments: argparse.Namespace) -> Arms:
    """What the options say. A download has its customer key to read, everything else to write."""
    inside = is_url(arguments.source) and is_url(arguments.target)
    if arguments.source_customer_key is not None and not inside:
        raise ConfigurationError("--source-customer-key is for copies inside S3")
    chosen = sse.arm(arguments)
    if inside:
        path = arguments.source_customer_key
        return Arms(chosen, None if path is None else sse.read_customer_key(path))
    if is_url(arguments.source):
        return Arms(None, sse.customer_key(arguments))
    if arguments.customer_key is not None and arguments.encryption != "sse-c":
        raise ConfigurationError("--customer-key writes with --encryption sse-c only")
    return Arms(chosen, None)


def _single(source: str, target: str) -> Transfer:
    """One object. A target that is a directory or ends in a slash keeps the name."""
    origin: Place
    if is_url(source):
        origin = locate(source)
    else:
        origin = Path(source)
        if origin.is_dir():
            raise ConfigurationError(f"{source} is a directory: copy it with --recursive")
    if is_url(target):
        goal = locate_prefix(target)
        if not goal.key or goal.key.endswith("/"):
            goal = ObjectLocation(goal.bucket, goal.key + origin.name)
        return Transfer(origin, check_key(locate(goal)))
    directory = target.endswith(os.sep) or Path(target).is_dir()
    return Transfer(origin, Path(target) / origin.name if directory else Path(target))


def _tree(client: Client, source: str, target: str) -> Iterator[Transfer]:
    """Everything below a directory or prefix, under the same names below the target. What cannot be copied, a name may
    be odd, must not keep the others from it.
    """
    goal = _folder(target) if is_url(target) else Path(target)
    for found in _objects(client, source) if is_url(source) else _files(source):
        place: Place = goal
        refused: LocationError | OSError | None = found.unread
        try:
            if isinstance(goal, Path):
                place = _below(goal, found.name)
            else:
                place = check_key(ObjectLocation(goal.bucket, goal.key + found.name))
        except LocationError as error:
            refused = refused or error
        yield Transfer(found.place, place, found.stored_bytes, refused)


class _Found(NamedTuple):
    """One thing below a source, its name relative to it, and its size."""

    place: Place
    name: str
    stored_bytes: int = 0
    unread: OSError | None = None


def _objects(client: Client, source: str) -> Iterator[_Found]:
    folder = _folder(source)
    for listed in client.list(folder):
        name = listed.location.key.removeprefix(folder.key)
        if name and not name.endswith("/"):  # consoles create empty objects for their folders
            yield _Found(listed.location, name, listed.stored_bytes)


def _files(source: str) -> Iterator[_Found]:
    """The files below a directory. What is none, or is not to be read, comes with its error: left out in silence, it
    would be missed when it is too late.
    """
    if not Path(source).is_dir():
        raise ConfigurationError(f"{source} is not a directory: copy it without --recursive")
    unread: list[OSError] = []
    for directory, directories, names in os.walk(source, followlinks=True, onerror=unread.append):
        real = Path(directory).resolve()
        loops = [name for name in directories if real.is_relative_to((real / name).resolve())]
        directories[:] = sorted(set(directories).difference(loops))
        for path in (Path(directory) / name for name in sorted([*names, *loops])):
            name = path.relative_to(source).as_posix()
            try:
                size = _size(path)
            except OSError as error:
                yield _Found(path, name, unread=error)
            else:
                yield _Found(path, name, size)
    for refusal in unread:
        path = Path(refusal.filename)
        yield _Found(path, path.relative_to(source).as_posix(), unread=refusal)


def _size(path: Path) -> int:
    """The length of a file. Raises `OSError` for what is not there, such as where a link leads, and what is no file."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ELOOP, "a link to a directory that it lies in", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "neither a file nor a directory: copy it by itself", str(path))
    return status.st_size


def _folder(url: str) -> ObjectLocation:
    """A prefix as a folder: `s3://bucket/2013` means `2013/...`, not `2013-draft/...`."""
    place = locate_prefix(url)
    return place if not place.key or place.key.endswith("/") else ObjectLocation(place.bucket, place.key + "/")


def _below(directory: Path, name: str) -> Path:
    """The file for a key. Whoever can write to the bucket chooses keys, and must not choose files elsewhere."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise LocationError(f"the key {name!r} would leave {directory} or name no file: copy that object by itself")
    return directory.joinpath(*name.split("/"))


def _run_all(transfers: list[Transfer], client: Client, arms: Arms, *, quiet: bool, shown: bool) -> int:
    """Run the transfers, several at once; one that fails does not stop the others, unless all would fail."""
    code = DONE
    total = sum(transfer.stored_bytes for transfer in transfers)
    if len(transfers) == 1:
        transfers[0].run(client, arms, shown)
        if not quiet:
            print(transfers[0], flush=True)
        return DONE
    with (
        progress(total, "cp", unit="B", show=shown) as done,
        Threads(min(WORKERS, len(transfers)), "arrowseal-cp") as threads,
    ):
        shares = {transfer: _Share(done) for transfer in transfers}
        cancel = Cancellation()

        def one(transfer: Transfer) -> None:
            with cancelled_by(cancel):
                transfer.run(client, arms, shares[transfer])

        try:
            futures = {threads.submit(one, each): each for each in shares}
            for future in as_completed(futures):
                transfer = futures[future]
                try:
                    future.result()
                except (ArrowSealError, OSError) as error:
                    wrong = isinstance(error, ConfigurationError) and not isinstance(error, LocationError)
                    if wrong or isinstance(error, CredentialsError):
                        raise
                    code = FAILED
                    verb, _, places = str(transfer).partition(":")
                    done.write(f"arrowseal: {verb} failed:{places}: {visible(describe(error))}", sys.stderr)
                else:
                    if not quiet:
                        done.write(str(transfer))
                shares[transfer].end(transfer.stored_bytes)
        except BaseException:
            cancel.cancel()  # what is on its way is not waited for to its end, and leaves nothing behind
            raise
    return code


class _Share:
    """What one of several objects adds to their bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._moved = 0

    def __call__(self, done: int, *_: object) -> None:
        self._bar.advance(done - self._moved)
        self._moved = done

    def end(self, stored_bytes: int) -> None:
        """It is done, or has failed: the bar goes on to the next ones."""
        self(stored_bytes)


def write_file(path: Path, content: Buffer) -> None:
    """Write a file so that its name never shows half of it. A link is followed; a device or pipe is written to."""
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        error.filename = str(path.resolve())  # the name that the caller knows
        raise


def write_stdout(content: Buffer) -> None:
    """Write bytes to standard output, all of them: unbuffered (PYTHONUNBUFFERED), one write may take only some."""
    stream = opened(sys.stdout, "output")
    stream.flush()
    rest = memoryview(content)
    while rest:
        rest = rest[stream.buffer.write(rest) :]
    stream.buffer.flush()


def is_url(text: str) -> bool:
    """Whether an argument names an object rather than a file."""
    return text.startswith("s3://")
