"""An S3 in this process's memory, quick enough for thousands of requests: behind `broken_bodies.FaultProxy`, as HTTP.

As strict as S3 where these tests look: conditions, checksums, sizes and ETags of parts, uploads that are gone, what a
copy keeps. It checks no signature, and knows neither versions nor policies. Source: API reference of Amazon S3, version
2006-03-01.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
import threading
import uuid
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from broken_bodies import FaultProxy, operation_of

if TYPE_CHECKING:
    import http.client

MIN_PART_BYTES = 5 * 2**20
MAX_KEY_BYTES = 1024
PAGE = 1000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PART = re.compile(rb"<Part>(.*?)</Part>", re.DOTALL)


class Refusal(Exception):  # noqa: N818 - S3's own word for most of them is not Error either
    """An error of S3 by its status and name."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Stored(NamedTuple):
    """An object as it lies there."""

    body: bytes
    etag: str
    headers: dict[str, str]
    """User metadata, content type and the like, tags (`x-amz-tagging`) and grants."""


@dataclass
class OpenUpload:
    """A multipart upload: its parts by their numbers."""

    path: str
    headers: dict[str, str]
    initiated: str
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


class Answer:
    """What `http.client.HTTPResponse` is to a proxy."""

    reason = ""

    def __init__(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.status = status
        self._headers = headers
        self._content = content

    def read(self) -> bytes:
        return self._content

    def getheader(self, name: str) -> str | None:
        return self._headers.get(name)

    def getheaders(self) -> list[tuple[str, str]]:
        return list(self._headers.items())


class MemoryS3:
    """Objects by their path, `/bucket/key`; any bucket exists. Each request happens at one moment.

    `open_uploads` are those that nobody completed or aborted; `uploads` has the headers of each that ever began.
    `ignored` names operations whose conditions are not looked at, as some servers do. With `capitals` names of headers
    are answered in capitals, `X-Amz-Meta-Team`, as by servers that are written in Go. With `weak` all ETags are weak,
    which fit no `If-Match`. Without `tells_sizes` ranges are of objects of any size (`/*`).
    """

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.open_uploads: dict[str, OpenUpload] = {}
        self.uploads: dict[str, dict[str, str]] = {}
        self.ignored: set[str] = set()
        self.capitals = False
        self.weak = False
        self.tells_sizes = True
        self._completed: dict[str, Stored] = {}
        self._lock = threading.Lock()

    def answer(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        """What S3 answers to a request."""
        url, given = urlsplit(target), {name.lower(): value for name, value in headers.items()}
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        operation = operation_of(method, target, headers)
        try:
            if operation in self.ignored:
                given = {name: value for name, value in given.items() if not name.endswith(("if-match", "none-match"))}
            if len(unquote(url.path).partition("/")[2].partition("/")[2].encode()) > MAX_KEY_BYTES:
                raise Refusal(400, "KeyTooLongError")
            action = _ACTIONS.get(operation)
            if action is None:
                raise Refusal(501, "NotImplemented")
            if "x-amz-checksum-crc32" in given and base64.b64decode(given["x-amz-checksum-crc32"]) != _crc32(body):
                raise Refusal(400, "BadDigest")
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest() if method == "PUT" else ""
            with self._lock:
                return action(self, _Request(unquote(url.path), query, body, given, etag))  # type: ignore[no-any-return]
        except Refusal as refusal:
            content = f"<Error><Code>{refusal.code}</Code></Error>".encode()
            return Answer(refusal.status, {"Content-Type": "application/xml"}, b"" if method == "HEAD" else content)

    def _described(self, stored: Stored) -> dict[str, str]:
        described = _described(stored)
        if self.weak:
            described["ETag"] = "W/" + described["ETag"]
        return {name.title(): value for name, value in described.items()} if self.capitals else described

    def _put(self, request: _Request) -> Answer:
        self._check_conditions(request)
        self.objects[request.path] = stored = Stored(request.body, request.etag, request.kept_headers())
        return Answer(200, {"ETag": f'"{stored.etag}"'}, b"")

    def _get(self, request: _Request) -> Answer:
        stored = self._found(request)
        asked = _RANGE.fullmatch(request.headers.get("range", ""))
        described = self._described(stored)
        if asked is None:
            return Answer(200, described, stored.body)
        size = len(stored.body)
        start = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
        if start >= size:
            raise Refusal(416, "InvalidRange")
        end = min(int(asked[2]) + 1 if asked[1] and asked[2] else size, size)
        content_range = f"bytes {start}-{end - 1}/{size if self.tells_sizes else '*'}"
        return Answer(206, described | {"Content-Range": content_range}, stored.body[start:end])

    def _head(self, request: _Request) -> Answer:
        stored = self._found(request)
        return Answer(200, self._described(stored) | {"Content-Length": str(len(stored.body))}, b"")

    def _delete(self, request: _Request) -> Answer:
        if "if-match" in request.headers:
            self._found(request)
        self.objects.pop(request.path, None)
        return Answer(204, {}, b"")

    def _list(self, request: _Request) -> Answer:
        root = "/" + request.path.strip("/") + "/"
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        after = request.query.get("continuation-token", "")
        keys = (path.removeprefix(root) for path in self.objects if path.startswith(root + prefix))
        names = sorted({_rolled_up(key, prefix, delimiter) for key in keys})
        page = [name for name in names if name > after][:PAGE]
        rows = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if delimiter and name.endswith(delimiter) and name != prefix
            else f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[root + name].body)}</Size>"
            f'<ETag>"{self.objects[root + name].etag}"</ETag><LastModified>{_NOW}</LastModified></Contents>'
            for name in page
        )
        truncated = "true" if page and page[-1] < names[-1] else "false"
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if truncated == "true" else ""
        return _xml("ListBucketResult", f"<IsTruncated>{truncated}</IsTruncated>{more}{rows}")

    def _copy(self, request: _Request) -> Answer:
        stored = self._source(request)
        self._check_conditions(request)
        headers = dict(stored.headers)
        if request.headers.get("x-amz-metadata-directive") == "REPLACE":
            tags = {name: value for name, value in headers.items() if name == "x-amz-tagging"}
            headers = tags | request.kept_headers()
        else:  # as S3: what is said anew with each copy
            headers = {name: value for name, value in headers.items() if not name.startswith(_SAID_ANEW)}
        body = stored.body
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self.objects[request.path] = Stored(body, etag, headers)
        return _xml("CopyObjectResult", f'<ETag>"{etag}"</ETag><LastModified>{_NOW}</LastModified>')

    def _source(self, request: _Request) -> Stored:
        stored = self.objects.get("/" + unquote(request.headers["x-amz-copy-source"]).lstrip("/"))
        if stored is None:
            raise Refusal(404, "NoSuchKey")
        if request.headers.get("x-amz-copy-source-if-match", stored.etag).strip('"') != stored.etag:
            raise Refusal(412, "PreconditionFailed")
        return stored

    def _copy_part(self, request: _Request) -> Answer:
        upload, stored = self._upload(request), self._source(request)
        asked = _RANGE.fullmatch(request.headers["x-amz-copy-source-range"])
        assert asked is not None
        body = stored.body[int(asked[1]) : int(asked[2]) + 1]
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        upload.parts[int(request.query["partNumber"])] = etag, body
        return _xml("CopyPartResult", f'<ETag>"{etag}"</ETag><LastModified>{_NOW}</LastModified>')

    def _tags(self, request: _Request) -> Answer:
        stored = self._found(request)
        rows = "".join(
            f"<Tag><Key>{escape(name)}</Key><Value>{escape(values[0])}</Value></Tag>"
            for name, values in parse_qs(stored.headers.get("x-amz-tagging", ""), keep_blank_values=True).items()
        )
        return _xml("Tagging", f"<TagSet>{rows}</TagSet>")

    def _acl(self, request: _Request) -> Answer:
        given = [(_GRANTS[name], value) for name, value in self._found(request).headers.items() if name in _GRANTS]
        rows = "".join(
            f'<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{kind}">{who}</Grantee>'
            f"<Permission>{permission}</Permission></Grant>"
            for permission, value in given or [("FULL_CONTROL", 'id="owner"')]
            for kind, who in [_grantee(each) for each in value.split(", ")]
        )
        return _xml(
            "AccessControlPolicy", f"<Owner><ID>owner</ID></Owner><AccessControlList>{rows}</AccessControlList>"
        )

    def _create_upload(self, request: _Request) -> Answer:
        upload_id = uuid.uuid4().hex  # as on S3, no other upload's anywhere
        self.open_uploads[upload_id] = OpenUpload(request.path, request.kept_headers(), _now())
        self.uploads[upload_id] = request.kept_headers()
        return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")

    def _put_part(self, request: _Request) -> Answer:
        upload = self._upload(request)
        upload.parts[int(request.query["partNumber"])] = request.etag, request.body
        return Answer(200, {"ETag": f'"{request.etag}"'}, b"")

    def _complete_upload(self, request: _Request) -> Answer:
        done = self._completed.get(request.query["uploadId"])
        if done is None:  # S3 answers a completion again for a while
            upload = self._upload(request)
            self._check_conditions(request)
            done = self._completed[request.query["uploadId"]] = _joined(upload, request.body)
            self.objects[upload.path] = done
            del self.open_uploads[request.query["uploadId"]]
        return _xml("CompleteMultipartUploadResult", f'<ETag>"{done.etag}"</ETag>')

    def _abort_upload(self, request: _Request) -> Answer:
        self._upload(request)
        del self.open_uploads[request.query["uploadId"]]
        return Answer(204, {}, b"")

    def _list_uploads(self, request: _Request) -> Answer:
        root = "/" + request.path.strip("/") + "/"
        rows = "".join(
            f"<Upload><Key>{escape(upload.path.removeprefix(root))}</Key><UploadId>{upload_id}</UploadId>"
            f"<Initiated>{upload.initiated}</Initiated></Upload>"
            for upload_id, upload in self.open_uploads.items()
            if upload.path.startswith(root + request.query.get("prefix", ""))
        )
        return _xml("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{rows}")

    def _list_parts(self, request: _Request) -> Answer:
        rows = "".join(
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag><Size>{len(body)}</Size></Part>'
            for number, (etag, body) in self._upload(request).parts.items()
        )
        return _xml("ListPartsResult", f"<IsTruncated>false</IsTruncated>{rows}")

    def _found(self, request: _Request) -> Stored:
        stored = self.objects.get(request.path)
        if stored is None:
            raise Refusal(404, "NoSuchKey")
        asked = request.headers.get("if-match")
        if asked is not None and (self.weak or asked.strip('"') != stored.etag):
            raise Refusal(412, "PreconditionFailed")
        return stored

    def _upload(self, request: _Request) -> OpenUpload:
        upload = self.open_uploads.get(request.query["uploadId"])
        if upload is None or upload.path != request.path:
            raise Refusal(404, "NoSuchUpload")
        return upload

    def _check_conditions(self, request: _Request) -> None:
        if request.headers.get("if-none-match") == "*" and request.path in self.objects:
            raise Refusal(412, "PreconditionFailed")
        if "if-match" in request.headers:
            self._found(request)


