"""Data keys, customer keys and plaintext appear in no log, repr, pickle or traceback: canaries tell."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN, SSE_C, Client, RawAesKeyring, _core
from arrowseal.exceptions import ArrowSealError, KmsError
from arrowseal.operations import rewrap
from arrowseal.raw_key import RawKey
from doubles import StrictKms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers


PLAINTEXT = b"canary-plaintext-" * 64
CUSTOMER_KEY = b"canary-customer-key-of-32-bytes!"


def spellings(secret: bytes) -> list[str]:
    """How a secret could show in text."""
    return [secret.decode("latin-1"), secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that any logger says at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(exc_info)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def seen_keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every plaintext data key that reached the core."""
    from arrowseal import kms_requests

    keys: list[bytes] = []

    def spy(key: bytes) -> _core.DataKey:
        keys.append(bytes(key))
        return _core.DataKey(key)

    monkeypatch.setattr(kms_requests, "DataKey", spy)
    return keys


def test_no_data_key_and_no_plaintext_is_logged_at_debug(
    client: Client, bucket: str, log: io.StringIO, seen_keys: list[bytes]
) -> None:
    for _ in range(2):  # by boto3, and by the short way
        client.put(bucket=bucket, key="o", data=PLAINTEXT)
        assert client.get(bucket=bucket, key="o") == PLAINTEXT
    with pytest.raises(ArrowSealError):
        client.get(bucket=bucket, key="o", kms_key_id="alias/no-such-key")
    text = log.getvalue()
    assert "botocore" in text, "the log must have been on"
    assert "wire log withheld" in text
    assert len(seen_keys) == 4
    for secret in (*seen_keys, PLAINTEXT[:32]):
        for spelling in spellings(secret):
            assert spelling not in text


def test_a_data_key_on_its_way_from_a_raw_key_to_kms_encrypt_is_in_no_log(
    local_servers: LocalServers, bucket: str, log: io.StringIO, raw_s3: Any, raw_kms: Any
) -> None:
    client = local_servers.client(kms_key_id=None, keyring=RawAesKeyring(bytes(range(32))))
    client.put(bucket=bucket, key="o", data=PLAINTEXT)
    report = rewrap(f"s3://{bucket}/o", to_key=local_servers.kms_key_arn, client=client)
    assert report.count("done") == 1
    text = log.getvalue()
    assert "botocore" in text, "the log must have been on"
    metadata = raw_s3.head_object(Bucket=bucket, Key="o")["Metadata"]
    key = raw_kms.decrypt(
        CiphertextBlob=base64.b64decode(metadata["x-amz-3"]), EncryptionContext=json.loads(metadata["x-amz-t"])
    )["Plaintext"]
    assert [spelling for spelling in spellings(key) if spelling in text] == []


def test_no_plaintext_of_a_plain_object_is_logged_either(client: Client, bucket: str, log: io.StringIO) -> None:
    for _ in range(2):  # by boto3, and by the short way
        client.put(bucket=bucket, key="o", data=PLAINTEXT, encryption=PLAIN)
        client.get(bucket=bucket, key="o", allow_plaintext=True)
    assert "canary-plaintext" not in log.getvalue()


def test_the_key_of_sse_c_is_logged_nowhere(client: Client, bucket: str, log: io.StringIO) -> None:
    arm = SSE_C(CUSTOMER_KEY)
    client.put(bucket=bucket, key="o", data=b"x", encryption=arm)
    client.head(bucket=bucket, key="o", encryption=arm)
    client.get(bucket=bucket, key="o", encryption=arm)
    for spelling in spellings(CUSTOMER_KEY):
        assert spelling not in log.getvalue()
        assert spelling not in repr(arm)
    with pytest.raises(TypeError):
        pickle.dumps(arm)


def test_wire_logs_come_back_after_a_call_that_carried_a_key(client: Client, bucket: str, log: io.StringIO) -> None:
    client.put(bucket=bucket, key="o", data=PLAINTEXT)
    log.truncate(0)
    client.delete(bucket=bucket, key="o")
    assert "botocore.parsers" in log.getvalue()


