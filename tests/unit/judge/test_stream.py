"""One stream of evidence: how its buckets fill, and what it takes for usual."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from simulation import policy, setup

from steering.index import Index, Settings
from steering.judge.known.baseline import BOGUS, ERROR, REVIEW, SAMPLE, TIMEOUT, base_scale
from steering.judge.known.ledger import PathRecord
from steering.judge.known.stream import NO_LEVELS, PathTraffic, Poured, Stream
from steering.model import Outcome, Verdict

CLASSES = {BOGUS: Verdict.BOGUS, TIMEOUT: Verdict.TIMEOUT, ERROR: Verdict.ERROR}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return next(iter(Index.of(setup(tmp_path, policy())).settings.values()))


def pour(
    stream: Stream,
    settings: Settings,
    number: int,
    *,
    bad: int,
    good: int = 0,
    at: float = 0.0,
    calm: bool = True,
) -> list[Verdict]:
    poured = Poured()
    poured.add(number, bad=bad, good=good)
    return stream.pour(poured, settings, at, calm=calm)


@pytest.mark.parametrize("number", [BOGUS, TIMEOUT, ERROR, SAMPLE])
def test_a_full_bucket_is_told_by_its_class_and_one_turn_fills_none(
    settings: Settings, number: int
) -> None:
    stream = Stream()
    assert pour(stream, settings, number, bad=1000) == []
    assert pour(stream, settings, number, bad=1000) == [CLASSES.get(number, Verdict.BOGUS)]
    others = (*stream.levels[:number], *stream.levels[number + 1 :])
    assert others == NO_LEVELS[1:]


@pytest.mark.parametrize("number", [BOGUS, TIMEOUT, ERROR, SAMPLE])
def test_twice_the_usual_share_of_a_class_is_tolerated(settings: Settings, number: int) -> None:
    stream = Stream()
    pour(stream, settings, number, bad=600, good=1400)
    assert stream.scale(number, settings) == base_scale(settings, number), "not reviewed yet"
    pour(stream, settings, number, bad=0, good=1, at=REVIEW)
    assert stream.scale(number, settings) == math.ceil(0.6 / 1e-4)


def test_what_fails_during_a_fault_is_never_taken_for_usual(settings: Settings) -> None:
    stream = Stream()
    pour(stream, settings, BOGUS, bad=600, good=1400, calm=False)
    pour(stream, settings, BOGUS, bad=0, good=1, at=REVIEW)
    assert stream.scale(BOGUS, settings) == base_scale(settings, BOGUS)


@pytest.mark.parametrize("kind", [PathRecord, PathTraffic])
def test_what_is_dropped_with_an_instance_is_the_evidence_alone(
    settings: Settings, kind: type[Stream]
) -> None:
    stream = kind(counts={Outcome.EXPIRED: 3})
    assert stream.count_name("a.", 1.0)
    assert not stream.count_name("a.", 2.0), "once an hour"
    pour(stream, settings, BOGUS, bad=3)
    usual = stream.baseline
    stream.forget()
    assert (stream.levels, stream.counted, stream.evidence) == (NO_LEVELS, {}, None)
    assert (stream.counts, stream.baseline) == ({Outcome.EXPIRED: 3}, usual)
