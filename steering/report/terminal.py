"""Text that fits the terminal it is read in: lines, columns and colours."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from typing import TextIO

WIDTH = 80
"""Columns of output to a pipe, and to a terminal of unknown width."""
_NARROW, _WIDE = 40, 120
"""Narrower lines can't be read; wider sentences are hard to read."""
_LEAST = 6
"""Least columns of a cell."""
_ENDED = 12
"""Least columns of a text that loses its end."""
_GAP = 2

COLOURS: Mapping[str, str] = {
    "failing": "31",
    "stale": "35",
    "suspect": "33",
    "alarm": "1;31",
    "decides": "1",
}
"""The colours of words (ECMA-48, SGR)."""


def width(descriptor: int = 1) -> int:
    """The width of the terminal behind this descriptor, 80 if there is none.

    The environment variable COLUMNS overrides it.
    """
    columns = 0
    with contextlib.suppress(KeyError, ValueError):
        columns = int(os.environ["COLUMNS"])
    if columns <= 0:
        with contextlib.suppress(OSError):
            columns = os.get_terminal_size(descriptor).columns
    return min(max(columns or WIDTH, _NARROW), _WIDE)


def coloured(stream: TextIO) -> bool:
    """Whether to write colours: a terminal that has them, and no NO_COLOR (no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def painted(text: str, what: str) -> str:
    """The text in the colour of `what`."""
    return f"\x1b[{COLOURS[what]}m{text}\x1b[0m"


def wrapped(text: str, columns: int, indent: str = "  ") -> list[str]:
    """The text in lines that fit, all but the first with this indent. A word is never cut."""
    return textwrap.wrap(
        text,
        columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def table(
    rows: Sequence[Sequence[str]], columns: int | None = None, *, cut: Collection[int] = ()
) -> list[str]:
    """Rows in aligned columns; the first row is the head.

    If they do not fit into `columns`, the texts of the columns in `cut` lose their ends first; then
    the widest others continue in the next line, those of the first column last.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    if columns is not None:
        free = columns - _GAP * (len(widths) - 1)
        _shrink(widths, free, cut, least=_ENDED)
        rows = [
            [
                _ended(c, w) if i in cut else c
                for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            for row in rows
        ]
        _shrink(widths, free, range(1, len(widths)))
        _shrink(widths, free, range(len(widths)))
    return [line for row in rows for line in _row(row, widths)]


def _shrink(widths: list[int], free: int, of: Collection[int], least: int = _LEAST) -> None:
    """Narrows the widest of these until all fit, or all have the least width."""
    while sum(widths) > free and of:
        widest = max(of, key=lambda i: widths[i])
        if widths[widest] <= least:
            return
        widths[widest] -= 1


def _ended(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 2]}.."


def _row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [_lines(cell, w) for cell, w in zip(row, widths, strict=True)]
    return [
        (" " * _GAP).join(part.ljust(w) for part, w in zip(parts, widths, strict=True)).rstrip()
        for parts in zip_longest(*cells, fillvalue="")
    ]


def _lines(cell: str, room: int) -> list[str]:
    if len(cell) <= room:
        return [cell]
    return textwrap.wrap(cell, room, break_on_hyphens=False) or [""]
