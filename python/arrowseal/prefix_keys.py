"""KMS keys by the place of an object: one key a tenant in one bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrowseal.exceptions import ConfigurationError, LocationError
from arrowseal.location import locate_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal.location import ObjectLocation


class PrefixKeys:
    """A map of `s3://bucket` or `s3://bucket/directory/` to KMS keys; the longest entry that holds a place wins.

    An entry holds what is below it as directories go, with or without the slash at its end: `s3://lake/tenant-1` holds
    `s3://lake/tenant-1/a.csv`, and neither `s3://lake/tenant-10/a.csv` nor `s3://lake-2/a.csv`.

    Raises `ConfigurationError` for no entry, what is no such URL or key, and two entries for one directory.

    >>> from arrowseal.location import locate
    >>> keys = PrefixKeys({"s3://lake": "alias/lake", "s3://lake/tenant-1/": "alias/one"})
    >>> keys.of(locate("s3://lake/tenant-1/a.csv")), keys.of(locate("s3://lake/tenant-10/a.csv"))
    ('alias/one', 'alias/lake')
    >>> keys.of(locate("s3://elsewhere/a.csv")) is None
    True
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        if not keys:
            raise ConfigurationError("a map of bucket prefixes to KMS keys has at least one entry")
        self._keys: dict[str, str] = {}
        for prefix, key in keys.items():
            directory = _directory(prefix)
            if not isinstance(key, str) or not key.strip():
                raise ConfigurationError(f"the KMS key of {directory} is a string: an id, an ARN or an alias")
            if directory in self._keys:
                raise ConfigurationError(f"kms_key_id= has two entries for {directory}")
            self._keys[directory] = key

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def of(self, location: ObjectLocation) -> str | None:
        """The key of an object's place; None where no entry holds it."""
        place = f"{location}/"
        while place != "s3://":
            if (key := self._keys.get(place)) is not None:
                return key
            place = place[: place[:-1].rfind("/") + 1]
        return None


def _directory(prefix: Any) -> str:
    try:
        directory = str(locate_prefix(prefix))
    except LocationError as error:
        raise ConfigurationError(f"kms_key_id= maps s3://bucket/directory/ to KMS keys: {error}") from None
    return directory if directory.endswith("/") else directory + "/"
