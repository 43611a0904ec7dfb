"""Packets of pods and hosts behind this one: who is in use, and what a site makes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from socket import NETLINK_ROUTE
from typing import Self

import pytest
from simulation import WALL, Ask, Simulation, setup

from steering.act.kernel import conntrack, rtnetlink
from steering.decide.messages.reasons import sites
from steering.engine.engine import turn
from steering.engine.migrate import migrate
from steering.facts import Facts, Forwarded, Passed
from steering.judge.known.carriage import AT_FIRST, LASTS, Carriage
from steering.judge.known.legs import LOST, LegState
from steering.judge.traffic.forwarded import MOST as KEPT
from steering.judge.traffic.forwarded import dropped, dropping, states, unknown
from steering.model import LOCAL, Family, Outcome, Round
from steering.observe.traffic.forwarded import AT_THE_START, MUCH, WAITS, Forwarding
from steering.observe.traffic.resolver_sources import FORGOTTEN, LASTING, LOOKS, MOST, PASSING

POD, HERE, A, B = "10.88.0.7", "192.0.2.53", "192.5.6.30", "192.33.14.30"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    address: str = A
    source: str = POD
    apart: bool = False
    translated: str = HERE
    answered: bool = True
    lasting: bool = False
    age: float | None = WAITS


class Table:
    """What the kernel has."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = list(entries)
        self.refuses: OSError | None = None

    def __call__(self, family: Family, addresses: Collection[str]) -> Iterable[Entry]:
        if self.refuses is not None:
            raise self.refuses
        mine = [e for e in self.entries if e.address in addresses]
        return [entry for entry in mine if Family.of(entry.address) is family]


def look(seen: Forwarding, now: float) -> None:
    for family in Family:
        seen.look(now, family)


def looked(
    seen: Forwarding, begin: float, times: int, every: float = 1.0, site: str | None = None
) -> float:
    """After so many looks, beginning then; the instant of the last one."""
    for number in range(times):
        now = begin + number * every
        seen.note_installed({A: site} if site else {}, now)
        look(seen, now)
    return now


LATER = 100 + AT_THE_START + 1


def test_who_asks_for_half_a_minute_is_in_use_and_told_with_what_becomes_of_it() -> None:
    table = Table()
    seen = Forwarding([A, B], table, now=100.0)
    table.entries = [Entry(), Entry(source=HERE, apart=True)]
    looked(seen, LATER, int(LASTING))
    assert seen.in_use == {}
    look(seen, LATER + LASTING)
    assert seen.in_use == {Family.IPV4: (Forwarded(source=POD, translated=HERE),)}
    assert seen.take() == (Passed(address=A, path=LOCAL, source=POD, answered=int(LASTING) + 1),)
    assert seen.take() == ()


def test_one_dig_makes_no_source_and_one_that_was_there_before_us_does_at_once() -> None:
    table = Table()
    table.entries = [Entry()]
    seen = Forwarding([A], table, now=100.0)
    looked(seen, LATER, LOOKS)
    assert seen.in_use == {}
    seen = Forwarding([A], table, now=100.0)
    looked(seen, 100.0, LOOKS)
    assert seen.in_use[Family.IPV4][0].source == POD
    after = Forwarding([A], Table(), was=seen, now=200.0)
    assert after.in_use == seen.in_use, "a reload forgets nobody"
    look(after, 100 + LOOKS + FORGOTTEN + 1)
    assert after.in_use == {}


