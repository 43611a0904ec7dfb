"""What was said of one case."""

from __future__ import annotations

from dataclasses import dataclass, field

from contract.words import Word


@dataclass(frozen=True)
class Heard:
    """One case, and what was said of it."""

    number: int
    kind: str
    label: str
    question: str
    ours: Word
    because: str
    words: dict[str, Word]
    lenient: dict[str, Word] = field(default_factory=dict)
    """What others than the four said, whom nobody counts."""
    wire: bytes = b""
