"""What reads what: one row for each format, content and wrap. `test_rows.py` runs every row, `table.py` prints them."""

from __future__ import annotations

from dataclasses import dataclass

POLICY = "commitment_policy=REQUIRE_ENCRYPT_ALLOW_DECRYPT"
WRAPPING, CONTENT, BOTH = 'legacy="wrapping"', 'legacy="content"', "legacy=True"
AES_KEY, RSA_KEY = "keyring=RawAesKeyring(...)", "keyring=RawRsaKeyring(...)"
FILES = "instruction_files=True"

V3_WRITE, V2_WRITE, FILE_WRITE = "by default", 'format="V2"', "CSE(instruction_file=True)"
GCM, CBC = "AES-256-GCM", "AES-256-CBC"
STORAGES = "metadata", "instruction file"


@dataclass(frozen=True)
class Row:
    """An object that exists: how its content is encrypted, its data key wrapped, and where that is stored; the switches
    that a read needs, all of them, and how it is written; None where it never is.
    """

    format: str
    content: str
    wrap: str
    storage: str
    switches: frozenset[str]
    written: str | None

    def __str__(self) -> str:
        return f"{self.format} {self.content} {self.wrap} {self.storage}"


def _rows() -> list[Row]:
    kms, old_kms, aes, rsa = "kms+context", "kms", "AES/GCM", "RSA-OAEP-SHA1"
    aes_wrap, oaep_256 = "AESWrap", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"
    alone = [
        ("V3", GCM, kms, set(), V3_WRITE),
        ("V3", GCM, aes, {AES_KEY}, V3_WRITE),
        ("V3", GCM, rsa, {RSA_KEY}, V3_WRITE),
        ("V2", GCM, kms, {POLICY}, V2_WRITE),
        ("V2", GCM, aes, {POLICY, AES_KEY}, V2_WRITE),
        ("V2", GCM, rsa, {POLICY, RSA_KEY}, V2_WRITE),
        ("V2", GCM, old_kms, {POLICY, WRAPPING}, None),
        ("V2", GCM, aes_wrap, {POLICY, WRAPPING, AES_KEY}, None),
        ("V2", GCM, oaep_256, {POLICY, WRAPPING, RSA_KEY}, None),
        ("V2", CBC, kms, {POLICY, CONTENT}, None),
        ("V2", CBC, aes, {POLICY, CONTENT, AES_KEY}, None),
        ("V2", CBC, rsa, {POLICY, CONTENT, RSA_KEY}, None),
        ("V2", CBC, old_kms, {POLICY, BOTH}, None),
        ("V2", CBC, aes_wrap, {POLICY, BOTH, AES_KEY}, None),
        ("V2", CBC, oaep_256, {POLICY, BOTH, RSA_KEY}, None),
        ("V1", CBC, "AES", {POLICY, BOTH, AES_KEY}, None),
        ("V1", CBC, "RSA", {POLICY, BOTH, RSA_KEY}, None),
    ]
    return [
        Row(name, content, wrap, storage, frozenset(switches | ({FILES} if storage != "metadata" else set())), written)
        for name, content, wrap, switches, written in alone
        for storage in STORAGES
    ]


ROWS = _rows()
