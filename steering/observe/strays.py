"""Counts packets that reach a probe's socket and are no answer to its question.

A few strays are answers that came late. Many strays mean an attacker who forges answers, or a
network that returns answers over another link than the questions left by.
"""

from __future__ import annotations

import enum
import socket
from collections import Counter
from collections.abc import Collection
from typing import Final

SURE: Final = 3
"""Questions in a row whose answers came by another link, before that is reported."""


class Stray(enum.StrEnum):
    """Why a packet was ignored."""

    ID = "id"
    """Not a DNS message, or the id of another query."""
    QUESTION = "question"
    LINK = "link"
    """It came in by another link than the one that its path uses."""
    CASE = "case"


class Strays:
    """Counts of ignored packets by path since the start; paths whose answers use another link."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Stray]] = Counter()
        self._astray: dict[tuple[str, str], tuple[int, str]] = {}
        """(path, family) -> questions in a row, and by which link their answers came."""

    def pass_over(self, path: str, why: Stray) -> None:
        """Count one packet."""
        self.counts[path, why] += 1

    def end(self, path: str, family: str, astray: str) -> None:
        """Note how a question by UDP ended. `astray`: its only answer came by that link."""
        if astray:
            self._astray[path, family] = (self._astray.get((path, family), (0, ""))[0] + 1, astray)
        else:
            self._astray.pop((path, family), None)

    def keep(self, paths: Collection[str]) -> None:
        """Forget the links of paths that no longer exist."""
        self._astray = {pair: seen for pair, seen in self._astray.items() if pair[0] in paths}

    @property
    def trouble(self) -> str:
        """Text of the alarm: paths whose answers come by another link; empty if none."""
        texts = [
            f"{path} ({family}): answers come in by {astray}, and don't count. If that is how your"
            f" network works, set `return: any` for the site; otherwise they may be forged"
            for (path, family), (times, astray) in sorted(self._astray.items())
            if times >= SURE
        ]
        return "; ".join(texts)


def link_name(index: int) -> str:
    """The name of a network interface, or its number if it no longer exists."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"link {index}"
