"""A KMS as strict as AWS's where moto is lenient: key states, IncorrectKey, contexts, Regions, callers, throttling.

The engine alone, as calls with arguments and answers; `strict_kms_server.py` puts it behind HTTP, `doubles.py` behind
the face of a boto3 client. Source of names and behaviour: API reference of AWS KMS, version 2014-11-01.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT = "111122223333"
HOME_REGION = "eu-west-1"
STATUS = {"KMSInternalException": 500, "KeyUnavailableException": 500, "DependencyTimeoutException": 503}
DATA_KEY_BYTES = {"AES_256": 32, "AES_128": 16}
LONGEST_PLAINTEXT = 4096


class Refusal(Exception):  # noqa: N818 - KMS's own word for most of them is Exception
    """An error of KMS by its name."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.status = STATUS.get(code, 400)


class Call(NamedTuple):
    """A call that came in, refused or not."""

    action: str
    arguments: dict[str, Any]
    region: str
    access_key: str


@dataclass
class Key:
    """A KMS key, or a replica of one, which has its backing keys and its own state."""

    arn: str
    key_id: str
    backing: list[AESGCM]
    usage: str = "ENCRYPT_DECRYPT"
    multi_region: bool = False
    state: str = "Enabled"
    refusal: str | None = None
    account: str = ACCOUNT
    callers: set[str] | None = None
    """The access keys that may use it; None is everybody."""
    grants: dict[str, str] = field(default_factory=dict)
    """Access keys by the token of the grant that lets them use it."""

    def metadata(self) -> dict[str, Any]:
        return {
            "KeyId": self.key_id,
            "Arn": self.arn,
            "Enabled": self.state == "Enabled",
            "KeyState": self.state,
            "KeyUsage": self.usage,
            "MultiRegion": self.multi_region,
        }


