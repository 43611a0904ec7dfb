"""The synchroniser against an ExaBGP that has all the bad habits of the real one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steering.act.bgp.output import (
    Answered,
    Down,
    EndOfRib,
    Listed,
    Message,
    Negotiated,
    Sent,
    Sessions,
    Up,
    Version,
    host,
)
from steering.act.bgp.settings import Attributes, Peer
from steering.act.bgp.sync import SILENT, Phase, Sync
from steering.model import Family

PEER = "10.0.0.1"
A, B = Attributes(next_hop="10.1.0.1"), Attributes(next_hop="10.2.0.1")
ADDRESSES = [f"192.0.2.{i}" for i in range(1, 6)]


class Habits:
    """ExaBGP 5.0 as measured: it answers before it sends, sends grouped by attributes, keeps
    only the latest change of a prefix for what it thinks is there, and knows no order.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.rib: dict[str, Attributes] = {}
        self.pending: list[tuple[str, Attributes | None]] = []
        self.router: dict[str, Attributes] = {}
        self.up = False
        self.queue: list[Message] = []
        self.refuses = False
        self.flapped = False
        """Whether a session was lost: then a change may wait that nobody waits for any more."""

    def take(self, line: str) -> None:
        words = line.split()
        match words[0]:
            case "version":
                self.queue += [Version(text="5.0.15"), Answered(accepted=True)]
            case "show" if words[1] == "neighbor":
                established = {PEER: frozenset(Family)} if self.up else {}
                self.queue += [Sessions(established=established), Answered(accepted=True)]
            case "show":
                self.queue += [
                    Listed(peer=PEER, prefix=f"{a}/32", attributes=what)
                    for a, what in self.rib.items()
                ]
                self.queue.append(Answered(accepted=True))
            case "neighbor" if self.refuses:
                self.queue.append(Answered(accepted=False))
            case "neighbor":
                self._change(words)
                self.queue.append(Answered(accepted=True))

    def _change(self, words: list[str]) -> None:
        announce, hop = words[2] == "announce", words[5]
        for text in words[words.index("nlri") + 1 :]:
            address = host(text)
            assert address is not None
            assert self.flapped or all(a != address for a, _ in self.pending), "one a cycle"
            if announce:
                if self.rib.get(address) == Attributes(next_hop=hop):
                    continue  # it takes it for announced already
                self.rib[address] = Attributes(next_hop=hop)
                self.pending.append((address, self.rib[address]))
            elif address in self.rib:
                del self.rib[address]
                self.pending.append((address, None))

    def send(self) -> None:
        """What waits goes out, in the order of the groups: not that of the commands."""
        if not self.up:
            return
        groups = list({what: None for _, what in self.pending})
        self.rng.shuffle(groups)
        for group in groups:
            mine = [a for a, what in self.pending if what == group]
            for address in mine:
                if group is None:
                    self.router.pop(address, None)
                else:
                    self.router[address] = group
            announced = dict.fromkeys(mine, group.next_hop) if group else {}
            withdrawn = frozenset() if group else frozenset(mine)
            self.queue.append(Sent(peer=PEER, announced=announced, withdrawn=withdrawn))
        self.pending.clear()

    def flap(self) -> None:
        if self.up:
            self.up, self.flapped = False, True
            self.router.clear()
            self.queue.append(Down(peer=PEER, because="flap"))
        else:
            self.up = True
            self.queue += [Negotiated(peer=PEER, families=frozenset(Family)), Up(peer=PEER)]
            there = {a for a, _ in self.pending}
            self.pending += [(a, what) for a, what in self.rib.items() if a not in there]
            self.send()
            self.queue += [EndOfRib(peer=PEER, family=family) for family in Family]


