"""Three real routers are told: what they believe, what their kernels do, where packets go."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steering.act.bgp import process
from steering.act.bgp.router_filters import prefix_list
from steering.act.bgp.settings import NO_EXPORT, BgpSettings, Peer
from steering.act.bgp.supervisor import CONNECTED_WITHIN
from steering.lab.network.peering import ALL, IPV4, NEXT_HOPS, Host, Network, passable, terms
from steering.lab.network.routers import ROUTERS, Bird, Frr, GoBgp, Router
from steering.lab.network.sandbox import find
from steering.lab.waiting import until
from steering.model import Done, Family

pytestmark = pytest.mark.lab

FRA = NEXT_HOPS["fra"][Family.IPV4]
PLAIN = "correct-horse-battery"

# Accepts, speaks what is no BGP, then an OPEN that is cut off; tells how often.
BABBLE = """
import contextlib, os, socket
with socket.create_server(("10.9.0.2", 1790)) as server:
    while True:
        peer, _ = server.accept()
        with peer, contextlib.suppress(OSError):  # it may have hung up at the first of it
            peer.sendall(os.urandom(4096))
            peer.sendall(bytes([255] * 16) + bytes([0, 29, 1, 4]))
        print("spoke", flush=True)
"""

Meet = Callable[..., tuple[Any, Host, Network]]


@pytest.fixture
def meet(namespace: None) -> Iterator[Meet]:
    """Builds the network, starts one router and the speaker, and waits for the session."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steering-bgp-")))

        def build(
            kind: type[Router] = Bird,
            *,
            local_as: int = 64512,
            over: Family = Family.IPV4,
            wait: bool = True,
            **more: object,
        ) -> tuple[Any, Host, Network]:
            if kind.missing():
                pytest.skip(f"{kind.program} is not installed")
            network = stack.enter_context(closing(Network()))
            router = kind(network, work / "router", peer_as=local_as, over=over)
            stack.callback(router.stop)
            router.password = str(more.pop("router_password", ""))
            router.announces = int(str(more.pop("router_announces", 0)))
            lease = float(str(more.pop("lease", 20.0)))
            router.families = tuple(more.pop("router_families", tuple(Family)))  # type: ignore[arg-type]
            router.start()
            said = terms(local_as=local_as, over=over, **more)  # type: ignore[arg-type]
            host = stack.enter_context(closing(Host(said, work / "run", lease=lease)))
            if wait:
                host.until(host.up)
            return router, host, network

        yield build


@pytest.mark.parametrize("over", list(Family), ids=str)
@pytest.mark.parametrize("local_as", [64512, 64513], ids=["ibgp", "ebgp"])
@pytest.mark.parametrize("kind", ROUTERS, ids=lambda kind: kind.__name__)
def test_a_router_believes_what_the_plan_says(
    meet: Meet, kind: type[Router], local_as: int, over: Family
) -> None:
    router, host, network = meet(kind, local_as=local_as, over=over)
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: all(router.route(a) for a in (ALL[0], ALL[-1])))
    for address in (ALL[0], ALL[-1]):
        seen = router.route(address)
        assert seen is not None
        assert seen.next_hop == NEXT_HOPS["pao"][Family.of(address)]
        assert seen.communities == {"64512:5353", "64512:5353:1", NO_EXPORT}
        if local_as == 64512:
            assert seen.local_preference == 500
    host.until(lambda: network.routes() == host.wanted())
    assert network.reaches(ALL[0])
    assert network.reaches(ALL[-1])
    host.until(lambda: {r.address for r in host.results if isinstance(r, Done)} == set(ALL))
    host.plan = {}
    host.until(lambda: not any(map(router.route, (ALL[0], ALL[-1]))))
    host.until(lambda: network.routes() == {})
    assert not network.reaches(ALL[0])
    assert not network.reaches(ALL[-1])


