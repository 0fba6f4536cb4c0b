"""The official Python client as a subprocess in an environment of its own: one JSON command a line, one JSON answer.

It pins its dependencies and hooks the boto3 client that it is given, so it never shares an interpreter with arrowseal.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import os
import sys
import time
from typing import Any

import boto3
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
from s3_encryption.materials.materials import AlgorithmSuite, CommitmentPolicy

SUITES = {
    "V3": (AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY, CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT),
    "V2": (AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF, CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT),
}


def run(clients: dict[tuple[str, str], Any], command: dict[str, Any]) -> dict[str, Any]:
    """What one command asks for."""
    chosen = command["format"], command["kms_key_id"]
    if chosen not in clients:
        suite, policy = SUITES[command["format"]]
        keyring = KmsKeyring(boto3.client("kms"), command["kms_key_id"])
        config = S3EncryptionClientConfig(keyring, encryption_algorithm=suite, commitment_policy=policy)
        clients[chosen] = S3EncryptionClient(boto3.client("s3"), config)
    client = clients[chosen]
    named = {"Bucket": command["bucket"], "Key": command["key"]}
    context = {"EncryptionContext": command["context"]} if command["context"] else {}
    if command["action"].startswith("measured"):
        return measured(client, named, command)
    if command["action"] == "get":
        return {"data": base64.b64encode(client.get_object(**named, **context)["Body"].read()).decode()}
    data = base64.b64decode(command["data"])
    if command["action"] == "upload":  # multipart
        client.upload_fileobj(io.BytesIO(data), *named.values(), **context)
    else:
        client.put_object(**named, Body=data, **context)
    return {}


def measured(client: Any, named: dict[str, str], command: dict[str, Any]) -> dict[str, Any]:
    """Put or get one object whose bytes stay here."""
    if command["action"] == "measured put":
        data = random_bytes(command["size"])
        start = time.process_time()
        client.put_object(**named, Body=data)
        return {"cpu_seconds": time.process_time() - start}
    start = time.process_time()
    data = client.get_object(**named)["Body"].read()
    cpu_seconds = time.process_time() - start
    return {"cpu_seconds": cpu_seconds, "size": len(data)} | (
        {"sha256": hashlib.sha256(data).hexdigest()} if command.get("digest") else {}
    )


@functools.cache
def random_bytes(size: int) -> bytes:
    return os.urandom(size)


def main() -> None:
    """Answer commands until standard input ends."""
    clients: dict[tuple[str, str], Any] = {}
    for line in sys.stdin:
        try:
            answer = run(clients, json.loads(line))
        except Exception as error:  # whatever it is, the test shall see it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
