"""What a forger has to guess: drawn from the system's generator wherever nobody says otherwise."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from steering.model import Family, Target
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.nonce import LABEL, random_label, system_random
from steering.observe.probe.prober import Path, Prober
from steering.observe.probe.schedule import Pace
from steering.observe.traffic.verify import SampleVerifier


class Upstream:
    name, zones, skew = "gtld", ("com.",), 0.0


def test_by_default_ids_labels_and_names_come_from_the_systems_generator() -> None:
    keys = KeyStore(["com."], {}, ["127.0.0.1"], signatures=Signatures())
    prober = Prober(
        [Target(upstream="gtld", nameserver="a.", address="127.0.0.1", family=Family.IPV4)],
        [Upstream()],
        [Path(name="local")],
        Pace(),
        keys=keys,
        signatures=Signatures(),
        deliver=print,
    )
    drawing = [
        prober._rng,
        *(questions.rng for questions in prober._questions.values()),
        keys._resolvers._rng,
        SampleVerifier(keys)._rng,
    ]
    assert len(drawing) == 4
    assert {type(rng) for rng in drawing} == {random.SystemRandom}


def test_the_systems_generator_has_no_state_to_be_learnt() -> None:
    with pytest.raises(NotImplementedError):
        system_random().getstate()


def test_labels_are_as_long_as_they_say_and_use_every_letter_equally() -> None:
    labels = [random_label(system_random()) for _ in range(4000)]
    assert {len(label) for label in labels} == {LABEL}
    assert len(set(labels)) == 4000
    letters = Counter("".join(labels))
    assert sorted(letters) == sorted("abcdefghijklmnopqrstuvwxyz234567")
    # Each of 32 in 56,000 draws: 1750 on average, with a deviation of 41.
    assert all(1500 < number < 2000 for number in letters.values())
