"""Upstreams whose signatures look out of date everywhere: this host's clock may be wrong."""

from __future__ import annotations

from collections import Counter

from steering.decide.state import State

DATED = 0.5
"""A path is bad by its dates when more than this share of its answers has bad dates."""


def out_of_date(state: State) -> frozenset[str]:
    """Upstreams with expired or not yet valid signatures on every path, if they are most.

    It takes two paths: seen over one alone the cause may be that path.
    """
    index = state.index
    # A path that is bad by its dates is looked at in each turn, so there is none elsewhere.
    doubtful = (a for a in state.ledger.open if not _is_good_somewhere(state, a))
    if not any(_is_dated(state, address) for address in doubtful):
        return frozenset()
    measured, dated = Counter[str](), Counter[str]()
    for address, settings in index.settings.items():  # rare: some address may show a wrong clock
        looks = _is_dated(state, address)
        measured[settings.upstream] += looks is not None
        dated[settings.upstream] += looks is True
    known = [upstream for upstream, number in measured.items() if number]
    most = frozenset(upstream for upstream in known if dated[upstream] * 2 > measured[upstream])
    return most if len(most) * 2 > len(known) else frozenset()


def _is_dated(state: State, address: str) -> bool | None:
    """Whether all measured paths of an address are bad by their dates; None: fewer than two are."""
    each = [_is_bad(state, address, path) for path in state.index.paths]
    measured = [bad for bad in each if bad is not None]
    return all(measured) if len(measured) >= 2 else None


def _is_good_somewhere(state: State, address: str) -> bool:
    return any(_is_bad(state, address, path) is False for path in state.index.paths)


def _is_bad(state: State, address: str, path: str) -> bool | None:
    """Whether one path is bad by its dates; None: nothing was answered lately."""
    share = state.ledger.path(address, path).recent.dated_share(state.now)
    return None if share is None else share > DATED
