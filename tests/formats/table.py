"""The README's table of what reads what, out of the rows that tests run: `python tests/formats/table.py` writes it."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from rows import AES_KEY, FILE_WRITE, FILES, POLICY, ROWS, RSA_KEY, Row

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(<!-- formats:begin -->\n).*?(<!-- formats:end -->)", re.DOTALL)
_KEYRINGS = {AES_KEY, RSA_KEY}
_HEADER = "| Object format | content | data key wrapped by | written | read with |\n|---|---|---|---|---|\n"


def table(rows: list[Row]) -> str:
    """The rows as Markdown: those that differ in their wraps, or where these are stored, share a line."""
    alone = [row for row in rows if FILES not in row.switches]
    beside = {(row.format, row.content, row.wrap) for row in rows if FILES in row.switches}
    assert beside == {(row.format, row.content, row.wrap) for row in alone}, "each row in both storages, or say which"
    lines = [_line(list(group)) for _, group in groupby(alone, key=_shared)]
    keyrings = {key: [row.wrap for row in alone if key in row.switches] for key in (AES_KEY, RSA_KEY)}
    notes = [f"{_listed(wraps)} by `{key}`" for key, wraps in keyrings.items()]
    return (
        _HEADER
        + "".join(lines)
        + f"\nData keys are unwrapped by KMS; those of {', those of '.join(notes)}.\n"
        + "Each of these objects may keep its data key in an instruction file instead of its metadata: read with\n"
        + f"`{FILES}` (or a suffix), written with `{FILE_WRITE}`.\n"
    )


def rewritten(text: str) -> str:
    """A README with the table as it is now."""
    return BLOCK.sub(lambda found: found[1] + table(ROWS) + found[2], text)


def _shared(row: Row) -> tuple[str, str, str, list[str]]:
    return row.format, row.content, row.written or "", sorted(row.switches - _KEYRINGS)


def _line(rows: list[Row]) -> str:
    row = rows[0]
    reading = row.switches - _KEYRINGS
    # The policy first: it is the one that every older format needs.
    switches = [f"`{switch}`" for switch in sorted(reading, key=lambda switch: (switch != POLICY, switch))]
    written = ("by default" if row.written == "by default" else f"`{row.written}`") if row.written else "never"
    wraps = _listed([each.wrap for each in rows])
    return f"| {row.format} | {row.content} | {wraps} | {written} | {', '.join(switches)} |\n"


def _listed(wraps: list[str]) -> str:
    return ", ".join(f"`{wrap}`" for wrap in dict.fromkeys(wraps))


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text()))
