"""Learns whether a nameserver echoes the letter case of a question.

Nearly all servers do, as they copy the question (draft-vixie-dnsext-dns0x20 2.2). So each question
is sent with random letter case, and an answer in another case is not its answer: each letter is one
more bit that an attacker must guess. A server or middlebox that rewrites the name would then seem
silent. So it is learnt for each address and path separately:

* At first an answer in another case is kept until the question's time is up. If an answer in the
  right case comes, that one is used; if none comes, the kept one.
* Once the case was echoed, an answer in another case is ignored.
* After three questions that brought nothing else, the case is no longer required. Each of the three
  is an answer that hit port and id while the right one never came, so an attacker can't cause this.
  The case is required again only after some hundred right answers. If only some of many servers at
  an address don't echo it, they are then not taken for silent.

An answer without a question, as some servers send with an error, counts as one in another case.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

_HEADER: Final = 12
_TYPE_AND_CLASS: Final = 4
_ONE: Final = b"\0\1"
_NONE: Final = b"\0\0"

LIMIT: Final = 3.0
"""Questions with nothing but answers in another case, before the case is no longer required."""
_MOST: Final = LIMIT + 1
_FADING: Final = 1 / 256
"""Each right answer takes this much from the count of such questions."""


class Likeness(enum.Enum):
    """How the question section of an answer compares with the question."""

    SAME = enum.auto()
    OTHER_CASE = enum.auto()
    """Or the question was left out."""
    ANOTHER = enum.auto()


def likeness(wire: bytes, question: bytes) -> Likeness:
    """Compare an answer, at least a header long, with the question section that was sent."""
    count, end = wire[4:6], _HEADER + len(question)
    if count == _NONE:
        return Likeness.OTHER_CASE
    found = wire[_HEADER:end]
    if count != _ONE or found[-_TYPE_AND_CLASS:] != question[-_TYPE_AND_CLASS:]:
        return Likeness.ANOTHER
    if found == question:
        return Likeness.SAME
    return Likeness.OTHER_CASE if found.lower() == question.lower() else Likeness.ANOTHER


@dataclass(slots=True)
class Echo:
    """What is known about one server over one path."""

    _seen: bool = False
    """The case was echoed at least once."""
    _other_cases: float = 0.0
    """Questions that brought nothing but another case; right answers reduce the count."""

    @property
    def required(self) -> bool:
        """Whether an answer in another case must not be taken at once."""
        return self._other_cases < LIMIT

    def same(self, question: bytes) -> None:
        """The right answer came. A name all in one case shows nothing: it may be rewritten so."""
        name = question[:-_TYPE_AND_CLASS]
        if name not in (name.lower(), name.upper()):
            self._seen = True
            self._other_cases = max(0.0, self._other_cases - _FADING)

    def other(self) -> bool:
        """A question brought nothing but another case; whether that counts as its answer."""
        self._other_cases = min(self._other_cases + 1, _MOST)
        return not self._seen or not self.required