def test_what_is_asked_over_a_detour_is_booked_to_it_and_makes_a_source_soon() -> None:
    table = Table()
    seen = Forwarding([A], table, now=100.0)
    seen.note_installed({A: "pao"}, LATER)
    table.entries = [Entry(answered=False, translated=POD)] * (MUCH // LOOKS)
    look(seen, LATER + WAITS - 0.5)
    assert seen.take() == (), "it may have been asked before the move"
    looked(seen, LATER + WAITS, LOOKS, site="pao")
    assert seen.in_use == {Family.IPV4: (Forwarded(source=POD),)}
    assert seen.take() == (Passed(address=A, path="pao", source=POD, lost=MUCH),)


def test_an_address_that_comes_back_to_this_host_is_nobody_behind_it() -> None:
    """One that two hosts share goes and comes, and entries outlive it for some seconds."""
    table = Table()
    table.entries = [Entry(source="192.0.2.54")]
    seen = Forwarding([A], table, now=100.0)
    looked(seen, LATER, int(LASTING) + 2)
    assert [f.source for f in seen.in_use[Family.IPV4]] == ["192.0.2.54"]
    table.entries = [Entry(source="192.0.2.54", apart=True)]
    look(seen, LATER + LASTING + 3)
    assert seen.in_use == {}


def test_what_was_asked_before_a_site_was_rerouted_is_not_booked_to_it() -> None:
    table = Table()
    table.entries = [Entry(answered=False)]
    seen = Forwarding([A], table, now=100.0)
    seen.note_installed({A: "pao"}, 100.0)
    seen.reroute(["fra"], 110.0)
    look(seen, 110.0)
    assert [passed.path for passed in seen.take()] == ["pao"]
    seen.reroute(["pao"], 111.0)
    look(seen, 111 + WAITS - 0.5)
    assert seen.take() == ()
    look(seen, 111 + WAITS)
    assert [passed.path for passed in seen.take()] == ["pao"]


def test_who_is_said_to_be_of_another_site_after_the_alarm_is_forgotten() -> None:
    """A reload with `transit_interfaces` ends it, and not a day."""
    table = Table()
    table.entries = [Entry()]
    was = Forwarding([A], table, now=100.0)
    looked(was, 100.0, LOOKS)
    seen = Forwarding([A], table, was=was, now=200.0)
    assert seen.in_use
    table.entries = [Entry(apart=True, age=1.0)]
    look(seen, 200.0)
    assert seen.in_use == {}


@pytest.mark.parametrize("age", [None, WAITS - 1, WAITS + 1])
def test_each_question_is_looked_at_once(age: float | None) -> None:
    table = Table()
    table.entries = [Entry(age=age)]
    seen = Forwarding([A], table, now=100.0)
    looked(seen, 100.0, 60)
    assert seen.take() == ()
    assert seen.in_use == {}


def test_a_port_that_is_used_again_shows_who_asks_and_not_what_comes_back() -> None:
    table = Table()
    table.entries = [Entry(lasting=True)]
    seen = Forwarding([A], table, now=100.0)
    looked(seen, 100.0, LOOKS)
    assert seen.in_use[Family.IPV4][0].source == POD
    assert seen.take() == ()


def test_a_port_that_is_never_at_rest_shows_who_asks() -> None:
    table = Table()
    table.entries = [Entry(lasting=True, age=1.0)]
    seen = Forwarding([A], table, now=100.0)
    looked(seen, 100.0, LOOKS)
    assert seen.in_use[Family.IPV4][0].source == POD


def test_who_has_entries_of_no_age_is_seen_and_not_judged() -> None:
    """Answers go by a flow table, say: what is left for the kernel to see is what gets lost."""
    table = Table()
    table.entries = [Entry(age=None), Entry(answered=False), Entry(source="10.88.0.8")]
    seen = Forwarding([A], table, now=100.0)
    looked(seen, 100.0, LOOKS)
    assert {f.source for f in seen.in_use[Family.IPV4]} == {POD, "10.88.0.8"}
    assert {passed.source for passed in seen.take()} == {"10.88.0.8"}


def test_sources_that_are_made_up_are_kept_to_a_number() -> None:
    table = Table()
    table.entries = [Entry(source=f"10.{n // 250}.{n % 250}.1") for n in range(1000)]
    seen = Forwarding([A], table, now=100.0)
    looked(seen, 100.0, 2)
    assert len(seen.records) == MOST * len(Family)
    assert "whether a site carries the others" in seen.trouble
    table.entries = []
    now = looked(seen, 102.0, 2, every=PASSING)
    assert seen.trouble == ""
    table.entries = [Entry()]
    looked(seen, now, 2)
    assert seen.trouble == "", "there is room again"


def test_what_the_configuration_says_is_carried() -> None:
    table = Table()
    table.entries = [Entry(), Entry(source="10.99.0.1")]
    seen = Forwarding([A], table, carried=[ip_network("10.88.0.0/16")], now=100.0)
    looked(seen, 100.0, LOOKS)
    assert {f.source: f.carried for f in seen.in_use[Family.IPV4]} == {
        POD: True,
        "10.99.0.1": False,
    }


def test_a_table_that_may_not_be_read_is_told_and_read_again() -> None:
    table = Table()
    table.refuses = PermissionError(1, "Operation not permitted")
    seen = Forwarding([A], table, now=100.0)
    look(seen, 101.0)
    assert "Operation not permitted" in seen.trouble
    table.refuses = None
    seen.look(101.5, Family.IPV6)
    assert "Operation not permitted" in seen.trouble, "the other family has nothing to do with it"
    look(seen, 102.0)
    assert seen.trouble == ""


# --- what is decided by it ------------------------------------------------------------------


def expired_here(ask: Ask) -> Outcome:
    """A third of the names at the local instance, from 1100 on."""
    bad = ask.local and ask.now > 1100 and ask.unlucky(0.33)
    return Outcome.EXPIRED if bad else Outcome.SECURE


class Pods(Simulation):
    """Somebody behind this host asks ten times a second, of every IPv4 address."""

    senders: tuple[Forwarded, ...] = (Forwarded(source=POD, translated=HERE),)
    carries: Mapping[str, bool] = {}
    asks_from: float = 0.0

    def facts(self, rounds: Iterable[Round]) -> Facts:
        facts = super().facts(rounds)
        if self.now < self.asks_from:
            return facts
        number = max(1, int(10 * (self.now - self._turned)))
        passed = []
        for address in self.addresses(Family.IPV4):
            path = self.installed.get(address, LOCAL)
            comes = self.carries.get(path, path == LOCAL)
            passed.append(
                Passed(
                    address=address,
                    path=path,
                    source=POD,
                    answered=number * comes,
                    lost=number * (not comes),
                )
            )
        return replace(facts, forwarded={Family.IPV4: self.senders}, passed=tuple(passed))


CARRIED = (Forwarded(source=POD, translated=HERE, carried=True),)


@pytest.mark.long
def test_who_is_forwarded_and_not_known_to_be_carried_keeps_his_family_here(tmp_path: Path) -> None:
    sim = Pods(setup(tmp_path), expired_here).run(150)
    assert {step.address for _, step in sim.moves()} == set(sim.addresses(Family.IPV6))
    alarm = sim.state.alarms["forwarded"].because
    assert f"pao (ipv4): {POD} (over the local path: {HERE})" in alarm
    assert "`forwarded_sources`" in alarm
    address = sim.addresses(Family.IPV4)[0]
    assert f"not known whether it carries what this host forwards for {POD}" in sites(
        sim.state, address
    )


@pytest.mark.long
def test_who_is_carried_goes_along_and_stays_while_he_is_answered(tmp_path: Path) -> None:
    sim = Pods(setup(tmp_path), expired_here)
    sim.senders, sim.carries = CARRIED, {"pao": True, "fra": True, LOCAL: True}
    sim.run(160)
    assert sim.installed.keys() == set(sim.addresses())
    assert "forwarded" not in sim.state.alarms


@pytest.mark.long
def test_a_detour_over_which_he_gets_nothing_ends_and_is_not_taken_again(tmp_path: Path) -> None:
    sim = Pods(setup(tmp_path), expired_here)
    sim.senders, sim.carries = CARRIED, {"pao": True, LOCAL: True}
    sim.until(lambda: bool(sim.installed), limit=200)
    assert set(sim.installed.values()) == {"fra"}
    sim.until(lambda: "forwarded" in sim.state.alarms, limit=3)
    sim.run(60)
    mine = sim.addresses(Family.IPV4)
    assert {sim.installed.get(address) for address in mine} == {"pao"}, "it carries him"
    assert "no answer comes back over the site" in sim.state.alarms["forwarded"].because
    assert f"no answer comes back to {POD}" in sites(sim.state, mine[0])
    sim.carries = {LOCAL: True}
    sim.until(lambda: not sim.installed.keys() & set(mine), limit=5)
    before = len(sim.moves())
    sim.run(120)
    assert all(step.address not in mine for _, step in sim.moves()[before:])
    for past, lost in ((LASTS - 240, 2), (LASTS, 0)):
        now = sim.now + past
        known = sim.state.ledger.carried, sim.state.forwarded, sim.index, now
        assert len(dropped(*known)) == lost, "it is believed for a while"
        assert bool(dropping(*known)) is bool(lost)
        assert unknown(*known) == (), "and what the configuration says, then"


@pytest.mark.long
def test_who_begins_during_the_incident_ends_a_detour_that_does_not_carry_him(
    tmp_path: Path,
) -> None:
    sim = Pods(setup(tmp_path), expired_here)
    sim.asks_from = 1150.0
    sim.run(149)
    assert sim.installed.keys() == set(sim.addresses())
    sim.until(lambda: not sim.installed.keys() & set(sim.addresses(Family.IPV4)), limit=5)


@pytest.mark.long
def test_questions_that_nobody_answers_anywhere_end_no_detour(tmp_path: Path) -> None:
    sim = Pods(setup(tmp_path), expired_here)
    sim.senders, sim.carries = CARRIED, {LOCAL: False}
    sim.run(160)
    assert sim.installed.keys() == set(sim.addresses())


@pytest.mark.long
def test_a_dead_address_says_nothing_of_the_site(tmp_path: Path) -> None:
    """Nothing comes back to him where nothing comes back to us."""
    sim = Pods(setup(tmp_path), expired_here)
    sim.senders, sim.carries = CARRIED, {"pao": True, "fra": True, LOCAL: True}
    sim.run(150)
    dead = sim.addresses(Family.IPV4)[0]
    assert dead in sim.installed

    def answer(ask: Ask) -> Outcome:
        there = not ask.local and ask.address == dead
        return Outcome.TIMEOUT if there else expired_here(ask)

    sim.answer = answer
    sim.run(30)
    assert "forwarded" not in sim.state.alarms


@pytest.mark.parametrize(("answered", "enough"), [(0, AT_FIRST), (1, LOST)])
def test_so_many_in_a_row_and_no_fewer(answered: int, enough: int) -> None:
    said = Carriage().answered() if answered else Carriage()
    for number in range(enough):
        assert said.state is not LegState.LOST
        said = said.unanswered(f"192.5.{number % 3}.30", 1, 13, 1000.0)
    assert said.state is LegState.LOST
    alone = Carriage().unanswered(A, 100, 13, 1000.0)
    assert alone.state is LegState.UNTRIED, "one address may be the nameserver's affair"
    assert Carriage().unanswered(A, 100, 1, 1000.0).state is LegState.LOST


def test_servers_that_leave_some_questions_alone_do_not_end_a_detour_that_carries(
    tmp_path: Path,
) -> None:
    """Which of them was asked before which within a turn, nobody knows."""
    sim = Pods(setup(tmp_path), expired_here)
    sim.senders, sim.carries = CARRIED, {"fra": True, LOCAL: True}
    one, *others = sim.addresses(Family.IPV4)
    sim.until(lambda: "fra" in sim.installed.values(), limit=200)
    fine = Passed(address=one, path="fra", source=POD, answered=9)
    lost = [Passed(address=a, path="fra", source=POD, lost=9) for a in (*others, one)]
    for passed in ([fine, *lost[:-1]], lost[-1:]):
        sim.state, _, _ = turn(sim.state, replace(sim.facts(()), passed=tuple(passed)), sim.now)
        assert {said.state for said in sim.state.ledger.carried.values()} == {LegState.USABLE}


def test_a_site_over_which_one_address_goes_is_lost_by_that_one(tmp_path: Path) -> None:
    """Those that go over another site are never asked over it."""
    sim = Pods(setup(tmp_path), expired_here)
    sim.senders, sim.carries = CARRIED, {"fra": True, LOCAL: True}
    sim.until(lambda: set(sim.addresses()) <= sim.installed.keys(), limit=200)
    alone = sim.addresses(Family.IPV4)[0]
    passed = (Passed(address=alone, path="pao", source=POD, lost=AT_FIRST),)
    for installed, lost in ((sim.installed, False), ({**sim.installed, alone: "pao"}, True)):
        facts = replace(sim.facts(()), passed=passed, installed=installed)
        ledger = turn(sim.state, facts, sim.now)[0].ledger
        states = {leg.site: said.state for leg, said in ledger.carried.items()}
        assert (states["pao"] is LegState.LOST) is lost


def test_what_was_lost_an_hour_ago_is_tried_anew_and_not_lost_by_one_question() -> None:
    said = Carriage().answered()
    for number in range(LOST):
        said = said.unanswered(f"192.5.{number % 3}.30", 1, 13, 1000.0)
    assert said.unanswered(A, 1, 13, 1000 + LASTS - 1).state is LegState.LOST
    for number in range(AT_FIRST):
        said = said.unanswered(f"192.5.{number % 3}.30", 1, 13, 1000 + LASTS)
        assert (said.state is LegState.LOST) is (number == AT_FIRST - 1)


# --- the kernel's messages ------------------------------------------------------------------

BODIES = {
    "192.0.2.1": ""
    "020000003400018014000180080001000a58000708000200c00002011c000280050001001100000006"
    "0002008c9b00000600030000350000340002801400018008000100c000020108000200c00002351c00028005000100"
    "110000000600020000350000060003008c9b00000800030000000198080008000000000008000c00ab06f72008000b"
    "0000000001080007000000001d",
    "2001:db8::1": ""
    "0a0000004c0001802c00018014000300fd8800000000000000000000000000021400040020010db8"
    "0000000000000000000000011c000280050001001100000006000200cc0b000006000300003500004c0002802c0001"
    "801400030020010db80000000000000000000000011400040020010db80000000000000000000000531c0002800500"
    "010011000000060002000035000006000300cc0b00000800030000000198080008000000000008000c005b6f088908"
    "000b0000000001080007000000001d",
}
"""As a kernel wrote them."""


class Kernel:
    def __init__(self, answer: list[bytes] | OSError) -> None:
        self.answer = answer

    def __call__(self, protocol: int = NETLINK_ROUTE) -> Kernel:
        assert protocol in {conntrack.NETFILTER, NETLINK_ROUTE}
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def some(self, kind: int, body: bytes, at_most: int) -> list[bytes]:
        assert kind == 0x101
        assert body
        assert at_most
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer

    def get_each(self, kind: int, bodies: list[bytes]) -> list[bytes | None]:
        assert kind == rtnetlink.GETROUTE
        return [None for _ in bodies]  # there is no way back at all


def limits(tmp: Path) -> Path:
    for name, seconds in (("", 30), ("_stream", 120)):
        (tmp / f"nf_conntrack_udp_timeout{name}").write_text(f"{seconds}\n")
    return tmp


@pytest.mark.parametrize("address", BODIES)
def test_an_entry_is_read_as_the_kernel_wrote_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [bytes.fromhex(text) for text in BODIES.values()]
    monkeypatch.setattr(conntrack, "QuerySocket", Kernel(bodies))
    (entry,) = conntrack.Conntrack(limits=limits(tmp_path)).questions(Family.of(address), [address])
    assert (entry.answered, entry.lasting, entry.age) == (False, False, 1)
    four = ("10.88.0.7", "192.0.2.53")
    assert (entry.source, entry.translated) == (
        four if "." in address else ("fd88::2", "2001:db8::53")
    )
    answered = bytes.fromhex(BODIES[address].replace("0800030000000198", "080003000000019e"))
    monkeypatch.setattr(conntrack, "QuerySocket", Kernel([answered]))
    (entry,) = conntrack.Conntrack(limits=tmp_path).questions(Family.of(address), [address])
    assert (entry.answered, entry.lasting, entry.age) == (True, True, 91)


def test_rubbish_from_the_kernel_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bytes.fromhex(BODIES["192.0.2.1"])
    reader = conntrack.Conntrack(limits=limits(tmp_path))
    for end in range(len(whole)):
        monkeypatch.setattr(conntrack, "QuerySocket", Kernel([whole[:end]]))
        assert len(reader.questions(Family.IPV4, ["192.0.2.1"])) <= 1


def test_where_this_namespace_tracks_nothing_the_table_of_all_is_not_gone_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conntrack, "QuerySocket", Kernel([bytes.fromhex(BODIES["192.0.2.1"])]))
    reader, count = conntrack.Conntrack(limits=limits(tmp_path)), tmp_path / "nf_conntrack_count"
    for number, found in (("0", 0), ("1", 1)):
        count.write_text(f"{number}\n")
        assert len(reader.questions(Family.IPV4, ["192.0.2.1"])) == found


