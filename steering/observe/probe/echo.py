"""Whether a nameserver gives the letters of a question back in the case they were sent in.

Nearly all do, as they copy the question (draft-vixie-dnsext-dns0x20 2.2). So a question's name
goes out in a case that is drawn anew, and an answer in another case is not the answer to it:
each letter is one more bit for a forger to guess. A server, or a middlebox before it, that writes
the name anew would seem silent by that. So it is learnt, for each address and path by itself:

* Nothing known yet: an answer in another case is kept until the question's time is up. The right
  one is taken where it comes, the other one where none does.
* Once the drawn case came back, an answer in another one is passed over.
* After three questions that brought nothing else, the case is not required any more. Each of the
  three is an answer that hit port and id while the right one never came, so who forges cannot
  bring this about. It is required again after some hundred right ones, and not before, so that
  some servers of many that don't give it back are not taken for silent.

An answer without a question, as some servers send with an error, is one in another case.
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
"""Questions that brought nothing but answers in another case, before it is not required."""
_MOST: Final = LIMIT + 1
_FADING: Final = 1 / 256
"""Of one such question, with each right answer."""


class Likeness(enum.Enum):
    """What the question section of an answer has to do with the question."""

    SAME = enum.auto()
    OTHER_CASE = enum.auto()
    """Or left out."""
    ANOTHER = enum.auto()


def likeness(wire: bytes, question: bytes) -> Likeness:
    """Of an answer that has a header. `question` is the section that was sent."""
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
    """What is known of one server over one path."""

    _seen: bool = False
    """The drawn case came back at least once."""
    _others: float = 0.0
    """Questions that brought nothing but another case, the earlier ones fading."""

    @property
    def required(self) -> bool:
        """Whether an answer in another case has to wait for the right one."""
        return self._others < LIMIT

    def same(self, question: bytes) -> None:
        """The right answer came. A name all in one case may have been written so by anybody."""
        name = question[:-_TYPE_AND_CLASS]
        if name not in (name.lower(), name.upper()):
            self._seen = True
            self._others = max(0.0, self._others - _FADING)

    def other(self) -> bool:
        """A question brought nothing but another case; whether that may count as its answer."""
        self._others = min(self._others + 1, _MOST)
        return not self._seen or not self.required
