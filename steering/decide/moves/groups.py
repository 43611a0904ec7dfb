"""Groups: which addresses move together (`together: address | nameserver | upstream`).

A breached address moves. The others of its group move too when more than half of the group is
breached, and stay steered until less than a quarter is: one bad nameserver is no reason to move
twelve good ones, and a group does not return in halves. A family without a breach stays: a fault of
IPv6 alone moves IPv6 alone, however many addresses each family has.

While others of the group are on trial, the move of a breached address waits a moment for them, so
that both families and all nameservers move in one plan.
"""

from __future__ import annotations

from collections.abc import Collection

from steering.index import Index
from steering.judge.known.ledger import Ledger
from steering.model import Instant, Seconds

OPENS_ABOVE = 1 / 2
CLOSES_BELOW = 1 / 4
SETTLE: Seconds = 1.0
"""The longest that a move waits for the trials of its group."""


def open_groups(was: Collection[str], index: Index, own: Collection[str]) -> frozenset[str]:
    """Which groups move as a whole, given those that did and which addresses are breached."""
    breached: dict[str, int] = {}
    for address in own:
        group = index.settings[address].group
        breached[group] = breached.get(group, 0) + 1
    found = set[str]()
    for group, number in breached.items():
        size = len(index.groups[group])
        share = number / size
        if size > 1 and (share >= CLOSES_BELOW if group in was else share > OPENS_ABOVE):
            found.add(group)
    return frozenset(found)


def reach(opened: Collection[str], index: Index, own: Collection[str]) -> frozenset[str]:
    """The addresses that move: breached themselves, or with their group."""
    if not opened:
        return frozenset(own)
    touched = {(index.settings[a].group, index.settings[a].family) for a in own}
    along = (
        address
        for group in opened
        for address in index.groups[group]
        if (group, index.settings[address].family) in touched
    )
    return frozenset(own).union(along)


def settling(ledger: Ledger, index: Index, own: Collection[str], now: Instant) -> frozenset[str]:
    """Those of `own`, breached and on the local path, whose move waits: breached just now, with
    others of the group on trial.
    """
    recent: dict[str, list[str]] = {}
    for address in own:
        confirmed = ledger.address(address).confirmed_at
        if confirmed is not None and now - confirmed < SETTLE:
            recent.setdefault(index.settings[address].group, []).append(address)
    return frozenset(
        address
        for group, mine in recent.items()
        if any(ledger.address(other).trial is not None for other in index.groups[group])
        for address in mine
    )
