"""What a policy decides, by the rules of IAM for the conditions that are used here: written apart from the product.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html.
"""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(r"[$][{]([*?$])[}]|.", re.DOTALL)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _like(value: str, patterns: list[str]) -> bool:
    return any(re.fullmatch(_TOKEN.sub(_token, pattern), value, re.DOTALL) for pattern in patterns)


def _token(found: re.Match[str]) -> str:
    """`*` is any text, `?` any character, and `${*}`, `${?}`, `${$}` are these characters themselves."""
    return {"*": ".*", "?": "."}.get(found[0], re.escape(found[1] or found[0]))


def _holds(operator: str, wanted: list[str], value: str | None) -> bool:
    if operator == "Null":
        return (value is None) == (wanted == ["true"])
    negated = "Not" in operator
    if value is None:
        return operator.endswith("IfExists") or negated
    base = operator.removesuffix("IfExists")
    if base in ("StringEquals", "Bool"):
        return value in wanted
    if base == "StringNotEquals":
        return value not in wanted
    if base in ("StringLike", "ArnLike"):
        return _like(value, wanted)
    if base == "ArnNotLike":
        return not _like(value, wanted)
    raise AssertionError(operator)


def applies(statement: dict[str, Any], action: str, resource: str, facts: dict[str, str]) -> bool:
    """Whether a statement says something of a request; `facts` are its condition keys."""
    conditions = statement.get("Condition", {})
    return (
        _like(action, _many(statement["Action"]))
        and _like(resource, _many(statement["Resource"]))
        and all(
            _holds(operator, [str(each) for each in _many(wanted)], facts.get(key))
            for operator, keys in conditions.items()
            for key, wanted in keys.items()
        )
    )


def denied(policy: dict[str, Any], action: str, resource: str, facts: dict[str, str]) -> bool:
    """Whether a policy denies a request."""
    return any(one["Effect"] == "Deny" and applies(one, action, resource, facts) for one in policy["Statement"])
