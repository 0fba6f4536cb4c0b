"""Encryption metadata as writers make it, to be changed one field at a time."""

from __future__ import annotations

import base64
from typing import Any


def b64(length: int, fill: int = 7) -> str:
    return base64.b64encode(bytes([fill]) * length).decode()


def v3(**changes: str | None) -> dict[str, str]:
    fields: dict[str, Any] = {
        "x-amz-c": "115",
        "x-amz-3": b64(184),
        "x-amz-w": "12",
        "x-amz-d": b64(28),
        "x-amz-i": b64(28),
        "x-amz-t": '{"aws:x-amz-cek-alg":"115"}',
    }
    return changed(fields, changes)


def v2(**changes: str | None) -> dict[str, str]:
    fields: dict[str, Any] = {
        "x-amz-key-v2": b64(184),
        "x-amz-iv": b64(12),
        "x-amz-cek-alg": "AES/GCM/NoPadding",
        "x-amz-wrap-alg": "kms+context",
        "x-amz-matdesc": '{"aws:x-amz-cek-alg":"AES/GCM/NoPadding"}',
        "x-amz-tag-len": "128",
    }
    return changed(fields, changes)


def changed(fields: dict[str, Any], changes: dict[str, str | None]) -> dict[str, str]:
    for name, value in changes.items():
        fields["x-amz-" + name.lstrip("_").replace("_", "-")] = value
    return {name: value for name, value in fields.items() if value is not None}
