"""A page of a listing as the short way asks for it and reads it: in a quarter of the time that botocore's parser takes.

Format: ListObjectsV2 (Amazon S3 API reference).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from arrowseal.etags import etag_of
from arrowseal.location import ObjectLocation
from arrowseal.store import ListedObject

if TYPE_CHECKING:
    from arrowseal.learnt_endpoints import BucketEndpoint


def page_url(endpoint: BucketEndpoint, prefix: str, *, delimiter: str | None, token: str | None) -> str:
    """Where a page is asked for, quoted as botocore does."""
    asked = {"list-type": "2", "prefix": prefix, "delimiter": delimiter, "continuation-token": token}
    # Keys may hold characters that XML cannot.
    given = {name: value for name, value in (asked | {"encoding-type": "url"}).items() if value is not None}
    query = "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in sorted(given.items()))
    slash = "" if urlsplit(endpoint.base).path else "/"
    return f"{endpoint.base}{slash}?{query}"


def page_of(bucket: str, content: bytes) -> tuple[list[ListedObject], str | None] | None:
    """The rows of an answer, and the token of the next page; None for what is not read here, boto3's to understand."""
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - expat of today expands nothing without bounds
        space = root.tag[: root.tag.rfind("}") + 1]
        key, size, changed, etag = space + "Key", space + "Size", space + "LastModified", space + "ETag"
        said = {node.tag: node.text or "" for node in root}
        decoded = unquote_plus if said.get(space + "EncodingType") == "url" else str
        prefixes, objects = [], []
        for node in root:
            if node.tag == space + "Contents":
                row = {field.tag: field.text or "" for field in node}
                location = ObjectLocation(bucket, decoded(row[key]))
                objects.append(ListedObject(location, int(row[size]), _time(row[changed]), etag_of(row[etag])))
            elif node.tag == space + "CommonPrefixes":
                places = (ObjectLocation(bucket, decoded(one.text or "")) for one in node)
                prefixes += [ListedObject(place, is_prefix=True) for place in places]
        more = said[space + "IsTruncated"] == "true"
        return prefixes + objects, said[space + "NextContinuationToken"] if more else None
    except (ElementTree.ParseError, LookupError, ValueError):  # of an encoding nobody knows, too
        return None


def _time(text: str) -> dt.datetime:
    """As S3 writes it. Raises `ValueError` for other spellings."""
    if not text.endswith("Z"):
        raise ValueError
    return dt.datetime.fromisoformat(text)
