"""Fresh evidence: no move is based on old evidence.

A confirmed breach was true when it was confirmed. If the move had to wait, for a rule, an override
or the budget, the fault may be over when the obstacle ends. So each address remembers its latest
pairs that were bad here and good over a good path, and moves only while the last few seconds have
three of them. Otherwise it is probed fast until there are three again.

A local path that was not left needs no hold: it is healthy again after enough good answers for the
share that failed, whatever the policy requires before traffic returns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.health import Signal
from steering.judge.known.ledger import PAIRS, AddressRecord, Book, breached
from steering.judge.known.recovery import BRIEF
from steering.judge.probes.peer_paths import is_candidate
from steering.judge.probes.trials import bad
from steering.model import LOCAL, Health, Instant, Observation, Round, Seconds, Verdict

LATELY: Seconds = 5.0
"""How long a pair is fresh, plus the time that an answer may take. Slow probing (`backoff`) gives
three pairs in this time as well."""
PAUSE: Seconds = 2.0
"""The longest time that a move waits for probes of other operators."""
LEAST = 5
"""A pair is fresh for at least so many fast rounds."""
LATEST: Seconds = 10.0
"""Other operators that were probed fast so recently are not probed fast again."""
CLEAN = 5
"""A fault is over after CLEAN, divided by the share that failed, good answers in a row. One of the
same share would show among so many but for a probability of exp(-5). Failed names are asked too."""
CALM: Seconds = 30.0
"""The least time from the last failure until a fault is over, so that an intermittent fault counts
as one. A breach older than this is no fault of a second."""
AGAIN = 2
"""Failures of a steady share pause for so many times their spacing once in nine times:
(1 + AGAIN)^-2."""


def window(index: Index) -> Seconds:
    """How long a pair is fresh."""
    return max(LATELY, LEAST * index.fast_interval) + index.timeout


def shown(known: AddressRecord, index: Index, now: Instant) -> bool:
    """Whether the last few seconds showed the local path bad beside a good one."""
    return len(known.shown) == PAIRS and now - known.shown[-1] <= window(index)


def over(book: Book, index: Index, address: str, now: Instant) -> bool:
    """Whether the fault of the last few seconds seems to be over.

    That is after good answers in a row for twice as long as the latest pairs took. So a fault of
    a second causes no move two seconds later, when the other operators have been probed. If the
    fault goes on, its next failure shows it.
    """
    known = book.address(address)
    if not known.shown or book.path(address).run < PAIRS:
        return False
    took = (PAIRS - 1) * index.fast_interval
    if len(known.shown) == PAIRS:
        took = max(took, known.shown[0] - known.shown[-1])
    if known.confirmed_at is not None and now - known.confirmed_at > CALM:
        took = max(took, PAUSE)
    return now - known.shown[0] > AGAIN * took


def look(draft: Draft, address: str, item: Round, seen: Mapping[str, Observation]) -> None:
    """Note a round that is bad here and good there; comes before its answers are counted."""
    if not bad(draft, address, LOCAL, seen.get(LOCAL)) or not item.is_evidence:
        return
    good = (path for path, o in seen.items() if o.verdict is Verdict.GOOD)
    if any(is_candidate(draft.was, draft.index, address, path, draft.now) for path in good):
        note(draft, address)


def note(draft: Draft, address: str) -> None:
    """Note a pair that was bad here and good there, with the time of now."""
    known = draft.edit_address(address)
    known.shown = (draft.now, *known.shown)[:PAIRS]


def confirm(draft: Draft, address: str, took: Seconds, share: float) -> None:
    """Note as many pairs as a move needs, which its group showed within `took`.

    `took` is limited, so that the pairs are still fresh when the other operators have been probed.
    `share`, what failed of the group's answers, is the least `worst` of the breach: of the address
    itself perhaps only names asked again failed, which no share counts.
    """
    known = draft.edit_address(address)
    known.worst = max(known.worst, share)
    step = min(took, window(draft.index) / 4) / (PAIRS - 1)
    known.shown = tuple(draft.now - i * step for i in range(PAIRS))


def date(draft: Draft) -> None:
    """Update since when each fault shows. If a failing address on the local path shows it again,
    its group and the operators are probed fast.
    """
    groups: dict[str, None] = {}
    for address in draft.open():
        known = draft.address(address)
        is_shown = shown(known, draft.index, draft.now)
        if is_shown == (known.shown_since is not None):
            continue
        draft.edit_address(address).shown_since = draft.now if is_shown else None
        failing = draft.was.path(address).health is Health.FAILING and address not in draft.away
        if is_shown and failing and not draft.now - known.curious_until < LATEST:
            groups[draft.index.settings[address].group] = None
    for group in groups:
        draft.probe_group_fast(group)


def mend(draft: Draft) -> None:
    """Signal recovery of local paths that were never left; comes before `raise_mended`."""
    for address in draft.open():
        settings, health = draft.index.settings[address], draft.was.path(address).health
        if address in draft.away or not breached(settings, health):
            continue
        known, local = draft.address(address), draft.path(address)
        worst = max(known.worst, local.recent.share(draft.now) or 0.0)
        if worst != known.worst:
            draft.edit_address(address).worst = worst
        brief = health is Health.STALE
        needs = BRIEF if brief else clean(worst, settings.policy.recover.clean)
        # Only if the policy counts it: otherwise an outdated copy is no reason to stay failing.
        outdated = (local.late or local.behind) and settings.acts_on_stale
        well = local.run >= needs and not draft.now - known.bad_at < CALM and not outdated
        if well and draft.signal_of(address) not in (Signal.FULL, Signal.CONFIRMED):
            draft.signals[address, LOCAL] = Signal.MENDED


def clean(share: float, most: int) -> float:
    """Clean answers in a row after which a fault of this share is over."""
    needed = CLEAN / share if share > 0 else math.inf
    return min(most, max(BRIEF, math.ceil(min(needed, most))))
