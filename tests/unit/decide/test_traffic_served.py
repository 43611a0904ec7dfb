"""Detours that carry our own questions and not the resolvers': ended, and not by a mere claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering.decide.traffic_served import AGAIN, FORGOTTEN, LONGEST, QUIET, REST, Served, Unserved
from steering.model import LOCAL, Heard, Outcome
from steering.observe.traffic.losses import SOON
from steering.override import Action, Match, Override

DEFAULTS = CONFIG.replace("interval: 1s, fast_interval: 100ms", "interval: 10s")
FAULT = 1040.0
EXPIRED, REFUSED = Outcome.EXPIRED, Outcome.REFUSED


def lame(share: float) -> Callable[[Ask], Outcome]:
    """So much of the local copy has run out; our own questions do well over both sites."""

    def answer(ask: Ask) -> Outcome:
        bad = ask.local and ask.now >= FAULT and ask.unlucky(share)
        return EXPIRED if bad else Outcome.SECURE

    return answer


@dataclass
class Resolved(Simulation):
    """The simulation with resolvers that ask `rate` questions a second, from a source of theirs."""

    rate: float = 200.0
    idle: float = 0.2
    deaf: frozenset[str] = frozenset()
    """Sites that have no way back to it."""
    refusing: frozenset[str] = frozenset()
    """Sites where all they get is REFUSED."""
    claims: Callable[[Resolved], tuple[Heard, ...]] = lambda _: ()
    """What somebody else writes to the socket."""
    speechless: bool = False
    """He keeps the resolvers from it."""
    lost: list[tuple[float, str, str, int]] = field(default_factory=list)
    asked_of: Counter[str] = field(default_factory=Counter)
    due: float = 0.0

    def traffic(self, seconds: float) -> tuple[Heard, ...]:
        if self.speechless:
            return self.claims(self)
        self.due += self.rate * seconds
        addresses = self.addresses()
        told: dict[str, Counter[str]] = {}
        while self.due >= 1:
            self.due -= 1
            self.asked_of["all"] += 1
            address = addresses[self.asked_of["all"] % len(addresses)]
            path = self.installed.get(address, LOCAL)
            if path in self.deaf:
                self.lost.append((self.now + SOON, address, path, 1))
                continue
            name = f"rr{self.asked_of['all']}.gtld."
            shown = self.answer(Ask(address=address, path=path, name=name, now=self.now))
            bad = shown is EXPIRED or path in self.refusing
            told.setdefault(address, Counter())["bad" if bad else "good"] += 1
        for at, address, path, number in self.lost:
            if at <= self.now and self.installed.get(address, LOCAL) == path:
                told.setdefault(address, Counter())["lost"] += number
        self.lost = [waits for waits in self.lost if waits[0] > self.now]
        return (*(self._heard(a, **counts) for a, counts in told.items()), *self.claims(self))

    def _heard(self, address: str, good: int = 0, bad: int = 0, lost: int = 0) -> Heard:
        path = self.installed.get(address, LOCAL)
        return heard(address, path, self.now, good=good, bad=bad, lost=lost)


def heard(
    address: str, path: str, at: float, *, good: int = 0, bad: int = 0, lost: int = 0
) -> Heard:
    counts = {Outcome.SECURE: good, EXPIRED if path == LOCAL else REFUSED: bad}
    return Heard(
        address=address,
        path=path,
        at=at,
        answers=good + bad,
        counts={outcome: number for outcome, number in counts.items() if number},
        overdue=lost,
    )


def opened(tmp_path: Path, *, letters: int = 13, rate: float = 200.0, **more: object) -> Resolved:
    """Peace, a fault, and the moment in which all addresses are away. Few take a greater one."""
    answer = lame(0.13 if letters > 1 else 0.4)
    calm = policy(letters=letters, more="recover: {hold: 10m, clean: 1600, moves_per_day: 100}\n")
    sim = Resolved(setup(tmp_path, calm, config=DEFAULTS), answer, rate=rate, **more)  # type: ignore[arg-type]
    sim.idle = 1.0
    sim.run(FAULT - sim.now).idle = 0.2
    sim.until(lambda: len(sim.installed) == 2 * letters, 60)
    return sim


def later(sim: Resolved, seconds: float) -> None:
    """Let time pass in which a tally a second is enough."""
    sim.idle = 1.0
    sim.run(seconds).idle = 0.2


def ends(sim: Resolved) -> dict[str, list[tuple[float, str]]]:
    """When a detour of each address was ended for what the resolvers got, and over which site."""
    found: dict[str, list[tuple[float, str]]] = {}
    for at, event in sim.told("undone"):
        assert event.address is not None
        assert event.path is not None
        assert "of the resolvers" in event.because
        found.setdefault(event.address, []).append((at, event.path))
    return found


@pytest.mark.parametrize(("rate", "limit"), [(1000.0, 4.0), (200.0, 5.0), (20.0, 20.0)])
def test_a_detour_over_which_the_resolvers_get_nothing_is_undone(
    tmp_path: Path, rate: float, limit: float
) -> None:
    sim = opened(tmp_path, rate=rate, deaf=frozenset({"pao", "fra"}))
    took = sim.until(lambda: not sim.installed, 60)
    assert took <= limit
    if rate > 26:  # else it is not waited for
        assert not sim.told("proved"), "the resolvers had no answer over it"
    assert len(ends(sim)) == 26
    text = sim.state.alarms["unserved"].because
    assert "the resolvers get no answers from " in text
    assert "over fra, while our own probes are answered there" in text
    assert "Does the site have a route back to the resolvers' source address?" in text
    assert "and 14 more" in text


@pytest.mark.long
def test_two_sites_over_which_they_get_nothing_are_tried_and_no_third_time(tmp_path: Path) -> None:
    sim = opened(tmp_path, letters=1, rate=20.0, deaf=frozenset({"pao", "fra"}))
    sim.until(lambda: not sim.installed, 10)
    left = sim.now
    later(sim, REST - 1)
    assert not sim.installed, "it stays local for a while"
    later(sim, AGAIN + left - sim.now)
    for mine in ends(sim).values():
        (first, a), (second, b) = mine
        assert {a, b} == {"pao", "fra"}
        assert REST <= second - first < AGAIN
    last = max(at for mine in ends(sim).values() for at, _ in mine)
    moved = len(sim.moves())
    later(sim, last + AGAIN - sim.now - 1)
    assert len(sim.moves()) == moved, "neither site is tried again so soon"


@pytest.mark.long
def test_a_site_that_knows_the_resolvers_is_taken_instead_after_a_while(tmp_path: Path) -> None:
    sim = opened(tmp_path, letters=2, rate=40.0, deaf=frozenset({"fra"}))
    assert set(sim.installed.values()) == {"fra"}
    sim.until(lambda: not sim.installed, 10)
    sim.until(lambda: len(sim.installed) == 4, REST + 10)
    later(sim, 30)
    assert set(sim.installed.values()) == {"pao"}
    assert {len(mine) for mine in ends(sim).values()} == {1}
    assert {e.path for _, e in sim.told("proved")} == {"pao"}
    assert "unserved" in sim.state.alarms
    later(sim, AGAIN)
    assert set(sim.installed.values()) == {"pao"}, "what does well is not left for it"
    assert "unserved" not in sim.state.alarms


def test_a_site_that_forgets_the_resolvers_later_is_left_as_well(tmp_path: Path) -> None:
    sim = opened(tmp_path, letters=2, rate=40.0)
    later(sim, 60)
    assert len(sim.told("proved")) == 4
    assert len(sim.installed) == 4
    sim.deaf = frozenset({"fra", "pao"})
    assert sim.until(lambda: not sim.installed, 10) <= 5


def test_worse_answers_than_before_end_a_detour_too(tmp_path: Path) -> None:
    sim = opened(tmp_path, letters=2, rate=40.0, refusing=frozenset({"fra"}))
    assert sim.until(lambda: not sim.installed, 10) <= 5
    assert "the resolvers get worse answers from " in sim.state.alarms["unserved"].because


def test_what_fails_no_more_than_before_is_kept(tmp_path: Path) -> None:
    sim = opened(tmp_path, letters=2, rate=40.0)
    sim.claims = lambda s: tuple(
        # As often as the local copy fails.
        heard(a, site, s.now, bad=1)
        for a, site in s.installed.items()
        if round(s.now * 5) % 7 == 0
    )
    sim.run(60)
    assert len(sim.installed) == 4
    assert not ends(sim)


def test_an_override_keeps_it_and_is_shouted_about(tmp_path: Path) -> None:
    sim = opened(tmp_path, letters=1, rate=20.0)
    sim.overrides = (
        Override(
            name="x",
            match=Match(),
            action=Action.STEER,
            to="fra",
            until=WALL + 1e6,
            reason="r",
            by="noc",
        ),
    )
    later(sim, 5)
    sim.deaf = frozenset({"fra"})
    sim.run(15)
    assert set(sim.installed.values()) == {"fra"}
    assert not ends(sim)
    assert any("; kept: the override x" in e.because for _, e in sim.told("unshown"))
    assert "override" in sim.state.alarms


# --- who writes to the socket what is not so ------------------------------------------------


def forged(lost: int, bad: int = 0) -> Callable[[Resolved], tuple[Heard, ...]]:
    def claims(sim: Resolved) -> tuple[Heard, ...]:
        return tuple(heard(a, p, sim.now, lost=lost, bad=bad) for a, p in sim.installed.items())

    return claims


@pytest.mark.parametrize(("lost", "bad"), [(100, 0), (0, 100), (10**12, 10**12), (-5, -5)])
def test_who_adds_failures_to_what_resolvers_get_ends_nothing(
    tmp_path: Path, lost: int, bad: int
) -> None:
    sim = opened(tmp_path, letters=1, rate=20.0)
    sim.claims = forged(lost, bad)
    sim.run(30)
    assert len(sim.installed) == 2
    assert not ends(sim)


@pytest.mark.long
def test_who_is_alone_in_writing_sends_an_address_home_seldom(tmp_path: Path) -> None:
    """Forged time-outs, and not one of the resolvers' frames gets through."""
    sim = opened(tmp_path, letters=1, rate=20.0)
    sim.run(10)
    sim.speechless, sim.claims = True, forged(50)
    later(sim, 1800)
    assert ends(sim)
    for mine in ends(sim).values():
        by_site: dict[str, list[float]] = {}
        for at, site in mine:
            by_site.setdefault(site, []).append(at)
        for times in by_site.values():
            assert all(b - a >= AGAIN for a, b in pairwise(times))
        times = [at for at, _ in mine]
        assert all(c - a >= AGAIN for a, c in zip(times, times[2:], strict=False))