def test_a_kernel_without_the_table_has_nothing_and_one_that_refuses_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert conntrack.Conntrack(limits=tmp_path).questions(Family.IPV4, [A]) == []
    hidden = conntrack.Conntrack(limits=tmp_path / "sys" / "net")
    with pytest.raises(OSError, match=r"there is no .*ProcSubset"):
        hidden.questions(Family.IPV4, [A])
    reader = conntrack.Conntrack(limits=limits(tmp_path))
    for refusal in (OSError(22, "Invalid argument"), PermissionError(1, "not permitted")):
        monkeypatch.setattr(conntrack, "QuerySocket", Kernel(refusal))
        with pytest.raises(OSError, match=r"list connections|not permitted"):
            reader.questions(Family.IPV4, [A])


def test_what_is_shown_of_it(tmp_path: Path) -> None:
    sim = Pods(setup(tmp_path), expired_here)
    sim.carries = {LOCAL: True}

    def shown() -> set[tuple[str, str]]:
        known = sim.state.ledger.carried, sim.state.forwarded, sim.index, sim.now
        ways = list(states(*known))
        assert {(way.leg.source, way.leg.family, way.transport) for way in ways} <= {
            (POD, Family.IPV4, "udp")
        }
        return {(way.leg.site, str(way.state)) for way in ways}

    sim.run(20)
    assert shown() == {("pao", "not tried"), ("fra", "not tried")}
    sim.senders = CARRIED
    sim.run(1)
    assert shown() == {("pao", "usable"), ("fra", "usable")}
    sim.until(lambda: "forwarded" in sim.state.alarms, limit=200)
    assert ("fra", "lost") in shown()


def test_a_reload_keeps_what_is_known_of_the_sites_that_stay(tmp_path: Path) -> None:
    sim = Pods(setup(tmp_path), expired_here)
    sim.senders, sim.carries = CARRIED, {LOCAL: True}
    sim.until(lambda: "forwarded" in sim.state.alarms, limit=200)
    lost = {leg for leg in sim.state.ledger.carried if leg.site == "fra"}
    assert lost
    for rerouted, kept in (((), lost), (("fra",), set())):
        after, _ = migrate(sim.state, sim.index, sim.now, WALL + sim.now, rerouted=rerouted)
        assert {leg for leg in after.ledger.carried if leg.site == "fra"} == kept


def test_a_flood_of_made_up_sources_leaves_no_more_than_so_many_in_mind(tmp_path: Path) -> None:
    sim = Pods(setup(tmp_path), expired_here)
    address = sim.addresses(Family.IPV4)[0]
    for number in range(20):
        made_up = tuple(
            Passed(address=address, path=LOCAL, source=f"10.{number}.{n}.1", answered=1)
            for n in range(100)
        )
        sim.state, _, _ = turn(sim.state, replace(sim.facts(()), passed=made_up), sim.now)
    assert len(sim.state.ledger.carried) <= KEPT
