"""Which addresses an override covers, found by an index of names.

Pure. The result is that of `Match.covers` for each address, without a test of each address for each
override: addresses are indexed by upstream, by nameserver and by themselves. The same match always
gives the same tuple.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from steering.model import Match, Target

Rows = tuple[int, ...]
Array = NDArray[np.int64]


class Matching:
    """The rows of these targets, for the agent of the site `here`."""

    def __init__(self, targets: Sequence[Target], here: str) -> None:
        self._targets, self._here = targets, here
        self._all: Rows = tuple(range(len(targets)))
        upstreams: dict[str, list[int]] = {}
        nameservers: dict[str, list[int]] = {}
        addresses: dict[str, list[int]] = {}
        for row, target in enumerate(targets):
            upstreams.setdefault(target.upstream, []).append(row)
            nameservers.setdefault(target.nameserver, []).append(row)
            addresses.setdefault(target.address, []).append(row)
        self._upstreams, self._nameservers, self._addresses = upstreams, nameservers, addresses
        self._known: dict[Match, Rows] = {}
        self._arrays: dict[int, tuple[Rows, Array]] = {}

    def rows(self, match: Match) -> Rows:
        """The rows of the addresses it covers, in order."""
        if (known := self._known.get(match)) is not None:
            return known
        candidates: Sequence[int] = self._all
        for name, by_name in (
            (match.address, self._addresses),
            (match.nameserver, self._nameservers),
            (match.upstream, self._upstreams),
        ):
            if name is not None:
                candidates = by_name.get(name, ())
                break  # the narrowest; the rest of the match is tested for its few rows
        targets, here = self._targets, self._here
        found = tuple(row for row in candidates if match.covers(targets[row], here=here))
        self._known[match] = found
        return found

    def array(self, rows: Rows) -> Array:
        """The same as an array; one array for each tuple of `rows`."""
        known = self._arrays.get(id(rows))
        if known is None:
            known = self._arrays[id(rows)] = (rows, np.array(rows, dtype=np.int64))
        return known[1]
