"""KMS calls by API and key, as rows and as a frame.

>>> calls = KmsCalls({("GenerateDataKey", "alias/tables"): 2, ("Decrypt", "alias/tables"): 1})
>>> calls.total
3
>>> list(calls)
[('Decrypt', 'alias/tables', 1), ('GenerateDataKey', 'alias/tables', 2)]
"""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING

from arrowseal.frames import Framed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa


class KmsCalls(Framed):
    """How often each API of KMS was called for each key, failed attempts included, ordered by both names.

    A key is named by the ARN that KMS answered with; as it was given (an alias, say) where it did not answer.
    """

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[tuple[str, str], int]) -> None:
        self._counts = dict(sorted(counts.items()))

    @classmethod
    def summed(cls, many: Iterator[tuple[tuple[str, str, int], ...]]) -> KmsCalls:
        """Of several operations together."""
        counts: Counter[tuple[str, str]] = Counter()
        for rows in many:
            for api, key, calls in rows:
                counts[api, key] += calls
        return cls(counts)

    @property
    def total(self) -> int:
        """All calls: the sum of the column `kms_calls` of the operations."""
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        return ((api, key, calls) for (api, key), calls in self._counts.items())

    def __len__(self) -> int:
        return len(self._counts)

    def to_arrow(self) -> pa.Table:
        """Columns `api`, `kms_key` and `calls`."""
        import pyarrow as pa

        columns = list(zip(*self, strict=True)) or [(), (), ()]
        schema = pa.schema([("api", pa.string()), ("kms_key", pa.string()), ("calls", pa.int64())])
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)

    def __repr__(self) -> str:
        return f"<KmsCalls: {self.total} calls, {len(self)} of API and key>"

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{html.escape(api)}</td><td>{html.escape(key)}</td><td>{calls:,}</td></tr>"
            for api, key, calls in self
        )
        return f"<table><thead><tr><th>api</th><th>kms_key</th><th>calls</th></tr></thead><tbody>{body}</tbody></table>"
