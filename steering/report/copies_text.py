"""Copies of zones, and who is behind, as text for a terminal: from the status of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from steering.format import duration, from_now
from steering.report.terminal import WIDTH, table, wrapped

Answer = Mapping[str, Any]
"""Decoded JSON of the API."""


def copy_lines(answer: Answer, columns: int = WIDTH) -> list[str]:
    """A line for each zone's copies, for the summary of the status."""
    lines: list[str] = []
    each: Sequence[Answer] = answer.get("copies", ())
    for name in dict.fromkeys(one["copy"] for one in each):
        mine = [one for one in each if one["copy"] == name]
        states = ", ".join(f"{one['resolver']} {_state(one)}" for one in mine)
        lines += wrapped(f"copy {name} of {mine[0]['zone']}: {states}", columns)
    return lines


def _state(one: Answer) -> str:
    phase = one["phase"]
    return f"{one['health']}, {phase}" if phase != "in" else str(one["health"])


def zones_text(answer: Answer, columns: int = WIDTH) -> str:
    """Of each zone the newest serial over each path and in each copy, and who is behind."""
    rows = [("ZONE", "OVER", "SERIAL", "SEEN FOR", "SIGNATURES", "BEHIND")]
    for zone, found in answer.get("zones", {}).items():
        for path, shown in found["paths"].items():
            behind = str(shown["behind"]) if shown["behind"] else "-"
            rows.append((zone, path, *_numbers(shown), behind))
        for name, shown in found["copies"].items():
            behind = "behind" if shown["behind"] else "-"
            where = f"copy {name}" + (" (out)" if shown["phase"] == "out" else "")
            rows.append((zone, where, *_numbers(shown), behind))
    if len(rows) == 1:
        return "no zone has been seen yet"
    return "\n".join([*table(rows, columns, cut=(0,)), *_behind(answer, columns)])


def _numbers(shown: Answer) -> tuple[str, str, str]:
    serial = "-" if shown["serial"] is None else str(shown["serial"])
    return serial, _length(shown["age_s"]), _length(shown["signature_remaining_s"])


def _behind(answer: Answer, columns: int) -> Iterator[str]:
    for zone, found in answer.get("zones", {}).items():
        for path, shown in found["paths"].items():
            if shown["behind"]:
                more = shown["behind"] - len(shown["behind_addresses"])
                names = ", ".join(shown["behind_addresses"])
                text = f"{zone} over {path}: behind are {names}{f' and {more} more' * bool(more)}"
                yield from wrapped(text, columns)


def _length(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _when(left: float | None) -> str:
    return "at an unknown time" if left is None else from_now(left)


def named(answer: Answer, name: str) -> list[Answer]:
    """The copies of this name: of one resolver (`root/cache-1`), or all of a zone (`root`)."""
    each: Sequence[Answer] = answer.get("copies", ())
    return [one for one in each if name in (one["copy"], f"{one['copy']}/{one['resolver']}")]


def copy_text(one: Answer, columns: int = WIDTH) -> str:
    """All that is known of one copy, and why it is where it is."""
    servers, file = one["servers"], one["file"]
    lines = wrapped(
        f"{one['copy']}/{one['resolver']} ({one['kind']}), copy of {one['zone']}: {one['health']}, "
        f"{_PHASES[one['phase']]}",
        columns,
    )
    lines += wrapped(f"because: {one['because']}", columns)
    for title, value in (
        ("held", one["held"]),
        ("trouble", one["trouble"]),
        ("should be out", one["out_because"]),
    ):
        lines += wrapped(f"{title}: {value}", columns) if value else []
    lines.append("")
    proven = "never" if one["proven_new_s"] is None else f"{_length(one['proven_new_s'])} ago"
    behind = f", behind for {_length(one['behind_s'])}" if one["behind_s"] is not None else ""
    lines += wrapped(f"   serial {one['serial']}, last proven new {proven}{behind}", columns)
    lines += wrapped(
        f"   the first of its signatures ends {_when(one['signature_remaining_s'])}; SOA expire "
        f"{_length(one['expire_s'])}; it has to be out {_when(one['left_s'])}",
        columns,
    )
    answers = "answer" if servers["answer"] else "do not answer well"
    lines += wrapped(
        f"   the zone's own servers {answers}: serial {servers['serial']}, signatures end "
        f"{_when(servers['signature_remaining_s'])}",
        columns,
    )
    if servers["doubt"]:
        lines += wrapped(f"   in doubt: {servers['doubt']}", columns)
    if file is not None:
        good = f"refused: {file['refused']}" if file["refused"] else "good"
        lines += wrapped(f"   its file has serial {file['serial']}: {good}", columns)
    done = ", ".join(one["used"]) or "none"
    lines += wrapped(f"   remedies: {', '.join(one['remedies']) or 'none'}; used: {done}", columns)
    lines.append("")
    lines += [
        f"   {asked['resolver']} {asked['name']} {asked['rdtype']}: {asked['ended']}"
        for asked in one["asked"]
    ]
    return "\n".join(lines)


_PHASES = {
    "in": "in use",
    "leaving": "being taken out",
    "stuck": "to be out, and what was tried did not help",
    "out": "taken out",
    "returning": "being put back",
    "undoing": "being put back, as it works worse without it",
}
