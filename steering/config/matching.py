"""Which addresses an override covers, found by an index of names.

Pure. The result is that of `Match.covers` for each address, without a test of each address for each
override: addresses are indexed by upstream, by nameserver and by themselves. Two matches that cover
the same addresses have the very same tuple.
"""

from __future__ import annotations

from collections.abc import Sequence

from steering.model import Target
from steering.override import Match


class Matching:
    """The addresses of these targets, for the agent of the site `here`."""

    def __init__(self, targets: Sequence[Target], here: str) -> None:
        self._targets, self._here = targets, here
        self._upstreams: dict[str, list[Target]] = {}
        self._nameservers: dict[str, list[Target]] = {}
        self._addresses: dict[str, list[Target]] = {}
        for target in targets:
            self._upstreams.setdefault(target.upstream, []).append(target)
            self._nameservers.setdefault(target.nameserver, []).append(target)
            self._addresses.setdefault(target.address, []).append(target)
        self._known: dict[Match, tuple[str, ...]] = {}
        self._one_of_each: dict[tuple[str, ...], tuple[str, ...]] = {}

    def addresses(self, match: Match) -> tuple[str, ...]:
        """The addresses it covers, in the order of the targets."""
        if (known := self._known.get(match)) is not None:
            return known
        candidates: Sequence[Target] = self._targets
        for name, by_name in (
            (match.address, self._addresses),
            (match.nameserver, self._nameservers),
            (match.upstream, self._upstreams),
        ):
            if name is not None:
                candidates = by_name.get(name, ())
                break  # the narrowest; the rest of the match is tested for its few targets
        found = tuple(each.address for each in candidates if match.covers(each, here=self._here))
        self._known[match] = found = self._one_of_each.setdefault(found, found)
        return found
