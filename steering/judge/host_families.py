"""Which address families this host has, by what becomes of its own questions.

No question of a family that has no route leaves the host. Where none ever did and another family's
do, that is a host without it (IPv4 alone, as a rule) and nothing to be mended; where some did, the
family is lost.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import numpy as np

from steering.judge.ledger import SILENCES, Ledger
from steering.layout import Layout
from steering.model import Family


class FamilyAnswers(enum.StrEnum):
    """What becomes of the questions of one family over the local path."""

    USED = "used"
    LOST = "lost"
    """None gets out any more, or none of any family does."""
    NONE = "no route"
    """None ever got out."""


def ways(ledger: Ledger, layout: Layout) -> Mapping[Family, FamilyAnswers]:
    """The families of the policies' addresses."""
    shut, had = {}, {}
    for number, family in enumerate(Family):
        if (mine := layout.family_of == number).any():
            shut[family] = bool((ledger.stuck[mine, 0] >= SILENCES).all())
            had[family] = not np.isnan(ledger.reached[mine, 0]).all()
    return {
        family: FamilyAnswers.USED
        if not shut[family]
        else FamilyAnswers.LOST
        if had[family] or all(shut.values())
        else FamilyAnswers.NONE
        for family in shut
    }
