"""Common cause: several unrelated operators fail here at once, so the fault is most likely here.

Operators are counted, not upstreams, since a fault of one operator may affect all its zones; and
each family by itself, since a fault of this host may affect one alone. An operator counts as bad
when more than half of its sample is (`Settings.sampled`, which is probed in time, however many
addresses there are). Three of them within a minute are enough, however many others are healthy:
faults of unrelated networks are hours apart. Two are enough if they are more than half of all
operators, as with the two shipped policies: that is the safer choice, and costs a detour only if
two operators really fail in the same minute. With one operator this can't be decided.

An operator that was bad before and gets clearly worse within the minute counts too. Rule `self`
applies while those operators stay bad, and no longer.

A breach causes a move only after the other operators were probed: when the first address becomes
suspect they are probed fast (`judge.transitions`), and the move waits until they had time to show
the same fault. Right after the start it also waits for their first answers. Moves of the half
minute before are taken back when the common cause is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from steering.decide.situation import NO_CAUSES, Operators
from steering.index import Index
from steering.judge.edit import CURIOUS_ROUNDS
from steering.judge.known.ledger import BAD, AddressRecord, Ledger
from steering.model import NEVER, Family, Health, Instant, Seconds

SEVERAL = 3
"""So many operators bad at once are a common cause."""
FEW = 2
"""So many are enough if they are more than half of all."""
AT_ONCE: Seconds = 60.0
"""Further apart they are two faults of two operators."""
LONGEST: Seconds = 2.0
"""The longest that a move waits for probes of the other operators."""
LATELY: Seconds = 25.0
"""An address without a failure for so long is not bad now; less where probes are faster than by
default."""
ROUNDS = 2.5
"""The same in slow rounds."""
HASTY: Seconds = 30.0
"""A move so short a time before the common cause was found had the same cause, and is undone."""


def bad_now(index: Index, ledger: Ledger, address: str, now: Instant) -> bool:
    """Whether the local path of an address fails at this time."""
    known = ledger.address(address)
    if known.quick >= BAD:
        return True
    lately = min(LATELY, ROUNDS * index.interval) + index.timeout
    failing = ledger.path(address).health in (Health.SUSPECT, Health.FAILING)
    return failing and now - known.bad_at <= lately


def common_causes(
    index: Index, ledger: Ledger, now: Instant, was: Mapping[Family, Operators] = NO_CAUSES
) -> Mapping[Family, Operators]:
    """For each family the operators that failed on the local path within a minute, if too many.

    `was`: those of the turn before. An operator among them that is still bad stays one of them.
    """
    if len(index.operators) < FEW:
        return NO_CAUSES
    bad: dict[tuple[str, Family], list[str]] = {}
    for address in ledger.open:
        settings = index.settings[address]
        if settings.sampled and bad_now(index, ledger, address, now):
            bad.setdefault((settings.operator, settings.family), []).append(address)
    if not bad:
        return NO_CAUSES
    return {
        family: _failed_at_once(index, ledger, bad, family, was.get(family, ()))
        for family in Family
    }


def _failed_at_once(
    index: Index,
    ledger: Ledger,
    bad: Mapping[tuple[str, Family], list[str]],
    family: Family,
    was: Operators,
) -> Operators:
    """`bad`: the addresses of the sample that fail, by operator and family."""
    asked = [operator for operator in index.operators if (operator, family) in index.sample]
    failing = {
        operator: mine
        for operator in asked
        if len(mine := bad.get((operator, family), [])) * 2 > index.sample[operator, family]
    }
    starts: dict[str, Instant] = {}
    for operator, mine in failing.items():
        known = [at for a in mine if (at := _began(ledger.address(a))) is not None]
        if known:
            starts[operator] = median(known)
    at_once = max(
        (tuple(o for o in starts if s <= starts[o] <= s + AT_ONCE) for s in starts.values()),
        key=len,
        default=(),
    )
    at_once = tuple(o for o in failing if o in at_once or o in was)
    most = len(at_once) >= FEW and len(at_once) * 2 > len(asked)
    return at_once if most or len(at_once) >= SEVERAL else ()


def _began(known: AddressRecord) -> Instant | None:
    """When its fault began, or became clearly worse; None: it is not known.

    Health taken over from an earlier agent does not count: it is not known when it began.
    """
    since = [at for at in (known.suspected_at, known.confirmed_at) if at is not None]
    began = max(min(since, default=NEVER), known.worse_at)
    return None if began == NEVER else began


def affected(causes: Mapping[Family, Operators], family: Family) -> bool:
    """Whether a family has a common cause."""
    return bool(causes.get(family, ()))


def unheard(index: Index, ledger: Ledger, now: Instant, begun: Instant) -> bool:
    """Whether it is soon after the start, and some operator has not answered at all.

    Until three slow rounds after `begun`, when the first question was asked, a breach waits for
    every operator, since there is little evidence.
    """
    if len(index.operators) < FEW or now - begun >= index.fresh:
        return False
    return any(
        all(ledger.path(address).seen == NEVER for address in addresses)
        for addresses in index.operators.values()
    )


def others_unprobed(index: Index, known: AddressRecord, now: Instant) -> bool:
    """Whether a breach is so recent that the other operators were not yet probed since."""
    if len(index.operators) < FEW:
        return False
    pause = min(LONGEST, (CURIOUS_ROUNDS + 2) * index.fast_interval)
    return any(
        at is not None and now - at < pause for at in (known.confirmed_at, known.shown_since)
    )