@pytest.mark.long
def test_bad_answers_that_are_forged_end_one_detour_in_ten_minutes(tmp_path: Path) -> None:
    sim = opened(tmp_path, letters=1, rate=20.0)
    sim.run(10)
    sim.speechless, sim.claims = True, forged(0, 50)
    sim.until(lambda: not sim.installed, 10)
    sim.until(lambda: len(sim.installed) == 2, REST + 10)
    first = min(at for mine in ends(sim).values() for at, _ in mine)
    later(sim, first + AGAIN - 1 - sim.now)
    assert len(sim.installed) == 2, "then the steer stays"
    assert {len(mine) for mine in ends(sim).values()} == {1}
    assert any("within the last ten minutes" in e.because for _, e in sim.told("unshown"))
    assert (
        "check which program writes to the dnstap sockets" in sim.state.alarms["unserved"].because
    )


def test_nothing_that_resolvers_fare_takes_anybody_away_from_the_local_path(tmp_path: Path) -> None:
    calm = setup(tmp_path, policy(letters=2), config=DEFAULTS)
    sim = Resolved(calm, lambda _: Outcome.SECURE, deaf=frozenset({LOCAL}))
    sim.claims = lambda s: tuple(
        heard(a, p, s.now, lost=50, bad=50) for a in s.addresses() for p in s.index.paths
    )
    later(sim, 60)
    assert not sim.steps


