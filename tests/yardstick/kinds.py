"""How often each kind of event, rule, alarm and fact occurs in recordings, and which never does."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import steering
from yardstick.form import ALARMS, RAISED_IN, RULES, WOULD, Words

OF_THE_ENGINE: Final = ("judge", "decide", "engine")
"""Folders whose modules decide; those that stand beside the folders do as well."""
OF_NO_TURN: Final = frozenset(("copies.py", "copy_course.py"))
"""Modules in them that decide beside the turns: about copies of zones."""
BEHIND: Final = frozenset(("alarm_acknowledged", "alarm_unacknowledged", "acknowledgement_over"))
"""Events that no turn tells: the agent asks for them afterwards (`acknowledge`)."""
TURNS: Final = "turns"

Kinds = Mapping[str, Counter[str]]
"""What sort of thing, as `event` -> kind -> how often."""


def of_lines(lines: Iterable[Words]) -> Kinds:
    """What occurs in a recording."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        found["line"][line.get("do", TURNS)] += 1
        made, facts = line.get("made", {}), line.get("facts", {})
        found["event"].update(event["event"] for event in made.get("events", ()))
        found["rule of a step"].update(step["rule"] for step in made.get("steps", ()))
        found["rule"].update(
            entry[1] for entry in made.get("plan", {}).values() if entry and entry[1]
        )
        found["alarm"].update(name for name, alarm in made.get("alarms", {}).items() if alarm)
        found["fact"].update(_facts(facts))
        if "setup" in line:
            found["mode"][line["setup"]["config"]["mode"]] += 1
    return found


def _facts(facts: Words) -> Iterator[str]:
    for name, what in facts.items():
        if name in ("rounds", "heard", "passed"):
            yield from [name] * len(what)
        else:
            yield f"{name} (changed)"
    for override in facts.get("overrides", ()):
        yield f"override: {override['action']}"
    for one in facts.get("rounds", ()):
        answers = one["answers"]
        for seen in answers if isinstance(answers, list) else ():
            if not isinstance(seen, int):
                yield f"answer: {seen['outcome']}"
                yield from (f"answer with {what}" for what in _RARE if what in seen)
    for one in facts.get("heard", ()):
        yield from (f"heard with {what}" for what in _RARE_TRAFFIC if what in one)


_RARE = ("live", "source", "tcp", "unjudged", "stalled", "large", "nsid", "serial", "expires")
_RARE_TRAFFIC = ("failures", "disproved", "serials", "overdue", "proved")


def together(all_: Iterable[Kinds]) -> Kinds:
    """All of them in one."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for kinds in all_:
        for sort, counted in kinds.items():
            found[sort].update(counted)
    return found


def possible() -> Mapping[str, frozenset[str]]:
    """What the code can emit: sort -> kinds."""
    return {"event": frozenset(_events()) - BEHIND, "rule": RULES, "alarm": frozenset(_alarms())}


def table(kinds: Kinds) -> Iterator[str]:
    """The lines of a table, those that never occur among them."""
    can = possible()
    for sort, counted in sorted(kinds.items()):
        for kind in sorted({*counted, *can.get(sort, ())}):
            number = f"{counted[kind]:>9,}" if counted[kind] else "    NEVER"
            yield f"{sort:<16}{kind:<24}{number}"


def _events() -> Iterator[str]:
    """Texts in place of an event's name: `Event(event=...)`, `.event(...)`, `add_event(...)`.

    Other calls of these names come first by a variable, so texts alone are taken.
    """
    yield from WOULD
    for node in _nodes():
        match node:
            case ast.Call(func=ast.Name(id="Event"), keywords=keywords):
                for keyword in keywords:
                    if keyword.arg == "event":
                        yield from _texts(keyword.value)
            case ast.Call(
                func=ast.Attribute(attr="event" | "add_event" | "_add_event")
                | ast.Name(id="_add_event" | "add_event"),
                args=[*arguments],
            ):
                for argument in arguments[:2]:
                    yield from _texts(argument)


def _alarms() -> frozenset[str]:
    """Those that stand by name where the engine raises its alarms."""
    return ALARMS & {text for node in _parsed(RAISED_IN) for text in _texts(node)}


def _nodes() -> Iterator[ast.AST]:
    home = Path(steering.__file__).parent
    for file in home.glob("*.py"):
        yield from _parsed(file)
    for folder in OF_THE_ENGINE:
        for file in (home / folder).rglob("*.py"):
            if file.name not in OF_NO_TURN:
                yield from _parsed(file)


def _parsed(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def _texts(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one)
            yield from _texts(other)
