"""Overrides as text: the list, and the changes by one that is added or removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steering.cli.override.effect import Effect, Orders
from steering.config.override_files import FOLDER
from steering.decide.overrides.acknowledge import QUIET
from steering.decide.overrides.override_state import OverrideStatus
from steering.format import counted, duration, from_now, timestamp
from steering.model import LOCAL, Target, WallTime
from steering.override import Action, Override
from steering.override_text import matched, order, override_in_full, scope
from steering.remedies import OF_ADDRESSES
from steering.report.status import OVER
from steering.report.status_text import alarm_lines
from steering.report.terminal import WIDTH, table, wrapped

Answer = Mapping[str, Any]
"""Decoded JSON of the API."""

MEASURED = "as measured"
"""The path of an address that no override decides for."""
UNSEEN = "?"
"""The path of an address while no agent answers."""

_MOST_ROWS = 40
_KEYS = ("name", "match", "action", "to", "alarm", "until", "reason", "by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One address with another effect of the overrides."""

    target: Target
    was: Orders
    then: Orders


def status_of(effect: Effect) -> str:
    """Its status, and which override shadows it."""
    if effect.state is OverrideStatus.EXPIRED:
        return "ended"
    if effect.state is OverrideStatus.ELSEWHERE:
        return f"for site {effect.override.match.site}"
    if effect.state is OverrideStatus.UNMATCHED:
        return "matches nothing"
    if not effect.shadowed:
        return "in force"
    stronger = ", ".join(dict.fromkeys(effect.shadowed.values()))
    return f"{'partly ' if effect.decides else ''}shadowed by {stronger}"


def listing(
    every: Sequence[Effect], files: Mapping[str, Path], wall: WallTime, columns: int = WIDTH
) -> str:
    """All overrides in their order, a paragraph for each."""
    return "\n".join(line for one in every for line in _paragraph(one, files, wall, columns))


def _paragraph(
    effect: Effect, files: Mapping[str, Path], wall: WallTime, columns: int
) -> Iterator[str]:
    o, number = effect.override, len(effect.covers)
    which = f"{', '.join(effect.covers) if 0 < number <= 2 else f'{number} addresses'}; "
    if o.alarm is not None and not o.match.narrow:
        which = ""  # it is about the alarm as a whole
    file = files[o.name]
    place = f"{file.parent.name}/{file.name}" if file.parent.name == FOLDER else file.name
    for text in (
        f"{o.name}: {order(o)}, {scope(o)}",
        f"   {status_of(effect)}; {which}{_end(o, wall)}",
        f"   by {o.by}: {o.reason}",
        f"   {place}",
    ):
        yield from wrapped(text, columns, " " * 6)


def _end(override: Override, wall: WallTime) -> str:
    if override.until is None:
        return "never ends"
    left = override.until - wall
    return f"{'ends' if left > 0 else 'ended'} {from_now(left)}"


def details(effect: Effect, file: Path, wall: WallTime, columns: int = WIDTH) -> str:
    """One override with every address that it covers."""
    lines = wrapped(override_in_full(effect.override, wall), columns)
    lines += wrapped(f"{status_of(effect)}; in {file}", columns)
    for address in effect.covers:
        stronger = effect.shadowed.get(address)
        lines.append(f"   {address}" + (f" (shadowed by {stronger})" if stronger else ""))
    return "\n".join(lines)


