"""Which address families this host has, judged by its probes.

No probe of a family without a route leaves the host. If none ever did and another family's do, the
host does not have this family (as a rule it has IPv4 alone), and that is no fault. If some did, the
family is lost.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from steering.index import Index
from steering.judge.known.ledger import SILENCES, Ledger
from steering.model import NEVER, Family


class FamilyAnswers(enum.StrEnum):
    """Whether probes of one family leave this host by the local path."""

    USED = "used"
    LOST = "lost"
    """None leaves any more, or none of any family does."""
    NONE = "no route"
    """None ever left."""


def family_answers(ledger: Ledger, index: Index) -> Mapping[Family, FamilyAnswers]:
    """The families of the policies' addresses."""
    none_leaves = {
        family: all(ledger.path(address).stuck >= SILENCES for address in mine)
        for family, mine in index.families.items()
        if mine
    }
    return {
        family: FamilyAnswers.USED
        if not none_leaves[family]
        else FamilyAnswers.LOST
        if all(none_leaves.values()) or _had(ledger, index, family)
        else FamilyAnswers.NONE
        for family in none_leaves
    }


def _had(ledger: Ledger, index: Index, family: Family) -> bool:
    """Whether anything ever came back from an address of this family."""
    return any(ledger.path(address).reached != NEVER for address in index.families[family])
