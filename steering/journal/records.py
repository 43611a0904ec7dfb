"""The journal's records: turns, and states and batches as bytes."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from steering.decide.situation import Situation
from steering.decide.state import State
from steering.journal import columns
from steering.journal.codec import Array, Codec, ForeignError, Json
from steering.layout import Layout
from steering.model import Event, Facts, Instant, Step

LARGEST_STATE = 1 << 30
LARGEST_BATCH = 1 << 28
"""The most bytes that are unpacked: many times the size with the largest layout."""
_HEAD = 8
"""Bytes of a length field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn: its inputs and decisions."""

    now: Instant
    facts: Facts
    steps: tuple[Step, ...] = ()
    events: tuple[Event, ...] = ()
    plan: str
    """Digest of the plan and of the rules that decided it (`digest`)."""
    as_before: bool = False
    """In a batch: the overrides are those of the turn before, and are left out."""


_SITUATION = Situation | None
"""Not written: each turn makes its own."""
_TURN, _STATE = Codec(Turn), Codec(State, (Layout, _SITUATION))


def digest(state: State) -> str:
    """A digest that is equal for two states with the same plan and rules."""
    both = np.ascontiguousarray(state.plan).tobytes() + np.ascontiguousarray(state.rule).tobytes()
    return hashlib.blake2b(both, digest_size=8).hexdigest()


def lines(turns: Iterable[Turn]) -> Iterator[bytes]:
    """Turns as the lines of a batch. Unchanged overrides are in it once."""
    before: Turn | None = None
    for turn in turns:
        yield line(_shortened(turn, before))
        before = turn


def _shortened(turn: Turn, before: Turn | None) -> Turn:
    """The turn without its overrides, if they are those of the turn before in the batch."""
    facts = turn.facts
    if before is None or not facts.overrides or facts.overrides is not before.facts.overrides:
        return turn
    return replace(turn, as_before=True, facts=replace(facts, overrides=()))


class Batch:
    """Turns that will be written together, packed as they come."""

    def __init__(self) -> None:
        self.count = self.weight = 0
        """Turns; and turns, questions and tallies together."""
        self.wall = self.until = 0.0
        """Wall times of the first turn and of the last."""
        self._packing = columns.Packing()
        self._before: Turn | None = None

    def add(self, turn: Turn) -> None:
        """Add a turn."""
        self._packing.add(_TURN.write(_shortened(turn, self._before)))
        self._before = turn
        self.until = turn.facts.wall
        self.wall = self.wall if self.count else self.until
        self.count += 1
        self.weight += 1 + len(turn.facts.rounds) + len(turn.facts.heard)

    def packed(self) -> bytes:
        """The turns, compressed."""
        return self._packing.packed()


def line(turn: Turn) -> bytes:
    """One turn as a line of a batch."""
    text = json.dumps(_TURN.write(turn), ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="surrogatepass") + b"\n"


def pack_batch(lines: Iterable[bytes]) -> bytes:
    """The lines, compressed: by columns, or as they are if they can't be parsed."""
    kept = list(lines)
    try:
        return columns.pack(map(_parsed, kept))
    except (ForeignError, RecursionError):
        return zlib.compress(b"".join(kept))


def unpack_batch(packed: bytes) -> Iterator[Turn]:
    """The turns of a batch, in order. Raises ForeignError."""
    before: Turn | None = None
    for written in _unpacked(packed):
        turn = _TURN.read(written)
        if turn.as_before:
            if before is None:
                raise ForeignError("its first turn has the overrides of one before it")
            facts = replace(turn.facts, overrides=before.facts.overrides)
            turn = replace(turn, as_before=False, facts=facts)
        yield turn
        before = turn


def _unpacked(packed: bytes) -> Iterator[Json]:
    if packed.startswith(columns.MAGIC):
        yield from columns.unpack(packed)
    else:  # plain lines
        yield from map(_parsed, _inflated(packed, LARGEST_BATCH).splitlines())


def pack_state(state: State) -> bytes:
    """A state without its layout, compressed: text, then the bytes of its arrays."""
    arrays: list[Array] = []
    text = json.dumps(_STATE.write(state, arrays), separators=(",", ":")).encode()
    # Most bytes are zeros and NaN: the fastest level compresses nearly as well as the best.
    squeeze = zlib.compressobj(1)
    parts = [squeeze.compress(len(text).to_bytes(_HEAD, "big") + text)]
    sizes = np.array([array.nbytes for array in arrays], dtype="<i8")
    parts.append(squeeze.compress(len(arrays).to_bytes(_HEAD, "big") + sizes.tobytes()))
    parts += [squeeze.compress(array.data.cast("B") if array.size else b"") for array in arrays]
    parts.append(squeeze.flush())
    return b"".join(parts)


