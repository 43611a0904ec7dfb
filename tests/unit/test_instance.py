"""Anycast instances told apart by NSID."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest

from steering.judge.instance import ACQUAINTED, KNOWN, STRANGERS, Instance


def _see(nsids: Iterable[str], instance: Instance | None = None) -> tuple[Instance, int]:
    instance = instance or Instance()
    changes = 0
    for nsid in nsids:
        instance, changed = instance.see(nsid)
        changes += changed
    return instance, changes


@pytest.mark.parametrize("servers", [1, 2, 3, 4])
def test_several_servers_of_one_instance_are_no_change(servers: int) -> None:
    rng = random.Random(servers)
    for _ in range(50):
        _, changes = _see(f"s{rng.randrange(servers)}" for _ in range(300))
        assert changes == 0


def test_another_instance_is_known_by_three_strangers_in_a_row() -> None:
    instance, _ = _see(["a1", "a2"] * ACQUAINTED)
    instance, changes = _see(["b1"] * (STRANGERS - 1), instance)
    assert changes == 0
    instance, changed = instance.see("b2")
    assert changed
    assert set(instance.known) == {"b1", "b2"}
    assert instance.name == "b2"


def test_a_server_added_later_joins_its_neighbours() -> None:
    instance, _ = _see(["a1"] * ACQUAINTED)
    instance, changes = _see(["a2", "a1", "a2", "a2", "a2", "a2"], instance)
    assert changes == 0
    assert set(instance.known) == {"a1", "a2"}


def test_what_is_known_stays_small() -> None:
    names = itertools.chain.from_iterable((f"s{i}", "home") for i in range(200))
    instance, _ = _see(names)
    assert len(instance.known) <= KNOWN


def test_nothing_seen_has_no_name() -> None:
    assert Instance().name is None
