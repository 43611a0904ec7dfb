"""What is written down comes back bit for bit, and nothing else comes back at all."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import hashlib
import json
import math
import struct
import types
from dataclasses import replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import simulation, written

from steering.decide.state import State
from steering.journal import codec, records, setups
from steering.journal.codec import Codec, ForeignError
from steering.journal.records import (
    Turn,
    differing,
    digest,
    line,
    lines,
    pack_batch,
    pack_state,
    unpack_batch,
    unpack_state,
)
from steering.journal.store import VERSION
from steering.layout import Layout
from steering.model import Action, Event, Evidence, Facts, Heard, Match, Outcome, Override
from steering.replay.scenario import load_scenario
from steering.replay.simulate import SimulatedTurn


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> list[SimulatedTurn]:
    return list(simulation(tmp_path_factory.mktemp("story"), lasts="32s"))


def test_a_world_in_the_midst_of_an_incident_comes_back_bit_for_bit(
    turns: list[SimulatedTurn],
) -> None:
    assert turns[-1].after.plan.all()
    for turned in (turns[0], turns[len(turns) // 2], turns[-1]):
        packed = pack_state(turned.after)
        again = unpack_state(packed, turned.after.layout)
        assert differing(again, turned.after) is None
        assert pack_state(again) == packed
        assert digest(again) == digest(turned.after)


def test_two_worlds_that_differ_are_told_apart_by_the_field(turns: list[SimulatedTurn]) -> None:
    state = turns[-1].after
    other = unpack_state(pack_state(state), state.layout)
    other.ledger.rtt[0, 1] = math.nextafter(other.ledger.rtt[0, 1], 1.0)
    assert differing(state, other) == "ledger.rtt"


def test_turns_come_back_as_they_were(turns: list[SimulatedTurn]) -> None:
    kept = [
        Turn(now=t.now, facts=t.facts, steps=t.steps, events=t.events, plan=digest(t.after))
        for t in turns
    ]
    assert [repr(t) for t in unpack_batch(pack_batch(map(line, kept)))] == list(map(repr, kept))


@given(st.floats(), st.dictionaries(st.sampled_from(Outcome), st.integers(0, 1 << 60)), st.text())
@settings(max_examples=100, deadline=None)
def test_every_float_count_and_text_survives(
    number: float, counts: dict[Outcome, int], text: str
) -> None:
    heard = Heard(address=text, path="local", at=number, counts=counts, expires=number)
    event = Event(event="e", because=text, more={text: number, "none": None, "yes": True})
    turn = Turn(now=number, facts=Facts(wall=0.0, heard=(heard,)), events=(event,), plan="")
    (again,) = unpack_batch(pack_batch([line(turn)]))
    assert repr(again) == repr(turn)
    assert struct.pack("d", again.now) == struct.pack("d", turn.now) or math.isnan(number)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("null", "wanted Evidence"),
        ("[]", "wanted Evidence"),
        ('{"owner": "a", "rdtype": "A"}', "without detail"),
        ('{"owner": 1, "rdtype": "A", "detail": ""}', "owner: 1, wanted str"),
        ('{"owner": "", "rdtype": "A", "detail": "", "key_tag": true}', "key_tag: True"),
        ('{"owner": "", "rdtype": "A", "detail": "", "__class__": "os"}', "has no '__class__'"),
    ],
)
def test_what_is_no_such_value_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ForeignError, match=complaint):
        Codec(Evidence).read(json.loads(text))


def test_an_integer_that_no_float_holds_is_no_float() -> None:
    wanted = Codec(tuple[float, ...])
    assert wanted.read([2**1023, -(2**1023)]) == (2.0**1023, -(2.0**1023))
    for number in (10**400, -(10**400)):
        with pytest.raises(ForeignError, match="too large for a float"):
            wanted.read([number])


def test_a_type_without_a_form_is_refused_before_anything_is_written() -> None:
    with pytest.raises(TypeError, match="no written form"):
        Codec(object).write(object())


def test_a_flipped_byte_of_a_world_is_found_or_changes_nothing(turns: list[SimulatedTurn]) -> None:
    state = turns[-1].after
    packed, unnoticed = bytearray(pack_state(state)), 0
    for at in range(0, len(packed), 97):
        packed[at] ^= 0x20
        with contextlib.suppress(ForeignError):
            # Some bits of a deflated text mean nothing: padding, codes that are not used.
            assert differing(unpack_state(bytes(packed), state.layout), state) is None
            unnoticed += 1
        packed[at] ^= 0x20
    assert unnoticed < len(packed) // 97 // 10


def test_a_world_of_another_layout_is_refused(turns: list[SimulatedTurn], tmp_path: Path) -> None:
    told = load_scenario(_other(tmp_path))
    with pytest.raises(ForeignError):
        unpack_state(pack_state(turns[-1].after), Layout.of(told.setup))


def _other(place: Path) -> Path:
    file = written(place)
    file.write_text(
        file.read_text().replace("      b.gtld", "      c.gtld.example.: [192.5.9.9]\n      b.gtld")
    )
    return file


def test_a_plan_over_paths_that_are_not_there_is_refused(turns: list[SimulatedTurn]) -> None:
    state = unpack_state(pack_state(turns[-1].after), turns[-1].after.layout)
    state.plan[0] = 99
    with pytest.raises(ForeignError, match="plan"):
        unpack_state(pack_state(state), state.layout)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_rubbish_is_refused_and_nothing_worse(rubbish: bytes) -> None:
    with pytest.raises(ForeignError):
        list(unpack_batch(rubbish))
    with pytest.raises(ForeignError):
        list(unpack_batch(pack_batch([rubbish, b"\n{"])))


def test_a_setup_comes_back_as_it_was() -> None:
    setup = load_scenario(Path(__file__).parents[2] / "scenarios/july-2023.yaml").setup
    again = setups.read(setups.write(setup))
    assert again.config == setup.config
    assert [p.model_dump() for p in again.policies] == [p.model_dump() for p in setup.policies]
    with pytest.raises(ForeignError):
        setups.read(setups.write(setup).replace("interval", "intervall"))


def test_a_blank_world_is_as_good_as_any(turns: list[SimulatedTurn]) -> None:
    blank = State.blank(turns[0].before.layout, 5.0, 6.0)
    assert differing(unpack_state(pack_state(blank), blank.layout), blank) is None
    assert np.isneginf(unpack_state(pack_state(blank), blank.layout).avoid_until).all()


# --- the form -------------------------------------------------------------------------------


def form(kind: Any, given: tuple[object, ...], seen: dict[type, list[object]]) -> object:  # noqa: ANN401
    """What a type is written as, in words; `seen` gets the fields of every record in it."""
    if kind in given:
        return None
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [kind.__name__, *(str(member.value) for member in kind)]
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind not in seen:
            seen[kind] = []
            seen[kind] += [
                [
                    name,
                    form(hint, given, seen),
                    [repr(default) for default in codec._omitted(field)],
                ]
                for name, hint, field in codec._fields(kind)
            ]
        return kind.__name__
    if get_origin(kind) in codec._ARRAYS:
        return codec._dtype(kind).str
    if arguments := get_args(kind):
        origin = get_origin(kind)
        name = "|" if origin in (Union, types.UnionType) else origin.__name__
        return [name, *(form(part, given, seen) for part in arguments)]
    return "..." if kind is ... else kind.__name__


def test_whoever_changes_what_a_journal_holds_raises_its_version() -> None:
    seen: dict[type, list[object]] = {}
    for kept in (records._TURN, records._STATE):
        form(kept.kind, kept.given, seen)
    text = json.dumps(sorted([kind.__name__, fields] for kind, fields in seen.items()))
    found = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    assert {State, Facts, Heard, Event} <= seen.keys()
    assert (VERSION, found) == (7, "c3285d9b55e9c53a"), (
        "a journal of before can't be read any more: raise `store.VERSION`, so that it is set"
        " aside, and write both down here"
    )


def test_overrides_that_stay_are_in_a_batch_once() -> None:
    """Thousands of them, in every turn, would be most of the journal."""
    word = Override(
        name="x", match=Match(), action=Action.LOCAL, to=None, until=None, reason="r", by="noc"
    )
    stay, others = (word,) * 500, (word,)
    facts = [Facts(wall=n, installed={}, off=False, overrides=stay) for n in (1.0, 2.0, 3.0)]
    facts += [replace(facts[0], overrides=o) for o in (others, (), stay)]
    turns = [Turn(now=float(n), facts=one, plan="p") for n, one in enumerate(facts)]
    written = list(lines(turns))
    assert [b"as_before" in text for text in written] == [False, True, True, False, False, False]
    assert len(written[1]) < 200
    assert list(unpack_batch(pack_batch(written))) == turns
    with pytest.raises(ForeignError, match="of one before it"):
        list(unpack_batch(pack_batch(written[1:])))