class Talk:
    """Both ends, and a clock that goes on while nothing happens."""

    def __init__(self, seed: int = 0) -> None:
        self.exabgp = Habits(random.Random(seed))
        self.sync = Sync((Peer(address=PEER, peer_as=1),))
        self.now = 0.0
        self.lines: list[str] = []
        self.say(self.sync.connected(self.now))

    def say(self, lines: list[str]) -> None:
        self.lines += lines
        for line in lines:
            self.exabgp.take(line)

    def step(self) -> bool:
        if self.exabgp.queue:
            self.say(self.sync.receive(self.exabgp.queue.pop(0), self.now))
            return True
        if self.exabgp.pending and self.exabgp.up:
            self.exabgp.send()
            return True
        self.now += 0.3
        self.say(self.sync.tick(self.now))
        return bool(self.exabgp.queue)

    def settle(self, steps: int = 400) -> None:
        for _ in range(steps):
            self.step()


def plans() -> st.SearchStrategy[dict[str, Attributes]]:
    return st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from([A, B]))


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(plans(), st.integers(0, 12), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 1000),
)
def test_whatever_happened_the_router_ends_with_exactly_the_plan(
    story: list[tuple[dict[str, Attributes], int, bool]], seed: int
) -> None:
    talk = Talk(seed)
    talk.exabgp.flap()
    plan: dict[str, Attributes] = {}
    for plan, steps, flaps in story:
        talk.say(talk.sync.want(plan, talk.now))
        if flaps:
            talk.exabgp.flap()
        for _ in range(steps):
            talk.step()
    if not talk.exabgp.up:
        talk.exabgp.flap()
    talk.settle()
    assert talk.exabgp.router == plan
    assert talk.sync.announced() == {a: what.next_hop for a, what in plan.items()}


def test_until_somebody_says_what_is_wanted_nothing_is_changed() -> None:
    talk = Talk()
    talk.exabgp.rib = dict.fromkeys(ADDRESSES, A)
    talk.exabgp.up = True
    talk.settle(50)
    assert talk.sync.ready
    assert not [line for line in talk.lines if line.startswith("neighbor")]
    assert talk.sync.announced() == dict.fromkeys(ADDRESSES, A.next_hop)
    talk.say(talk.sync.want(dict.fromkeys(ADDRESSES, A), talk.now))
    talk.settle(50)
    assert not [line for line in talk.lines if line.startswith("neighbor")]


def test_additions_are_out_before_a_removal_is_said() -> None:
    talk = Talk()
    talk.exabgp.flap()
    talk.say(talk.sync.want({ADDRESSES[0]: A}, talk.now))
    talk.settle(60)
    talk.lines.clear()
    talk.say(talk.sync.want({ADDRESSES[1]: A}, talk.now))
    while not any("withdraw" in line for line in talk.lines):
        talk.step()
    assert ADDRESSES[1] in talk.exabgp.router
    assert [line.split()[2] for line in talk.lines if line.startswith("neighbor")] == [
        "announce",
        "withdraw",
    ]


def test_what_is_acknowledged_without_a_session_is_not_installed() -> None:
    talk = Talk()
    talk.say(talk.sync.want({ADDRESSES[0]: A}, talk.now))
    talk.settle(60)
    assert talk.exabgp.rib
    assert talk.sync.announced() == {}
    assert not talk.sync.sent_everywhere(ADDRESSES[0], A)
    talk.exabgp.flap()
    talk.settle(60)
    assert talk.sync.sent_everywhere(ADDRESSES[0], A)


def test_a_lost_session_has_nothing_installed_from_that_moment() -> None:
    talk = Talk()
    talk.exabgp.flap()
    talk.say(talk.sync.want({ADDRESSES[0]: A}, talk.now))
    talk.settle(60)
    assert talk.sync.announced()
    talk.say(talk.sync.receive(Down(peer=PEER, because="hold time"), talk.now))
    assert talk.sync.announced() == {}
    assert talk.sync.sessions[PEER].because == "hold time"


def test_a_shorter_prefix_is_never_left_there() -> None:
    talk = Talk()
    talk.say(talk.sync.want({}, talk.now))
    talk.settle(10)
    talk.sync.receive(Listed(peer=PEER, prefix="192.0.2.0/24", attributes=A), talk.now)
    talk.now += 2
    talk.say(talk.sync.tick(talk.now))
    said = list(_until_calm(talk, Listed(peer=PEER, prefix="192.0.2.0/24", attributes=A)))
    assert any("withdraw route 192.0.2.0/24" in line for line in said)