@pytest.mark.parametrize("kind", ROUTERS, ids=lambda kind: kind.__name__)
def test_a_router_that_comes_back_is_told_everything_again(meet: Meet, kind: type[Router]) -> None:
    router, host, _ = meet(kind, listen=179)
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: router.route(ALL[-1]))
    router.stop()
    host.until(lambda: not host.up())
    assert host.speaker.installed() == {}
    host.plan = dict.fromkeys(ALL, "fra")
    host.turn()
    router.start()
    host.until(lambda: (seen := router.route(ALL[0])) and seen.next_hop == FRA)
    host.until(lambda: host.speaker.installed() == host.plan)
    if kind is GoBgp:
        return  # after a reset it lets nobody in for half a minute
    router.drop_session()
    host.until(lambda: host.speaker.installed() != host.plan)
    host.until(lambda: host.speaker.installed() == host.plan and router.route(ALL[-1]))


def test_an_agent_that_starts_within_the_lease_sends_no_update(meet: Meet) -> None:
    router, host, network = meet()
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    told = router.updates()
    host.restart()
    assert host.speaker.installed() == host.plan
    for _ in range(3):
        before = host.speaker.report().read
        host.until(lambda before=before: host.speaker.report().read > before)  # type: ignore[misc]
    assert router.updates() == told
    assert host.speaker.report().updates == 0
    assert host.speaker.report().starts == 0


def test_other_attributes_are_no_reason_to_start_anew(meet: Meet) -> None:
    router, host, network = meet()
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    host.terms = replace(host.terms, local_preference=600)
    host.restart()
    assert host.speaker.installed() == host.plan
    host.until(lambda: (seen := router.route(ALL[0])) and seen.local_preference == 600)
    assert host.speaker.report().starts == 0


def test_an_agent_with_other_neighbours_starts_another_speaker(meet: Meet) -> None:
    router, host, network = meet()
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    host.terms = terms(peers=(replace(host.terms.peers[0], hold_time=12),))
    host.restart()
    assert host.speaker.installed() == {}
    host.until(lambda: host.speaker.installed() == host.plan)
    assert host.speaker.report().starts == 1
    assert router.route(ALL[0])


def test_a_killed_speaker_is_withdrawn_at_once_and_back_within_seconds(meet: Meet) -> None:
    _, host, network = meet()
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    os.kill(speaker_of(host), signal.SIGKILL)
    assert until(lambda: network.routes() == {}) < 1.0
    assert host.until(lambda: network.routes() == host.wanted()) < 5.0
    assert [e.now for e in host.events if e.event == "bgp_speaker"] == [
        "started",
        "ended",
        "started",
    ]


def test_a_hanging_speaker_is_ended_and_another_started(meet: Meet) -> None:
    _, host, network = meet()
    host.plan = dict.fromkeys(ALL[:2], "pao")
    host.until(lambda: network.routes() == host.wanted())
    os.kill(speaker_of(host), signal.SIGSTOP)
    host.until(lambda: host.speaker.report().starts == 2, within=40)
    host.until(lambda: network.routes() == host.wanted())


def test_a_hanging_speaker_holds_up_no_turn_of_an_agent_that_reloads(meet: Meet) -> None:
    """Other attributes are told as soon as it goes on, other neighbours by another speaker."""
    router, host, network = meet()
    host.plan = dict.fromkeys(ALL[:2], "pao")
    host.until(lambda: network.routes() == host.wanted())
    hung = speaker_of(host)
    os.kill(hung, signal.SIGSTOP)
    took: list[float] = []

    def turn() -> None:
        began = time.monotonic()
        host.turn()
        took.append(time.monotonic() - began)

    def change(said: BgpSettings) -> None:
        began = time.monotonic()
        host.speaker.change(said, host.lease)
        took.append(time.monotonic() - began)
        turn()

    change(replace(host.terms, local_preference=700))
    os.kill(hung, signal.SIGCONT)
    host.until(lambda: (seen := router.route(ALL[0])) and seen.local_preference == 700)
    os.kill(hung, signal.SIGSTOP)
    change(replace(host.terms, peers=(replace(host.terms.peers[0], hold_time=12),)))
    while host.speaker.report().starts < 2:
        turn()
        assert len(took) < 10_000
        host.speaker.wait(0.005)
    host.until(lambda: host.speaker.installed() == host.plan)
    host.until(lambda: network.routes() == host.wanted())
    assert max(took) < 0.3, "a tenth, and as much again for a busy machine"


