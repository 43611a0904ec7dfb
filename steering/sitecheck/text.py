"""The results as a table of text, or as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from steering.report.terminal import WIDTH, table, wrapped
from steering.sitecheck.cells import Cell, Reason, Row, State

_ROOM = 3
"""Characters kept at each end of a text that is shortened."""


def text_of(rows: Sequence[Row], head: Sequence[str]) -> str:
    """The table, and below it each failure with its reason and what to do."""
    lines = [*(line for each in head for line in wrapped(each, WIDTH)), "", *_table(rows)]
    for (path, family, words, reason), sources in _grouped(rows).items():
        about = f"{path}, {family}, from {', '.join(sources)}, {words}"
        lines += ["", *wrapped(f"{about}: {reason.state}: {reason.because}", WIDTH)]
        lines += wrapped(f"  -> {reason.remedy}", WIDTH, "     ") if reason.remedy else []
    notes = [f"{_where(row)}: {note}" for row in rows for note in row.notes]
    lines += [""] if notes else []
    return "\n".join([*lines, *(line for note in notes for line in wrapped(note, WIDTH))])


def data_of(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """The same as data for JSON."""
    return [
        {
            "path": row.leg.path,
            "family": row.leg.family.value,
            "source": str(row.leg.source) if row.leg.source else "kernel",
            "sent_from": row.sent_from,
            **{name: _data(cell) for name, cell in row.cells.items()},
            "notes": list(row.notes),
        }
        for row in rows
    ]


def _data(cell: Cell) -> Mapping[str, object]:
    return {
        "state": cell.state.value,
        "rtt_ms": None if cell.rtt is None else round(cell.rtt * 1e3, 1),
        "octets": cell.octets or None,
        "because": cell.reason.because if cell.reason else None,
        "remedy": cell.reason.remedy if cell.reason else None,
    }


def _table(rows: Sequence[Row]) -> list[str]:
    cells = [
        [row.leg.path, row.leg.family.value, _source(row), *map(_cell, row.cells.values())]
        for row in rows
    ]
    every = [["PATH", "FAMILY", "SOURCE", "UDP", "TCP", "LARGE"], *cells]
    for column in (2, 0):  # the columns that may be shortened: source, then path
        over = max(map(len, table(every))) - WIDTH
        widest = max(len(row[column]) for row in every)
        if over > 0:
            for row in every:
                row[column] = _shortened(row[column], max(widest - over, 2 * _ROOM + 1))
    return table(every)


def _source(row: Row) -> str:
    """The source address; in brackets if the kernel chose it."""
    if row.leg.source is not None:
        return str(row.leg.source)
    return f"({row.sent_from})" if row.sent_from else "(kernel)"


def _cell(cell: Cell) -> str:
    if cell.state is not State.OK:
        return cell.state.value
    if cell.rtt is not None:
        return f"ok {cell.rtt * 1e3:.0f} ms"
    return f"ok {cell.octets} B"


def _shortened(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    end = (room - 1) // 2
    return f"{text[: room - 1 - end]}…{text[-end:]}"


def _grouped(rows: Sequence[Row]) -> Mapping[tuple[str, str, str, Reason], Sequence[str]]:
    """Each failure with its reason, and the sources that have the same."""
    found: dict[tuple[str, str, str, Reason], list[str]] = {}
    for row in rows:
        for words, reason in _reasons(row):
            key = row.leg.path, row.leg.family.value, words, reason
            found.setdefault(key, []).append(_sender(row))
    return found


def _reasons(row: Row) -> Iterator[tuple[str, Reason]]:
    """Each reason once, with the names of its cells."""
    failed = [(name, cell.reason) for name, cell in row.cells.items() if cell.reason is not None]
    for reason, group in groupby(failed, key=lambda pair: pair[1]):
        yield " and ".join(name for name, _ in group), reason


def _where(row: Row) -> str:
    return f"{row.leg.path}, {row.leg.family}, from {_sender(row)}"


def _sender(row: Row) -> str:
    """The source address, for a sentence."""
    return str(row.leg.source or row.sent_from or "the kernel's choice")
