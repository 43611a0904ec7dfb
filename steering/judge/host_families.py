"""Which address families this host has, judged by its probes.

No probe of a family without a route leaves the host. If none ever did and another family's do, the
host does not have this family (as a rule it has IPv4 alone), and that is no fault. If some did, the
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
    """Whether probes of one family leave this host by the local path."""

    USED = "used"
    LOST = "lost"
    """None leaves any more, or none of any family does."""
    NONE = "no route"
    """None ever left."""


def family_answers(ledger: Ledger, layout: Layout) -> Mapping[Family, FamilyAnswers]:
    """The families of the policies' addresses."""
    none_leaves, had = {}, {}
    for number, family in enumerate(Family):
        if (mine := layout.family_of == number).any():
            none_leaves[family] = bool((ledger.stuck[mine, 0] >= SILENCES).all())
            had[family] = not np.isnan(ledger.reached[mine, 0]).all()
    return {
        family: FamilyAnswers.USED
        if not none_leaves[family]
        else FamilyAnswers.LOST
        if had[family] or all(none_leaves.values())
        else FamilyAnswers.NONE
        for family in none_leaves
    }
