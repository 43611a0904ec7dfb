"""What is known of one answer, once it is classified."""

from __future__ import annotations

from dataclasses import dataclass

from steering.model import Evidence, Outcome, WallTime
from steering.system.unreadable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """One answer, classified."""

    outcome: Outcome
    judged: bool = True
    nsid: str | None = None
    serial: int | None = None
    expires: WallTime | None = None
    evidence: Evidence | None = None
    detail: str = ""


def malformed(detail: str) -> Classified:
    return Classified(outcome=Outcome.MALFORMED, detail=printable(detail))
