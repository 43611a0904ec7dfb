"""Acknowledged alarms: marked as seen, and still shown.

Pure. It runs after all is decided, and no decision depends on it.

An acknowledgement is for one outage. It holds until its end, and while its alarm lasts. An alarm
that is cleared and raised again within QUIET is the same one, so a flapping one is no news twice.
After that the acknowledgement is spent, whatever its end: the next outage was not seen by anyone.
It stays spent over a restart (`Memory.spent`). One made before its alarm waits for it as long.

An alarm is acknowledged if all that it is about is acknowledged: addresses that join it later are
news, where the acknowledgements were narrow. It becomes acknowledged again when it has been about
nothing else for a minute, so that addresses that join and leave make no event in each turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from steering.decide.overrides.override_state import OverrideState
from steering.decide.state import Alarm
from steering.format import duration
from steering.model import Event, Instant, Seconds
from steering.override import Action, Override
from steering.override_text import override_text

QUIET: Seconds = 600.0
"""An alarm that was clear for so long is over; gaps of a flapping one are usually shorter."""
OTHERS_GONE: Seconds = 60.0
"""How long an alarm has to be about acknowledged addresses alone, after it was about others."""
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Acknowledged:
    """Which alarms are acknowledged, after a turn."""

    by: Mapping[str, tuple[Override, ...]] = field(default_factory=dict)
    """Alarm -> the acknowledgements that together cover all of it."""
    spent: frozenset[str] = frozenset()
    """Fingerprints of the acknowledgements whose alarms are over."""
    there: Mapping[str, Instant] = field(default_factory=dict)
    """Fingerprint -> when the alarm last lasted; before that, when the acknowledgement was read."""
    others: Mapping[str, Mapping[str, Instant]] = field(default_factory=dict)
    """Alarm -> the addresses that no acknowledgement covers, and when it was last about them."""
    told: frozenset[str] = frozenset()
    """Alarms that are reported as acknowledged: those without a cause among the others."""
    heard: tuple[Override, ...] = ()
    """The overrides that this was computed from."""
    prints: Mapping[int, str] = field(default_factory=dict)
    """Index of each acknowledgement among them -> its fingerprint."""

    def is_spent(self, override: Override) -> bool:
        """Whether it was for an alarm that is over."""
        return override.action is Action.ACKNOWLEDGE and fingerprint(override) in self.spent


def fingerprint(override: Override) -> str:
    """A hash of its content: with another content it is another one, also under the same name.

    It covers the fields that overrides have in this version. A later version with more fields must
    compute the same, or it would take a spent acknowledgement for a new one.
    """
    match = override.match
    which = (match.upstream, match.nameserver, match.address, match.family, match.site)
    parts = (override.name, *which, override.alarm, override.until, override.reason, override.by)
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def acknowledge(
    was: Acknowledged, override_state: OverrideState, alarms: Mapping[str, Alarm], now: Instant
) -> tuple[Acknowledged, tuple[Event, ...]]:
    """Which alarms are acknowledged now, and the events about that.

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
        name, covers = str(override.alarm), override_state.covers[index]
        if override.match.narrow and (name, id(covers)) not in meets:  # thousands share a few
            meets[name, id(covers)] = name in about and not about[name].isdisjoint(covers)
        if meets[name, id(covers)] if override.match.narrow else name in about:
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
    about: frozenset[str],
    lately: Mapping[str, Instant],
    now: Instant,
) -> Mapping[str, Instant]:
    """The addresses of the alarm, now or lately, that none of these acknowledgements covers."""
    if any(not override_state.overrides[index].match.narrow for index in indices):
        return {}
    sets = {id(covers): covers for covers in (override_state.covers[index] for index in indices)}
    covered = frozenset().union(*sets.values())
    held = {address: at for address, at in lately.items() if now - at < OTHERS_GONE}
    held |= dict.fromkeys(about, now)
    return {address: at for address, at in held.items() if address not in covered}


def _over(override: Override) -> Event:
    return Event(
        event="acknowledgement_over",
        because=f"{override.alarm} has been clear for {duration(QUIET)}: when it is raised again"
        f" this does not cover it; {override_text(override)}",
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
        yield Event(event="alarm_acknowledged", because=_listed(by[name]), now=name)
    for name in sorted(was.told - told):
        if name in alarms and alarms[name].cause is None:
            because = (
                "it is now about addresses that no acknowledgement covers"
                if name in seen
                else f"the acknowledgement has ended: {_listed(was.by[name])}"
            )
            yield Event(event="alarm_unacknowledged", because=because, was=name)


def _listed(overrides: Sequence[Override]) -> str:
    more = len(overrides) - _NAMED
    texts = "; ".join(map(override_text, overrides[:_NAMED]))
    return f"{texts}; and {more} more" if more > 0 else texts
