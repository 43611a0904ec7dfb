"""The journal's records: turns, and states and batches as bytes."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from steering.decide.situation import Situation
from steering.decide.state import State
from steering.facts import Facts
from steering.index import Index, Key
from steering.journal.codec import Codec, ForeignError, Json
from steering.journal.columns import MAGIC
from steering.journal.packing import Packing, pack
from steering.journal.unpacking import unpack
from steering.judge.known.baseline import KINDS, Baseline
from steering.judge.known.ledger import Ledger, PathRecord
from steering.judge.known.stream import PathTraffic
from steering.judge.open_addresses import reopened
from steering.model import Event, Instant, Step

LARGEST_STATE = 1 << 30
LARGEST_BATCH = 1 << 28
"""The most bytes that are unpacked: many times the size with the most addresses and sites."""


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
_TURN, _STATE = Codec(Turn), Codec(State, (Index, _SITUATION))
_PATH = Codec(tuple[str, str, PathRecord | None, PathTraffic | None])
"""What is known of one address over one path: of probes, or of traffic."""
_TEXT = json.JSONEncoder(separators=(",", ":")).encode


def digest(state: State) -> str:
    """A digest that is equal for two states with the same plan and rules."""
    both = repr((sorted(state.plan.items()), sorted(state.rule.items())))
    return hashlib.blake2b(both.encode(), digest_size=8).hexdigest()


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
        self._packing = Packing()
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
        return pack(map(_parsed, kept))
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
    if packed.startswith(MAGIC):
        yield from unpack(packed)
    else:  # plain lines
        yield from map(_parsed, _inflated(packed, LARGEST_BATCH).splitlines())


def pack_state(state: State) -> bytes:
    """A state without its index, compressed."""
    squeeze = zlib.compressobj(1)  # compresses nearly as well as the best level
    parts = [squeeze.compress(line) for line in _state_lines(state)]
    return b"".join([*parts, squeeze.flush()])


def _state_lines(state: State) -> Iterator[bytes]:
    """A state as lines: one for each path, so that not all of it is held as JSON at once, nor
    other threads wait for long.
    """
    ledger = state.ledger
    # `due` is worked out when it is read.
    rest = replace(ledger, paths={}, traffic={}, due={})
    yield _line(_STATE.write(replace(state, ledger=rest)))
    for (address, path), record in ledger.paths.items():
        yield _line(_PATH.write((address, path, record, None)))
    for (address, path), heard in ledger.traffic.items():
        yield _line(_PATH.write((address, path, None, heard)))


def _line(written: Json) -> bytes:
    return _TEXT(written).encode() + b"\n"


def unpack_state(packed: bytes, index: Index) -> State:
    """A state with this index. Raises ForeignError."""
    first, *lines = _inflated(packed, LARGEST_STATE).splitlines() or [b""]
    state = _STATE.read(_parsed(first), {Index: index, _SITUATION: None})
    paths: dict[Key, PathRecord] = {}
    heard: dict[Key, PathTraffic] = {}
    for line in lines:
        address, path, record, traffic = _PATH.read(_parsed(line))
        if record is not None:
            paths[address, path] = record
        if traffic is not None:
            heard[address, path] = traffic
    ledger = replace(state.ledger, paths=paths, traffic=heard)
    state = replace(state, ledger=ledger)
    _check_names(state)
    _check_lengths(ledger)
    try:
        due = reopened(ledger, index, state.now).due
    except (ValueError, OverflowError) as error:
        raise ForeignError(f"ledger.paths: an instant is none: {error}") from None
    # With an index that is another one, so that the next turn computes the overrides anew.
    overrides = replace(state.override_state, index=replace(index))
    return replace(state, ledger=replace(ledger, due=due), override_state=overrides)


_MADE = ("index", "situation", "due")
"""Fields that are not compared, since they are not written."""


def differing(one: State, other: State) -> str | None:
    """The first value in which two states with one index differ; None: they are equal."""
    return _differing(one, other)


def _differing(one: object, other: object) -> str | None:
    if one is other:
        return None
    if isinstance(one, Mapping) and isinstance(other, Mapping):  # of any type
        if [*one] != [*other]:
            return ""
        for key in one:
            found = _differing(one[key], other[key])
            if found is not None:
                name = " ".join(key) if isinstance(key, tuple) else key
                return f"[{name}].{found}"
        return None
    if type(one) is not type(other) or not hasattr(one, "__dataclass_fields__"):
        return None if one == other or repr(one) == repr(other) else ""  # NaN equals nothing
    for name in one.__dataclass_fields__:
        if name not in _MADE:
            found = _differing(getattr(one, name), getattr(other, name))
            if found is not None:
                return f"{name}.{found}".rstrip(".").replace(".[", "[")
    return None


def _check_names(state: State) -> None:
    """Refuse the names of addresses, paths, groups and zones that the index does not have."""
    index, ledger = state.index, state.ledger
    addresses, paths = index.settings.keys(), index.path_number.keys()
    zones = {(policy.upstream, zone) for policy in index.policies for zone in policy.zones}
    trials = [known.trial for known in ledger.addresses.values() if known.trial]
    group_trials = [known.trial for known in ledger.groups.values() if known.trial]
    trials += [group.trial for group in group_trials]
    for name, found, known in (
        ("plan", state.plan.keys(), addresses),
        ("plan", set(state.plan.values()), {*index.sites}),
        ("rule", state.rule.keys(), addresses),
        ("since", state.since.keys(), addresses),
        ("since", addresses, state.since.keys()),
        ("left_at", state.left_at.keys(), addresses),
        ("breached", state.breached, addresses),
        ("open_groups", state.open_groups, index.groups.keys()),
        ("verifications", state.verifications.keys(), addresses),
        ("verifications", {each.path for each in state.verifications.values()}, paths),
        ("frozen", state.frozen.keys(), addresses),
        ("worn", state.worn.keys(), addresses),
        ("ledger.addresses", ledger.addresses.keys(), addresses),
        ("ledger.asked", ledger.asked.keys(), addresses),
        ("ledger.groups", ledger.groups.keys(), index.groups.keys()),
        ("ledger.zones", ledger.zones.keys(), zones),
        ("ledger.open", ledger.open, addresses),
        ("ledger.held", ledger.held, addresses),
        ("a trial", {trial.candidate for trial in trials}, paths),
        ("a trial", {address for group in group_trials for address in group.failed}, addresses),
        ("ledger.upstreams", ledger.upstreams.keys(), index.upstreams.keys()),
    ):
        if not found <= known:
            raise ForeignError(f"{name}: it has unknown names, or lacks some")
    pairs: Mapping[str, Iterable[Key]] = {
        "avoid_until": state.avoid_until,
        "turned": state.turned,
        "unserved": state.unserved,
        "ledger.paths": ledger.paths,
        "ledger.instances": ledger.instances,
        "ledger.traffic": ledger.traffic,
    }
    for name, keys in pairs.items():
        if not all(index.knows(*key) for key in keys):
            raise ForeignError(f"{name}: it has unknown addresses or paths")


def _check_lengths(ledger: Ledger) -> None:
    """Refuse records that have not one entry for each set of buckets."""
    for record in (*ledger.paths.values(), *ledger.traffic.values()):
        if len(record.levels) != len(KINDS) or not _fits(record.baseline):
            raise ForeignError(f"ledger: a record has not {len(KINDS)} sets of buckets")


def _fits(baseline: Baseline | None) -> bool:
    if baseline is None:
        return True
    each = (baseline.failed, baseline.answers, baseline.scales)
    return all(numbers is None or len(numbers) == len(KINDS) for numbers in each)


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
