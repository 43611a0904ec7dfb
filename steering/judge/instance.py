"""Which anycast instance answers: a changed NSID (RFC 5001) means another one.

An NSID is an opaque string, and one instance may have several servers with a string each,
chosen per source port. So a key knows a *set* of strings. It begins with those of the first
answers; after that, answers outside the set are another instance only when three in a row
come from outside. One from inside between them means that the newcomers are neighbours, and
they join the set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

STRANGERS = 3
KNOWN = 16
"""More servers than this are not told apart: the oldest knowledge is dropped."""
ACQUAINTED = 24
"""After so many answers each of four servers has been met with 99.6 % probability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The servers seen behind one (address, path)."""

    known: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    answers: int = 0
    """Answers seen while getting acquainted."""

    def see(self, nsid: str) -> tuple[Instance, bool]:
        """The instance after an answer from `nsid`, and whether it is another one now."""
        if self.answers < ACQUAINTED:
            met = (*self.known, nsid) if nsid not in self.known else self.known
            return Instance(known=met, answers=self.answers + 1), False
        if nsid in self.known:
            if not self.strangers:
                return self, False
            met = tuple(dict.fromkeys((*self.known, *self.strangers)))[-KNOWN:]
            return replace(self, known=met, strangers=()), False
        strangers = (*self.strangers, nsid)
        if len(strangers) < STRANGERS:
            return replace(self, strangers=strangers), False
        return Instance(known=tuple(dict.fromkeys(strangers)), answers=STRANGERS), True

    @property
    def name(self) -> str | None:
        """The string to show for it."""
        return self.known[-1] if self.known else None
