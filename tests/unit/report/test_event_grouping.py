"""One event for all of whom the same is said, and few of what flaps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from simulation import Ask, Shown, Simulation, policy, setup

from steering.model import WITHOUT_AUTHORITY, Event, Outcome
from steering.report.grouping import LOGGED, TOGETHER, WINDOW, EventGrouping, together
from steering.report.log import fields, json_line, sentence


def changed(address: str, was: str = "healthy", now: str = "suspect") -> Event:
    return Event(
        event="health_changed",
        because=f"{address} is so",
        upstream="gtld",
        address=address,
        path="local",
        was=was,
        now=now,
    )


def test_the_same_change_of_several_addresses_is_one_event_with_them_in_it() -> None:
    others = (changed("192.0.2.9", now="stale"), Event(event="journal", because="x"))
    told = list(together([changed("192.0.2.1"), others[0], changed("192.0.2.2"), others[1]]))
    assert told == [
        (changed("192.0.2.1"), ("192.0.2.1", "192.0.2.2")),
        (others[0], ()),
        (others[1], ()),
    ]
    event, addresses = told[0]
    data = json.loads(json_line(event, 1.7e9, 4000, addresses))
    assert data["addresses"] == ["192.0.2.1", "192.0.2.2"]
    assert "address" not in data
    assert data["because"] == "192.0.2.1 is so"
    assert "addresses" not in fields(others[0], 1.7e9)
    assert "2 addresses of gtld local" in sentence(event, 1.7e9, colour=False, addresses=addresses)


def test_a_line_holds_so_many_addresses_and_none_is_left_out() -> None:
    every = [f"2001:db8:aaaa:bbbb:cccc:dddd:eeee:{n:x}" for n in range(1, 2 * TOGETHER)]
    told = list(together(changed(address) for address in every))
    assert [a for _, addresses in told for a in addresses] == every
    for event, addresses in told:
        assert len(json_line(event, 1.7e9, 10_000, addresses)) < 4000


def test_events_without_an_address_are_not_put_together() -> None:
    two = [Event(event="notice", because=text) for text in ("a", "b")]
    assert list(together(two)) == [(event, ()) for event in two]


def test_what_flaps_is_told_of_and_then_counted() -> None:
    gathering, told = EventGrouping(), list[Event]()
    for second in range(0, int(WINDOW) + 10, 5):
        states = ("suspect", "unknown") if second % 10 else ("unknown", "suspect")
        events = [changed(address, *states) for address in ("192.0.2.1", "192.0.2.2")]
        events.append(Event(event="steered", because="x", address="192.0.2.1"))
        told += [event for event, _ in gathering.of(events, float(second))]
    names = [event.event for event in told]
    assert names.count("steered") == (WINDOW + 10) / 5, "what is done is always told"
    assert names.count("health_changed") == LOGGED + 2, "one each turn, and in the next window"
    (one,) = [event for event in told if event.event == "flapping"]
    assert (one.upstream, one.path) == ("gtld", "local")
    assert one.because.startswith(
        f"{2 * (int(WINDOW / 5) - LOGGED)} further changes of 2 addresses"
    )


def test_one_server_that_answers_for_unrelated_operators_is_an_alarm(tmp_path: Path) -> None:
    def proxy(ask: Ask) -> Shown:
        return Shown(nsid="proxy-1" if ask.local else f"{ask.path}-{ask.address}")

    made = setup(tmp_path, policy("one", net=5, letters=2), policy("two", net=6, letters=2))
    sim = Simulation(made, proxy).run(40)
    said = sim.state.alarms["intercepted"].because
    assert "8 addresses of one, two are answered by one server" in said
    assert "(NSID proxy-1)" in said
    honest = Simulation(made, lambda ask: Shown(nsid=f"{ask.path}-{ask.address}")).run(40)
    assert "intercepted" not in honest.state.alarms


@pytest.mark.parametrize("others_too", [False, True])
@pytest.mark.parametrize("detail", [WITHOUT_AUTHORITY, "REFUSED"])
def test_what_answers_without_authority_here_alone_is_a_sign_of_a_cache(
    tmp_path: Path, detail: str, others_too: bool
) -> None:
    """And no more than a sign: what moves is what moves for any error."""

    def cache(ask: Ask) -> Shown:
        ill = ask.now >= 1020 and (ask.local or others_too) and ask.address.startswith("192.5.")
        return Shown(outcome=Outcome.LAME if ill else Outcome.SECURE, detail=detail)

    made = setup(tmp_path, policy("one", net=5, letters=2), policy("two", net=6, letters=2))
    sim = Simulation(made, cache).run(60)
    said = sim.state.alarms.get("intercepted")
    if others_too or detail != WITHOUT_AUTHORITY:
        assert said is None
    else:
        assert said is not None
        assert "2 addresses of one are answered over the local path without authority" in (
            said.because
        )
        plain = Simulation(made, lambda ask: replace(cache(ask), detail="REFUSED")).run(60)
        taken, usual = (
            [(at, step.address, step.was, step.now) for at, step in of.moves()]
            for of in (sim, plain)
        )
        assert taken == usual
        assert sim.moves(), "an error that is one here and none there moves, as ever"
    sim.answer = lambda ask: Shown()  # noqa: ARG005
    assert "intercepted" not in sim.run(60).state.alarms
