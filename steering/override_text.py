"""Overrides as text for people."""

from __future__ import annotations

from steering.format import NEVER, from_now, rfc3339
from steering.model import WallTime
from steering.override import Action, Match, Override


def order(override: Override) -> str:
    """What an override orders: `steer to pao`, `avoid pao`, `local`, `freeze`."""
    match override.action:
        case Action.STEER:
            return f"steer to {override.to}"
        case Action.AVOID:
            return f"avoid {override.to}"
        case Action.ACKNOWLEDGE:
            return f"acknowledge {override.alarm}"
        case Action.LOCAL | Action.FREEZE as action:
            return str(action)


def matched(match: Match) -> dict[str, str]:
    """The keys of a match that are set, as they are typed."""
    keys = ("upstream", "nameserver", "address", "family", "site")
    return {key: str(value) for key in keys if (value := getattr(match, key)) is not None}


def scope(override: Override) -> str:
    """Which addresses an override is about: `upstream gtld-servers, family ipv4 at sin`."""
    keys = matched(override.match)
    where = f" at {keys.pop('site')}" if "site" in keys else ""
    everything = "everything" if override.alarm is None else "all of it"
    return (", ".join(f"{key} {value}" for key, value in keys.items()) or everything) + where


def ends(until: WallTime | None, now: WallTime | None = None) -> str:
    """When an override ends, `never` for None; with `now` also how far away that is."""
    if until is None:
        return NEVER
    return rfc3339(until) + (f" ({from_now(until - now)})" if now is not None else "")


def override_text(of: Override) -> str:
    """An override in short: its name, its order, by whom and why."""
    return f"{of.name}: {order(of)}, by {of.by}: {of.reason}"


def override_in_full(of: Override, now: WallTime | None = None) -> str:
    """The same with its scope and its end (`ends`)."""
    until = ends(of.until, now)
    return f"{of.name}: {order(of)}, {scope(of)}, until {until}, by {of.by}: {of.reason}"