def as_json(effect: Effect, file: Path, wall: WallTime) -> dict[str, object]:
    """The same as data: as in the agent's status, with what only the files have."""
    override = effect.override
    return {
        **_words(override),
        "active": effect.state.active,
        "state": str(effect.state),
        "covers": list(effect.covers),
        "decides": list(effect.decides),
        "left_s": None if override.until is None else round(max(0.0, override.until - wall)),
        "file": str(file),
        "shadowed_by": list(dict.fromkeys(effect.shadowed.values())),
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


def in_use(overrides: Sequence[Override], status: Answer) -> str:
    """Whether the agent uses these: it may not have read the files yet, or hold them."""
    ours = [_words(override) for override in overrides]
    theirs = [{key: one[key] for key in _KEYS if key in one} for one in status["overrides"]]
    if ours == theirs:
        over = [str(one["name"]) for one in status["overrides"] if one.get("state") == OVER]
        spent = f"; ended with their alarms: {', '.join(over)}" if over else ""
        return f"the running agent uses these{spent}"
    names = ", ".join(str(one["name"]) for one in theirs) or "none"
    return f"CAUTION: the running agent does not use these, or not yet: it has {names}"


def preview(
    changes: Sequence[Change], status: Answer | None, columns: int = WIDTH
) -> Iterator[str]:
    """What will change, address by address, and cautions."""
    now = {a["address"]: a for a in status["addresses"]} if status else {}
    rows = [("ADDRESS", "NAMESERVER", "PATH", "NEW PATH", "CURRENT OVERRIDE")]
    for change in changes[:_MOST_ROWS]:
        there = now.get(change.target.address)
        path = (there["steered_to"] or LOCAL) if there else UNSEEN
        rows.append(
            (
                change.target.address,
                change.target.nameserver,
                path,
                path_by(change.then, path),
                ", ".join(f"{o.name} ({order(o)})" for o in change.was.overrides) or "none",
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
        yield f"mode: {status['mode']}: overrides are reported but not carried out"


def of_alarm(
    override: Override, status: Answer | None, columns: int = WIDTH, *, there: bool
) -> Iterator[str]:
    """The alarm that is acknowledged, or no longer is, and cautions."""
    alarm = _found(override.alarm, status["alarms"]) if status else None
    if status and alarm:
        yield from alarm_lines(alarm, status["time"], columns)
    yield from wrapped("no address changes its path", columns)
    if not there:
        return
    if status and not alarm:
        lasts = duration(QUIET)
        said = f"CAUTION: there is no such alarm now: this waits {lasts} for it, then it ends"
        yield from wrapped(said, columns)
    if not override.match.narrow:
        said = "CAUTION: it covers everything that the alarm will be about until then"
        how = (
            ": --upstream, ... narrow it" if override.alarm in OF_ADDRESSES else ", also new causes"
        )
        yield from wrapped(said + how, columns)


def _found(name: str | None, alarms: Sequence[Answer]) -> Answer | None:
    for alarm in alarms:
        if alarm["name"] == name:
            return alarm
        if found := _found(name, alarm.get("follows", ())):
            return found
    return None


def path_by(orders: Orders, path: str) -> str:
    """The path of an address by its overrides; `path`: its present one."""
    without = "".join(f", never {o.to}" for o in orders.avoiding)
    if orders.by is None:
        return MEASURED + without
    match orders.by.action:
        case Action.STEER:
            return (
                f"{MEASURED}, no next hop to {orders.by.to}"
                if orders.no_next_hop
                else str(orders.by.to)
            )
        case Action.FREEZE:
            return "as now" if path == UNSEEN else path
        case Action.LOCAL | Action.AVOID | Action.ACKNOWLEDGE:
            return LOCAL


def _cautions(changes: Sequence[Change], now: Mapping[str, Answer]) -> Iterator[str]:
    """Warnings about paths that are not healthy and will be used anyway."""
    bad_paths: Counter[tuple[str, str]] = Counter()
    for change in changes:
        there, by = now.get(change.target.address), change.then.by
        if (
            there
            and by
            and by.action in (Action.STEER, Action.LOCAL)
            and not change.then.no_next_hop
        ):
            path = by.to or LOCAL
            bad_paths[path, there["paths"].get(path, {}).get("health", "unknown")] += 1
    for (path, health), n in bad_paths.items():
        if health != "healthy":
            yield f"CAUTION: {path} is {health} for {n} of them, and will be used anyway"
