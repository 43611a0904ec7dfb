"""What is known of an answer that can't be read."""

from __future__ import annotations

from steering.model import Classified, Outcome
from steering.system.unreadable import printable

__all__ = ["Classified", "malformed"]


def malformed(detail: str) -> Classified:
    return Classified(outcome=Outcome.MALFORMED, detail=printable(detail))
