"""The one place that knows today's types: recorded words <-> facts, and what the engine made of
them <-> recorded words.

What is recorded is JSON of plain words, one line for each thing that happened:

- `{"do": "begin", "setup": ..., "now": ..., "wall": ...}`: an agent begins that knows of none
  before it;
- `{"do": "restart", ...}`: the process ends, another one begins, with another setup if one is
  given; what the first one hands on is worked out by the code under test, as it would be;
- `{"do": "reload", "setup": ..., "rerouted": [...], "made": ...}`: the agent takes other files;
- `{"now": ..., "facts": ..., "made": ...}`: one turn.

`now` is monotonic; `ahead` is by how much the wall clock shows more than that; `ago` is how long
before the turn something was. What a line of facts leaves out is absent (an answer without a
serial, a turn without answers), but for what lasts (`LASTING`): that is as in the turn before.
What occurs again and again is written out where it occurs first, and a number after that: the
answers to one question, an answer, a failure, each counted from 0 within its file.

Names that were made up for one question, and answered well, are made up anew; and where a story
says so, expirations are rounded down to some hours (`Writer`): else these two would be most of a
recording.

`made` has what differs from the turn before of: the plan (address -> path, rule), the alarms,
and what is to be asked at the fast interval; and all steps and events. What is left out of it:

- prose (`because`), whose wording may change with any of the texts in redesigned code;
- the names that failed and are to be asked again, of which it has the number and a digest;
- anything inside of the engine, however telling: that is what is to be rewritten.

Numbers in it are exact. Those in facts are rounded to a microsecond before the engine gets them:
the rest of their digits are noise, and most of what a recording would weigh.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from steering.config import Setup
from steering.decide.fast_probing import attention
from steering.decide.messages import alarms as alarming
from steering.decide.rules import BY_NUMBER
from steering.decide.state import State
from steering.engine import engine
from steering.engine.carry_over import remember
from steering.engine.migrate import migrate
from steering.facts import Facts, Forwarded, Memory, Passed
from steering.index import Index
from steering.journal import setups
from steering.model import (
    Event,
    Evidence,
    Failure,
    Family,
    Heard,
    Instant,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
    Seconds,
    Step,
    Verdict,
)
from steering.override import Action, Match, Override
from steering.rehearsed_events import WOULD as WOULD_BE
from steering.remedies import EVERY_ALARM

Words = dict[str, Any]
"""A JSON object of plain words."""

DIGITS: Final = 6
"""After the point, of seconds in facts."""

LASTING: Final[Mapping[str, Any]] = {
    "ahead": 0.0,
    "installed": {},
    "sources": {},
    "bypassed": [],
    "forwarded": {},
    "off": False,
    "overrides": [],
}
"""Facts that are as in the turn before where a line leaves them out, and what they begin with."""

STATE: Final = ("plan", "alarms", "asks")
"""Of what was made: mappings that go on from turn to turn."""

RULES: Final = frozenset(rule.name for rule in BY_NUMBER.values())
ALARMS: Final = EVERY_ALARM
RAISED_IN: Final = Path(alarming.__file__)
"""Where the engine raises its alarms; the agent raises the others."""
WOULD: Final = frozenset(WOULD_BE.values())
"""Events of an agent that does not act."""


# --- the engine -----------------------------------------------------------------------------


class Engine:
    """Today's engine, told in recorded words, and telling in them what it made of them."""

    def __init__(self) -> None:
        self.state: State
        self.steps: tuple[Step, ...] = ()
        self.events: tuple[Event, ...] = ()
        """Of the latest turn or reload, as the engine returned them."""
        self._index: Index
        self._known: State | None = None
        """After the latest turn of the agent before this one."""
        self._latest: State | None = None
        self._read = Reader()

    def begin(self, line: Words) -> None:
        """An agent begins, of which none went before."""
        self._known = self._latest = None
        self._read = Reader(self._read)
        self._index = Index.of(setup_of(line["setup"]))
        self.state = State.blank(self._index, line["now"], line["wall"])

    def restart(self, line: Words) -> None:
        """The process ended, and another one begins."""
        self._known = self._latest or self._known
        self._latest = None
        self._read = Reader(self._read)
        if "setup" in line:
            self._index = Index.of(setup_of(line["setup"]))
        self.state = State.blank(self._index, line["now"], line["wall"])

    def reload(self, line: Words) -> Words:
        """Other files are taken; what was made of that."""
        self._index = Index.of(setup_of(line["setup"]))
        self.steps = ()
        self.state, self.events = migrate(
            self.state,
            self._index,
            line["now"],
            line["wall"],
            rerouted=frozenset(line["rerouted"]),
        )
        return self._made()

    def turn(self, line: Words) -> Words:
        """One turn; what was made of it."""
        now, written = line["now"], line["facts"]
        facts = self._read.facts(written, now, self.memory if "remembers" in written else None)
        self.state, self.steps, self.events = engine.turn(self.state, facts, now)
        self._latest = self.state
        return self._made() | {"alarms": self._alarms()}

    @property
    def memory(self) -> Memory | None:
        """What the agent before this one handed on."""
        return None if self._known is None else remember(self._known)

    def _alarms(self) -> Words:
        """Not after a reload: until the next turn they are those of the setup before."""
        return {
            name: _there(
                since=alarm.since,
                cause=alarm.cause,
                about=list(alarm.about),
            )
            for name, alarm in self.state.alarms.items()
        }

    def _made(self) -> Words:
        state = self.state
        return {
            "steps": [step_words(step) for step in self.steps],
            "events": [event_words(event) for event in self.events],
            "plan": {
                address: [state.path_of(address), self._rule_of(address)]
                for address in state.index.settings
            },
            "asks": {
                address: _there(
                    paths=sorted(wanted.paths),
                    live=wanted.live,
                    names=_digest(wanted.witnesses),
                    every=wanted.every or None,
                )
                for address, wanted in attention(state).items()
            },
        }

    def _rule_of(self, address: str) -> str | None:
        rule = self.state.rule.get(address)
        return BY_NUMBER[rule].name if rule else None


