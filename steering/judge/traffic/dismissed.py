"""Suspicions that are rejected, and suspicions that only the resolvers' traffic raised.

The resolvers' traffic may show failures for hours that probes never see. A suspicion from traffic
alone would end after a few clean answers, and begin again with the next failure in the traffic.
So it ends with a result: either its trial goes on to the end, or, without a trial, clean answers
reject it. The failures in the traffic that raised it are then not counted for a while.
"""

from __future__ import annotations

from steering.judge.edit import Draft
from steering.judge.known import failed_names
from steering.judge.known.health import Signal
from steering.judge.known.paired_test import Confirmation
from steering.judge.known.stream import NO_LEVELS
from steering.model import LOCAL, Health, Seconds

LONGEST: Seconds = 120.0
"""After so long clean answers reject, whatever the trial: 256 pairs take 51 s at 0.2 s each.
A trial whose candidate comes and goes begins anew each time."""
QUIET: Seconds = 600.0
"""After a rejection, traffic raises no suspicion for so long: otherwise a client that makes a new
name fail each second could cause fast probing for ever."""


def keep_suspicions(draft: Draft) -> None:
    """A suspicion that probes confirm is no longer from traffic alone; comes before traffic."""
    for address in draft.open():
        found = draft.signal_of(address) >= Signal.FULL
        over = draft.was.path(address).health is not Health.SUSPECT
        if (found or over) and draft.address(address).raised:
            draft.edit_address(address).raised = False


def note_suspicion(draft: Draft, address: str) -> None:
    """Note that traffic makes an address suspect; comes after the probes of this turn."""
    new = draft.was.path(address).health is not Health.SUSPECT
    if new and draft.signal_of(address) < Signal.FULL:
        draft.edit_address(address).raised = True


def unfounded(draft: Draft, address: str) -> bool:
    """Whether a local path is suspect by traffic alone, and probes have found nothing."""
    suspect = draft.was.path(address).health is Health.SUSPECT
    return suspect and draft.address(address).raised


def end_suspicion(draft: Draft, address: str) -> None:
    """Reject such a suspicion after enough clean answers, once its trial is over."""
    if draft.signal_of(address) >= Signal.REJECTED:
        return
    known = draft.address(address)
    under_way = known.trial is not None and known.trial.result is Confirmation.OPEN
    since = known.suspected_at
    if under_way and since is not None and draft.now - since < LONGEST:
        return
    if known.trial is not None:
        draft.edit_address(address).trial = None
    because = "own probes got good answers, only the resolvers' traffic showed failures"
    dismiss(draft, address, because)


def dismiss(draft: Draft, address: str, because: str) -> None:
    """Reject a suspicion: the fault is everywhere, or planted. Its names are ignored for 1 h.

    Losses and errors in the traffic have no names: all are ignored for as long. New names are
    counted at once, and may raise a suspicion again after `QUIET`.
    """
    local, known = draft.edit(address), draft.edit_address(address)
    traffic = draft.traffic.to_write((address, LOCAL))
    upstream = draft.index.settings[address].upstream
    names = (*local.counted, *traffic.counted, *draft.upstreams[upstream].failed)
    known.ignored = failed_names.ignore(known.ignored, names, draft.now)
    known.deaf_until, known.quiet_until = draft.now + failed_names.HOUR, draft.now + QUIET
    if draft.upstreams[upstream].failed:
        draft.upstreams.to_write(upstream).failed = {}
    traffic.forget()
    local.counted, local.levels = {}, NO_LEVELS
    draft.signals[address, LOCAL] = Signal.REJECTED
    draft.add_event("rejected", address, because)