@pytest.mark.parametrize("action", ["generate_data_key", "decrypt"])
def test_a_log_that_is_reconfigured_later_still_shows_no_key(
    client: Client, bucket: str, seen_keys: list[bytes], action: str
) -> None:
    client.put(bucket=bucket, key="o", data=PLAINTEXT)
    stream = io.StringIO()
    logger = logging.getLogger("botocore.parsers")
    kept, logger.filters = logger.filters, []
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        client.put(bucket=bucket, key="p", data=PLAINTEXT) if action == "generate_data_key" else client.get(
            bucket=bucket, key="o"
        )
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.filters = kept
    for secret in seen_keys:
        for spelling in spellings(secret):
            assert spelling not in stream.getvalue()


def objects_with_secrets() -> dict[str, Any]:
    key = _core.DataKey(b"canary-data-key-of-32-bytes-long")
    sealer = _core.Sealer(key, 0x0073)
    identifier, commitment = sealer.message_id, sealer.commitment
    sealed = sealer.seal(PLAINTEXT)
    opener = _core.Opener(key, 0x0073, identifier, commitment, len(sealed))
    window = opener.window(0, len(sealed))
    with memoryview(window) as view:
        view[:] = memoryview(sealed)
    window.received()
    return {"key": key, "sealer": sealer, "opener": opener, "window": window, "plaintext": opener.finish()}


@pytest.mark.parametrize("name", ["key", "sealer", "opener", "window", "plaintext"])
def test_what_holds_a_secret_shows_it_in_no_repr_and_is_neither_pickled_nor_copied(name: str) -> None:
    holder = objects_with_secrets()[name]
    for text in (repr(holder), str(holder), f"{holder}", repr(dir(holder))):
        assert "canary" not in text
    assert not hasattr(holder, "__dict__")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(holder, protocol)
    with pytest.raises(TypeError):
        copy.copy(holder)
    with pytest.raises(TypeError):
        copy.deepcopy(holder)


def test_what_holds_an_open_object_or_a_raw_key_shows_nothing_of_it_and_is_not_pickled(
    client: Client, bucket: str
) -> None:
    client.put(bucket=bucket, key="o", data=PLAINTEXT)
    raw_key = RawKey(CUSTOMER_KEY, _core.AesWrappingKey, "a key")
    with client.object(bucket=bucket, key="o") as opened, client.open(bucket=bucket, key="o", mode="rb") as file:
        for holder in (opened, file, raw_key):
            assert "canary" not in repr(holder)
            with pytest.raises(TypeError, match="pickled"):
                pickle.dumps(holder)


def test_a_data_key_of_another_length_is_refused_and_in_no_traceback(raw_s3: Any, bucket: str) -> None:
    kms = StrictKms()
    client = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    client.put(bucket=bucket, key="o", data=b"x")
    decrypt = kms.decrypt
    kms.decrypt = lambda **asked: decrypt(**asked) | {"Plaintext": CUSTOMER_KEY[:16]}  # type: ignore[method-assign]
    with pytest.raises(KmsError, match="32 bytes") as refused:
        client.get(bucket=bucket, key="o")
    shown = "".join(traceback.TracebackException.from_exception(refused.value, capture_locals=True).format())
    assert "encrypted_data_key" in shown or "answer" in shown, "locals must have been shown"
    assert "canary" not in shown


def test_no_traceback_with_its_local_variables_shows_a_data_key_or_plaintext(raw_s3: Any, bucket: str) -> None:
    kms = StrictKms()
    client = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    client.put(bucket=bucket, key="o", data=PLAINTEXT)
    found = raw_s3.get_object(Bucket=bucket, Key="o")
    body = bytearray(found["Body"].read())
    body[-1] ^= 1
    raw_s3.put_object(Bucket=bucket, Key="o", Body=bytes(body), Metadata=found["Metadata"])
    shown = ""
    for failing in ("tag", "commitment", "denied"):
        if failing == "commitment":
            raw_s3.put_object(
                Bucket=bucket,
                Key="o",
                Body=bytes(body),
                Metadata=found["Metadata"] | {"x-amz-d": base64.b64encode(bytes(28)).decode()},
            )
        if failing == "denied":
            kms.failures.append("AccessDeniedException")
        try:
            client.get(bucket=bucket, key="o")
        except ArrowSealError as error:
            shown += "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        else:
            pytest.fail("the damaged object was read")
    assert "unlocked" in shown, "locals must have been shown"
    for secret in (*kms.data_keys, PLAINTEXT[:32]):
        for spelling in spellings(secret):
            assert spelling not in shown
