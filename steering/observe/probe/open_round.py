"""A round under way: its question, and what came back so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from steering.model import Instant, Observation, Question, Source, Target
from steering.observe.probe.answer_cache import AnswerCache
from steering.observe.query import Query


@dataclass(slots=True)
class OpenRound:
    """A round under way."""

    target: Target
    question: Question
    at: Instant
    paths: tuple[str, ...]
    source: Source | None = None
    by_tcp: bool = False
    observations: dict[str, Observation] = field(default_factory=dict)
    queries: dict[str, Query] = field(default_factory=dict)
    cache: AnswerCache = field(default_factory=AnswerCache)
