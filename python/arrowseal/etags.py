"""ETags, by which requests say which object they mean. A weak one, `W/"..."`, comes of what stands before a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrowseal.exceptions import PreconditionFailedError

if TYPE_CHECKING:
    from arrowseal.store import StoredObject


def etag_of(answered: str) -> str:
    """An ETag as it was answered, without its quotes, which a weak one keeps.

    >>> etag_of('"9b2c"'), etag_of('W/"9b2c"')
    ('9b2c', 'W/"9b2c"')
    """
    return answered if answered.startswith("W/") else answered.strip('"')


def if_match(etag: str) -> dict[str, str]:
    """The condition of a read of the object with that ETag. A weak one never meets any (RFC 9110, section 13.1.1):
    whoever has one compares what is answered, by `check_same`.
    """
    return {} if etag.startswith("W/") else {"IfMatch": f'"{etag}"'}


def check_same(stored: StoredObject, etag: str) -> None:
    """Raise `PreconditionFailedError` for an answer that says it is of another object than that with the ETag: no
    condition was sent of a weak one, and what stands before a store may not look at any.
    """
    if stored.etag != etag and (stored.etag or etag.startswith("W/")):
        raise PreconditionFailedError(f"{stored.location}: it has another ETag by now")