# --- the spans ------------------------------------------------------------------------------


def spans(served: Served, tallies: list[tuple[int, int, int]], every: float = 0.2) -> Served:
    """After a tally each fifth of a second: good, bad, lost."""
    for i, (good, bad, lost) in enumerate(tallies, start=1):
        served = served.hear(good, bad, lost, 100.0 + i * every)
        if served.worse:
            break
    return served


KNOWN = Served(usual=50.0, before=0.13, began=100.0)


def test_a_second_and_a_half_without_answers_is_no_silence() -> None:
    outage = [(0, 0, 0)] * 7 + [(10, 0, 0)] * 3 + [(10, 0, 10)] * 7 + [(10, 0, 0)] * 20
    assert not spans(KNOWN, outage).spans


def test_a_resolver_that_learns_a_longer_way_is_served() -> None:
    """Its first time-outs are too short: it gives up 0.35 s before the answers come."""
    first = [(0, 0, 0)] * 2 + [(10, 0, 0)] * 8 + [(10, 0, 10), (10, 0, 8)] + [(10, 0, 0)] * 20
    served = spans(KNOWN, first)
    assert not served.spans
    assert served.fine


def test_eight_of_eight_lost_are_enough() -> None:
    served = spans(KNOWN, [(0, 0, 0)] * 10 + [(0, 0, 1)] * 8 + [(0, 0, 0)] * 3)
    assert served.worse
    assert served.silent
    assert "8 were not answered" in served.shown
    assert not spans(KNOWN, [(0, 0, 0)] * 10 + [(0, 0, 1)] * 7 + [(0, 0, 0)] * 3).worse


