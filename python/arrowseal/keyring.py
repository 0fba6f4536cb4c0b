"""What a keyring is: the one that wraps a new data key for a write and unwraps an encrypted data key for a read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.materials import DecryptionMaterials, EncryptionMaterials
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.suites import Format


class Keyring(Protocol):
    """Wraps and unwraps data keys. Implementations check their own configuration before any request."""

    wraps: frozenset[str]
    """The wrapping algorithms that it unwraps, by the names of format V2."""

    def generate(
        self,
        format: Format,  # noqa: A002 - the public word for it
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        """A new data key for one object, wrapped under `context` (the user's, without the reserved entry)."""

    def unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        """The data key of an object that passed every gate of `envelope`."""
