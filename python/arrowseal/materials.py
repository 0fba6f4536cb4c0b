"""Materials: a data key together with what is stored beside the object, or claimed by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal._core import DataKey
    from arrowseal.suites import Format


@dataclass(frozen=True, slots=True)
class EncryptionMaterials:
    """A new data key for one object, with its wrapped form and the whole encryption context it is wrapped under."""

    format: Format
    data_key: DataKey
    encrypted_data_key: bytes = field(repr=False)
    encryption_context: Mapping[str, str] = field(repr=False)
    kms_key_arn: str


@dataclass(frozen=True, slots=True)
class DecryptionMaterials:
    """The data key of an object, unwrapped, and the ARN of the KMS key that did it."""

    data_key: DataKey
    kms_key_arn: str
