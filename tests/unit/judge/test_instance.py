"""Anycast instances told apart by NSID."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest

from steering.judge.known.instance import (
    ACQUAINTED,
    CHANGES,
    DAY,
    KNOWN,
    LONGEST,
    PER_SERVER,
    STRANGERS,
    Instance,
    Sight,
)


def _see(
    nsids: Iterable[str], instance: Instance | None = None, *, every: float = 0.2
) -> tuple[Instance, int]:
    """The instance after these, and how often it was another one."""
    instance, told = _watch(nsids, instance, every=every)
    return instance, told.count(Sight.ANOTHER)


def _watch(
    nsids: Iterable[str], instance: Instance | None = None, *, every: float = 0.2
) -> tuple[Instance, list[Sight]]:
    instance = instance or Instance()
    told: list[Sight] = []
    now = instance.since
    for nsid in nsids:
        now += every
        instance, sight = instance.see(nsid, now)
        told += [sight] if sight is not Sight.SAME else []
    return instance, told


@pytest.mark.parametrize("servers", [1, 2, 3, 4, 8, 16, 18, 20, KNOWN])
def test_several_servers_of_one_instance_are_no_change(servers: int) -> None:
    rng = random.Random(servers)
    for _ in range(10):
        instance, told = _watch(f"s{rng.randrange(servers)}" for _ in range(1000))
        assert not told
        assert len(instance.known) == servers


@pytest.mark.parametrize("servers", [KNOWN + 1, 40, 1000, 10**9])
def test_more_servers_than_can_be_known_are_told_of_once_and_are_no_change(servers: int) -> None:
    rng = random.Random(servers)
    instance, told = _watch(f"s{rng.randrange(servers)}" for _ in range(4000))
    assert told == [Sight.MIXED]
    assert instance.mixed
    assert len(instance.known) == 1, "nothing is kept of them"
    days = (f"s{rng.randrange(servers)}" for _ in range(4000))
    instance, told = _watch(days, instance, every=300.0)
    assert len(told) <= (servers == KNOWN + 1), "nor is it told again every day"
    assert Sight.ANOTHER not in told


@pytest.mark.parametrize("home", ["s1", "other"])
def test_after_a_day_few_strings_are_believed_again(home: str) -> None:
    instance, _ = _see(f"s{i}" for i in range(100))
    assert instance.mixed
    instance, told = _watch([home] * 1000, instance, every=DAY / 900)
    assert not told
    assert not instance.mixed
    _, told = _watch(["b"] * STRANGERS, instance)
    assert told == [Sight.ANOTHER]


@pytest.mark.parametrize("patience", [3, 27, 28, 60, 500])
def test_who_chooses_the_strings_makes_it_another_instance_three_times_a_day(
    patience: int,
) -> None:
    """Whoever answers says who he is: no evidence would ever add up."""
    strings = (f"liar{i // patience}" for i in range(10_000))
    _, told = _watch(strings)
    assert told.count(Sight.ANOTHER) <= CHANGES
    assert told.count(Sight.MIXED) == 1
    flapping = itertools.chain.from_iterable([*["a"] * 50, *["b"] * 50] for _ in range(50))
    _, told = _watch(flapping)
    assert told == [Sight.ANOTHER] * CHANGES + [Sight.MIXED]


def test_a_change_of_routing_now_and_then_is_seen_each_time() -> None:
    strings = (f"site{i // 100}" for i in range(2000))
    _, told = _watch(strings, every=DAY / 250)
    assert told == [Sight.ANOTHER] * 19


def test_no_more_of_a_string_is_kept_than_is_looked_at() -> None:
    long = "x" * 100_000
    instance, _ = _see([long + "1", long + "2"] * 50)
    assert instance.known == ("x" * LONGEST,)


def test_twenty_servers_that_give_way_to_one_are_seen_to_do_so() -> None:
    rng = random.Random(20)
    instance, _ = _see(f"s{rng.randrange(20)}" for _ in range(PER_SERVER * 100))
    assert len(instance.known) == 20
    _, told = _watch(["new"] * STRANGERS, instance)
    assert told == [Sight.ANOTHER]


def test_another_instance_is_known_by_three_strangers_in_a_row() -> None:
    instance, _ = _see(["a1", "a2"] * ACQUAINTED)
    instance, changes = _see(["b1"] * (STRANGERS - 1), instance)
    assert changes == 0
    instance, sight = instance.see("b2", 100.0)
    assert sight is Sight.ANOTHER
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