def _until_calm(talk: Talk, stray: Listed) -> Iterator[str]:
    """One reading of adj-rib-out with a stray in it."""
    while talk.sync.phase is not Phase.READING:
        talk.now += 1.1
        talk.sync.tick(talk.now)
    talk.sync.receive(stray, talk.now)
    yield from talk.sync.receive(Answered(accepted=True), talk.now)


def test_another_version_is_told_nothing_at_all() -> None:
    sync = Sync((Peer(address=PEER, peer_as=1),))
    assert sync.connected(0.0) == ["version"]
    sync.want({ADDRESSES[0]: A}, 0.0)
    sync.receive(Version(text="4.2.25"), 0.0)
    assert sync.receive(Answered(accepted=True), 0.0) == []
    assert sync.phase is Phase.USELESS
    assert sync.tick(100.0) == []
    assert sync.want({ADDRESSES[1]: A}, 101.0) == []


def test_a_command_that_is_refused_is_not_said_again_at_once() -> None:
    talk = Talk()
    talk.exabgp.flap()
    talk.exabgp.refuses = True
    talk.say(talk.sync.want({ADDRESSES[0]: A}, talk.now))
    talk.settle(20)
    tried = [line for line in talk.lines if line.startswith("neighbor")]
    assert len(tried) == 1
    assert talk.sync.refused(talk.now) == {ADDRESSES[0]: PEER}
    talk.exabgp.refuses = False
    talk.settle(400)
    assert talk.exabgp.router == {ADDRESSES[0]: A}


@pytest.mark.parametrize("after", [SILENT / 2, SILENT * 1.1])
def test_a_silent_speaker_is_known_by_the_oldest_command(after: float) -> None:
    sync = Sync((Peer(address=PEER, peer_as=1),))
    sync.connected(0.0)
    assert sync.silent(after) is (after > SILENT)


FULL = Attributes(
    next_hop="10.1.0.1",
    local_preference=500,
    communities=frozenset({"no-export", "64512:5353"}),
    large_communities=frozenset({"64512:1:2"}),
)


def _withdrawn_but_not_sent(sync: Sync) -> None:
    """A route was announced and is in the router; its withdrawal is taken and does not go out."""
    families = frozenset(Family)
    sync.connected(0.0)
    sync.receive(Version(text="5.0.15"), 0.0)
    sync.receive(Answered(accepted=True), 0.0)
    sync.receive(Sessions(established={PEER: families}), 0.0)
    sync.receive(Answered(accepted=True), 0.0)
    sync.receive(Listed(peer=PEER, prefix=f"{ADDRESSES[0]}/32", attributes=FULL), 0.0)
    sync.receive(Answered(accepted=True), 0.0)
    assert [line.split()[2] for line in sync.want({}, 0.0)] == ["withdraw"]
    sync.receive(Answered(accepted=True), 0.0)


def _announced(sync: Sync, end: float) -> list[tuple[float, str]]:
    """When and how it was announced again; adj-rib-out stays empty."""
    found = []
    for tenth in range(int(end * 10)):
        now = tenth / 10
        lines = sync.tick(now)
        while lines:
            found += [(now, line) for line in lines if " announce " in line]
            lines = sync.receive(Answered(accepted=True), now)
    return found


def test_a_withdrawal_that_is_slow_to_go_out_is_waited_for() -> None:
    sync = Sync((Peer(address=PEER, peer_as=1),))
    _withdrawn_but_not_sent(sync)
    assert _announced(sync, 4.5) == []
    assert sync.announced() == {ADDRESSES[0]: FULL.next_hop}, "the router has it until it is sent"


def test_what_is_announced_again_to_be_withdrawn_keeps_all_it_had() -> None:
    sync = Sync((Peer(address=PEER, peer_as=1),))
    _withdrawn_but_not_sent(sync)
    again = _announced(sync, 7.0)
    assert again
    for _, line in again:
        assert "local-preference 500 community [64512:5353 no-export]" in line
        assert "large-community [64512:1:2]" in line