class _Request(NamedTuple):
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]
    """By their names in lower case."""
    etag: str

    def kept_headers(self) -> dict[str, str]:
        return {
            name: value
            for name, value in self.headers.items()
            if name.startswith(("x-amz-meta-", *_SAID_ANEW)) or name in _KEPT
        }


_NOW = "2026-01-01T00:00:00.000Z"
_LAST_MODIFIED = dt.datetime.fromisoformat(_NOW).strftime("%a, %d %b %Y %H:%M:%S GMT")
_KEPT = {
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-tagging",
}
_SAID_ANEW = ("x-amz-storage-class", "x-amz-website-redirect", "x-amz-server-side", "x-amz-grant-", "x-amz-object-lock")
_GRANTS = {
    "x-amz-grant-full-control": "FULL_CONTROL",
    "x-amz-grant-read": "READ",
    "x-amz-grant-read-acp": "READ_ACP",
    "x-amz-grant-write-acp": "WRITE_ACP",
}
_ACTIONS: dict[str, Any] = {
    "UploadPartCopy": MemoryS3._copy_part,
    "GetObjectTagging": MemoryS3._tags,
    "GetObjectAcl": MemoryS3._acl,
    "PutObject": MemoryS3._put,
    "CopyObject": MemoryS3._copy,
    "GetObject": MemoryS3._get,
    "HeadObject": MemoryS3._head,
    "DeleteObject": MemoryS3._delete,
    "ListObjectsV2": MemoryS3._list,
    "CreateMultipartUpload": MemoryS3._create_upload,
    "UploadPart": MemoryS3._put_part,
    "CompleteMultipartUpload": MemoryS3._complete_upload,
    "AbortMultipartUpload": MemoryS3._abort_upload,
    "ListMultipartUploads": MemoryS3._list_uploads,
    "ListParts": MemoryS3._list_parts,
}


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _rolled_up(key: str, prefix: str, delimiter: str) -> str:
    """The key, or what it has in common with others up to the delimiter after the prefix."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if end < 0 else key[: end + len(delimiter)]


def _joined(upload: OpenUpload, named: bytes) -> Stored:
    """The object of the parts that a completion names."""
    bodies, digests, last = [], b"", 0
    rows = _PART.findall(named)
    for row in rows:
        number, etag = int(_tag(row, b"PartNumber")), _tag(row, b"ETag").replace(b"&quot;", b"").strip(b'"').decode()
        stored_etag, body = upload.parts.get(number, ("", b""))
        if number <= last:
            raise Refusal(400, "InvalidPartOrder")
        if not stored_etag or stored_etag != etag:
            raise Refusal(400, "InvalidPart")
        if row is not rows[-1] and len(body) < MIN_PART_BYTES:
            raise Refusal(400, "EntityTooSmall")
        last = number
        bodies.append(body)
        digests += bytes.fromhex(etag)
    if not rows:
        raise Refusal(400, "MalformedXML")
    etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(rows)}"
    return Stored(b"".join(bodies), etag, upload.headers)


def _tag(text: bytes, name: bytes) -> bytes:
    found = re.search(rb"<%s>(.*?)</%s>" % (name, name), text, re.DOTALL)
    if found is None:
        raise Refusal(400, "MalformedXML")
    return found[1]


def _crc32(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "big")


def _described(stored: Stored) -> dict[str, str]:
    headers = {name: value for name, value in stored.headers.items() if not name.startswith("x-amz-grant-")}
    tags = parse_qs(headers.pop("x-amz-tagging", ""), keep_blank_values=True)
    if tags:
        headers["x-amz-tagging-count"] = str(len(tags))
    return headers | {"ETag": f'"{stored.etag}"', "Last-Modified": _LAST_MODIFIED, "Accept-Ranges": "bytes"}


def _grantee(text: str) -> tuple[str, str]:
    """The type of who is named in a grant's header, and the element that names it."""
    kind, _, value = text.partition("=")
    named = escape(value.strip('"'))
    return ("Group", f"<URI>{named}</URI>") if kind == "uri" else ("CanonicalUser", f"<ID>{named}</ID>")


def _xml(name: str, content: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{content}</{name}>'
    return Answer(200, {"Content-Type": "application/xml"}, text.encode())


class _Connection:
    """What `http.client.HTTPConnection` is to a proxy."""

    def __init__(self, server: MemoryS3) -> None:
        self._server = server

    def request(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
        self._answer = self._server.answer(method, target, body, headers)

    def getresponse(self) -> Any:
        return self._answer

    def close(self) -> None:
        """Nothing is open."""


class FaultyS3(FaultProxy):
    """A memory S3 that listens on loopback and breaks requests by a `rule`; there is no server behind it."""

    def __init__(self) -> None:
        self.server = MemoryS3()
        super().__init__("http://127.0.0.1")

    def connect(self) -> http.client.HTTPConnection:
        return _Connection(self.server)  # type: ignore[return-value]

    def client(self, **options: Any) -> Any:
        """A boto3 S3 client of this server."""
        import boto3

        return boto3.Session("TESTS", "not checked", region_name="eu-west-1").client(
            "s3", endpoint_url=self.endpoint, **options
        )