def test_a_killed_helper_is_replaced_and_nothing_is_lost(meet: Meet) -> None:
    router, host, network = meet()
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    told = router.updates()
    # An old speaker has no more need of its first seconds' indulgence, and gets it all the same.
    host.speaker._supervisor._started -= 2 * CONNECTED_WITHIN
    os.kill(helper_of(host), signal.SIGKILL)
    host.until(lambda: not host.speaker.report().linked)
    host.until(lambda: host.speaker.report().linked and host.speaker.installed() == host.plan)
    host.plan = dict.fromkeys(ALL, "fra")
    host.until(lambda: network.routes() == host.wanted())
    assert router.updates() > told
    assert host.speaker.report().starts == 1


def test_without_a_word_from_an_agent_the_helper_ends_it_all(meet: Meet) -> None:
    _, host, network = meet(lease=2.0)
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    taken = until(lambda: network.routes() == {})  # nobody turns any more
    assert 1.0 < taken < 4.0
    until(lambda: process.running(host.runtime) is None)


def test_a_hung_agent_that_keeps_its_socket_open_is_no_agent(meet: Meet) -> None:
    _, host, network = meet(lease=2.0)
    host.plan = dict.fromkeys(ALL[:1], "pao")
    host.until(lambda: network.routes() == host.wanted())
    assert host.speaker.report().linked
    until(lambda: process.running(host.runtime) is None, within=5)
    until(network.routes, within=5, wanted={})


def test_a_stranger_at_the_helper_s_socket_is_not_listened_to(meet: Meet) -> None:
    _, host, network = meet()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5)
        stranger.connect(str(host.runtime / "bgp" / "socket"))
        host.plan = dict.fromkeys(ALL, "pao")
        host.until(lambda: network.routes() == host.wanted())
        assert stranger.recv(100) == b""


def test_taking_back_takes_everything_from_the_router(meet: Meet) -> None:
    _, host, network = meet()
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    assert host.speaker.withdraw()
    assert until(lambda: network.routes() == {}) < 1.0
    assert not host.speaker.withdraw()


def test_a_cut_link_is_noticed_and_mended(meet: Meet) -> None:
    _, host, network = meet()
    host.plan = dict.fromkeys(IPV4, "pao")
    host.until(lambda: network.routes() == host.wanted())
    network.run("router", "ip link set up-edge down")
    until(lambda: network.routes() == {}, within=15)
    host.until(lambda: host.speaker.installed() == {}, within=15)
    host.until(lambda: any("10.9.0.2 is not established" in t for t in host.speaker.troubles))
    network.run("router", "ip link set up-edge up")
    host.until(lambda: network.routes() == host.wanted(), within=30)
    assert host.speaker.report().starts == 1


@pytest.mark.parametrize("kind", [Bird, Frr], ids=lambda kind: kind.__name__)
def test_the_right_password_opens_and_a_wrong_one_does_not(
    meet: Meet, kind: type[Router], tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text('a"b;c}d\n')
    file.chmod(0o600)
    peer = Peer(address="10.9.0.2", peer_as=64512, password_file=file)
    router, host, _ = meet(kind, router_password="somethingelse", peers=(peer,), wait=False)
    host.until(lambda: any("not established" in t for t in host.speaker.troubles))
    assert 'a"b' not in str(host.speaker.troubles) + host.log() + str(host.events)
    router.stop()
    router.password = PLAIN
    file.write_text(PLAIN + "\n")
    router.start()
    host.speaker.withdraw()  # the password is read when the speaker starts
    host.until(host.up)
    assert PLAIN not in host.log()


def test_a_family_that_was_not_negotiated_keeps_the_other_from_nothing(meet: Meet) -> None:
    router, host, network = meet(router_families=(Family.IPV4,))
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: set(network.routes()) == set(IPV4))
    host.until(lambda: set(host.speaker.installed()) == set(IPV4))
    assert any("did not negotiate ipv6" in trouble for trouble in host.speaker.troubles)
    assert router.route(ALL[0])


def test_a_dead_neighbour_does_not_hold_up_a_living_one(meet: Meet) -> None:
    living = Peer(address="10.9.0.2", peer_as=64512)
    dead = Peer(address="10.9.0.99", peer_as=64512)
    _, host, network = meet(peers=(dead, living), wait=False)
    host.plan = dict.fromkeys(ALL, "pao")
    host.until(lambda: network.routes() == host.wanted())
    host.plan = {}
    host.until(lambda: network.routes() == {})
    host.until(lambda: any("10.9.0.99 is not established" in t for t in host.speaker.troubles))


