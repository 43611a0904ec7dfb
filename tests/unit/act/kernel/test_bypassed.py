"""What a rule of somebody else takes past the steers is not moved, and counts for nothing."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from claims import CLAIM
from simulation import Ask, Simulation, policy, setup

from steering.act.kernel.bypass import Bypass, Bypasses
from steering.act.kernel.claim import Claim
from steering.act.kernel.rules import Action, Flow, Rule
from steering.agent import kernel_paths as kernel_paths_module
from steering.agent.kernel_paths import BATCH, PAUSE_FACTOR, UNPROBED, KernelPaths
from steering.decide.messages.reasons import because
from steering.facts import Facts
from steering.model import (
    LOCAL,
    Family,
    Health,
    Instant,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
)

TOGETHER = policy(more="steer: {together: address}\n")
TAILSCALE = Rule(family=Family.IPV4, priority=5270, action=Action.LOOKUP, table=52)
ONE, SIX = "192.0.2.1", "2001:db8::1"
NEW = "192.0.2.77"


class Bypassed(Simulation):
    """A host with a rule that catches what is sent to these addresses."""

    past: frozenset[str] = frozenset()

    def facts(self, rounds: Iterable[Round]) -> Facts:
        facts = super().facts(rounds)
        there = {a: site for a, site in facts.installed.items() if a not in self.past}
        return replace(facts, bypassed=self.past, installed=there)


def expired_here(ask: Ask) -> Outcome:
    return Outcome.EXPIRED if ask.local and ask.now > 1030.0 else Outcome.SECURE


def test_what_no_detour_would_carry_stays_until_one_would(tmp_path: Path) -> None:
    sim = Bypassed(setup(tmp_path, TOGETHER), answer=expired_here)
    four = sim.addresses(Family.IPV4)
    sim.past = frozenset(four)
    sim.run(90.0)
    assert sim.installed.keys() == set(sim.addresses(Family.IPV6))
    assert all(sim.health(a) is Health.FAILING for a in four)
    said = because(sim.state, four[0])
    assert said.startswith("a detour would have no effect: another program's routing rule")
    sim.past = frozenset()
    sim.run(30.0)
    assert sim.installed.keys() == set(sim.addresses())


def test_a_steer_that_is_bypassed_later_proves_nothing_and_is_not_undone(tmp_path: Path) -> None:
    sim = Bypassed(setup(tmp_path, TOGETHER), answer=expired_here)
    one = sim.addresses(Family.IPV4)[0]
    sim.until(lambda: one in sim.installed, 90.0)
    sim.past = frozenset({one})
    sim.run(60.0)
    assert one in sim.state.steers()
    assert one not in {event.address for _, event in sim.told("proved")}
    sim.past = frozenset()
    sim.run(60.0)
    assert one in {event.address for _, event in sim.told("proved")}
    assert not sim.told("undone")


class Kernel:
    """A reader of a kernel whose rules are as the test says."""

    claim: Claim = CLAIM

    def __init__(self) -> None:
        self.others_alone = False
        self.told = False
        self.failing = False
        self.pins_changed = self.others_changed = False
        self.links_changed: set[int] = set()
        self.sites_changed: set[str] = set()
        self.leading = {(site, address) for site in CLAIM.sites for address in (ONE, SIX)}
        self.found = Bypasses(claim=CLAIM)
        self.lacking = frozenset[Family]()
        self.looks = 0
        self.looked_at: set[str] = set()
        self.reads = 0

    def changed(self) -> bool:
        return self.told

    def routeless(self, addresses: Mapping[str, Family]) -> frozenset[Family]:
        return self.lacking & frozenset(addresses.values())

    def pinned(
        self, addresses: Mapping[str, Family], sources: Collection[str] = ()
    ) -> Mapping[tuple[str, str], int | None]:
        assert not sources
        self.looks += 1
        self.looked_at = set(addresses)
        if self.failing:
            raise OSError(11, "the routing tables change faster than they can be read")
        led = self.leading | {(LOCAL, address) for address in addresses}
        return {pair: 7 for pair in led if pair[1] in addresses}

    def links(
        self,
        witnesses: Mapping[tuple[str, Family], str],
    ) -> Mapping[tuple[str, Family], int]:
        return dict.fromkeys(witnesses, 1)

    def bypasses(self, addresses: Collection[str], sources: Collection[str] = ()) -> Bypasses:
        assert set(addresses) >= {ONE, SIX}
        assert not sources
        self.reads += 1
        return self.found

    def installed(self) -> Mapping[str, str]:
        return {ONE: "pao", SIX: "pao"}


class Clock:
    """What time it is, as the test says; each look-up of the bypasses takes a while."""

    now: Instant = 1000.0

    def monotonic(self) -> Instant:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(kernel_paths_module, "time", made)
    return made


def ways_of(kernel: Kernel) -> KernelPaths:
    reader: object = kernel
    return KernelPaths(reader, acting=True, watched={ONE, SIX})  # type: ignore[arg-type]


def caught(*sites: str) -> Bypasses:
    """Tailscale's rule has taken the packets to ONE, and the questions through these sites."""
    flow = Flow(destination=ONE)
    return Bypasses(
        claim=CLAIM,
        traffic={ONE: Bypass(rule=TAILSCALE, flow=flow)},
        questions={(ONE, s): Bypass(rule=TAILSCALE, flow=flow, site=s) for s in sites},
        watched={Family.IPV4: 1},
    )


