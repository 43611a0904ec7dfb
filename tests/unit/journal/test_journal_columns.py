"""A batch of the journal by columns: bit for bit, small, and never worse than refused."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import record, simulation

from benchmarks import journal as weighing
from steering.journal import unpacking
from steering.journal import writer as writing
from steering.journal.codec import ForeignError, Json
from steering.journal.columns import HEAD, MAGIC
from steering.journal.packing import pack
from steering.journal.reader import Checkpoint, DamagedError, Recording
from steering.journal.records import Turn, digest, lines, pack_batch, unpack_batch
from steering.journal.store import VERSION
from steering.journal.unpacking import unpack
from steering.journal.writer import Item, Writer
from steering.replay.simulate import SimulatedTurn

FLAT = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**61), 2**61)
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1.0, 1e300, 12345.678, 1e15 + 0.5, float("nan"), float("inf")])
    | st.text()
    | st.sampled_from(["a.b.c", ".", "..", "", "a.", ".a", "\ud800", "com."])
)
VALUES: st.SearchStrategy[Json] = st.recursive(
    FLAT,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("a"), inner),
    max_leaves=30,
)


@pytest.mark.long
@given(st.lists(VALUES))
@settings(max_examples=150, deadline=None)
def test_whatever_is_written_comes_back_to_the_bit(values: list[Json]) -> None:
    again = unpack(pack(values))
    assert repr(again) == repr(values)
    assert json.dumps(again) == json.dumps(values), "in the same order"


@given(st.lists(st.integers(-(2**60), 2**60) | st.sampled_from([0, 1, 2**60 - 1, -(2**60) + 1])))
@settings(max_examples=300, deadline=None)
def test_whole_numbers_of_any_size_and_run_come_back(numbers: list[int]) -> None:
    values: list[Json] = [*numbers, *numbers[:3] * 9]
    assert unpack(pack(values)) == values


@pytest.mark.parametrize("scale", [0, 3, 4, 5, 6])
def test_floats_of_few_decimals_are_as_small_as_whole_numbers(scale: int) -> None:
    values: list[Json] = [number * 7 % 1000 / 10**scale for number in range(2_000)]
    packed = pack(values)
    assert unpack(packed) == values
    whole: list[Json] = [number * 7 % 1000 for number in range(2_000)]
    assert len(packed) < len(pack(whole)) + 30


def test_what_equals_the_one_before_and_is_another_is_written() -> None:
    values: list[Json] = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": [0.0]}, {"a": [-0.0]}]
    assert repr(unpack(pack(values))) == repr(values)


# --- what a stranger may have written ---------------------------------------------------------


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_rubbish_is_refused_and_nothing_worse(rubbish: bytes) -> None:
    for packed in (rubbish, MAGIC + rubbish, MAGIC + zlib.compress(rubbish)):
        with pytest.raises(ForeignError):
            unpack(packed)


def _forged(form: Json, octets: bytes = b"") -> bytes:
    head = json.dumps(form).encode()
    return MAGIC + zlib.compress(len(head).to_bytes(4, "big") + head + octets)


_NESTED = "[" * 100_000
HUGE = 1 << 40
FORGED: dict[str, Json] = {
    "nothing": None,
    "a number": 5,
    "no columns": [],
    "columns that are none": [[["n", None]], [1, 1, 0, False], 5, 5, 5, {}],
    "octets that are not there": [[["n", None]], [9, 1, 0, False], None, None, None, {}],
    "more than there is": [[["n", None]], [HUGE, 1, 0, False], None, None, None, {}],
    "less than nothing": [[["n", None]], [-1, 1, 0, False], None, None, None, {}],
    "too wide": [[["n", None]], [1, 9, 0, False], None, None, None, {}],
    "a kind of its own": [[["x", None]], [1, 1, 0, False], None, None, None, {}],
    "a shape that is not there": [[], [1, 1, 0, False], None, None, None, {}],
    "a negative shape": [[["n", None]], [1, 1, -5, False], None, None, None, {}],
    "an endless list": [[["l", HUGE]], [1, 1, 0, False], None, None, None, {}],
    "a list of itself": [[["l", 9]], [1, 1, 0, False], None, None, None, {"": None}],
    "numbers that are not there": [[["i", None]], [1, 1, 0, False], None, None, None, {}],
    "a key that is not there": [[["o", ["a"]]], [1, 1, 0, False], None, None, None, {}],
    "an odd scale": [[["d", None]], [1, 1, 0, False], None, [99, [1, 1, 0, False]], None, {}],
    "runs without end": [
        [["n", None]], [[1, 8, (1 << 59), False], [1, 1, 0, False]], None, None, None, {},
    ],
    "runs the wrong way": [
        [["n", None]], [[1, 1, -9, False], [1, 1, 0, False]], None, None, None, {},
    ],
    "too deep": json.loads("[" * 400 + "]" * 400),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_form_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ForeignError):
        unpack(_forged(FORGED[name], b"\0" * 8))


def test_a_form_that_nests_without_end_is_refused() -> None:
    for form in (_NESTED, '{"":' * 100_000):
        head = form.encode()
        raw = MAGIC + zlib.compress(len(head).to_bytes(4, "big") + head)
        with pytest.raises(ForeignError):
            unpack(raw)


def test_a_little_that_becomes_a_lot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that stands for the one before it counts for all that this one was made of."""
    many: list[Json] = [[0] * 1_000] * 1_000
    packed = pack(many)
    assert unpack(packed) == many
    monkeypatch.setattr(unpacking, "LARGEST", 100_000)
    with pytest.raises(ForeignError, match="too large"):
        unpack(packed)


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> list[SimulatedTurn]:
    return list(simulation(tmp_path_factory.mktemp("story"), lasts="40s"))


