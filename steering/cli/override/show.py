"""Overrides as text: the list, and what one that is added or removed will change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steering.cli.override.effect import Effect, Said
from steering.config.override_files import FOLDER
from steering.decide.acknowledge import QUIET
from steering.decide.override_state import OverrideStatus
from steering.decide.remedies import OF_ADDRESSES
from steering.format import (
    counted,
    duration,
    from_now,
    matched,
    order,
    override_in_full,
    scope,
    timestamp,
)
from steering.model import LOCAL, Action, Override, Target, WallTime
from steering.report.status import OVER
from steering.report.status_text import alarm_lines
from steering.report.terminal import WIDTH, table, wrapped

Answer = Mapping[str, Any]
"""Decoded JSON of the API."""

MEASURED = "as measured"
"""The way of an address of which no override says it."""
UNSEEN = "?"
"""The way of an address where no agent can be asked."""

_MOST_ROWS = 40
_KEYS = ("name", "match", "action", "to", "alarm", "until", "reason", "by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One address of which something else will be said."""

    target: Target
    was: Said
    then: Said


def standing_text(standing: Effect) -> str:
    """Whether it has the word."""
    if standing.state is OverrideStatus.EXPIRED:
        return "ended"
    if standing.state is OverrideStatus.ELSEWHERE:
        return f"for {standing.override.match.site}"
    if standing.state is OverrideStatus.UNMATCHED:
        return "matches nothing"
    if not standing.shadowed:
        return "in force"
    stronger = ", ".join(dict.fromkeys(standing.shadowed.values()))
    return f"{'partly ' if standing.decides else ''}shadowed by {stronger}"


def listing(
    every: Sequence[Effect], files: Mapping[str, Path], wall: WallTime, columns: int = WIDTH
) -> str:
    """All overrides in their order, a paragraph each that is not wider than so many columns."""
    return "\n".join(line for one in every for line in _paragraph(one, files, wall, columns))


def _paragraph(
    standing: Effect, files: Mapping[str, Path], wall: WallTime, columns: int
) -> Iterator[str]:
    o, number = standing.override, len(standing.covers)
    which = f"{', '.join(standing.covers) if 0 < number <= 2 else f'{number} addresses'}; "
    if o.alarm is not None and not o.match.narrow:
        which = ""  # it is about the alarm
    file = files[o.name]
    place = f"{file.parent.name}/{file.name}" if file.parent.name == FOLDER else file.name
    for text in (
        f"{o.name}: {order(o)}, {scope(o)}",
        f"   {standing_text(standing)}; {which}{_end(o, wall)}",
        f"   by {o.by}: {o.reason}",
        f"   {place}",
    ):
        yield from wrapped(text, columns, " " * 6)


def _end(override: Override, wall: WallTime) -> str:
    if override.until is None:
        return "never ends"
    left = override.until - wall
    return f"{'ends' if left > 0 else 'ended'} {from_now(left)}"


def details(standing: Effect, file: Path, wall: WallTime, columns: int = WIDTH) -> str:
    """One override with every address it covers."""
    lines = wrapped(override_in_full(standing.override, wall), columns)
    lines += wrapped(f"{standing_text(standing)}; written in {file}", columns)
    for address in standing.covers:
        stronger = standing.shadowed.get(address)
        lines.append(f"   {address}" + (f" (shadowed by {stronger})" if stronger else ""))
    return "\n".join(lines)


def as_json(standing: Effect, file: Path, wall: WallTime) -> dict[str, object]:
    """The same as data, as it is in the agent's status, and what only the files tell."""
    override = standing.override
    return {
        **_words(override),
        "active": standing.state.active,
        "state": str(standing.state),
        "covers": list(standing.covers),
        "decides": list(standing.decides),
        "left_s": None if override.until is None else round(max(0.0, override.until - wall)),
        "file": str(file),
        "shadowed_by": list(dict.fromkeys(standing.shadowed.values())),
    }


def _words(override: Override) -> dict[str, object]:
    return {
        "name": override.name,
        "match": matched(override.match),
        "action": str(override.action),
        "to": override.to,
        **({} if override.alarm is None else {"alarm": override.alarm}),
        "until": None if override.until is None else timestamp(override.until),
        "reason": override.reason,
        "by": override.by,
    }