def test_what_they_get_is_learnt_by_the_second_however_long_the_span() -> None:
    assert Served(began=100.0).hear(30, 0, 0, 103.0).usual == 10.0
    assert KNOWN.hear(150, 0, 0, 103.0).usual == 50.0


def test_where_nobody_knows_what_it_was_only_nothing_at_all_counts() -> None:
    nobody = Served(began=100.0)
    assert spans(nobody, [(0, 0, 4)] * 30).worse
    assert not spans(nobody, [(1, 0, 4)] * 30).worse


def test_half_of_the_good_answers_is_not_worse_however_much_fails_beside_them() -> None:
    assert not spans(KNOWN, [(6, 100, 100)] * 60).worse
    assert spans(KNOWN, [(4, 100, 100)] * 60).worse


def test_a_few_lost_ones_in_a_long_time_say_nothing() -> None:
    served = KNOWN
    for minute in range(1, 30):
        served = served.hear(0, 0, 1, 100.0 + minute * (QUIET + 1))
    assert not served.spans


def test_a_site_is_avoided_longer_each_time() -> None:
    lengths = [
        Unserved(at=0.0, times=n, silent=True, shown="").avoid for n in (1, 2, 3, 4, 5, 10**6)
    ]
    assert lengths == [AGAIN, 2 * AGAIN, 4 * AGAIN, LONGEST, LONGEST, LONGEST]
    assert FORGOTTEN > LONGEST


def test_worse_is_by_two_spans_eight_failures_and_two_deviations() -> None:
    """A hundred failures are surely eighty: at 0.3 before, more than a share of 0.4."""
    sure = Served(spans=2, all_good=99, all_bad=60, all_lost=40, before=0.3)
    assert sure.worse
    assert not sure.silent
    for less in (
        replace(sure, spans=1),
        replace(sure, all_good=100),
        replace(sure, before=0.31),
        replace(sure, all_bad=59),
    ):
        assert not less.worse
    for bad, lost, silent in ((2, 8, False), (2, 9, True), (0, 8, True), (0, 7, False)):
        one = Served(spans=2, all_bad=bad, all_lost=lost, before=1.0)
        assert one.worse == silent
    assert not Served(spans=2, all_good=2, all_lost=8).silent
    assert Served(spans=2, all_good=2, all_lost=9).silent


def test_a_span_counts_when_it_has_four_questions_and_is_worse_by_half_of_the_good_ones() -> None:
    def after(good: int, bad: int, lost: int, length: float = 1.0, usual: float = 10.0) -> int:
        served = replace(KNOWN, usual=usual, spans=5, since=90.0, all_good=1, all_lost=7)
        closed = served.hear(good, bad, lost, 100.0 + length)
        if closed.spans == 6:
            assert (closed.all_good, closed.all_bad, closed.all_lost) == (1 + good, bad, 7 + lost)
            assert closed.since == 90.0
            assert (closed.good, closed.bad, closed.lost, closed.began) == (0, 0, 0, 101.0)
        if closed.spans == 0:
            assert (closed.all_good, closed.all_bad, closed.all_lost) == (0, 0, 0)
        return closed.spans

    assert after(4, 3, 2) == 6
    assert after(5, 4, 4) == 0, "half of the good answers is enough"
    assert after(4, 2, 2) == 0, "no more failed than not"
    assert after(0, 2, 2) == 6
    assert after(0, 2, 1) == 5, "too few to tell: the span goes on"
    assert after(0, 4, 0, length=0.9) == 5
    assert after(0, 2, 1, length=QUIET) == 5
    began = replace(KNOWN, spans=5, lost=3)
    assert began.close(100.0 + QUIET).lost == 3
    quiet = began.close(100.1 + QUIET)
    assert (quiet.lost, quiet.began, quiet.spans) == (0, 100.1 + QUIET, 5)
    first = replace(KNOWN, usual=10.0).hear(0, 4, 0, 101.0)
    assert (first.spans, first.since) == (1, 100.0)
    usual = replace(KNOWN, usual=10.0).hear(20, 0, 0, 101.0)
    assert usual.usual == pytest.approx(11.0)
    assert (usual.before, usual.fine, usual.began) == (0.13, True, 101.0)
    assert not replace(KNOWN, usual=10.0).hear(0, 4, 0, 101.0).fine
    assert Served().hear(0, 1, 0, 7.0).began == 7.0
    assert (
        "of 12 questions of the resolvers in 10 s 7 were not answered and 4 got bad answers"
        in replace(KNOWN, since=90.0, all_good=1, all_bad=4, all_lost=7).shown
    )