def _digest(names: Sequence[str]) -> str | None:
    """How many names, and what tells one list of them from another."""
    if not names:
        return None
    digest = hashlib.blake2b(" ".join(names).encode(errors="surrogatepass"), digest_size=3)
    return f"{len(names)}: {digest.hexdigest()}"


def step_words(step: Step) -> Words:
    """A step, without its prose."""
    return _there(address=step.address, was=step.was, now=step.now, rule=step.rule)


def event_words(event: Event) -> Words:
    """An event, without its prose."""
    return _there(
        event=event.event,
        upstream=event.upstream,
        address=event.address,
        path=event.path,
        was=event.was,
        now=event.now,
        rule=event.rule,
        more=dict(event.more),
    )


def setup_words(setup: Setup) -> Words:
    """Configuration and policies, in the words of their files."""
    words: Words = json.loads(setups.write(setup))
    return words


def setup_of(words: Words) -> Setup:
    """The setup that was written."""
    return setups.read(json.dumps(words))


# --- facts into words -----------------------------------------------------------------------


class Writer:
    """Facts as lines of one file, one after the other; expirations in steps of so long."""

    def __init__(self, grid: Seconds | None = None) -> None:
        self._grid = grid
        self._numbers: dict[str, dict[Hashable, int]] = {
            "answers": {},
            "answer": {},
            "failure": {},
        }
        self._before: dict[str, Any] = dict(LASTING)

    def begin(self) -> None:
        """Nothing lasts from before."""
        self._before = dict(LASTING)

    def facts(self, facts: Facts, now: Instant) -> Words:
        """The facts of the turn at this instant (`rounded`)."""
        lasting = {
            "ahead": rounded(facts.wall - now),
            "installed": dict(facts.installed),
            "sources": {str(family): list(all_) for family, all_ in facts.sources.items()},
            "bypassed": sorted(facts.bypassed),
            "forwarded": {
                str(family): [
                    _there(source=one.source, translated=one.translated, carried=one.carried)
                    for one in all_
                ]
                for family, all_ in facts.forwarded.items()
            },
            "off": facts.off,
            "overrides": [_override_words(one) for one in facts.overrides],
        }
        changed = {name: what for name, what in lasting.items() if what != self._before[name]}
        self._before = lasting
        return changed | _there(
            rounds=[self._round(one, now) for one in facts.rounds],
            heard=[self._heard(one, now) for one in facts.heard],
            passed=[
                _there(
                    address=one.address,
                    path=one.path,
                    source=one.source,
                    answered=one.answered or None,
                    lost=one.lost or None,
                )
                for one in facts.passed
            ],
            remembers=facts.memory is not None,
        )

    def _round(self, item: Round, now: Instant) -> Words:
        question = item.question
        seen = tuple(self._coarse(one) for one in item.observations)
        made_up = question.kind is Kind.DENIAL and all(o.verdict is Verdict.GOOD for o in seen)
        return _there(
            address=item.address,
            ago=rounded(now - item.at),
            zone=question.zone,
            name=None if made_up else question.name,
            type=question.rdtype,
            kind=str(question.kind),
            answers=self._once(
                "answers",
                seen,
                lambda: [self._once("answer", one, partial(_answer_words, one)) for one in seen],
            ),
        )

    def _coarse(self, seen: Observation) -> Observation:
        if self._grid is None or seen.expires is None:
            return seen
        return replace(seen, expires=seen.expires // self._grid * self._grid)

    def _heard(self, heard: Heard, now: Instant) -> Words:
        return _there(
            address=heard.address,
            path=heard.path,
            ago=rounded(now - heard.at),
            answers=heard.answers or None,
            counts={str(outcome): number for outcome, number in heard.counts.items()},
            failures=[self._failure(one) for one in heard.failures],
            expires=heard.expires
            if heard.expires is None or self._grid is None
            else heard.expires // self._grid * self._grid,
            proved=heard.proved or None,
            disproved=[self._failure(one) for one in heard.disproved],
            serials=dict(heard.serials),
            overdue=heard.overdue or None,
        )

    def _failure(self, failure: Failure) -> object:
        return self._once(
            "failure",
            failure,
            lambda: _there(
                name=failure.name,
                outcome=str(failure.outcome),
                evidence=_evidence_words(failure.evidence),
                ask=failure.ask,
            ),
        )

    def _once(self, what: str, key: Hashable, written: Callable[[], object]) -> object:
        """It in words, and its number where it was written before."""
        numbers = self._numbers[what]
        if (number := numbers.get(key)) is not None:
            return number
        words = written()  # what is in it is numbered before it
        numbers[key] = len(numbers)
        return words


def rounded(seconds: Seconds) -> Seconds:
    """Without the digits that are noise."""
    return round(seconds, DIGITS) + 0.0  # no -0.0


def _answer_words(seen: Observation) -> Words:
    return _there(
        address=seen.address,
        path=seen.path,
        outcome=str(seen.outcome),
        live=seen.live,
        source=seen.source,
        tcp=seen.tcp,
        unjudged=not seen.judged,
        reached=seen.reached,
        stalled=seen.stalled,
        large=seen.large or None,
        rtt=None if seen.rtt is None else rounded(seen.rtt),
        nsid=seen.nsid,
        serial=seen.serial,
        expires=seen.expires,
        evidence=None if seen.evidence is None else _evidence_words(seen.evidence),
        detail=seen.detail,
    )


def _evidence_words(evidence: Evidence) -> Words:
    return _there(
        owner=evidence.owner,
        type=evidence.rdtype,
        detail=evidence.detail,
        key_tag=evidence.key_tag,
        inception=evidence.inception,
        expiration=evidence.expiration,
    )


def _override_words(override: Override) -> Words:
    match = override.match
    return _there(
        name=override.name,
        match=_there(
            upstream=match.upstream,
            nameserver=match.nameserver,
            address=match.address,
            family=None if match.family is None else str(match.family),
            site=match.site,
        ),
        action=str(override.action),
        to=override.to,
        until=override.until,
        reason=override.reason,
        by=override.by,
        alarm=override.alarm,
    )


def _there(**words: Any) -> Words:  # noqa: ANN401 - JSON
    """What is there of it: no None, no False, nothing empty."""
    return {
        name: what
        for name, what in words.items()
        if what or (isinstance(what, int | float) and what is not False)
    }


# --- words into facts -----------------------------------------------------------------------


class Reader:
    """Lines of one file as facts, one after the other; what was numbered goes on (`before`)."""

    def __init__(self, before: Reader | None = None) -> None:
        self._answers: list[tuple[Observation, ...]] = before._answers if before else []
        self._answer: list[Observation] = before._answer if before else []
        self._failures: list[Failure] = before._failures if before else []
        self._made_up: Iterator[int] = before._made_up if before else count()
        self._lasting: dict[str, Any] = {
            name: _LASTING_OF[name](what) for name, what in LASTING.items()
        }

    def facts(self, words: Words, now: Instant, memory: Memory | None) -> Facts:
        """The facts of the turn at this instant."""
        lasting = self._lasting
        for name in LASTING:
            if name in words:
                lasting[name] = _LASTING_OF[name](words[name])
        return Facts(
            wall=now + lasting["ahead"],
            rounds=tuple(self._round(one, now) for one in words.get("rounds", ())),
            heard=tuple(self._heard(one, now) for one in words.get("heard", ())),
            installed=lasting["installed"],
            sources=lasting["sources"],
            bypassed=lasting["bypassed"],
            forwarded=lasting["forwarded"],
            passed=tuple(Passed(**one) for one in words.get("passed", ())),
            off=lasting["off"],
            overrides=lasting["overrides"],
            memory=memory,
        )

    def _round(self, words: Words, now: Instant) -> Round:
        answers = words["answers"]
        if isinstance(answers, list):
            seen = tuple(self._one_answer(one) for one in answers)
            self._answers.append(seen)
        else:
            seen = self._answers[answers]
        zone = words["zone"]
        return Round(
            address=words["address"],
            question=Question(
                zone=zone,
                name=words.get("name") or f"x{next(self._made_up)}.{zone.lstrip('.')}",
                rdtype=words["type"],
                kind=_KINDS[words["kind"]],
            ),
            at=now - words["ago"],
            observations=seen,
        )

    def _one_answer(self, words: Words | int) -> Observation:
        if isinstance(words, int):
            return self._answer[words]
        evidence = words.get("evidence")
        seen = Observation(
            address=words["address"],
            path=words["path"],
            outcome=Outcome(words["outcome"]),
            live=words.get("live", False),
            source=words.get("source", ""),
            tcp=words.get("tcp", False),
            judged=not words.get("unjudged", False),
            reached=words.get("reached", False),
            stalled=words.get("stalled", False),
            large=words.get("large", 0),
            rtt=words.get("rtt"),
            nsid=words.get("nsid"),
            serial=words.get("serial"),
            expires=words.get("expires"),
            evidence=None if evidence is None else _evidence_of(evidence),
            detail=words.get("detail", ""),
        )
        self._answer.append(seen)
        return seen

    def _heard(self, words: Words, now: Instant) -> Heard:
        return Heard(
            address=words["address"],
            path=words["path"],
            at=now - words.get("ago", 0.0),
            answers=words.get("answers", 0),
            counts={_OUTCOMES[name]: n for name, n in words.get("counts", {}).items()},
            failures=tuple(self._failure(one) for one in words.get("failures", ())),
            expires=words.get("expires"),
            proved=words.get("proved", 0),
            disproved=tuple(self._failure(one) for one in words.get("disproved", ())),
            serials=words.get("serials", {}),
            overdue=words.get("overdue", 0),
        )

    def _failure(self, words: Words | int) -> Failure:
        if isinstance(words, int):
            return self._failures[words]
        failure = Failure(
            name=words["name"],
            outcome=Outcome(words["outcome"]),
            evidence=_evidence_of(words["evidence"]),
            ask=words.get("ask"),
        )
        self._failures.append(failure)
        return failure


def _evidence_of(words: Words) -> Evidence:
    return Evidence(
        owner=words["owner"],
        rdtype=words["type"],
        detail=words.get("detail", ""),
        key_tag=words.get("key_tag"),
        inception=words.get("inception"),
        expiration=words.get("expiration"),
    )


def _override_of(words: Words) -> Override:
    match = words.get("match", {})
    return Override(
        name=words["name"],
        match=Match(
            upstream=match.get("upstream"),
            nameserver=match.get("nameserver"),
            address=match.get("address"),
            family=Family(match["family"]) if "family" in match else None,
            site=match.get("site"),
        ),
        action=Action(words["action"]),
        to=words.get("to"),
        until=words.get("until"),
        reason=words.get("reason", ""),
        by=words.get("by", ""),
        alarm=words.get("alarm"),
    )


_KINDS: Final = {str(kind): kind for kind in Kind}
_OUTCOMES: Final = {str(outcome): outcome for outcome in Outcome}
_LASTING_OF: Final[Mapping[str, Any]] = {
    "ahead": float,
    "installed": dict,
    "sources": lambda words: {Family(name): tuple(all_) for name, all_ in words.items()},
    "bypassed": frozenset,
    "forwarded": lambda words: {
        Family(name): tuple(Forwarded(**one) for one in all_) for name, all_ in words.items()
    },
    "off": bool,
    "overrides": lambda words: tuple(_override_of(one) for one in words),
}
"""What lasts -> today's value for its words."""
