"""A report as a list of blocks, so that Markdown and HTML say the same; and its Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """Level 1 is the title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text, as all texts here: whoever renders it escapes what means something there."""

    text: str


@dataclass(frozen=True)
class Code:
    """A line for a shell."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """The first column is a name, the others are to the right unless they are in `left`."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = ()

    def without_empty_columns(self) -> Table:
        """What nobody has is no column."""
        kept = [place for place in range(len(self.header)) if not place or any(row[place] for row in self.rows)]
        left = [kept.index(place) for place in self.left if place in kept]
        return Table([self.header[place] for place in kept], [[row[at] for at in kept] for row in self.rows], left)

    @property
    def right(self) -> list[int]:
        """Columns of numbers."""
        return [place for place in range(1, len(self.header)) if place not in self.left]


@dataclass(frozen=True)
class Picture:
    """A chart, with what to see in it. The path is as a reader of the document shall find it."""

    path: Path
    text: str


Block: TypeAlias = Heading | Paragraph | Code | Items | Table | Picture


def markdown(blocks: Iterable[Block]) -> str:
    r"""The same blocks always give the same text.

    >>> print(markdown([Heading(2, "Tables"), Table(["arm", "ms"], [["CSE V3", "1.5"]]), Items(["a|b"])]))
    ## Tables
    <BLANKLINE>
    | arm | ms |
    |---|---:|
    | CSE V3 | 1.5 |
    <BLANKLINE>
    - a\|b
    <BLANKLINE>
    """
    return "\n\n".join("\n".join(_lines(block)) for block in blocks) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield f"{'#' * level} {_escaped(text)}"
        case Paragraph(text):
            yield _escaped(text)
        case Code(text):
            yield from ("```", text, "```")
        case Items(texts):
            yield from (f"- {_escaped(text)}" for text in texts)
        case Picture(path, text):
            # Of an absolute path only the name: a document lies beside its charts, on whichever machine.
            shown = path.name if path.is_absolute() else path.as_posix()
            yield f"![{_escaped(text)}]({shown})"
        case Table():
            yield _row(block.header)
            yield "|" + "|".join("---:" if place in block.right else "---" for place in range(len(block.header))) + "|"
            yield from map(_row, block.rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    """One line in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))
