"""What reads and writes plain objects today, whole and through memory: each arm as its users would write it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from servers import BUCKET, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Endpoint

READERS = ["boto3 read", "boto3 download_fileobj", "pyarrow S3FileSystem", "obstore"]


def readers(endpoint: Endpoint, key: str) -> dict[str, Callable[[], object]]:
    """Reads of one plain object into memory; obstore where it is installed."""
    from pyarrow.fs import S3FileSystem

    s3 = endpoint.s3()

    def download() -> object:
        target = io.BytesIO()
        s3.download_fileobj(BUCKET, key, target)
        return target.getbuffer()

    files = S3FileSystem(
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        region=REGION,
        scheme="http",
        endpoint_override=urlsplit(endpoint.url).netloc,
    )
    arms: dict[str, Callable[[], object]] = {
        "boto3 read": lambda: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read(),
        "boto3 download_fileobj": download,
        "pyarrow S3FileSystem": lambda: files.open_input_file(f"{BUCKET}/{key}").read_buffer(),
    }
    try:
        import obstore
    except ImportError:
        return arms
    store = obstore_store(endpoint)
    return arms | {"obstore": lambda: obstore.get(store, key).bytes()}


def obstore_store(endpoint: Endpoint) -> Any:
    """Obstore on the bucket."""
    from obstore.store import S3Store

    return S3Store(
        BUCKET,
        endpoint=endpoint.url,
        access_key_id=endpoint.access_key,
        secret_access_key=endpoint.secret_key,
        region=REGION,
        client_options={"allow_http": True},
    )


def upload(endpoint: Endpoint, key: str, content: bytes) -> Callable[[], object]:
    """The write that boto3's users know for large objects: parts side by side."""
    s3 = endpoint.s3()
    return lambda: s3.upload_fileobj(io.BytesIO(content), BUCKET, key)