@dataclass
class TokenBucket:
    """So many requests a second, and as many at once. 0 is no limit."""

    per_second: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(default=0.0, init=False)
    _filled_at: float = field(default=float("-inf"), init=False)

    def take(self) -> bool:
        """Whether there is room for one more."""
        now = self.clock()
        self._tokens = min(self.per_second, self._tokens + (now - self._filled_at) * self.per_second)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class KmsEngine:
    """Keys of all accounts in all Regions; callers are of one account. Safe to share between threads.

    `calls` has every call, `data_keys` every plaintext data key that it handed out. `failures` are error codes to
    answer the next calls with; `bucket` throttles; `latency_seconds` is how long it thinks about each call.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.data_keys: list[bytes] = []
        self.failures: list[str] = []
        self.bucket = TokenBucket()
        self.latency_seconds = 0.0
        self._keys: dict[tuple[str, str], Key] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def count(self, action: str) -> int:
        """How many calls of an action came in, refused ones included."""
        return sum(1 for call in list(self.calls) if call.action == action)

    def answer(
        self, action: str, arguments: dict[str, Any], *, region: str = HOME_REGION, access_key: str = ""
    ) -> dict[str, Any]:
        """What KMS answers to a call. Raises `Refusal`."""
        with self._lock:
            self.calls.append(Call(action, arguments, region, access_key))
            failure = self.failures.pop(0) if self.failures else None
            throttled = self.bucket.per_second > 0 and not self.bucket.take()
        if self.latency_seconds:
            time.sleep(self.latency_seconds)
        if failure or throttled:
            raise Refusal(failure or "ThrottlingException", "Rate exceeded" if throttled else "")
        method = _ACTIONS.get(action)
        if method is None:
            raise Refusal("UnknownOperationException")
        answer = method(self, _Caller(region, access_key), arguments)
        if arguments.get("DryRun"):
            raise Refusal("DryRunOperationException")
        return answer

    def find(self, key_id: str, region: str = HOME_REGION) -> Key:
        """A key of a Region by id, ARN, alias or alias ARN; by an id alone only of the callers' account."""
        account = ACCOUNT
        if key_id.startswith("arn:"):
            owner, account, resource = key_id.removeprefix("arn:aws:kms:").split(":", 2)
            key_id = resource.removeprefix("key/") if owner == region else ""
        # Of tests: an alias may stand in for a key, as if KMS had used another one than it was told.
        key_id = self._aliases.get((region, key_id), key_id)
        key = self._keys.get((region, key_id))
        if key is None or key.account != account:
            raise Refusal("NotFoundException", "no such key")
        return key

    def create_key(
        self,
        region: str = HOME_REGION,
        *,
        multi_region: bool = False,
        usage: str = "ENCRYPT_DECRYPT",
        account: str = ACCOUNT,
    ) -> Key:
        """A new key."""
        key_id = f"mrk-{os.urandom(16).hex()}" if multi_region else f"{len(self._keys):08d}"
        backing = [AESGCM(os.urandom(32))]
        key = Key(_arn(region, key_id, account), key_id, backing, usage, multi_region, account=account)
        self._keys[region, key_id] = key
        return key

    def replicate(self, key: Key, region: str) -> Key:
        """A replica of a multi-Region key: the same id and backing keys, another ARN, states and callers of its own."""
        arn = _arn(region, key.key_id, key.account)
        replica = Key(arn, key.key_id, key.backing, key.usage, multi_region=True, account=key.account)
        self._keys[region, key.key_id] = replica
        return replica

    def point_alias(self, alias: str, key_id: str, region: str = HOME_REGION) -> None:
        """Create or move an alias."""
        name = alias.removeprefix(_arn(region, ""))
        self._aliases[region, name] = self.find(key_id, region).key_id

    def rotate(self, key: Key) -> None:
        """Wrap under new key material from now on; what was wrapped before still opens."""
        key.backing.append(AESGCM(os.urandom(32)))

    def wrap(self, key: Key, plaintext: bytes, context: dict[str, str]) -> bytes:
        """A ciphertext blob: which key and which of its backing keys, nonce, ciphertext."""
        generation, nonce = len(key.backing) - 1, os.urandom(12)
        sealed = key.backing[generation].encrypt(nonce, plaintext, _bound(context))
        return f"{key.key_id}\0{generation:02d}".encode() + nonce + sealed

    def unwrap(self, key: Key, blob: bytes, context: dict[str, str]) -> bytes:
        """The plaintext of a blob under the key that the caller named."""
        if _owner(blob) != key.key_id:
            if not any(_owner(blob) == key_id for _, key_id in self._keys):
                raise Refusal("InvalidCiphertextException")
            raise Refusal("IncorrectKeyException", "the key ID in the request does not identify the key that was used")
        sealed = blob.partition(b"\0")[2]
        try:
            return key.backing[int(sealed[:2])].decrypt(sealed[2:14], sealed[14:], _bound(context))
        except (InvalidTag, ValueError, IndexError):
            raise Refusal("InvalidCiphertextException") from None

    def _usable(self, caller: _Caller, given: dict[str, Any], name: str) -> Key:
        key = self.find(given[name], caller.region) if given.get(name) else self._owner_of(caller, given)
        granted = {key.grants.get(token) for token in given.get("GrantTokens", [])}
        if key.callers is not None and not {caller.access_key} & (key.callers | granted):
            raise Refusal("AccessDeniedException")
        if key.refusal:
            raise Refusal(key.refusal)
        if key.state == "Disabled":
            raise Refusal("DisabledException")
        if key.state != "Enabled":
            raise Refusal("KMSInvalidStateException", f"the key is {key.state}")
        if key.usage != "ENCRYPT_DECRYPT":
            raise Refusal("InvalidKeyUsageException")
        return key

    def _owner_of(self, caller: _Caller, given: dict[str, Any]) -> Key:
        """The key of a blob, of whichever account, where the caller names none."""
        key = self._keys.get((caller.region, _owner(given["CiphertextBlob"])))
        if key is None:
            raise Refusal("AccessDeniedException", "the ciphertext refers to a key that does not exist in this Region")
        return key

    def _generate_data_key(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        key = self._usable(caller, given, "KeyId")
        size = given.get("NumberOfBytes") or DATA_KEY_BYTES.get(given.get("KeySpec", ""), 0)
        if not 1 <= size <= 1024:
            raise Refusal("ValidationException")
        plaintext = os.urandom(size)
        self.data_keys.append(plaintext)
        blob = self.wrap(key, plaintext, given.get("EncryptionContext", {}))
        return {"CiphertextBlob": blob, "Plaintext": plaintext, "KeyId": key.arn}

    def _generate_without_plaintext(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        answer = self._generate_data_key(caller, given)
        return {name: value for name, value in answer.items() if name != "Plaintext"}

    def _encrypt(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        key = self._usable(caller, given, "KeyId")
        if not 1 <= len(given["Plaintext"]) <= LONGEST_PLAINTEXT:
            raise Refusal("ValidationException")
        return {
            "CiphertextBlob": self.wrap(key, given["Plaintext"], given.get("EncryptionContext", {})),
            "KeyId": key.arn,
        }

    def _decrypt(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        key = self._usable(caller, given, "KeyId")
        plaintext = self.unwrap(key, given["CiphertextBlob"], given.get("EncryptionContext", {}))
        self.data_keys.append(plaintext)
        return {"Plaintext": plaintext, "KeyId": key.arn}

    def _re_encrypt(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        source = self._usable(caller, given, "SourceKeyId")
        target = self._usable(caller, given, "DestinationKeyId")
        plaintext = self.unwrap(source, given["CiphertextBlob"], given.get("SourceEncryptionContext", {}))
        return {
            "CiphertextBlob": self.wrap(target, plaintext, given.get("DestinationEncryptionContext", {})),
            "SourceKeyId": source.arn,
            "KeyId": target.arn,
        }

    def _create(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        usage = given.get("KeyUsage", "ENCRYPT_DECRYPT")
        key = self.create_key(caller.region, multi_region=bool(given.get("MultiRegion")), usage=usage)
        return {"KeyMetadata": key.metadata()}

    def _describe(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        return {"KeyMetadata": self.find(given["KeyId"], caller.region).metadata()}

    def _replicate(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        key, region = self.find(given["KeyId"], caller.region), given["ReplicaRegion"]
        if not key.multi_region:
            raise Refusal("UnsupportedOperationException")
        return {"ReplicaKeyMetadata": self.replicate(key, region).metadata()}

    def _grant(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        """The grantee is the access key itself: these callers have no ARNs."""
        token = os.urandom(24).hex()
        self.find(given["KeyId"], caller.region).grants[token] = given["GranteePrincipal"]
        return {"GrantToken": token, "GrantId": token[:16]}

    def _rotate_on_demand(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        self.rotate(self.find(given["KeyId"], caller.region))
        return {"KeyId": given["KeyId"]}

    def _set_alias(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        self.point_alias(given["AliasName"], given["TargetKeyId"], caller.region)
        return {}

    def _delete_alias(self, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        if self._aliases.pop((caller.region, given["AliasName"]), None) is None:
            raise Refusal("NotFoundException")
        return {}


class _Caller(NamedTuple):
    region: str
    access_key: str


def _state_setter(state: str) -> Any:
    def set_state(engine: KmsEngine, caller: _Caller, given: dict[str, Any]) -> dict[str, Any]:
        key = engine.find(given["KeyId"], caller.region)
        key.state = state
        return {"KeyId": key.arn, "KeyState": state}

    return set_state


_ACTIONS: dict[str, Any] = {
    "GenerateDataKey": KmsEngine._generate_data_key,
    "GenerateDataKeyWithoutPlaintext": KmsEngine._generate_without_plaintext,
    "Encrypt": KmsEngine._encrypt,
    "Decrypt": KmsEngine._decrypt,
    "ReEncrypt": KmsEngine._re_encrypt,
    "CreateKey": KmsEngine._create,
    "DescribeKey": KmsEngine._describe,
    "ReplicateKey": KmsEngine._replicate,
    "CreateGrant": KmsEngine._grant,
    "RotateKeyOnDemand": KmsEngine._rotate_on_demand,
    "CreateAlias": KmsEngine._set_alias,
    "UpdateAlias": KmsEngine._set_alias,
    "DeleteAlias": KmsEngine._delete_alias,
    "EnableKey": _state_setter("Enabled"),
    "DisableKey": _state_setter("Disabled"),
    "ScheduleKeyDeletion": _state_setter("PendingDeletion"),
    "CancelKeyDeletion": _state_setter("Disabled"),
}


def _arn(region: str, key_id: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:kms:{region}:{account}:key/{key_id}"


def _owner(blob: bytes) -> str:
    """The id of the key that a blob names."""
    return blob.partition(b"\0")[0].decode("latin-1")


def _bound(context: dict[str, str]) -> bytes:
    """A context as associated data that no other context has: the pairs sorted, JSON."""
    return json.dumps(sorted(context.items())).encode()
