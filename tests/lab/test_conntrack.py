"""The kernel's table of connections: a real pod behind a real NAT, and what is read of it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steering.act.kernel.conntrack import Conntrack, ConntrackEntry
from steering.lab.network.links import End, Spaces, run
from steering.lab.waiting import until
from steering.model import Family

pytestmark = pytest.mark.lab

POD, FAR = "pod", "far"
ANSWERS = {Family.IPV4: "192.0.2.1", Family.IPV6: "2001:db8::1"}
SILENT = {Family.IPV4: "192.0.2.2", Family.IPV6: "2001:db8::2"}
OUTSIDE = {Family.IPV4: "192.0.2.53", Family.IPV6: "2001:db8::53"}
INSIDE = {Family.IPV4: "10.88.0.2", Family.IPV6: "fd88::2"}
NAT = """\
table inet pods {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan0" masquerade
  }
}
"""
SERVE = """\
import socket, sys
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((address, 53))
    globals().setdefault("socks", []).append(sock)
print("serving", flush=True)
import select
while True:
    for sock in select.select(socks, [], [])[0]:
        said, who = sock.recvfrom(512)
        if sock.getsockname()[0].endswith("1"):
            sock.sendto(said, who)
"""
ASK = """\
import socket, sys, time
address, port, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
for number in range(times):
    time.sleep(1.2 if number else 0)
    sock.sendto(b"?", (address, port))
"""


@pytest.fixture
def network(namespace: None) -> Iterator[Spaces]:
    """This namespace forwards for a pod, and translates what leaves by the uplink."""
    with contextlib.closing(Spaces(POD, FAR)) as spaces:
        spaces.link(
            End("", "pod0", ("10.88.0.1/24", "fd88::1/64")),
            End(POD, "eth0", ("10.88.0.2/24", "fd88::2/64")),
        )
        far = ("192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64")
        spaces.link(End("", "wan0", ("192.0.2.53/24", "2001:db8::53/64")), End(FAR, "eth0", far))
        spaces.batch(POD, [f"route add default via {hop}" for hop in ("10.88.0.1", "fd88::1")])
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            run(f"sysctl -qw {key}=1")
        run("nft -f -", stdin=NAT)
        with spaces.serving(FAR, SERVE, *ANSWERS.values(), *SILENT.values()):
            yield spaces


def asks(
    network: Spaces, address: str, port: int = 53, times: int = 1, *, here: bool = False
) -> None:
    """A question of the pod's, or of this host's."""
    where = network.enter("" if here else POD)
    argv = [*where, sys.executable, "-c", ASK, address, str(port), str(times)]
    subprocess.run(argv, check=True)


def found(address: str, reader: Conntrack) -> dict[str, ConntrackEntry]:
    """By source."""
    return {entry.source: entry for entry in reader.questions(Family.of(address), [address])}


@pytest.mark.parametrize("family", Family)
def test_who_asks_as_whom_it_leaves_and_whether_anything_comes_back(
    network: Spaces, family: Family
) -> None:
    pod, outside = INSIDE[family], OUTSIDE[family]
    for address in (ANSWERS[family], SILENT[family]):
        asks(network, address)
    asks(network, ANSWERS[family], port=54)
    asks(network, ANSWERS[family], here=True)
    reader = Conntrack()
    until(lambda: found(ANSWERS[family], reader).get(pod, _NONE).answered)
    fine, lost = found(ANSWERS[family], reader), found(SILENT[family], reader)
    assert fine.keys() == {pod, outside}
    assert lost.keys() == {pod}
    assert (fine[pod].translated, lost[pod].translated) == (outside, outside)
    assert (fine[pod].answered, lost[pod].answered) == (True, False)
    assert not fine[pod].lasting
    table = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
    mine = [line for line in table if f"{family}" in line and "dport=53 " in line]
    assert len(mine) == 3, "the kernel's own list, as a witness"
    assert sum("[UNREPLIED]" in line for line in mine) == 1
    assert reader.questions(family, ["192.0.2.9", "2001:db8::9"]) == []


_NONE = ConntrackEntry(
    address="", source="", translated="", answered=False, lasting=False, age=None
)


@pytest.mark.parametrize("family", Family)
def test_whose_a_source_is_is_told_where_anybody_may_bind_to_anything(
    network: Spaces, family: Family
) -> None:
    """As hosts have it that share an address."""
    run(f"sysctl -qw net.{family}.ip_nonlocal_bind=1")
    asks(network, ANSWERS[family])
    asks(network, ANSWERS[family], here=True)
    seen = found(ANSWERS[family], Conntrack())
    assert {source: entry.apart for source, entry in seen.items()} == {
        INSIDE[family]: False,
        OUTSIDE[family]: True,
    }


def test_the_age_goes_with_the_time_since_the_latest_packet(network: Spaces) -> None:
    """However long this test has to wait for the processor."""
    before = time.monotonic()
    asks(network, SILENT[Family.IPV4])
    after, reader, seen = time.monotonic(), Conntrack(), set[float]()
    while time.monotonic() - after < 4:
        begun = time.monotonic()
        entry = found(SILENT[Family.IPV4], reader)[INSIDE[Family.IPV4]]
        assert entry.age is not None
        assert begun - after - 0.1 <= entry.age <= time.monotonic() - before + 1.1
        seen.add(entry.age)
        time.sleep(0.05)
    assert len(seen) >= 2


def test_a_port_that_is_used_for_longer_is_known_as_such(network: Spaces) -> None:
    asks(network, ANSWERS[Family.IPV6], times=4)
    entry = found(ANSWERS[Family.IPV6], Conntrack())[INSIDE[Family.IPV6]]
    assert entry.lasting
    assert entry.age is not None
    assert entry.age <= 3


@pytest.mark.parametrize("family", Family)
def test_what_other_sites_send_on_through_this_host_is_nobody_behind_it(
    network: Spaces, family: Family
) -> None:
    """No detour takes it, by the rule of its interface."""
    asks(network, ANSWERS[family])
    asks(network, ANSWERS[family], here=True)
    assert not found(ANSWERS[family], Conntrack())[INSIDE[family]].apart
    seen = found(ANSWERS[family], Conntrack(transit=("pod0",)))
    assert {source: entry.apart for source, entry in seen.items()} == {
        INSIDE[family]: True,
        OUTSIDE[family]: True,
    }
    run("ip link del pod0")
    assert not found(ANSWERS[family], Conntrack(transit=("pod0",)))[INSIDE[family]].apart


def test_what_a_resolver_here_answers_in_its_place_is_left_out(network: Spaces) -> None:
    """As routers have it that send all questions to their own resolver: nothing goes out."""
    rule = """
    table ip instead {
      chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname "pod0" udp dport 53 dnat to 192.0.2.2
      }
    }
    """
    run("nft -f -", stdin=rule)
    asks(network, ANSWERS[Family.IPV4])
    assert found(ANSWERS[Family.IPV4], Conntrack()) == {}


def test_without_nat_there_is_nothing_to_read(namespace: None) -> None:
    """Nor is anything put in for it."""
    run("ip link set lo up")
    assert Conntrack().questions(Family.IPV4, ["127.0.0.1"]) == []
    assert run("nft list ruleset") == ""
