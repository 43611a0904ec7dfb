"""The kernel's table of connections: a real pod behind a real NAT, and what is read of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernelhost import run

from steering.act.kernel.conntrack import Conntrack, ConntrackEntry
from steering.lab.waiting import until
from steering.model import Family

pytestmark = pytest.mark.lab

POD, FAR = f"st-pod-{os.getpid()}", f"st-far-{os.getpid()}"
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
def _pod(namespace: None) -> Iterator[None]:
    """This namespace forwards for a pod, and translates what leaves by the uplink."""
    with contextlib.ExitStack() as made:
        for name in (POD, FAR):
            run(f"ip netns add {name}")
            made.callback(run, f"ip netns del {name}", check=False)
            run(f"ip -n {name} link set lo up")
        run("ip link set lo up")
        for link, peer, mine, theirs in (
            ("pod0", POD, ("10.88.0.1/24", "fd88::1/64"), ("10.88.0.2/24", "fd88::2/64")),
            (
                "wan0",
                FAR,
                ("192.0.2.53/24", "2001:db8::53/64"),
                ("192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64"),
            ),
        ):
            run(f"ip link add {link} type veth peer name eth0 netns {peer}")
            run(f"ip link set {link} up")
            run(f"ip -n {peer} link set eth0 up")
            for address in mine:
                run(f"ip addr add {address} dev {link}{' nodad' if ':' in address else ''}")
            for address in theirs:
                no_wait = " nodad" if ":" in address else ""
                run(f"ip -n {peer} addr add {address} dev eth0{no_wait}")
        for way in ("route add default via 10.88.0.1", "-6 route add default via fd88::1"):
            run(f"ip -n {POD} {way}")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            run(f"sysctl -qw {key}=1")
        subprocess.run(["nft", "-f", "-"], input=NAT, text=True, check=True)
        server = subprocess.Popen(
            [
                *("ip", "netns", "exec", FAR, sys.executable, "-c", SERVE),
                *ANSWERS.values(),
                *SILENT.values(),
            ],
            stdout=subprocess.PIPE,
        )
        made.callback(server.wait)
        made.callback(server.kill)
        assert server.stdout is not None
        with server.stdout:
            assert server.stdout.readline() == b"serving\n"
        yield


def asks(address: str, port: int = 53, times: int = 1, *, here: bool = False) -> None:
    """A question of the pod's, or of this host's."""
    where = () if here else ("ip", "netns", "exec", POD)
    argv = [*where, sys.executable, "-c", ASK, address, str(port), str(times)]
    subprocess.run(argv, check=True)


def found(address: str, reader: Conntrack) -> dict[str, ConntrackEntry]:
    """By source."""
    return {entry.source: entry for entry in reader.questions(Family.of(address), [address])}


@pytest.mark.usefixtures("_pod")
@pytest.mark.parametrize("family", Family)
def test_who_asks_as_whom_it_leaves_and_whether_anything_comes_back(family: Family) -> None:
    pod, outside = INSIDE[family], OUTSIDE[family]
    for address in (ANSWERS[family], SILENT[family]):
        asks(address)
    asks(ANSWERS[family], port=54)
    asks(ANSWERS[family], here=True)
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


@pytest.mark.usefixtures("_pod")
@pytest.mark.parametrize("family", Family)
def test_whose_a_source_is_is_told_where_anybody_may_bind_to_anything(family: Family) -> None:
    """As hosts have it that share an address."""
    run(f"sysctl -qw net.{family}.ip_nonlocal_bind=1")
    asks(ANSWERS[family])
    asks(ANSWERS[family], here=True)
    seen = found(ANSWERS[family], Conntrack())
    assert {source: entry.apart for source, entry in seen.items()} == {
        INSIDE[family]: False,
        OUTSIDE[family]: True,
    }


@pytest.mark.usefixtures("_pod")
def test_the_age_goes_with_the_time_since_the_latest_packet() -> None:
    """However long this test has to wait for the processor."""
    before = time.monotonic()
    asks(SILENT[Family.IPV4])
    after, reader, seen = time.monotonic(), Conntrack(), set[float]()
    while time.monotonic() - after < 4:
        begun = time.monotonic()
        entry = found(SILENT[Family.IPV4], reader)[INSIDE[Family.IPV4]]
        assert entry.age is not None
        assert begun - after - 0.1 <= entry.age <= time.monotonic() - before + 1.1
        seen.add(entry.age)
        time.sleep(0.05)
    assert len(seen) >= 2


@pytest.mark.usefixtures("_pod")
def test_a_port_that_is_used_for_longer_is_known_as_such() -> None:
    asks(ANSWERS[Family.IPV6], times=4)
    entry = found(ANSWERS[Family.IPV6], Conntrack())[INSIDE[Family.IPV6]]
    assert entry.lasting
    assert entry.age is not None
    assert entry.age <= 3


@pytest.mark.usefixtures("_pod")
@pytest.mark.parametrize("family", Family)
def test_what_other_sites_send_on_through_this_host_is_nobody_behind_it(family: Family) -> None:
    """No detour takes it, by the rule of its interface."""
    asks(ANSWERS[family])
    asks(ANSWERS[family], here=True)
    assert not found(ANSWERS[family], Conntrack())[INSIDE[family]].apart
    seen = found(ANSWERS[family], Conntrack(transit=("pod0",)))
    assert {source: entry.apart for source, entry in seen.items()} == {
        INSIDE[family]: True,
        OUTSIDE[family]: True,
    }
    run("ip link del pod0")
    assert not found(ANSWERS[family], Conntrack(transit=("pod0",)))[INSIDE[family]].apart


@pytest.mark.usefixtures("_pod")
def test_what_a_resolver_here_answers_in_its_place_is_left_out() -> None:
    """As routers have it that send all questions to their own resolver: nothing goes out."""
    rule = """
    table ip instead {
      chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname "pod0" udp dport 53 dnat to 192.0.2.2
      }
    }
    """
    subprocess.run(["nft", "-f", "-"], input=rule, text=True, check=True)
    asks(ANSWERS[Family.IPV4])
    assert found(ANSWERS[Family.IPV4], Conntrack()) == {}


def test_without_nat_there_is_nothing_to_read(namespace: None) -> None:
    """Nor is anything put in for it."""
    run("ip link set lo up")
    assert Conntrack().questions(Family.IPV4, ["127.0.0.1"]) == []
    assert run("nft list ruleset") == ""
