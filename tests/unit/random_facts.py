"""Turns of arbitrary facts, out of a number."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from simulation import WALL, policy, setup

from steering.facts import Breaches, Facts, Memory
from steering.index import Index
from steering.model import (
    LOCAL,
    Evidence,
    Failure,
    Family,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
)
from steering.override import Action, Frozen, Match, Override


def _index() -> Index:
    with tempfile.TemporaryDirectory() as folder:
        more = "serial: epoch\nbreach: {on: [bogus, timeout, error, stale]}\n"
        return Index.of(
            setup(
                Path(folder),
                policy(letters=2, more=more + "steer: {at_most: 3}\n"),
                policy("root", letters=1, net=6),
            )
        )


INDEX = _index()
ADDRESSES = tuple(INDEX.settings)
ILL = ADDRESSES[:2]


def observation(draw: random.Random, address: str, path: str, fault: Outcome | None) -> Observation:
    """Anything; with a fault mostly that, over the local path to two addresses."""
    if fault is not None and draw.random() < 0.9:
        outcome = fault if path == LOCAL and address in ILL else Outcome.SECURE
        return Observation(address=address, path=path, outcome=outcome, reached=True, rtt=0.02)
    return Observation(
        address=address,
        path=path,
        live=path == "live",
        outcome=draw.choice([Outcome.SECURE, Outcome.SECURE, Outcome.EXPIRED, *Outcome]),
        judged=draw.random() < 0.75,
        reached=draw.random() < 0.5,
        rtt=draw.choice([None, draw.uniform(0.0001, 2)]),
        nsid=draw.choice([None, "a", "b"]),
        serial=draw.choice([None, 0, 2**32 - 1, draw.getrandbits(32)]),
        expires=draw.choice([None, WALL + draw.uniform(-1e6, 1e6)]),
        large=draw.choice([0, 0, 1000, draw.randint(1000, 65535)]),
        stalled=draw.random() < 0.1,
    )


def round_of(draw: random.Random, now: float, fault: Outcome | None) -> Round:
    address = draw.choice([*ADDRESSES, "198.51.100.7"])
    paths = [*INDEX.paths, "live", "gone"]
    zone = draw.choice(["gtld.", "root.", "other."])
    return Round(
        address=address,
        question=Question(
            zone=zone,
            name=f"n{draw.randrange(100)}.{zone}",
            rdtype="A",
            kind=draw.choice(list(Kind)),
        ),
        at=now - draw.choice([0.0, draw.uniform(0, 1.5)]),
        observations=tuple(
            observation(draw, address, path, fault)
            for path in draw.sample(paths, draw.randint(1, len(paths)))
        ),
    )


def failure(draw: random.Random) -> Failure:
    name, other = (f"{draw.randrange(90)}.com." for _ in range(2))
    return Failure(
        name=name,
        outcome=draw.choice([Outcome.EXPIRED, Outcome.BAD_SIGNATURE]),
        evidence=Evidence(owner=other, rdtype="NSEC3", detail="expired"),
        ask=draw.choice([None, name]),
    )


def traffic(draw: random.Random, now: float) -> Heard:
    """Something of the resolvers' traffic."""
    few = draw.sample(list(Outcome), draw.randrange(4))
    return Heard(
        address=draw.choice(ADDRESSES),
        path=draw.choice([*INDEX.paths, "gone"]),
        at=now - 0.2,
        answers=draw.randrange(1001),
        counts={outcome: draw.randrange(1001) for outcome in few},
        failures=tuple(failure(draw) for _ in range(draw.randrange(11))),
        expires=draw.choice([None, WALL - 1, WALL + 500_000]),
        proved=draw.randrange(101),
        disproved=tuple(failure(draw) for _ in range(draw.randrange(3))),
        serials=draw.choice([{}, {"com.": draw.getrandbits(32)}]),
    )


def override(draw: random.Random, name: str, now: float) -> Override:
    """An operator's word, sense or nonsense."""
    action = draw.choice(list(Action))
    to = draw.choice([*INDEX.sites, "gone"])
    return Override(
        name=name,
        match=Match(
            upstream=draw.choice([None, None, "gtld", "nobody"]),
            address=draw.choice([None, None, *ADDRESSES]),
            family=draw.choice([None, None, *Family]),
            site=draw.choice([None, None, "sin", "lhr"]),
        ),
        action=action,
        to=to if action in (Action.STEER, Action.AVOID) else None,
        until=draw.choice([None, WALL + now + draw.uniform(-5, 20)]),
        reason="r",
        by="b",
    )


def memory_of(draw: random.Random, now: float, sites: list[str]) -> Memory | None:
    """What an agent before it left, or none did: of yesterday, of just now, of tomorrow."""
    if draw.random() < 0.3:
        return None
    length = draw.choice([0.0, 30.0, 900.0, 80_000.0])
    return Memory(
        at=WALL + now - draw.choice([0.0, 2.0, 3600.0, 100_000.0, -30.0]),
        frozen={
            draw.choice(ADDRESSES): Frozen(path=draw.choice(sites), by=draw.choice(["x", "o0"]))
        },
        worn={a: draw.choice([0.5, 7.0, 1e9]) for a in draw.sample(ADDRESSES, 2)},
        breaches={draw.choice(ADDRESSES): Breaches(number=3, since=length, ended=length / 2)},
        moves=((draw.choice([0.0, 59.0]), draw.choice([1, 200])),),
    )


def turns_of(seed: int) -> list[tuple[Facts, float]]:
    """Some turns of arbitrary facts; half of the stories go on from one fault for a while.

    Out of one number: drawn one by one they are more than hypothesis takes for one example.
    """
    draw = random.Random(seed)
    now = 1000.0
    told: list[tuple[Facts, float]] = []
    fault = draw.choice([None, Outcome.EXPIRED])
    said: tuple[Override, ...] = ()
    pauses = [0.05, 0.5, 3.0] if fault else [0.05, 0.5, 3.0, 400.0, 90_000.0]
    for _ in range(draw.randint(1, 24 if fault else 12)):
        now += draw.choice(pauses)
        sites = [*INDEX.sites, "gone"]
        if draw.random() < 0.15:
            said = tuple(override(draw, f"o{n}", now) for n in range(draw.randrange(4)))
        facts = Facts(
            wall=WALL + now,
            rounds=tuple(round_of(draw, now, fault) for _ in range(draw.randrange(9))),
            heard=tuple(traffic(draw, now) for _ in range(draw.randrange(5))),
            installed={a: draw.choice(sites) for a in draw.sample(ADDRESSES, draw.randrange(4))},
            off=draw.random() < (0.02 if fault else 0.25),
            overrides=said,
            memory=memory_of(draw, now, sites) if not told else None,
        )
        told.append((facts, now))
    return told


def turns() -> st.SearchStrategy[list[tuple[Facts, float]]]:
    return st.integers(0, 2**32).map(turns_of)