def unpack_state(packed: bytes, layout: Layout) -> State:
    """A state with this layout. Raises ForeignError."""
    raw = memoryview(_inflated(packed, LARGEST_STATE))
    text, raw = _cut(raw, _length(raw))
    sizes, raw = _cut(raw, 8 * _length(raw))
    arrays: list[bytes] = []
    for size in np.frombuffer(sizes, dtype="<i8").tolist():
        array, raw = _part(raw, size)
        arrays.append(bytes(array))
    state = _STATE.read(_parsed(bytes(text)), arrays, {Layout: layout, _SITUATION: None})
    _check_shapes(state, layout)
    return state


def differing(one: State, other: State) -> str | None:
    """The first field in which two states with one layout differ; None: they are equal."""
    return _differing(one, other)


def _differing(one: object, other: object) -> str | None:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return None if one.shape == other.shape and one.tobytes() == other.tobytes() else ""
    if isinstance(one, Layout | Situation) or isinstance(other, Layout | Situation):
        return None
    if isinstance(one, Mapping) and isinstance(other, Mapping):  # of any type
        same = [*map(repr, one)] == [*map(repr, other)]
        return None if same and all(_differing(one[k], other[k]) is None for k in one) else ""
    names = getattr(one, "__dataclass_fields__", None)
    if names is None:
        return None if repr(one) == repr(other) else ""
    for name in names:
        found = _differing(getattr(one, name), getattr(other, name))
        if found is not None:
            return f"{name}.{found}".rstrip(".")
    return None


def _check_shapes(state: State, layout: Layout) -> None:
    """Refuse arrays that do not fit the layout, and numbers of unknown paths or addresses."""
    blank = State.blank(layout, state.now, state.wall)
    wrong = _misshapen(state, blank)
    if wrong is not None:
        raise ForeignError(f"{wrong} does not have the shape of this layout")
    columns, rows = len(layout.paths), len(layout.targets)
    if state.plan.size and not 0 <= int(state.plan.min()) <= int(state.plan.max()) < columns:
        raise ForeignError("plan: it has unknown paths")
    keys = (*state.verifications, *state.ledger.trials, *state.ledger.controls, *state.ledger.holds)
    pairs = (*state.ledger.buckets, *state.ledger.instances, *state.ledger.evidence)
    if not all(0 <= row < rows for row in keys) or not all(
        0 <= row < rows and 0 <= column < columns for row, column in pairs
    ):
        raise ForeignError("it has unknown addresses or paths")


def _misshapen(one: object, like: object) -> str | None:
    if isinstance(like, np.ndarray):
        return "" if not isinstance(one, np.ndarray) or one.shape != like.shape else None
    names = getattr(like, "__dataclass_fields__", None)
    if names is None or isinstance(like, Layout | Situation):
        return None
    for name in names:
        found = _misshapen(getattr(one, name), getattr(like, name))
        if found is not None:
            return f"{name}.{found}".rstrip(".")
    return None


def _length(raw: memoryview) -> int:
    if len(raw) < _HEAD:
        raise ForeignError("it ends too soon")
    return int.from_bytes(raw[:_HEAD], "big")


def _cut(raw: memoryview, size: int) -> tuple[memoryview, memoryview]:
    """The part after a length field, and the rest."""
    return _part(raw[_HEAD:], size)


def _part(raw: memoryview, size: int) -> tuple[memoryview, memoryview]:
    if not 0 <= size <= len(raw):
        raise ForeignError("it ends too soon")
    return raw[:size], raw[size:]


def _inflated(packed: bytes, most: int) -> bytes:
    unzip = zlib.decompressobj()
    try:
        raw = unzip.decompress(packed, most)
    except zlib.error as error:  # its checksum, too
        raise ForeignError(f"it can't be unpacked: {error}") from None
    if not unzip.eof:
        raise ForeignError("it ends too soon, or is far too large")
    return raw


def _parsed(text: bytes) -> Json:
    try:
        parsed: Json = json.loads(text.decode(errors="surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ForeignError(f"it is no JSON: {error}") from None
    return parsed
