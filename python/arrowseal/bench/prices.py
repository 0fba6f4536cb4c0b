"""What AWS asks for requests, keys and processors: one table, with its date and where it was found."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from arrowseal.exceptions import ConfigurationError

LOOKED_UP: Final = "2026-11-21"
REGION: Final = "us-east-1"
SOURCES: Final = (
    "https://aws.amazon.com/kms/pricing/",
    "https://aws.amazon.com/s3/pricing/",
    "https://aws.amazon.com/ec2/pricing/on-demand/",
)


@dataclass(frozen=True)
class Prices:
    """US dollars, before tax and discounts: those of `REGION` on the day `LOOKED_UP`, on demand.

    Other Regions differ by some percent: give their prices. Raises `ConfigurationError` for negative ones.

    >>> Prices().kms_per_10_000 * 500_000 / 10_000
    1.5
    """

    kms_per_10_000: float = 0.03
    """Requests to KMS that use a symmetric key: GenerateDataKey, Decrypt."""
    kms_key_month: float = 1.00
    """A customer managed key, not rotated."""
    kms_free_requests: int = 20_000
    """A month, of the whole account in all Regions. Subtracted only where it is asked for."""
    s3_write_per_1_000: float = 0.005
    """PUT, COPY, POST and LIST, S3 Standard: also the requests that begin, fill and complete an upload in parts."""
    s3_read_per_1_000: float = 0.0004
    """GET and all others, S3 Standard."""
    processor_hour: float = 0.0504
    """One virtual processor of an m7i instance, a quarter of m7i.xlarge."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) >= 0:
                raise ConfigurationError(f"a price is a number of US dollars, 0 or more: {each.name}")