def test_an_as_that_does_not_match_is_said_so(meet: Meet) -> None:
    peer = Peer(address="10.9.0.2", peer_as=64999)
    _, host, _ = meet(peers=(peer,), wait=False)
    host.until(lambda: any("10.9.0.2 is not established" in t for t in host.speaker.troubles))


def test_a_neighbour_that_speaks_garbage_costs_a_session_and_no_more(meet: Meet) -> None:
    babbler = Peer(address="10.9.0.2", peer_as=64512, port=1790)
    living = Peer(address="fd09::2", peer_as=64512)
    _, host, network = meet(over=Family.IPV6, peers=(babbler, living), wait=False)
    with network.program("router", BABBLE) as spoke:
        host.plan = dict.fromkeys(ALL, "pao")
        host.until(lambda: network.routes() == host.wanted())
        host.until(lambda: spoke() >= 3, within=60)
        host.plan = dict.fromkeys(ALL, "fra")
        host.until(lambda: network.routes() == host.wanted())
    assert host.speaker.report().starts == 1


def test_thousands_of_routes_from_a_neighbour_don_t_hold_us_up(meet: Meet) -> None:
    router, host, network = meet(router_announces=5000)
    host.plan = dict.fromkeys(ALL, "pao")
    assert host.until(lambda: network.routes() == host.wanted()) < 5.0
    for site in ("fra", "pao"):
        host.plan = dict.fromkeys(ALL, site)
        assert host.until(lambda: network.routes() == host.wanted()) < 5.0
    assert router.route(ALL[0])


def test_what_a_router_can_not_resolve_black_holes_nothing(meet: Meet) -> None:
    _, host, network = meet(next_hops={"pao": {Family.IPV4: "172.16.9.9"}})
    host.plan = {"192.0.2.1": "pao"}
    host.until(lambda: host.speaker.installed() == host.plan)
    assert network.routes() == {}


def test_a_port_in_use_is_said_in_exabgp_s_own_words(meet: Meet) -> None:
    with socket.create_server(("0.0.0.0", 1179)):
        _, host, network = meet(listen=1179, wait=False)
        host.until(lambda: any("it has ended: " in trouble for trouble in host.speaker.troubles))
    host.plan = dict.fromkeys(ALL[:1], "pao")
    host.until(lambda: network.routes() == host.wanted(), within=30)


DOCS = Path(__file__).parents[2] / "docs" / "bgp.md"


@pytest.mark.parametrize(
    ("kind", "check", "blocks"),
    [
        ("bird", "bird -p -c {conf}", 2),
        ("frr", "/usr/lib/frr/bgpd -C -f {conf}", 1),
        ("toml", "gobgpd --dry-run -f {conf}", 1),
    ],
)
def test_the_routers_own_configurations_in_the_docs_parse(
    kind: str, check: str, blocks: int, tmp_path: Path
) -> None:
    if find(check.split(maxsplit=1)[0]) is None and not Path(check.split(maxsplit=1)[0]).exists():
        pytest.skip(f"{kind} is not installed")
    passable(tmp_path)
    texts = re.findall(rf"(?ms)^```{kind}\n(.*?)^```", DOCS.read_text())
    assert len(texts) == blocks
    for text in texts:
        conf, filters = tmp_path / "conf", tmp_path / "filters"
        conf.write_text(text)
        if kind == "bird":
            filters.write_text(prefix_list("bird", ALL) + "\n")
            included = text.replace("/etc/bird/steering.conf", str(filters))
            conf.write_text("router id 10.0.0.1;\n" + included)
        elif kind == "frr":  # the filters are typed before
            typed = (f for f in prefix_list("frr", ALL).splitlines() if f[:2] != "no")
            conf.write_text("\n".join([*typed, text]))
        done = subprocess.run(check.format(conf=conf).split(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr


def speaker_of(host: Host) -> int:
    return int((host.runtime / process.LOCK).read_text().split()[0])


def helper_of(host: Host) -> int:
    pid = speaker_of(host)
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
