"""Materials: a data key together with what is stored beside the object, or claimed by it.

With `DataKey`, which takes the 32 bytes over into memory of the core, they are what a keyring of one's own makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from arrowseal._core import DataKey as DataKey  # noqa: TC001 - for keyrings of other people

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.suites import Format

KEY_ARN: Final = re.compile(r"arn:([^:]+):kms:([^:]*):([^:]*):key/.+")
"""The ARN of a KMS key: partition, Region, account."""


@dataclass(frozen=True, slots=True)
class EncryptionMaterials:
    """A new data key for one object, with its wrapped form and what it is wrapped under.

    `encryption_context` is the whole one, reserved entry included; raw keys have none. `key_name` says which key
    wrapped it, for messages: the ARN of a KMS key, or `raw AES key 'archive'`. `wrap` is the wrapping algorithm by the
    name of format V2. `material_description` is stored with the object so that a raw key is found again; nothing
    proves it.
    """

    format: Format
    data_key: DataKey
    encrypted_data_key: bytes = field(repr=False)
    encryption_context: Mapping[str, str] = field(repr=False)
    key_name: str
    wrap: str = "kms+context"
    material_description: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def kms_key_arn(self) -> str | None:
        """The ARN of the KMS key; None for a key of another kind."""
        return self.key_name if KEY_ARN.fullmatch(self.key_name) else None


@dataclass(frozen=True, slots=True)
class DecryptionMaterials:
    """The data key of an object, unwrapped, and the name of the key that did it."""

    data_key: DataKey
    key_name: str
    kms_key_arn: str | None = field(init=False)
    """The ARN of the KMS key; None for a key of another kind."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kms_key_arn", self.key_name if KEY_ARN.fullmatch(self.key_name) else None)
