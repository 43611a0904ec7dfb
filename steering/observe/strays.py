"""Packets that came to a probe's socket and were no answer to its question.

A stray now and then is an answer that came late. Many are somebody who tries to be taken for a
nameserver, or a network that brings answers back another way than the questions went.
"""

from __future__ import annotations

import enum
import socket
from collections import Counter
from collections.abc import Collection
from typing import Final

SURE: Final = 3
"""Questions in a row whose answers came by another link before that is told."""


class Stray(enum.StrEnum):
    """Why a packet was passed over."""

    ID = "id"
    """No DNS message, or another query's id."""
    QUESTION = "question"
    LINK = "link"
    """It came in by another link than the one its path uses."""
    CASE = "case"


class Strays:
    """What was passed over since the start, by path; and which paths' answers come another way."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Stray]] = Counter()
        self._astray: dict[tuple[str, str], tuple[int, str]] = {}
        """(path, family) -> questions in a row, and by which link their answers came."""

    def pass_over(self, path: str, why: Stray) -> None:
        """Count one packet."""
        self.counts[path, why] += 1

    def end(self, path: str, family: str, astray: str) -> None:
        """How a question by UDP ended. `astray`: it has no answer but one by that link."""
        if astray:
            self._astray[path, family] = (self._astray.get((path, family), (0, ""))[0] + 1, astray)
        else:
            self._astray.pop((path, family), None)

    def keep(self, paths: Collection[str]) -> None:
        """Forget which way the answers came over paths that are there no more."""
        self._astray = {pair: seen for pair, seen in self._astray.items() if pair[0] in paths}

    @property
    def trouble(self) -> str:
        """Which paths' answers come another way; empty if none."""
        told = [
            f"{path} ({family}): answers come in by {astray}, and don't count. If that is how your"
            f" network works, say `return: any` for the site; else somebody forges them"
            for (path, family), (times, astray) in sorted(self._astray.items())
            if times >= SURE
        ]
        return "; ".join(told)


def link_name(index: int) -> str:
    """The name of a network interface, or its number where it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"link {index}"