def _kept(turns: list[SimulatedTurn]) -> list[Turn]:
    return [
        Turn(now=t.now, facts=t.facts, steps=t.steps, events=t.events, plan=digest(t.after))
        for t in turns
    ]


def test_a_flipped_byte_of_a_batch_is_found_or_changes_nothing(turns: list[SimulatedTurn]) -> None:
    kept = _kept(turns)
    packed, whole = bytearray(pack_batch(lines(kept))), list(map(repr, kept))
    for at in range(0, len(packed), 13):
        packed[at] ^= 0x20
        with contextlib.suppress(ForeignError):
            assert list(map(repr, unpack_batch(bytes(packed)))) == whole
        packed[at] ^= 0x20


# --- the file ---------------------------------------------------------------------------------


def _read(path: Path) -> Iterator[Checkpoint | Turn]:
    recording = Recording(path)
    with contextlib.closing(recording):
        yield from recording.read()


def test_a_journal_of_the_version_before_is_set_aside_and_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    story = simulation(tmp_path, lasts="40s")
    turns = record(path, story)
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("PRAGMA user_version = 2")
    with pytest.raises(DamagedError, match="it is of version 2"):
        list(_read(path))
    writer = Writer(path, max_age=86_400.0, max_size=1 << 28)
    for turned, turn in zip(turns[:2], _kept(turns[:2]), strict=True):
        writer.take(Item(setup=story.setup, turn=turn, before=turned.before, follows=False))
    writer.close()
    assert f"it is of version 2, wanted version {VERSION}" in writer.news[0].because
    (aside,) = tmp_path.glob("journal.damaged-*.sqlite")
    assert aside.stat().st_size > 0, "it was set aside as it was"
    assert any(isinstance(item, Turn) for item in _read(path)), "a new one was begun"


@pytest.mark.parametrize("cut", [1, 3_000, 20_000, 60_000])
def test_what_was_written_before_a_half_written_end_is_read(
    tmp_path: Path, turns: list[SimulatedTurn], cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host goes down in the midst of a write: the end of SQLite's log is not there."""
    monkeypatch.setattr(writing, "BATCH", 20)
    story = simulation(tmp_path, lasts="40s")
    path = tmp_path / "state" / "journal.sqlite"
    writer = Writer(path, max_age=86_400.0, max_size=1 << 28)
    kept = _kept(turns)
    for number, turn in enumerate(kept):
        before = None if number else turns[0].before
        writer.take(Item(setup=story.setup, turn=turn, before=before, follows=bool(number)))
    left = tmp_path / "left" / "journal.sqlite"
    left.parent.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{left}{end}")
    writer.close()
    log = left.with_name(left.name + "-wal")
    raw = log.read_bytes()
    log.write_bytes(raw[: max(0, len(raw) - cut)])
    found = [item for item in _read(left) if isinstance(item, Turn)]
    assert 0 < len(found) < len(kept)
    assert list(map(repr, found)) == list(map(repr, kept[: len(found)]))


def test_of_a_batch_that_is_damaged_what_stands_before_it_is_read(
    tmp_path: Path, turns: list[SimulatedTurn]
) -> None:
    path = tmp_path / "journal.sqlite"
    record(path, simulation(tmp_path, lasts="40s"))
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        (first,) = base.execute("SELECT max(first) FROM batches").fetchone()
        base.execute("UPDATE batches SET turns = substr(turns, 1, 99) WHERE first = ?", (first,))
    found: list[Checkpoint | Turn] = []
    with pytest.raises(DamagedError, match=f"turns {first} to"):
        found.extend(_read(path))
    found.clear()
    with contextlib.suppress(DamagedError):
        for item in _read(path):
            found.append(item)  # noqa: PERF402 - the items before the error
    assert sum(isinstance(item, Turn) for item in found) == first - 1


# --- what it takes ------------------------------------------------------------------------------


@pytest.mark.long
def test_a_question_to_one_of_26_steered_addresses_takes_two_dozen_octets() -> None:
    """With three answers to it, at the shipped cadence: 130 a second are 10 MB an hour.

    As text it takes 65 of the same answers, and 100 of those whose times are not rounded.
    """
    found = weighing.measure(bad=True, lasts=110, settled=60, begins=15)
    assert found.steered == 26
    assert found.rounds / found.seconds > 25
    assert found.octets / found.rounds <= 24
    assert found.octets * 2.5 < found.text


@pytest.mark.parametrize("make", [list, lambda some: some[::-1]])
def test_turns_in_any_order_come_back(
    turns: list[SimulatedTurn], make: Callable[[list[Turn]], list[Turn]]
) -> None:
    kept = make(_kept(turns))
    assert list(map(repr, unpack_batch(pack_batch(lines(kept))))) == list(map(repr, kept))


def test_a_few_octets_do_not_stand_for_millions_of_numbers() -> None:
    form = b"null"
    reader = unpacking._Reader(HEAD.pack(len(form)) + form + bytes(16))
    with pytest.raises(ForeignError, match="far too large"):
        reader._numbers([[1, 8, unpacking.LONGEST + 1, False], [1, 8, 0, False]])