def obeyed(overrides: Sequence[Override], status: Answer) -> str:
    """Whether the agent goes by these: it may not have taken up the files, or hold them back."""
    ours = [_words(override) for override in overrides]
    theirs = [{key: one[key] for key in _KEYS if key in one} for one in status["overrides"]]
    if ours == theirs:
        over = [str(one["name"]) for one in status["overrides"] if one.get("state") == OVER]
        spent = f"; over, as their alarms are: {', '.join(over)}" if over else ""
        return f"the running agent goes by these{spent}"
    names = ", ".join(str(one["name"]) for one in theirs) or "none"
    return f"CAUTION: the running agent does not go by these, or not yet: it has {names}"


def preview(
    changes: Sequence[Change], status: Answer | None, columns: int = WIDTH
) -> Iterator[str]:
    """What will be otherwise, address by address, and what speaks for a second look."""
    now = {a["address"]: a for a in status["addresses"]} if status else {}
    rows = [("ADDRESS", "NAMESERVER", "GOES BY", "WILL GO BY", "SO FAR SAID BY")]
    for change in changes[:_MOST_ROWS]:
        there = now.get(change.target.address)
        path = (there["steered_to"] or LOCAL) if there else UNSEEN
        rows.append(
            (
                change.target.address,
                change.target.nameserver,
                path,
                goes_by(change.then, path),
                ", ".join(f"{o.name} ({order(o)})" for o in change.was.speakers) or "none",
            )
        )
    if changes:
        yield from table(rows, columns, cut=(1,))
    if more := changes[_MOST_ROWS:]:
        yield f"... and {len(more)} more"
    yield (counted(len(changes), "address") if changes else "no address is affected")
    for caution in _cautions(changes, now):
        yield from wrapped(caution, columns)
    if status and status["off"]:
        yield "the agent is switched off: nothing is steered until `steering on`"
    if status and status["mode"] != "enforce":
        yield f"mode: {status['mode']}: it is reported and not done"


def of_alarm(
    override: Override, status: Answer | None, columns: int = WIDTH, *, there: bool
) -> Iterator[str]:
    """The alarm that is acknowledged, or no longer is, and what speaks for a second look."""
    alarm = _found(override.alarm, status["alarms"]) if status else None
    if status and alarm:
        yield from alarm_lines(alarm, status["time"], columns)
    yield from wrapped("no address goes another way for it", columns)
    if not there:
        return
    if status and not alarm:
        lasts = duration(QUIET)
        said = f"CAUTION: there is no such alarm now: this waits {lasts} for it, and is over then"
        yield from wrapped(said, columns)
    if not override.match.narrow:
        said = "CAUTION: of whatever it comes to be about until then"
        how = (
            ": --upstream, ... narrow it" if override.alarm in OF_ADDRESSES else ", new causes too"
        )
        yield from wrapped(said + how, columns)


def _found(name: str | None, alarms: Sequence[Answer]) -> Answer | None:
    for alarm in alarms:
        if alarm["name"] == name:
            return alarm
        if found := _found(name, alarm.get("follows", ())):
            return found
    return None


def goes_by(said: Said, path: str) -> str:
    """Where an address goes by what is said of it, which goes by this path now."""
    without = "".join(f", not by {o.to}" for o in said.avoiding)
    if said.by is None:
        return MEASURED + without
    match said.by.action:
        case Action.STEER:
            return f"{MEASURED}, no way to {said.by.to}" if said.no_way else str(said.by.to)
        case Action.FREEZE:
            return "as it does now" if path == UNSEEN else path
        case Action.LOCAL | Action.AVOID | Action.ACKNOWLEDGE:
            return LOCAL


def _cautions(changes: Sequence[Change], now: Mapping[str, Answer]) -> Iterator[str]:
    """Paths that are not known to be healthy, and are going to be used all the same."""
    doubtful: Counter[tuple[str, str]] = Counter()
    for change in changes:
        there, by = now.get(change.target.address), change.then.by
        if there and by and by.action in (Action.STEER, Action.LOCAL) and not change.then.no_way:
            path = by.to or LOCAL
            doubtful[path, there["paths"].get(path, {}).get("health", "unknown")] += 1
    for (path, health), n in doubtful.items():
        if health != "healthy":
            yield f"CAUTION: {path} is {health} for {n} of them, and will be used all the same"
