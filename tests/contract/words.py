"""What a validator says of a case, and the rule by which ours is held beside them."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Word(enum.Enum):
    """What a client is told, or what we make of an answer."""

    SECURE = "AD"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNJUDGED = "not judged"

    @property
    def good(self) -> bool:
        """Whether it got the answer."""
        return self in {Word.SECURE, Word.ACCEPTED}


class Sum(enum.Enum):
    """What four words amount to."""

    ALL_SECURE = "all AD"
    ALL_REFUSED = "all fail"
    MIXED = "mixed"


def letters(words: Mapping[str, Word]) -> str:
    """Four words as four letters: S with AD, a without, x for a refusal."""
    short = {Word.SECURE: "S", Word.ACCEPTED: "a", Word.REFUSED: "x"}
    return "".join(short[word] for word in words.values())


def sum_of(words: Mapping[str, Word]) -> Sum:
    """Whether they are of one mind. Answers without AD that all accept count as mixed."""
    if set(words.values()) == {Word.SECURE}:
        return Sum.ALL_SECURE
    if set(words.values()) == {Word.REFUSED}:
        return Sum.ALL_REFUSED
    return Sum.MIXED


def agree(ours: Word, words: Mapping[str, Word]) -> bool:
    """Never bad where all answer with AD, never good where all fail, else as BIND does.

    Where we don't judge we do no harm and no good: it agrees with nobody, so that it has to be
    meant each time.
    """
    if ours is Word.UNJUDGED:
        return False
    match sum_of(words):
        case Sum.ALL_SECURE:
            return ours.good
        case Sum.ALL_REFUSED:
            return not ours.good
    return ours.good == words["BIND"].good
