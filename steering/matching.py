"""Which addresses an override is about, looked up by its words.

Pure. What `Match.covers` says of each address, without asking each address of each override: the
addresses of an upstream, of a nameserver and one by itself are known by name, and whoever asks
for the same again is given the same tuple.
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
        among: Sequence[int] = self._all
        for word, by_word in (
            (match.address, self._addresses),
            (match.nameserver, self._nameservers),
            (match.upstream, self._upstreams),
        ):
            if word is not None:
                among = by_word.get(word, ())
                break  # the narrowest: its few are asked for the rest
        targets, here = self._targets, self._here
        found = tuple(row for row in among if match.covers(targets[row], here=here))
        self._known[match] = found
        return found

    def array(self, rows: Rows) -> Array:
        """The same as an array: one for each tuple that `rows` gave."""
        known = self._arrays.get(id(rows))
        if known is None:
            known = self._arrays[id(rows)] = (rows, np.array(rows, dtype=np.int64))
        return known[1]
