"""When a local path became clearly worse, and whether it still fails.

A path that was bad for an hour may become worse by a fault of this host. `common_cause` needs the
addresses that changed within the same minute, whatever their state was before.
"""

from __future__ import annotations

from steering.judge.edit import Draft

ANSWERS = 16
"""The quick share is over about so many answers."""
LASTS = 600.0
"""A path becomes worse again only after so many seconds. Otherwise an intermittent fault would seem
to begin together with any other."""
MET = 3
"""Good answers in a row before there is a usual level: a path that was bad when the agent started
has not become worse."""
STEP = 0.35
"""A rise of the quick share by so much is not chance: four standard deviations or more."""


def count_worse(
    draft: Draft, address: str, *, bad: bool, fault: bool, witness: bool, run: int
) -> None:
    """Count one local answer.

    Args:
        draft: the ledger being written.
        address: the address that was asked.
        bad: it is not a good one.
        fault: and the policy counts it, and it is not a single lost packet.
        witness: the question is a failed name asked again.
        run: good answers in a row before it.
    """
    now = draft.now
    if fault:
        draft.edit_address(address).bad_at = now
    if witness:
        return
    known = draft.address(address)
    if not (known.quick or bad or (known.usual is None and run >= MET)):
        return
    quick = known.quick + (bad - known.quick) / ANSWERS
    if quick < 1 / ANSWERS**2:
        quick = 0.0
    risen = known.usual is not None and quick >= known.usual + STEP
    if risen or (known.usual is None and run >= MET):
        usual: float | None = quick
    elif known.usual is not None:
        usual = min(known.usual, known.usual + (quick - known.usual) / ANSWERS)
    else:
        usual = None
    if (quick, usual) != (known.quick, known.usual):
        after = draft.edit_address(address)
        after.quick, after.usual = quick, usual
    if risen and not now - known.worse_at < LASTS:
        draft.edit_address(address).worse_at = now
