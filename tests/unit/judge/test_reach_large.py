"""Large answers: a site is taken only where they come back as they do over the local path."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from simulation import WALL, Ask, Shown, Simulation, policy, setup

from steering.decide.messages.reasons import because
from steering.engine.migrate import migrate
from steering.journal.codec import Codec, Json
from steering.judge.edit import Draft
from steering.judge.known.legs import (
    ADDRESSES,
    AT_FIRST,
    BACK,
    FORGOTTEN,
    LOST,
    NOTHING,
    Leg,
    LegState,
    Reach,
)
from steering.judge.probes.reach import count_reach, is_cut, lost, states
from steering.model import LOCAL, Family, Observation, Outcome
from steering.report.metrics import Meters
from steering.report.snapshot import Snapshot
from steering.report.status import status

GOOD, EXPIRED, TIMEOUT = Outcome.SECURE, Outcome.EXPIRED, Outcome.TIMEOUT
FAULT = 1030.0
OCTETS = 1150
ONE: Mapping[Family, tuple[str, ...]] = {Family.IPV4: ("10.0.0.53",)}

Of = Callable[[Ask], bool]


def never(_ask: Ask) -> bool:
    return False


def large(ask: Ask) -> bool:
    """One answer in ten, whoever gives it."""
    return ask.unlucky(0.1, "large")


def over(path: str) -> Of:
    return lambda ask: ask.path == path


def state(
    tmp: Path,
    lost: Of,
    *policies: str,
    is_large: Of = large,
    octets: Callable[[Ask], int] = lambda _ask: OCTETS,
    silent: Of = never,
    well: Of = never,
    sources: Mapping[Family, tuple[str, ...]] | None = None,
    to: str = "[pao]",
    share: float = 0.13,
    tcp_every: int = 0,
) -> Simulation:
    """So many of the names expired here from `FAULT` on; which large answers are lost is told."""

    def answer(ask: Ask) -> Shown:
        if silent(ask):
            return Shown(outcome=TIMEOUT)
        ill = ask.local and ask.now >= FAULT and ask.unlucky(share) and not well(ask)
        outcome = EXPIRED if ill else GOOD
        if not is_large(ask):
            return Shown(outcome=outcome)
        if lost(ask):
            return Shown(outcome=TIMEOUT, stalled=ask.tcp)
        return Shown(outcome=outcome, large=octets(ask))

    made = setup(tmp, *policies or (policy(more=f"steer: {{to: {to}}}\n"),))
    return Simulation(made, answer, sources=sources or {}, tcp_every=tcp_every)


def known(sim: Simulation) -> set[tuple[str, str, str]]:
    """Site, transport and state of everything that is shown."""
    return {
        (way.leg.site, way.transport, str(way.state))
        for way in states(sim.state.ledger.legs, sim.sources, sim.index)
    }


def blamed(sim: Simulation) -> list[str]:
    return [e.because for _, e in sim.events if e.event == "alarm_raised" and e.now == "reach"]


def reach(sim: Simulation) -> str:
    """What the alarm says; empty while there is none."""
    return sim.state.alarms["reach"].because if "reach" in sim.state.alarms else ""


@pytest.mark.long
def test_a_site_that_loses_large_answers_is_never_taken(tmp_path: Path) -> None:
    sim = state(tmp_path, over("pao"), sources=ONE, tcp_every=8).run(150)
    assert not sim.moves()
    assert {s for site, t, s in known(sim) if (site, t) == ("pao", "large")} == {"lost"}
    assert {s for site, t, s in known(sim) if site == "pao" and t != "large"} == {"usable"}
    alarm = sim.state.alarms["reach"].because
    assert "pao (ipv4): no large answer of gtld comes back to 10.0.0.53 by UDP" in alarm
    assert "fra" not in alarm
    assert "large" in because(sim.state, sim.addresses()[0])


@pytest.mark.long
def test_another_site_is_taken_that_carries_them(tmp_path: Path) -> None:
    sim = state(tmp_path, over("pao"), to="[pao, fra]").run(200)
    assert set(sim.installed.values()) == {"fra"}
    assert sorted(sim.installed) == sorted(sim.addresses())
    assert ("fra", "large", "usable") in known(sim)


@pytest.mark.parametrize("tcp_every", [0, 5], ids=["UDP", "both"])
def test_a_detour_that_begins_to_lose_them_ends_and_one_that_carries_them_again_is_taken(
    tmp_path: Path, tcp_every: int
) -> None:
    narrow = [False]
    lost: Of = lambda ask: narrow[0] and ask.path == "pao"  # noqa: E731
    sim = state(tmp_path, lost, tcp_every=tcp_every).run(FAULT - 1000)
    sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=60)
    sim.run(30)
    assert "reach" not in sim.state.alarms
    narrow[0] = True
    assert sim.until(lambda: not sim.installed, limit=120) < 60
    sim.until(lambda: "no large answer of gtld comes back to this host" in reach(sim), limit=60)
    narrow[0] = False
    sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=900)
    assert "reach" not in sim.state.alarms


@pytest.mark.long
def test_what_is_lost_by_tcp_alone_is_told_so(tmp_path: Path) -> None:
    """The connection is made, and its full segments do not come."""
    sim = state(
        tmp_path,
        lambda ask: ask.path == "pao" and ask.tcp,
        is_large=lambda ask: ask.unlucky(0.6, "large"),
        tcp_every=5,
    ).run(300)
    assert not sim.moves()
    alarm = sim.state.alarms["reach"].because
    assert "no large answer of gtld comes back to this host by TCP" in alarm
    assert "UDP" not in alarm
    assert ("pao", "tcp", "usable") in known(sim)


@pytest.mark.long
@pytest.mark.parametrize("path", ["every path", LOCAL])
def test_what_the_local_path_loses_too_blames_no_site(tmp_path: Path, path: str) -> None:
    lost: Of = lambda ask: path in ("every path", ask.path)  # noqa: E731
    sim = state(tmp_path, lost, sources=ONE, tcp_every=8).run(150)
    assert not blamed(sim)
    known_as = "usable" if path == LOCAL else "not tried"
    assert {s for _, t, s in known(sim) if t == "large"} == {known_as}


def test_where_no_answer_is_large_nothing_waits_for_one(tmp_path: Path) -> None:
    sim = state(tmp_path, never, is_large=never).run(FAULT - 1000)
    sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=60)
    assert {s for _, t, s in known(sim) if t == "large"} == {"not tried"}


@pytest.mark.long
def test_lost_large_answers_keep_nobody_at_a_local_path_that_is_mostly_bad(tmp_path: Path) -> None:
    few: Of = lambda ask: ask.unlucky(0.03, "large")  # noqa: E731
    sim = state(tmp_path, over("pao"), is_large=few, share=1.0).run(FAULT - 1000)
    sim.run(200)
    assert sorted(sim.installed) == sorted(sim.addresses())


@pytest.mark.long
def test_one_nameserver_that_answers_large_to_one_path_only_says_nothing_of_a_site(
    tmp_path: Path,
) -> None:
    mine: Of = lambda ask: ask.address in ("192.5.0.30", "2001:db8:5::0:30")  # noqa: E731
    sim = state(tmp_path, lambda ask: mine(ask) and ask.path == "pao").run(300)
    assert not blamed(sim)
    others = {a for a in sim.addresses() if "5.0." not in a and "::0:" not in a}
    assert others <= set(sim.installed)


@pytest.mark.long
def test_a_nameserver_whose_answers_are_small_over_a_site_says_nothing_of_it(
    tmp_path: Path,
) -> None:
    sim = state(tmp_path, never, is_large=lambda ask: large(ask) and ask.path != "pao").run(200)
    assert sorted(sim.installed) == sorted(sim.addresses())
    assert {s for site, t, s in known(sim) if (site, t) == ("pao", "large")} == {"not tried"}


@pytest.mark.long
def test_a_site_is_free_again_once_nothing_large_is_answered_any_more(tmp_path: Path) -> None:
    sim = state(tmp_path, over("pao"), is_large=lambda ask: ask.now < 1100 and large(ask)).run(100)
    assert ("pao", "large", "lost") in known(sim)
    sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=900)
    assert "reach" not in sim.state.alarms


@pytest.mark.long
@pytest.mark.parametrize("there", [0, 1020], ids=["small", "less"])
def test_a_copy_that_answers_larger_here_than_anywhere_blames_no_site_for_ordinary_loss(
    tmp_path: Path, there: int
) -> None:
    """An outdated copy may hold a set of keys that has shrunk since: it is to be left."""
    often: Of = lambda ask: ask.unlucky(0.5, "large")  # noqa: E731
    sim = state(
        tmp_path,
        lambda ask: ask.path == "pao" and ask.lost(0.05),
        is_large=often,
        octets=lambda ask: 1200 if ask.local else there,
    ).run(200)
    assert not blamed(sim)
    assert sorted(sim.installed) == sorted(sim.addresses())


@pytest.mark.long
def test_an_upstream_that_makes_its_large_answers_get_lost_holds_up_itself_alone(
    tmp_path: Path,
) -> None:
    """It may make them as large as it likes, and answer over one path only."""
    own: Of = lambda ask: "192.6." in ask.address or ":6:" in ask.address  # noqa: E731
    sim = state(
        tmp_path,
        lambda ask: ask.path == "pao" and own(ask),
        policy("gtld", net=5, more="steer: {to: [pao]}\n"),
        policy("liar", net=6, more="steer: {to: [pao]}\n"),
        octets=lambda ask: 1232 if own(ask) else 1010,
        well=own,
    ).run(150)
    others = {a for a in sim.addresses() if "192.5." in a or ":5:" in a}
    assert {s.address for _, s in sim.moves()} == others
    assert ("pao", "large", "lost") in known(sim)
    gone = lost(sim.state.ledger.legs, {}, partial=True)
    cut = {each.upstream for each in sim.index.settings.values() if is_cut(gone, each, "pao")}
    assert cut == {"liar"}
    assert blamed(sim)
    assert all("large answer of liar" in part for part in blamed(sim)[0].split(",")[0].split("; "))


@pytest.mark.long
def test_a_site_over_which_nothing_comes_is_not_said_to_lose_large_answers(tmp_path: Path) -> None:
    most: Of = lambda ask: ask.unlucky(0.9, "large")  # noqa: E731
    sim = state(
        tmp_path,
        never,
        is_large=most,
        silent=lambda ask: ask.path == "pao" and ask.now >= 1020.0,
    ).run(300)
    assert not blamed(sim)


@pytest.mark.long
def test_once_nothing_comes_at_all_it_is_no_matter_of_size(tmp_path: Path) -> None:
    silent: Of = lambda ask: ask.path == "pao" and ask.now >= 1060.0  # noqa: E731
    sim = state(tmp_path, over("pao"), silent=silent).run(60)
    assert "large" in reach(sim)
    sim.run(60)
    assert not reach(sim)


@pytest.mark.long
def test_ordinary_loss_loses_no_leg(tmp_path: Path) -> None:
    sim = state(
        tmp_path,
        lambda ask: ask.path == "pao" and ask.lost(0.1),
        octets=lambda ask: 1000 + int(ask.name[1:3].strip(".") or 0),
        tcp_every=4,
    ).run(300)
    assert not blamed(sim)
    assert LegState.LOST not in {reach.state for reach in sim.state.ledger.legs.values()}


@pytest.mark.long
def test_status_and_metrics_say_it_of_each_site_family_and_source(tmp_path: Path) -> None:
    sim = state(
        tmp_path, lambda ask: ask.path == "pao" and "." in ask.address, sources=ONE, tcp_every=8
    ).run(200)
    snapshot = Snapshot(
        mode="enforce",
        state=sim.state,
        installed=sim.installed,
        alarms=sim.state.alarms,
        ready=True,
        turned_at=sim.now,
    )
    well = {"udp": "usable", "tcp": "usable", "large": "usable"}
    assert status(snapshot)["sites"] == {
        "pao": {"ipv4": {"10.0.0.53": {**well, "large": "lost"}}, "ipv6": {"kernel": well}},
        "fra": {"ipv4": {"10.0.0.53": well}, "ipv6": {"kernel": well}},
    }
    meters = Meters()
    meters.watch(lambda: snapshot)
    shown = generate_latest(meters.registry).decode()
    series = 'steering_site_usable{family="ipv4",site="%s",source="10.0.0.53",transport="large"} %s'
    assert series % ("pao", 0.0) in shown
    assert series % ("fra", 1.0) in shown


# --- one round ---------------------------------------------------------------------------------

CAME = Observation(address="", path="", outcome=GOOD, reached=True, large=OCTETS)
SMALL = replace(CAME, large=0)
NOTHING_CAME = Observation(address="", path="", outcome=TIMEOUT)
BY_TCP = replace(CAME, tcp=True)
STALLED = replace(NOTHING_CAME, tcp=True, reached=True, stalled=True)


@pytest.mark.parametrize(
    ("here", "there", "tcp", "large"),
    [
        pytest.param(CAME, CAME, "not tried", "usable", id="comes"),
        pytest.param(CAME, NOTHING_CAME, "not tried", "lost", id="lost"),
        pytest.param(BY_TCP, STALLED, "usable", "lost", id="stalls"),
        pytest.param(CAME, SMALL, "not tried", "not tried", id="is small there"),
        pytest.param(SMALL, CAME, "not tried", "usable", id="is large there alone"),
        pytest.param(
            CAME, replace(CAME, outcome=Outcome.MALFORMED), "not tried", "usable", id="is rubbish"
        ),
        pytest.param(
            CAME, replace(NOTHING_CAME, reached=True), "not tried", "not tried", id="port refused"
        ),
        pytest.param(
            CAME,
            replace(NOTHING_CAME, outcome=Outcome.LOCAL_ERROR),
            "not tried",
            "not tried",
            id="did not get out",
        ),
        pytest.param(CAME, STALLED, "usable", "not tried", id="stalls where UDP would do"),
        pytest.param(
            BY_TCP,
            replace(NOTHING_CAME, tcp=True, reached=True),
            "not tried",
            "not tried",
            id="truncated, and then nothing or a refusal",
        ),
        pytest.param(NOTHING_CAME, NOTHING_CAME, "not tried", "not tried", id="silent here too"),
        pytest.param(STALLED, STALLED, "usable", "not tried", id="stalls here too"),
    ],
)
def test_what_counts_as_a_large_answer_that_is_lost(
    tmp_path: Path, here: Observation, there: Observation, tcp: str, large: str
) -> None:
    sim = state(tmp_path, never)
    draft = Draft(sim.state.ledger, sim.index, WALL, sim.now)
    for address in sim.addresses(Family.IPV4) * 2 * LOST:
        count_reach(draft, address, {LOCAL: SMALL, "pao": SMALL})
        count_reach(draft, address, {LOCAL: here, "pao": there})
    found = {
        way.transport: str(way.state)
        for way in states(draft.legs, {}, sim.index)
        if (way.leg.site, way.leg.family) == ("pao", Family.IPV4)
    }
    assert found == {"udp": "usable", "tcp": tcp, "large": large}


def test_where_most_answers_are_large_their_loss_is_not_taken_for_that_of_all(
    tmp_path: Path,
) -> None:
    sim = state(tmp_path, over("pao"), is_large=lambda ask: ask.unlucky(0.8, "large")).run(60)
    assert {s for site, t, s in known(sim) if (site, t) == ("pao", "udp")} == {"usable"}
    assert {s for site, t, s in known(sim) if (site, t) == ("pao", "large")} == {"lost"}


# --- one leg ----------------------------------------------------------------------------------


def lose(leg: Reach, times: int, octets: int = OCTETS, addresses: int = 26) -> Reach:
    for number in range(times):
        leg = leg.unanswered(str(number), addresses, octets)
    return leg


def begun() -> Reach:
    """A row of which it is known that something smaller comes."""
    return Reach().unanswered("9", 26, OCTETS).smaller()


def test_an_answer_speaks_for_what_is_no_larger() -> None:
    leg = lose(begun().answered(OCTETS).unanswered("9", 26, OCTETS).smaller(), LOST - 1)
    assert leg.answered(OCTETS - 1).lost == leg.lost, "it is smaller than all that was lost"
    assert leg.answered(OCTETS).lost == 0
    assert lose(leg, 1, OCTETS + 50).state is LegState.LOST
    assert lose(leg, 1, OCTETS + 50).least == OCTETS


def test_it_takes_several_answers_as_large_to_find_it_again() -> None:
    leg = lose(begun(), LOST)
    assert leg.state is LegState.LOST
    for _ in range(BACK):
        assert leg.state is LegState.LOST
        leg = leg.answered(OCTETS - 1).answered(OCTETS)
    assert leg.state is LegState.USABLE


def test_it_is_lost_only_where_something_smaller_comes() -> None:
    leg = lose(Reach(), 100)
    assert leg.state is LegState.UNTRIED
    leg = lose(leg.smaller(), AT_FIRST - 1)
    assert leg.state is LegState.UNTRIED, "what was lost while nothing came does not count"
    assert lose(leg, 1).state is LegState.UNTRIED, "of too few addresses"
    assert leg.unanswered("9", 26, OCTETS).state is LegState.LOST
    assert Reach().smaller() == Reach(), "before anything was lost it shows nothing"


def test_what_is_small_at_the_site_by_itself_is_not_lost_for_its_size() -> None:
    leg = lose(begun(), LOST)
    assert leg.state is LegState.LOST
    assert leg.smaller(OCTETS - 1).state is LegState.LOST
    assert leg.smaller(OCTETS) == NOTHING
    used = lose(begun().answered(OCTETS), LOST - 1)
    assert used.smaller(OCTETS) == Reach(state=LegState.USABLE)


def test_a_loss_is_forgotten_where_there_are_no_such_answers_any_more() -> None:
    """A set of keys that was large for the time of a rollover must not bar a site for ever."""
    leg = lose(begun(), LOST)
    for _ in range(FORGOTTEN - 2):
        leg = leg.smaller()
        assert leg.state is LegState.LOST
    assert lose(leg, 1).beside == 1, "one is there: it begins anew"
    assert leg.smaller() == NOTHING
    few = lose(begun().answered(OCTETS).unanswered("9", 26, OCTETS).smaller(), 2)
    for _ in range(FORGOTTEN):
        few = few.smaller()
    assert few == Reach(state=LegState.USABLE)


def test_what_is_lost_now_and_then_is_no_matter_of_size_where_as_large_a_one_came() -> None:
    leg = lose(begun(), LOST, 1200)
    assert leg.state is LegState.LOST
    leg = leg.answered(1100).unanswered("9", 26, 1050)
    for _ in range(BACK):
        leg = leg.answered(1100)
    assert leg.state is LegState.LOST, "of 1200 octets none has come"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["came", "lost", "small", "smaller"]),
            st.integers(1000, 1010),
            st.integers(0, 5),
        ),
        max_size=60,
    ),
    st.integers(1, 6),
)
@example(
    [("lost", 1000, 0), ("smaller", 0, 0), ("lost", 1001, 0), ("small", 1000, 0)]
    + 2 * [("lost", 1000, 0)],
    1,
)
@settings(max_examples=300, deadline=None)
def test_a_row_of_losses_holds_no_answer_as_large_as_any_of_them(
    told: list[tuple[str, int, int]], addresses: int
) -> None:
    leg = Reach()
    for number, (what, octets, who) in enumerate(told, start=1):
        was = leg
        if what == "came":
            leg = leg.answered(octets)
        elif what == "small":
            leg = leg.smaller(octets)
        elif what == "smaller":
            leg = leg.smaller()
        else:
            leg = leg.unanswered(str(who % addresses), addresses, octets)
        if leg.state is was.state or leg.state is not LegState.LOST:
            continue
        before = told[:number]
        ends = [
            i
            for i, (w, size, _) in enumerate(before)
            if w in ("came", "small") and size >= leg.least
        ]
        begins = ends[-1] + 1 if ends else 0
        lost = [i for i in range(begins, number) if before[i][0] == "lost"]
        enough = LOST if was.state is LegState.USABLE else AT_FIRST
        assert len(lost) >= enough
        assert len({before[i][2] % addresses for i in lost}) >= min(ADDRESSES, addresses)
        assert any(w != "lost" for w, _, _ in before[: lost[-enough]]), "something came"


def test_a_tenth_of_all_lost_at_whatever_sizes_loses_nothing() -> None:
    draw, leg = random.Random(7), Reach().answered(OCTETS)
    for _ in range(200_000):
        octets = draw.randint(1000, 1232)
        if draw.random() < 0.1:
            leg = leg.unanswered(str(draw.randrange(26)), 26, octets).smaller()
        else:
            leg = leg.answered(octets)
        assert leg.state is LegState.USABLE


# --- kept and read again ------------------------------------------------------------------------


@pytest.mark.long
def test_what_is_known_of_an_upstream_that_is_no_more_is_forgotten(tmp_path: Path) -> None:
    both = policy("gtld", net=5), policy("other", net=6)
    sim = state(tmp_path, over("pao"), *both).run(60)
    assert {leg.large for leg in sim.state.ledger.legs} == {"", "gtld", "other"}
    (tmp_path / "policies" / "1.yaml").unlink()
    fewer = state(tmp_path, over("pao"), policy("gtld", net=5)).index
    after, _ = migrate(sim.state, fewer, sim.now, WALL + sim.now)
    assert {leg.large for leg in after.ledger.legs} == {"", "gtld"}


def test_what_an_older_agent_wrote_down_can_still_be_read() -> None:
    old: dict[str, Json] = {"site": "pao", "family": "ipv4", "source": "", "tcp": False}
    assert Codec(Leg).read(old) == Leg("pao", Family.IPV4, "", tcp=False)
    state: dict[str, Json] = {"state": "lost", "lost": 8, "asked": ["192.0.2.1"]}
    assert Codec(Reach).read(state).least == 0
    seen: dict[str, Json] = {
        "address": "192.0.2.1",
        "path": "local",
        "outcome": "secure",
        "reached": True,
    }
    assert Codec(Observation).read(seen).large == 0
    leg = Leg("pao", Family.IPV4, "", tcp=True, large="gtld")
    assert Codec(Leg).read(Codec(Leg).write(leg)) == leg
