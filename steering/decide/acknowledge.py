"""Alarms that somebody has seen: marked as such, and shown all the same.

Pure, and behind the engine: it is asked when all is decided, and no decision knows of it.

An acknowledgement is of one outage. It holds until its time, and while its alarm is there; an alarm
that goes and comes within QUIET is the same one, so what flaps wakes nobody twice. After that it is
spent, whatever its time says: who was told of one outage has not seen the next. It is spent over a
restart as well (`Memory.spent`). One that is said before its alarm is there waits for it as long.

An alarm is acknowledged where all that it is about is: what comes to it later is news, where the
acknowledgements were narrow. It stays so until the alarm was about nothing else for a minute: else
what comes and goes is told of at each turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from steering.decide.override_state import OverrideState
from steering.decide.state import Alarm
from steering.format import duration, override_text
from steering.model import Action, Event, Instant, Override, Seconds

QUIET: Seconds = 600.0
"""An alarm that was not there for so long is over; what it flaps by is shorter, as a rule."""
OTHERS_GONE: Seconds = 60.0
"""For which an alarm has to be about nothing that nobody has seen, once it was."""
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Acknowledged:
    """Which alarms were seen, as of a turn."""

    by: Mapping[str, tuple[Override, ...]] = field(default_factory=dict)
    """Alarm -> who has seen it: together they have seen all of it."""
    spent: frozenset[str] = frozenset()
    """Acknowledgements whose alarms were over (`fingerprint`)."""
    there: Mapping[str, Instant] = field(default_factory=dict)
    """By fingerprint: when the alarm was last there; before it ever was, when this was heard of."""
    others: Mapping[str, Mapping[int, Instant]] = field(default_factory=dict)
    """Alarm -> the addresses of which nobody has said so, and when it was last about them."""
    told: frozenset[str] = frozenset()
    """Alarms that are told of as acknowledged: those that follow from none."""
    heard: tuple[Override, ...] = ()
    """All overrides it was worked out for."""
    prints: Mapping[int, str] = field(default_factory=dict)
    """Index of each acknowledgement among them -> its fingerprint."""

    def is_spent(self, override: Override) -> bool:
        """Whether it was of an alarm that is over."""
        return override.action is Action.ACKNOWLEDGE and fingerprint(override) in self.spent


def fingerprint(override: Override) -> str:
    """What it says, in few letters: said otherwise it is another one, be it by the same name.

    Of what overrides say in this version: a later one that knows more must not hear it anew.
    """
    match = override.match
    whom = (match.upstream, match.nameserver, match.address, match.family, match.site)
    said = (override.name, *whom, override.alarm, override.until, override.reason, override.by)
    return hashlib.blake2b("\0".join(map(str, said)).encode(), digest_size=8).hexdigest()


def acknowledge(
    was: Acknowledged, override_state: OverrideState, alarms: Mapping[str, Alarm], now: Instant
) -> tuple[Acknowledged, tuple[Event, ...]]:
    """Which alarms are acknowledged now, and what there is to tell of that.

    Args:
        was: the same, a turn ago.
        override_state: this turn's overrides.
        alarms: all of this turn, by name.
        now: the instant.
    """
    prints = (
        was.prints if was.heard is override_state.overrides else _prints(override_state.overrides)
    )
    there: dict[str, Instant] = {}
    spent = set(was.spent & set(prints.values()))
    seen: dict[str, list[int]] = {}
    events: list[Event] = []
    of = {str(override_state.overrides[index].alarm) for index in prints}
    about = {name: frozenset(alarms[name].about) for name in of & alarms.keys()}
    meets: dict[tuple[str, int], bool] = {}
    for index, key in prints.items():
        override = override_state.overrides[index]
        if not override_state.states[index].active or key in spent:
            continue
        name, rows = str(override.alarm), override_state.covers[index]
        if override.match.narrow and (name, id(rows)) not in meets:  # thousands share a few
            meets[name, id(rows)] = name in about and not about[name].isdisjoint(rows)
        if meets[name, id(rows)] if override.match.narrow else name in about:
            there[key] = now
            seen.setdefault(name, []).append(index)
            continue
        last = there[key] = was.there.get(key, now)
        if now - last >= QUIET:
            del there[key]
            spent.add(key)
            events.append(_over(override))
    others = {
        name: _others(override_state, indices, about[name], was.others.get(name, {}), now)
        for name, indices in seen.items()
    }
    by = {
        name: tuple(override_state.overrides[index] for index in indices)
        for name, indices in seen.items()
        if not others[name]
    }
    told = frozenset(name for name in by if alarms[name].cause is None)
    events += _changes(was, by, told, seen, alarms)
    return (
        Acknowledged(
            by=by,
            spent=frozenset(spent),
            there=there,
            others=others,
            told=told,
            heard=override_state.overrides,
            prints=prints,
        ),
        tuple(events),
    )


def _prints(overrides: Sequence[Override]) -> Mapping[int, str]:
    return {
        index: fingerprint(override)
        for index, override in enumerate(overrides)
        if override.action is Action.ACKNOWLEDGE
    }


def _others(
    override_state: OverrideState,
    indices: Sequence[int],
    about: frozenset[int],
    lately: Mapping[int, Instant],
    now: Instant,
) -> Mapping[int, Instant]:
    """Of what the alarm is about, or was lately, that which none of these is about."""
    if any(not override_state.overrides[index].match.narrow for index in indices):
        return {}
    lists = {id(rows): rows for rows in (override_state.covers[index] for index in indices)}
    covered = {row for rows in lists.values() for row in rows}
    held = {row: at for row, at in lately.items() if now - at < OTHERS_GONE}
    held |= dict.fromkeys(about, now)
    return {row: at for row, at in held.items() if row not in covered}


def _over(override: Override) -> Event:
    return Event(
        event="acknowledgement_over",
        because=f"{override.alarm} has not been there for {duration(QUIET)}: when it comes again"
        f" it is another one; {override_text(override)}",
        upstream=override.match.upstream,
        was=override.alarm,
        more={"override": override.name, "by": override.by},
    )


def _changes(
    was: Acknowledged,
    by: Mapping[str, Sequence[Override]],
    told: frozenset[str],
    seen: Mapping[str, Sequence[int]],
    alarms: Mapping[str, Alarm],
) -> Iterator[Event]:
    for name in sorted(told - was.told):
        yield Event(event="alarm_acknowledged", because=_spelled(by[name]), now=name)
    for name in sorted(was.told - told):
        if name in alarms and alarms[name].cause is None:
            because = (
                "it is about addresses of which nobody has said so"
                if name in seen
                else f"that has ended: {_spelled(was.by[name])}"
            )
            yield Event(event="alarm_unacknowledged", because=because, was=name)


def _spelled(overrides: Sequence[Override]) -> str:
    more = len(overrides) - _NAMED
    said = "; ".join(map(override_text, overrides[:_NAMED]))
    return f"{said}; and {more} more" if more > 0 else said
