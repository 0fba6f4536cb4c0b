"""Several keyrings as one: the first that has a key for the place writes, the first whose key fits reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import ArrowSealError, KeyMismatchError, KmsAccessDeniedError, NoKeyError
from arrowseal.kms_keyring import UNUSABLE, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from arrowseal.counters import Operation
    from arrowseal.keyring import Keyring
    from arrowseal.location import ObjectLocation
    from arrowseal.materials import DecryptionMaterials, EncryptionMaterials
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.suites import Format

_TRY_NEXT: Final = (KeyMismatchError, KmsAccessDeniedError, *UNUSABLE)


def several(keyrings: Sequence[Keyring]) -> Keyring:
    """One keyring for several; the only one as it is."""
    return keyrings[0] if len(keyrings) == 1 else SeveralKeyrings(keyrings)


class SeveralKeyrings:
    """Keyrings in their order.

    A keyring is passed over where it has no key (`NoKeyError`), on reads also if it does not know the wrap or answers
    that the data key is not under its key, or that its key is disabled or deleted. Any other error ends the search: a
    key that cannot be had at the moment is no reason to write under another one.
    """

    def __init__(self, keyrings: Sequence[Keyring]) -> None:
        self.keyrings: Final = tuple(keyrings)
        self.wraps = frozenset[str]().union(*(keyring.wraps for keyring in keyrings))

    def __repr__(self) -> str:
        return f"<SeveralKeyrings {list(self.keyrings)!r}>"

    def check_write(self, location: ObjectLocation) -> Hashable:
        """Of the first that has a key to write under there. Raises the first `NoKeyError` if none has."""
        keyring, answer = self._first(self.keyrings, lambda one: one.check_write(location))
        return id(keyring), answer

    def check_read(self, location: ObjectLocation) -> None:
        """Raise the first `NoKeyError` if none has a key to read under there."""
        self._first(self.keyrings, lambda one: one.check_read(location))

    def generate(
        self,
        format: Format,  # noqa: A002 - the public word for it
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        """A data key of the first that has a key to write under there."""
        keyring, _ = self._first(self.keyrings, lambda one: one.check_write(location))
        return keyring.generate(format, context, location, operation)

    def unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        """The data key, by the first that knows the wrap and whose key it is."""
        left = [keyring for keyring in self.keyrings if metadata.wrap in keyring.wraps]
        refusals: list[ArrowSealError] = []
        while left:
            try:
                keyring, _ = self._first(left, lambda one: one.check_read(location))
                return keyring.unwrap(metadata, location, operation)
            except _TRY_NEXT as error:
                refusals.append(error)
                left = left[left.index(keyring) + 1 :]
            except NoKeyError:
                if not refusals:
                    raise
                break
        if not refusals:
            raise NoKeyError(f"{location}: none of the keyrings unwraps {metadata.wrap!r}: give one that does")
        if len(refusals) > 1:
            refusals[:] = [told_of(refusals, f"nor under the keys of {len(refusals) - 1} more keyrings")]
        raise refusals.pop()

    @staticmethod
    def _first(keyrings: Sequence[Keyring], ask: Callable[[Keyring], Any]) -> tuple[Keyring, Any]:
        refusals: list[NoKeyError] = []
        for keyring in keyrings:
            try:
                return keyring, ask(keyring)
            except NoKeyError as error:
                refusals.append(error)
        raise refusals.pop(0)
