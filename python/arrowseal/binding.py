"""The place of an object, bound into its encryption context: `bind_location=`.

`"prefix"` binds the bucket and the directory of the key, `s3://lake/2013/` for `s3://lake/2013/flights.parquet`, which
all files of a directory share, hence also their data key in `Client.data_key_reuse`. `"object"` binds the whole place.
The two are never equal: a directory ends in a slash, and an object does not. KMS proves the entry with the rest of the
context, so that an object, or its data key, that was put in the place of another one does not open there.

Other clients read such an object by giving the entry as part of the encryption context (the official Python client
takes none that is not ASCII, hence no key that is not). It is in clear in the object's
metadata, and in the audit trail of KMS (CloudTrail) for each call. A bucket that is addressed by the ARN of an access
point is another place than by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from arrowseal.location import ObjectLocation

LOCATION_NAME: Final = "arrowseal:location"
"""The entry of an encryption context that says where the object lives."""

Binding = Literal["prefix", "object"]


def bound_location(binding: Binding | None, location: ObjectLocation) -> dict[str, str]:
    """The entries that bind an object to its place; none without a binding.

    >>> from arrowseal.location import locate
    >>> bound_location("prefix", locate("s3://lake/2013/flights.parquet"))
    {'arrowseal:location': 's3://lake/2013/'}
    >>> bound_location("object", locate("s3://lake/2013/flights.parquet"))
    {'arrowseal:location': 's3://lake/2013/flights.parquet'}
    """
    if binding is None:
        return {}
    whole = str(location)
    return {LOCATION_NAME: whole if binding == "object" else whole[: len(whole) - len(location.name)]}
