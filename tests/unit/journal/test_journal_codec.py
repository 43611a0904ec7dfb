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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import simulation, written

from steering.decide.state import State
from steering.decide.verification import Verification
from steering.facts import Facts
from steering.index import Index
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
from steering.judge.known.buckets import EMPTY
from steering.judge.known.ledger import AddressRecord, GroupRecord, PathRecord
from steering.judge.known.paired_test import Trial
from steering.model import LOCAL, Event, Evidence, Health, Heard, Outcome
from steering.override import Action, Match, Override
from steering.replay.scenario import load_scenario
from steering.replay.simulate import SimulatedTurn


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> list[SimulatedTurn]:
    return list(simulation(tmp_path_factory.mktemp("story"), lasts="32s"))


def test_a_world_in_the_midst_of_an_incident_comes_back_bit_for_bit(
    turns: list[SimulatedTurn],
) -> None:
    assert turns[-1].after.plan.keys() == turns[-1].after.index.settings.keys()
    for turned in (turns[0], turns[len(turns) // 2], turns[-1]):
        packed = pack_state(turned.after)
        again = unpack_state(packed, turned.after.index)
        assert differing(again, turned.after) is None
        assert pack_state(again) == packed
        assert digest(again) == digest(turned.after)


def test_two_worlds_that_differ_are_told_apart_by_the_field(turns: list[SimulatedTurn]) -> None:
    state = turns[-1].after
    other = unpack_state(pack_state(state), state.index)
    record = other.ledger.path("192.5.0.30", "pao")
    assert record.rtt is not None
    record.rtt = math.nextafter(record.rtt, 1.0)
    assert differing(state, other) == "ledger.paths[192.5.0.30 pao].rtt"
    assert differing(state, replace(state, plan={})) == "plan"


def test_turns_come_back_as_they_were(turns: list[SimulatedTurn]) -> None:
    kept = [
        Turn(now=t.now, facts=t.facts, steps=t.steps, events=t.events, plan=digest(t.after))
        for t in turns
    ]
    assert [repr(t) for t in unpack_batch(pack_batch(map(line, kept)))] == list(map(repr, kept))


@pytest.mark.long
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
            assert differing(unpack_state(bytes(packed), state.index), state) is None
            unnoticed += 1
        packed[at] ^= 0x20
    assert unnoticed < len(packed) // 97 // 10


def test_a_world_of_other_addresses_is_refused(turns: list[SimulatedTurn], tmp_path: Path) -> None:
    told = load_scenario(_other(tmp_path))
    with pytest.raises(ForeignError):
        unpack_state(pack_state(turns[-1].after), Index.of(told.setup))


def _other(place: Path) -> Path:
    file = written(place)
    file.write_text(
        file.read_text().replace("      b.gtld", "      c.gtld.example.: [192.5.9.9]\n      b.gtld")
    )
    return file


ONE = "192.5.0.30"
TRIAL = Trial(candidate="sea", since=0.0)
SHORT = PathRecord(levels=(EMPTY,))
ENDLESS = PathRecord(health=Health.HEALTHY, seen=math.nan)


def _ledger(**other: object) -> Callable[[State], State]:
    return lambda state: replace(state, ledger=replace(state.ledger, **other))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: replace(state, plan={ONE: "sea"}), "plan"),
        (lambda state: replace(state, plan={ONE: LOCAL}), "plan"),
        (lambda state: replace(state, plan={"192.5.9.9": "pao"}), "plan"),
        (lambda state: replace(state, since={ONE: 1.0}), "since"),
        (lambda state: replace(state, avoid_until={(ONE, "sea"): 1.0}), "avoid_until"),
        (lambda state: replace(state, verifications={ONE: Verification(path="sea")}), "verific"),
        (_ledger(addresses={ONE: AddressRecord(trial=TRIAL)}), "a trial"),
        (_ledger(groups={"gone": GroupRecord()}), "ledger.groups"),
        (_ledger(paths={(ONE, "sea"): PathRecord()}), "ledger.paths"),
        (_ledger(paths={(ONE, "pao"): SHORT}), "4 sets of buckets"),
        (_ledger(paths={(ONE, "pao"): ENDLESS}), "is none"),
    ],
)  # fmt: skip
def test_names_and_lengths_that_do_not_fit_are_refused(
    turns: list[SimulatedTurn], change: Callable[[State], State], complaint: str
) -> None:
    state = turns[-1].after
    with pytest.raises(ForeignError, match=complaint):
        unpack_state(pack_state(change(state)), state.index)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_rubbish_is_refused_and_nothing_worse(rubbish: bytes) -> None:
    with pytest.raises(ForeignError):
        list(unpack_batch(rubbish))
    with pytest.raises(ForeignError):
        list(unpack_batch(pack_batch([rubbish, b"\n{"])))


def test_a_setup_comes_back_as_it_was() -> None:
    setup = load_scenario(Path(__file__).parents[3] / "scenarios/july-2023.yaml").setup
    again = setups.read(setups.write(setup))
    assert again.config == setup.config
    assert [p.model_dump() for p in again.policies] == [p.model_dump() for p in setup.policies]
    with pytest.raises(ForeignError):
        setups.read(setups.write(setup).replace("interval", "intervall"))


def test_a_blank_world_is_as_good_as_any(turns: list[SimulatedTurn]) -> None:
    blank = State.blank(turns[0].before.index, 5.0, 6.0)
    again = unpack_state(pack_state(blank), blank.index)
    assert differing(again, blank) is None
    assert again.ledger.listened.at == -math.inf


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
    if get_origin(kind) is None and (each := codec._fixed(kind)):
        return [kind.__name__, *(form(part, given, seen) for part in each)]
    if arguments := get_args(kind):
        origin = get_origin(kind)
        name = "|" if origin in (Union, types.UnionType) else origin.__name__
        return [name, *(form(part, given, seen) for part in arguments)]
    return "..." if kind is ... else kind.__name__


def test_whoever_changes_what_a_journal_holds_raises_its_version() -> None:
    seen: dict[type, list[object]] = {}
    for kept in (records._TURN, records._STATE, records._PATH):
        form(kept.kind, kept.given, seen)
    text = json.dumps(sorted([kind.__name__, fields] for kind, fields in seen.items()))
    found = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    assert {State, Facts, Heard, Event} <= seen.keys()
    assert (VERSION, found) == (9, "733d3780df0a5a47"), (
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