def test_a_flood_of_others_rules_costs_one_look_a_second(clock: Clock) -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    kernel.told = kernel.others_alone = kernel.others_changed = True
    told = 0
    for _ in range(1000):
        clock.now += 0.01
        told += ways.changed()
    assert 9 <= kernel.looks <= 11
    assert told == kernel.looks
    kernel.others_alone = False  # ours have changed: at once
    before = kernel.looks
    clock.now += 0.01
    assert ways.changed()
    assert kernel.looks == before + 1


def test_what_takes_long_to_look_up_is_looked_up_less_often(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    read = kernel.bypasses

    def slow(addresses: Collection[str], sources: Collection[str] = ()) -> Bypasses:
        clock.now += 0.5
        return read(addresses, sources)

    monkeypatch.setattr(kernel, "bypasses", slow)
    for _ in range(40):
        clock.now += 1.0
        ways.changed()
    assert kernel.looks == 40
    assert 3 <= kernel.reads <= 40 / (PAUSE_FACTOR * 0.5) + 1


def test_rules_that_cannot_be_read_end_nothing(clock: Clock) -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    ways.changed()
    kernel.failing = True
    clock.now += 5.0
    assert not ways.changed()
    assert ways.leads("pao", ONE)
    assert ways.installed() == {ONE: "pao", SIX: "pao"}


def test_by_which_link_a_site_s_answers_come_in_is_seen_by_an_address_that_it_is_asked_for(
    clock: Clock,
) -> None:
    kernel = Kernel()
    kernel.leading -= {("fra", ONE), ("fra", SIX)}
    ways = ways_of(kernel)
    ways.changed()
    assert [ways.link("pao", family) for family in Family] == [1, 1]
    assert [ways.link("fra", family) for family in Family] == [None, None]


def test_a_site_is_not_asked_while_all_questions_are_caught(clock: Clock) -> None:
    kernel = Kernel()
    kernel.found = caught("pao")
    ways = ways_of(kernel)
    ways.changed()
    assert not ways.leads("pao", ONE)
    assert ways.leads("pao", SIX)
    assert ways.leads("fra", ONE)
    assert ways.installed() == {SIX: "pao"}
    assert ways.past_steers() == {ONE}
    clock.now += UNPROBED
    assert ways.unasked(clock.now) == ""


def test_no_site_that_can_be_asked_is_told_after_a_while_and_by_family(clock: Clock) -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    ways.changed()
    kernel.leading = {pair for pair in kernel.leading if pair[1] == SIX}
    clock.now += 1.0
    ways.changed()
    assert ways.unasked(clock.now) == ""
    clock.now += UNPROBED
    ways.changed()
    said = ways.unasked(clock.now)
    assert said.startswith("no site can be probed over ipv4, so nothing can be compared or moved")
    assert "its link is down, or its rule or routes are missing" in said
    assert "ipv6" not in said
    kernel.found = caught(*CLAIM.sites)
    clock.now += 1.0
    ways.changed()
    assert "another program's rule `5270: from all lookup 52`" in ways.unasked(clock.now)
    kernel.leading = {(site, address) for site in CLAIM.sites for address in (ONE, SIX)}
    kernel.found = Bypasses(claim=CLAIM)
    clock.now += 1.0
    ways.changed()
    assert ways.unasked(clock.now) == ""
    assert ways.bypassed == ""


def test_an_address_that_comes_later_is_not_asked_before_it_was_looked_up(clock: Clock) -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    ways.changed()
    ways.watch({ONE, SIX, NEW})
    assert not ways.leads("pao", NEW)
    assert not ways.leads(LOCAL, NEW)
    ways.changed()  # in the turn that takes up the files, before the first question
    assert not ways.leads("pao", NEW)
    assert ways.leads(LOCAL, NEW)
    assert ways.leads("pao", ONE)
    kernel.leading |= {(site, NEW) for site in CLAIM.sites}
    kernel.told = True
    clock.now += 0.01
    ways.changed()
    assert ways.leads("pao", NEW)
    ways.watch({ONE, SIX})
    assert not ways.leads("pao", NEW)


def test_an_address_that_no_site_can_be_asked_for_is_told_after_a_while(clock: Clock) -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    ways.watch({ONE, SIX, NEW})
    kernel.leading.add(("fra", ONE))
    for after in (0.0, UNPROBED):
        clock.now += 1.0 + after
        ways.changed()
    said = ways.unasked(clock.now)
    assert said.startswith(
        f"no site can be probed for {NEW}: the routes for it in the sites' tables"
    )
    kernel.leading.add(("pao", NEW))
    clock.now += 1.0
    ways.changed()
    assert ways.unasked(clock.now) == ""


@pytest.mark.parametrize("of", ["rules", "the site's table"])
def test_where_rules_or_site_tables_changed_what_was_asked_before_does_not_count(
    clock: Clock, of: str
) -> None:
    """They may have been gone in between, be all there again or not."""
    kernel = Kernel()
    ways = ways_of(kernel)
    ways.changed()
    asked, told = clock.now, Observation(address=ONE, path="pao", outcome=Outcome.SECURE)
    question = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
    item = Round(address=ONE, question=question, at=asked, observations=(told,))
    kernel.told = True
    clock.now += 0.01
    ways.changed()  # of a link, say
    assert ways.over_their_paths(item) == item
    kernel.sites_changed = {"fra"}
    clock.now += 0.01
    ways.changed()
    assert ways.over_their_paths(item) == item, "another site's table"
    kernel.sites_changed, kernel.pins_changed = (set(), True) if of == "rules" else ({"pao"}, False)
    clock.now += 0.01
    ways.changed()
    assert ways.leads("pao", ONE)
    assert ways.over_their_paths(item).observations == ()
    assert ways.over_their_paths(replace(item, at=clock.now)).observations == (told,)


def test_of_many_addresses_some_are_looked_up_each_time_and_all_after_a_change(
    clock: Clock,
) -> None:
    kernel = Kernel()
    many = {f"198.18.{i // 250}.{i % 250 + 1}" for i in range(1000)}
    kernel.leading = {(site, address) for site in CLAIM.sites for address in many}
    reader: object = kernel
    ways = KernelPaths(reader, acting=True, watched=many | {ONE, SIX})  # type: ignore[arg-type]
    ways.changed()
    assert len(kernel.looked_at) == 1002
    seen: set[str] = set()
    lost = ("pao", sorted(many)[700])
    kernel.leading.discard(lost)  # and nobody tells of it
    for _ in range(6):
        clock.now += 1.0
        ways.changed()
        assert len(kernel.looked_at) * (1 + len(CLAIM.sites)) <= BATCH
        seen |= kernel.looked_at
    assert seen == many | {ONE, SIX}
    assert not ways.leads(*lost)
    assert ways.leads("fra", lost[1])
    kernel.told = True
    kernel.links_changed = {8}  # a link that no question goes by
    clock.now += 0.01
    ways.changed()
    assert len(kernel.looked_at) < 1002
    for changed in ("links_changed", "sites_changed", "pins_changed", "others_changed"):
        kernel.links_changed = {7} if changed == "links_changed" else set()
        kernel.sites_changed = {"pao"} if changed == "sites_changed" else set()
        kernel.pins_changed = changed == "pins_changed"
        kernel.others_changed = changed == "others_changed"
        clock.now += 0.01
        ways.changed()
        assert len(kernel.looked_at) == 1002


@pytest.mark.parametrize(
    ("priority", "remedy"),
    [
        (5270, "`act.kernel.priority: 5268` or less, or a preference after ours for it"),
        (5, "a preference after ours for it"),  # ours need four in front of it, and 0 is taken
    ],
)
def test_the_remedy_is_one_that_can_be_had(priority: int, remedy: str) -> None:
    rule = replace(TAILSCALE, priority=priority)
    one = Bypass(rule=rule, flow=Flow(destination=ONE))
    (said,) = Bypasses(claim=CLAIM, traffic={ONE: one}, watched={Family.IPV4: 5}).texts()
    assert f"wanted {remedy}" in said
    assert f"packets to {ONE} (UDP) bypass the steers" in said


def test_a_rule_that_selects_our_mark_is_told_of_elsewhere() -> None:
    rule = replace(TAILSCALE, mark=CLAIM.mark + 1, mask=0xFFFFFFFF)
    one = Bypass(rule=rule, flow=Flow(destination=ONE, mark=CLAIM.mark + 1), site="pao")
    found = Bypasses(claim=CLAIM, questions={(ONE, "pao"): one}, watched={Family.IPV4: 1})
    assert found.texts() == ()
    assert found.asking("pao", Family.IPV4) == rule


def test_an_address_that_leaves_while_no_site_can_be_asked_for_it_is_not_told_of(
    clock: Clock,
) -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    ways.watch({ONE, SIX, NEW})
    for after in (0.0, UNPROBED):
        clock.now += 1.0 + after
        ways.changed()
    assert NEW in ways.unasked(clock.now)
    ways.watch({ONE, SIX})  # and the kernel is not looked at before it is told
    assert ways.unasked(clock.now) == ""


def test_a_family_that_has_no_route_is_known_at_once_and_forgotten_a_little_later() -> None:
    kernel = Kernel()
    ways = ways_of(kernel)
    now = time.monotonic()
    kernel.told = True
    ways.changed()
    assert ways.routeless(now) == frozenset()
    kernel.lacking, kernel.leading = frozenset({Family.IPV6}), set()
    ways.changed()
    assert ways.routeless(time.monotonic()) == {Family.IPV6}
    later = time.monotonic() + UNPROBED + 1
    assert "over ipv4" in ways.unasked(later)
    assert "ipv6" not in ways.unasked(later), "its ten seconds begin when it has a route again"
    assert "over ipv4" not in ways.unasked(later, {Family.IPV4})
    assert ways.routeless(time.monotonic() + kernel_paths_module.RETURNING) == frozenset()


def test_only_what_an_agent_with_marks_could_ask_a_site_for_is_missed(clock: Clock) -> None:
    """Not what no site has a next hop for, and not a family that this host has no route for."""
    four = replace(CLAIM, next_hops={"pao": {Family.IPV4: "10.255.1.2"}}, sites=("pao",))
    for acting, claim, lacking, missed in (
        (True, CLAIM, frozenset[Family](), {ONE, SIX}),
        (False, CLAIM, frozenset[Family](), set[str]()),
        (True, four, frozenset[Family](), {ONE}),
        (True, CLAIM, frozenset({Family.IPV4}), {SIX}),
    ):
        kernel = Kernel()
        kernel.claim, kernel.leading, kernel.lacking = claim, set(), lacking
        reader: object = kernel
        ways = KernelPaths(reader, acting=acting, watched={ONE, SIX})  # type: ignore[arg-type]
        ways.changed()
        assert ways._unprobed_since.keys() == missed
