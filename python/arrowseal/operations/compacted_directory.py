"""Files of one directory become few. Killed at any request, or with another run beside it, no row is lost; and the next
run finishes it or undoes it, after which every row is there once.

What is done is noted down first, under a name of its own. While that says `writing`, new files count for nothing: who
comes next puts its own token there, and deletes them. Then it says `deleting`, in one conditional write: from then on
the new files count, and whoever comes next deletes the sources that they replace.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from arrowseal.cancellation import shielded
from arrowseal.companions import delete_along
from arrowseal.exceptions import (
    ArrowSealError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    SecurityError,
    TableError,
)
from arrowseal.location import COMPACTING, ObjectLocation
from arrowseal.operations.compaction_files import AT_A_TIME
from arrowseal.operations.compaction_manifest import Held, Manifest, Replacement
from arrowseal.tables.dataset_lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.counters import Operation
    from arrowseal.operations.compaction_files import NewFiles
    from arrowseal.operations.compaction_manifest import Manifests
    from arrowseal.operations.compaction_plan import Merge
    from arrowseal.retrying import RetryingStore
    from arrowseal.tables.dataset_written import WrittenFile

Listing: TypeAlias = Mapping[str, str]
"""ETags by the names of a directory."""


@dataclass
class Outcome:
    """What became of the merges of a directory, or of what an earlier run began there."""

    merges: list[Merge] = field(default_factory=list)
    written: list[WrittenFile] = field(default_factory=list)
    left: list[ObjectLocation] = field(default_factory=list)
    """Sources that count no more and could not be deleted."""
    failure: ArrowSealError | None = None


class CompactedDirectory:
    """One directory, whose key is empty or ends in `/`; `run` is the token of this run. On one thread at a time."""

    def __init__(
        self,
        files: NewFiles,
        manifests: Manifests,
        store: RetryingStore,
        operation: Operation,
        run: str,
        prefix: ObjectLocation,
    ) -> None:
        self._files = files
        self._manifests = manifests
        self._store = store
        self._operation = operation
        self._run = run
        self._prefix = prefix
        self._manifest_at = self._at(COMPACTING)

    def settle(self) -> tuple[Outcome, set[str]]:
        """Finish what an earlier run has left, or undo it. Also returns the names of new files that do not count.

        Raises `ArrowSealError`s; the next run goes on then. A directory that another run takes at this moment is its.
        """
        held = self._manifests.read(self._manifest_at)
        if held is None:
            return Outcome(), set()
        with shielded():
            if held.manifest.phase == "deleting":
                outcome = self._finish(held, self._listing())[0]
                return outcome, set()
            names = {one.target for one in held.manifest.replacements}
            with suppress(ObjectChangedError):
                ours = replace(held.manifest, run=self._run)
                self._take_back(self._manifests.replace(self._manifest_at, ours, held), self._listing())
            return Outcome(), names

    def compact(self, merges: Sequence[Merge], uncounted: set[str]) -> Outcome:
        """Make the new files and delete what they replace. `uncounted` are names of files that do not count, should
        they appear yet: of a run that was thought dead.

        Raises only what calls the work off, and leaves nothing then.
        """
        plan = [_replacement(merge) for merge in merges]
        outcome = Outcome()
        try:
            held = self._manifests.create(self._manifest_at, Manifest(self._run, "writing", tuple(plan)))
        except ObjectChangedError:
            outcome.merges = [replace(merge, state="taken") for merge in merges]
            return outcome
        except ArrowSealError as error:
            outcome.failure = error
            return outcome
        try:
            written = self._write(merges, outcome)
            with shielded():
                kept = self._kept(plan, written, uncounted)
        except BaseException as error:
            with shielded(), suppress(ArrowSealError):
                self._take_back(held, self._listing())
            if not isinstance(error, ArrowSealError):
                raise
            outcome.failure = error
            return outcome
        with shielded():
            self._commit(held, merges, written, kept, outcome)
        return outcome

    def _write(self, merges: Sequence[Merge], outcome: Outcome) -> dict[str, WrittenFile]:
        """The new files, by name. What is wrong with the sources of one of them does not stop the others."""
        written: dict[str, WrittenFile] = {}

        def make(merge: Merge) -> None:
            try:
                written[merge.target.name] = self._files.make(merge)
            except (TableError, SecurityError, ObjectNotFoundError) as error:
                outcome.failure = outcome.failure or error

        try:
            with Lanes(min(AT_A_TIME, self._files.threads), AT_A_TIME) as lanes:
                for merge in merges:
                    lanes.do(partial(make, merge), weight=1)
                lanes.finish()
        except ArrowSealError as error:
            outcome.failure = error
        return written

    def _kept(
        self, plan: Sequence[Replacement], written: Mapping[str, WrittenFile], uncounted: set[str]
    ) -> tuple[list[Replacement], Listing]:
        """The new files that shall count, as their sources are what they were; the others are deleted."""
        there = self._listing()
        kept = [
            replace(one, etag=there[one.target])
            for one in plan
            if one.target in written and one.target in there and _as_listed(one, there)
        ]
        gone = {one.target for one in plan} | uncounted
        for name in sorted(there.keys() & (gone - {one.target for one in kept})):
            self._delete(name)
        return kept, there

    def _commit(
        self,
        held: Held,
        merges: Sequence[Merge],
        written: Mapping[str, WrittenFile],
        kept: tuple[list[Replacement], Listing],
        outcome: Outcome,
    ) -> None:
        replacements, there = kept
        counted = {one.target for one in replacements}
        changed = {
            merge.target.name: replace(merge, state="changed")
            for merge in merges
            if not _as_listed(_replacement(merge), there)
        }
        if changed and isinstance(outcome.failure, ObjectNotFoundError):
            outcome.failure = None  # a source that was deleted meanwhile
        overwritten: dict[str, list[ObjectLocation]] = {}
        try:
            if replacements:
                manifest = Manifest(self._run, "deleting", tuple(replacements))
                held = self._manifests.replace(self._manifest_at, manifest, held)
                finished, overwritten = self._finish(held, there)
                outcome.left, outcome.failure = finished.left, outcome.failure or finished.failure
            else:
                self._manifests.check(self._manifest_at, held)
                self._manifests.remove(self._manifest_at, held)
        except ObjectChangedError:
            self._give_way(replacements)
            if isinstance(outcome.failure, ObjectNotFoundError):
                outcome.failure = None  # a new file that the other run has deleted
            outcome.merges = [changed.get(merge.target.name, replace(merge, state="taken")) for merge in merges]
            return
        except ArrowSealError as error:
            outcome.failure = error
            return
        outcome.written = [written[merge.target.name] for merge in merges if merge.target.name in counted]
        for merge in merges:
            if merge.target.name in counted:
                file, kept_back = written[merge.target.name], tuple(overwritten.get(merge.target.name, ()))
                done = replace(merge, state="done", rows=file.rows, stored_bytes=file.result.stored_bytes)
                outcome.merges.append(replace(done, left=kept_back))
            elif merge.target.name in changed:
                outcome.merges.append(changed[merge.target.name])

    def _finish(self, held: Held, there: Listing) -> tuple[Outcome, dict[str, list[ObjectLocation]]]:
        """Delete what new files replace, as far as these are there, and then the note of it. Also returns the sources
        that are not what was replaced any more, by their new files: they stay.
        """
        outcome = Outcome()
        overwritten: dict[str, list[ObjectLocation]] = {}
        sources = [
            (one.target, name, etag)
            for one in held.manifest.replacements
            if there.get(one.target) == one.etag
            for name, etag in one.sources.items()
        ]
        try:
            for at, (target, name, etag) in enumerate(sources):
                outcome.left = [self._at(name) for _, name, _ in sources[at:]]
                if there.get(name, etag) != etag or not self._delete(name, etag, is_gone=name not in there):
                    overwritten.setdefault(target, []).append(self._at(name))
            outcome.left = []
            self._manifests.remove(self._manifest_at, held)
        except ArrowSealError as error:
            outcome.failure = error
        return outcome, overwritten

    def _give_way(self, replacements: Sequence[Replacement]) -> None:
        """Another run has the directory. Delete new files as far as nothing but them has gone: where a source is gone,
        the other run may have taken the new file for what counts, and finished the work with it.
        """
        with suppress(ArrowSealError):
            there = self._listing()
            for one in replacements:
                if one.target in there and _as_listed(one, there):
                    self._delete(one.target)

    def _take_back(self, held: Held, there: Listing) -> None:
        """Delete new files that do not count, and the note of them."""
        for one in held.manifest.replacements:
            if one.target in there:
                self._delete(one.target)
        self._manifests.remove(self._manifest_at, held)

    def _delete(self, name: str, etag: str | None = None, *, is_gone: bool = False) -> bool:
        """Whether an object is gone, with what belongs to it; False for one that has another ETag."""
        location = self._at(name)
        try:
            if not is_gone:
                condition = {} if etag is None else {"IfMatch": f'"{etag}"'}
                self._store.delete(location, self._operation, arguments=condition)
        except PreconditionFailedError:
            return False
        delete_along(self._store, location, self._files.client.options.instruction_files, self._operation)
        return True

    def _listing(self) -> Listing:
        rows = self._store.list(self._prefix.bucket, self._prefix.key, self._operation, delimiter="/")
        return {row.location.name: row.etag for row in rows if not row.is_prefix}

    def _at(self, name: str) -> ObjectLocation:
        return ObjectLocation(self._prefix.bucket, self._prefix.key + name)


def _replacement(merge: Merge) -> Replacement:
    return Replacement(merge.target.name, {source.location.name: source.etag for source in merge.sources})


def _as_listed(one: Replacement, there: Listing) -> bool:
    """Whether all sources are what they were."""
    return all(there.get(name) == etag for name, etag in one.sources.items())
