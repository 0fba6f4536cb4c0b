"""The report as one HTML page that needs nothing else: no script, no other file, no other host."""

from __future__ import annotations

import base64
import html as markup
from typing import TYPE_CHECKING, Final

from arrowseal.bench.document import Block, Code, Heading, Items, Paragraph, Picture, Table
from arrowseal.bench.report import document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from arrowseal.bench.samples import Run

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
h3 { margin-bottom: .4rem; }
img { max-width: 100%; height: auto; background: white; }
pre { padding: .6rem .8rem; border: 1px solid #8885; border-radius: 4px; overflow-x: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8883; }
.number { text-align: right; white-space: nowrap; }
"""


def html(run: Run, charts: list[Path]) -> str:
    """The page of `RESULTS.md`, with the charts inside it: they are read from these files.

    Raises `OSError` if a chart cannot be read.
    """
    blocks = document(run, charts)
    title = next(block.text for block in blocks if isinstance(block, Heading))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{markup.escape(title)}</title><style>{_STYLE}</style></head>",
            "<body>",
            *map(_element, blocks),
            "</body>",
            "</html>",
            "",
        ]
    )


def _element(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{markup.escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{markup.escape(text)}</p>"
        case Code(text):
            return f"<pre><code>{markup.escape(text)}</code></pre>"
        case Items(texts):
            return "<ul>" + "".join(f"<li>{markup.escape(text)}</li>" for text in texts) + "</ul>"
        case Picture(path, text):
            content = base64.b64encode(path.read_bytes()).decode()
            return f'<img alt="{markup.escape(text)}" src="data:image/png;base64,{content}">'
        case Table(header, rows):
            lines = [_row("th", header, block.right), *(_row("td", row, block.right) for row in rows)]
            return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def _row(tag: str, cells: Sequence[str], right: list[int]) -> str:
    marks = [' class="number"' if place in right else "" for place in range(len(cells))]
    filled = (f"<{tag}{mark}>{markup.escape(cell)}</{tag}>" for mark, cell in zip(marks, cells, strict=True))
    return f"<tr>{''.join(filled)}</tr>"
