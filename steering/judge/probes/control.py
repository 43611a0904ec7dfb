"""The control: the same probe without a mark, before an address is moved for silence or errors.

A firewall or NAT on this host may treat packets with our mark differently: then our probes are
lost or refused, and the resolvers' queries are answered. So while an address on the local path is
on trial for losses or errors, each fast probe is also sent without a mark, and takes the path of
the host's traffic. Bad with the mark and good without it gives a point; good with it and bad
without takes three; bad both ways takes all. For a fault that both share this is a random walk
that reaches six in 2.6 % of all cases and falls back soon (`paired_test`). A fault of the mark
reaches six within the first eight probes of a trial. With six or more the address is not moved.

If the host's firewall refuses the marked probes, nothing counts against the upstream, and there is
no trial. They are compared all the same, about once a second, for an alarm.

In the slow part of a trial (`backoff`), which shows whether fast probing caused the failures, the
control is sent now and then, and only if it already indicates a fault of the mark. Nor is it sent
again soon if the address may limit its answers and the last control was lost as well: a server
that allows one query a second should not get two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from steering.index import Index, Settings
from steering.judge.edit import Draft
from steering.judge.known.baseline import BOGUS, ERROR, TIMEOUT
from steering.judge.known.buckets import EMPTY
from steering.judge.known.ledger import SILENCES, Control, Ledger
from steering.judge.known.paired_test import BAD_HERE, BAD_THERE, CONFIRM_AT
from steering.model import LOCAL, Health, Instant, Observation, Outcome, Round, Seconds, Verdict

NEEDS = CONFIRM_AT // 2
"""Points from which on the mark is at fault."""
LASTS: Seconds = 30.0
"""How long the latest control is current: it covers the slow part of a trial."""
PAUSE: Seconds = 6.0
"""Least time between two controls in the slow part of a trial."""


def control(draft: Draft, rounds: Iterable[Round], installed: Mapping[str, str]) -> None:
    """Compare probes with and without a mark; comes before the answers are counted.

    Only for an address on the local path: otherwise probes without a mark take the detour.
    """
    for item in rounds:
        address = item.address
        if address not in draft.index.settings or address in draft.away or address in installed:
            continue
        if not item.is_evidence:
            continue
        local = next((o for o in item.observations if not o.live and o.path == LOCAL), None)
        live = next((o for o in item.observations if o.live), None)
        if live is not None and local is not None:
            _pair(draft, address, item.at, local, live)
    for address in draft.open():
        over = address in draft.away or _well(draft, address)
        if over and draft.address(address).control is not None:
            draft.edit_address(address).control = None


def _well(draft: Draft, address: str) -> bool:
    was = draft.was.path(address)
    bad = was.health > Health.HEALTHY or was.stuck >= SILENCES
    return not bad and draft.address(address).trial is None


def _pair(draft: Draft, address: str, at: Instant, local: Observation, live: Observation) -> None:
    here = _bad(draft.index.settings[address], local)
    there = live.verdict is not Verdict.GOOD
    if here is None or live.verdict is Verdict.NOTHING:
        return
    known = draft.address(address).control or Control(
        score=0, at=at, lost=draft.was.path(address).run == 0, live_lost=False
    )
    # As in a trial, one lost packet is no evidence; the second in a row counts.
    first = (here and not known.lost) or (there and not known.live_lost)
    score = known.score if first else _score(known.score, here=here, there=there)
    draft.edit_address(address).control = Control(score=score, at=at, lost=here, live_lost=there)


def _bad(settings: Settings, local: Observation) -> bool | None:
    """Whether a marked probe was lost or refused; None: it is no evidence for either."""
    if local.outcome is Outcome.LOCAL_ERROR and not local.reached:
        return True  # a firewall of this host refused it, perhaps for its mark
    if local.verdict is Verdict.GOOD:
        return False
    lost = local.verdict in (Verdict.TIMEOUT, Verdict.ERROR)
    return True if lost and local.verdict in settings.acts_on else None


def _score(score: int, *, here: bool, there: bool) -> int:
    if here and there:
        return 0
    step = BAD_HERE if here else BAD_THERE if there else 0
    return min(max(0, score + step), CONFIRM_AT)


def wanted(ledger: Ledger, address: str, now: Instant) -> bool:
    """Whether an address, on the local path and in question, is to be probed without a mark."""
    record, of = ledger.path(address), ledger.address(address)
    if not record.streak and all(record.levels[c] == EMPTY for c in (TIMEOUT, ERROR)):
        return False  # neither losses nor errors
    trial, known, limited = of.trial, of.control, of.backoff
    undecided = known is not None and known.live_lost and not known.score
    if limited and known and undecided and now < min(limited.until, known.at + PAUSE):
        return False
    if trial is None or trial.eased is None:
        return True
    return known is not None and known.score >= NEEDS and now - known.at > PAUSE


def refused(ledger: Ledger, index: Index, now: Instant) -> frozenset[str]:
    """Addresses whose probes don't leave by the local path while others' are answered."""
    stuck = {address for address in ledger.open if ledger.path(address).stuck >= SILENCES}
    answered = {
        family
        for family in {index.settings[address].family for address in stuck}
        if any(
            other not in stuck and now - ledger.path(other).answered <= index.fresh
            for other in index.families[family]
        )
    }
    return frozenset(address for address in stuck if index.settings[address].family in answered)


def marked(ledger: Ledger, index: Index, now: Instant) -> frozenset[str]:  # noqa: ARG001
    """Local paths that fail, or let no probe out, with our mark, and lately not without it.

    Bogus answers do not depend on the mark.
    """
    return frozenset(address for address in ledger.open if _is_marked(ledger, address, now))


def _is_marked(ledger: Ledger, address: str, now: Instant) -> bool:
    known, record = ledger.address(address).control, ledger.path(address)
    return (
        known is not None
        and known.score >= NEEDS
        and now - known.at <= LASTS
        and (record.health is Health.FAILING or record.stuck >= SILENCES)
        and record.levels[BOGUS] == EMPTY
    )
