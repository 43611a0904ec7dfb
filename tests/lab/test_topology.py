"""The lab itself, tried on real namespaces, servers and resolvers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from steering.lab.clients import Clients
from steering.lab.network.sandbox import LabError, find
from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers.authority import Authority, MiniAuthority, Nsd
from steering.lab.servers.resolver import MiniResolver, Resolving, Unbound
from steering.lab.servers.zone import (
    FRESH,
    Fault,
    FaultKind,
    Keys,
    SignedZone,
    ZoneSpec,
    gtld_servers_zone,
    sign,
)
from steering.lab.waiting import until
from steering.model import LOCAL, Family
from steering.observe.probe.echo import Likeness, likeness
from steering.observe.query import query

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("possible")]

MARK = 0x5353
KEYS = {zone: Keys.fresh() for zone in ("com.", "net.")}
SPECS = {zone: ZoneSpec.like_com(zone, count=60) for zone in KEYS}
ALL_EXPIRED = Fault(kind=FaultKind.EXPIRED)


def zones(fault: Fault = FRESH) -> list[SignedZone]:
    return [sign(SPECS[zone], KEYS[zone], fault=fault) for zone in KEYS]


def program(kind: type[Authority | Resolving]) -> type[Authority | Resolving]:
    if kind in (Nsd, Unbound) and not find(kind.kind):
        pytest.skip(f"{kind.kind} is not installed")
    return kind


def ask(
    world: Topology,
    address: str,
    name: str,
    rdtype: str,
    *,
    mark: int = 0,
    tcp: bool = False,
    edns: bool = True,
    payload: int = 1232,
) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype)
    if edns:
        options: list[dns.edns.Option] = [dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")]
        query.use_edns(0, dns.flags.DO, payload, options=options)
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with world.socket(EDGE, Family.of(address), kind, mark=mark) as sock:
        sock.settimeout(3.0)
        sock.connect((address, 53))
        sock.setblocking(False)
        if tcp:
            return dns.query.tcp(query, address, timeout=3.0, sock=sock)
        return dns.query.udp(query, address, timeout=3.0, sock=sock)


def nsid(message: dns.message.Message) -> str:
    return next(o.to_wire() or b"" for o in message.options if o.otype == 3).decode()


def route_all(world: Topology, site: str, action: str = "replace") -> None:
    hops = world.paths[site].next_hop
    world.ip_batch(
        EDGE,
        (
            f"route {action} {a}/{Family.of(a).bits} via {hops[Family.of(a)]}"
            for a in world.addresses
        ),
    )


def failed(resolver: Resolving, name: str) -> bool:
    answer = resolver.ask(name, "A", timeout=10.0)
    assert answer is not None, f"no answer to {name}"
    return answer.rcode() == dns.rcode.SERVFAIL


@pytest.fixture(scope="module")
def internet(possible: None) -> Iterator[tuple[Topology, dict[str, Authority]]]:
    """A world with fresh zones everywhere: NSD here if it is installed, ours at the sites."""
    with Topology() as world:
        servers: dict[str, Authority] = {}
        here = Nsd if find("nsd") else MiniAuthority
        for name, path in world.paths.items():
            kind = here if name == LOCAL else MiniAuthority
            servers[name] = kind(world, path.auth, nsid=f"{name}-1")
            servers[name].serve(zones())
        yield world, servers


def test_every_address_answers_over_every_path_by_mark(
    internet: tuple[Topology, dict[str, Authority]],
) -> None:
    world, _ = internet
    for number, (name, path) in enumerate(world.paths.items()):
        for family, hop in path.next_hop.items():
            version = "-4" if family is Family.IPV4 else "-6"
            table = str(7000 + number)
            world.ip(EDGE, version, "route", "replace", "default", "via", hop, "table", table)
            rule = ["fwmark", str(MARK + number), "table", table, "pref", table]
            world.ip(EDGE, version, "rule", "add", *rule)
        for address in world.addresses:
            answer = ask(world, address, "com.", "SOA", mark=MARK + number)
            assert nsid(answer) == f"{name}-1"
            assert answer.answer


def test_a_host_route_moves_an_address_and_its_removal_brings_it_back(
    internet: tuple[Topology, dict[str, Authority]],
) -> None:
    world, _ = internet
    for site in world.sites:
        route_all(world, site)
        assert {nsid(ask(world, a, "net.", "SOA")) for a in world.addresses} == {f"{site}-1"}
        route_all(world, site, "del")
        assert {nsid(ask(world, a, "net.", "SOA")) for a in world.addresses} == {"local-1"}


def test_a_world_of_other_sites_and_addresses_is_built_as_told(
    make_world: Callable[..., Topology],
) -> None:
    world = make_world(sites=("ams", "nrt", "gru"), addresses=("198.41.0.4", "2001:503:ba3e::2:30"))
    assert set(world.paths) == {LOCAL, "ams", "nrt", "gru"}
    assert world.paths["gru"].next_hop[Family.IPV6] == "fd00:ff:3::2"
    for site in world.paths:
        assert "198.41.0.4" in world.ip(f"auth-{site}", "address")
    assert "bb-gru" in world.ip(EDGE, "link")


def test_a_link_that_was_down_or_cut_comes_back_whole(make_world: Callable[..., Topology]) -> None:
    world = make_world(addresses=("192.5.6.30", "2001:503:a83e::2:30"))
    before = [world.ip(EDGE, version, "route") for version in ("-4", "-6")]
    for path in (LOCAL, "pao"):
        world.link_down(path)
        assert world.ip(EDGE, "-4", "route") != before[0]
        world.link_up(path)
        world.cut(path)
        show = ["link", "show", world.paths[path].interface]
        until(partial(_no_carrier, world, show), 5.0)
        world.link_up(path)
        now = [world.ip(EDGE, version, "route") for version in ("-4", "-6")]
        assert [sorted(text.split("\n")) for text in now] == [
            sorted(text.split("\n")) for text in before
        ]


def _no_carrier(world: Topology, show: list[str]) -> bool:
    return "NO-CARRIER" in world.ip(EDGE, *show)


def test_a_blackhole_is_silent_in_one_family_and_the_other_goes_on(
    internet: tuple[Topology, dict[str, Authority]],
) -> None:
    world, _ = internet
    ipv6 = [a for a in world.addresses if Family.of(a) is Family.IPV6]
    world.blackhole(LOCAL, addresses=ipv6)
    try:
        with world.socket(EDGE, Family.IPV6) as sock:
            sock.settimeout(0.3)
            sock.connect((ipv6[0], 53))
            sock.send(dns.message.make_query("com.", "SOA").to_wire())
            with pytest.raises(TimeoutError):
                sock.recv(4096)
        assert ask(world, world.addresses[0], "com.", "SOA").answer
    finally:
        world.unblackhole(LOCAL, addresses=ipv6)
    assert ask(world, ipv6[0], "com.", "SOA").answer


QUESTIONS = [
    ("com.", "SOA"),
    ("com.", "NS"),
    ("com.", "DNSKEY"),
    ("com.", "NSEC3PARAM"),
    ("com.", "A"),
    ("com.", "DS"),
    ("CoM.", "SOA"),
    ("no-such-name.com.", "A"),
    ("no-such-name.com.", "DS"),
    ("a.b.c.no-such-name.net.", "AAAA"),
    ("d0000.com.", "DS"),
    ("d0050.com.", "DS"),
    ("d0000.com.", "A"),
    ("www.d0050.com.", "A"),
    ("ns1.d0050.net.", "A"),
    ("example.org.", "A"),
]


@pytest.mark.skipif(not find("nsd"), reason="nsd is not installed")
def test_our_own_server_answers_as_nsd_does(make_world: Callable[..., Topology]) -> None:
    ours, theirs = "192.5.6.30", "2001:503:a83e::2:30"
    world = make_world(addresses=(ours, theirs))
    same = zones()
    MiniAuthority(world, "auth-local", addresses=[ours], nsid="same").serve(same)
    Nsd(world, "auth-local", addresses=[theirs], nsid="same").serve(same)
    for name, rdtype in QUESTIONS:
        for tcp in (False, True):
            for edns in (False, True):
                heard = [
                    ask(world, address, name, rdtype, tcp=tcp, edns=edns)
                    for address in (ours, theirs)
                ]
                assert _told(heard[0]) == _told(heard[1]), (name, rdtype, tcp, edns)


def _told(message: dns.message.Message) -> tuple[object, ...]:
    sections = [sorted(r.to_text().lower() for r in section) for section in message.sections]
    options = [o.to_wire() for o in message.options if o.otype == 3]
    return message.flags, message.rcode(), message.ednsflags, options, sections


@pytest.mark.parametrize("kind", [Nsd, MiniAuthority])
def test_a_server_gives_the_letters_of_a_question_back_as_they_came(
    make_world: Callable[..., Topology], kind: type[Authority]
) -> None:
    """And says the same as to one in small letters."""
    program(kind)
    world = make_world(addresses=("192.5.6.30",))
    kind(world, "auth-local", nsid="x").serve(zones())

    def heard(asked: bytes) -> bytes:
        with world.socket(EDGE, Family.IPV4) as sock:
            sock.settimeout(3.0)
            sock.connect(("192.5.6.30", 53))
            sock.send(b"\0\7" + asked)
            return sock.recv(4096)

    for name, rdtype in QUESTIONS:
        plain = query(name, rdtype)
        drawn = (query(name, rdtype, rng=random.Random(seed)) for seed in range(99))
        mixed = next(one for one in drawn if one != plain)
        answer = heard(mixed)
        end = mixed.index(b"\0", 10) + 5
        assert likeness(answer, mixed[10:end]) is Likeness.SAME
        assert _told(dns.message.from_wire(answer)) == _told(dns.message.from_wire(heard(plain)))


@pytest.mark.parametrize("kind", [Nsd, MiniAuthority])
def test_an_answer_that_does_not_fit_is_truncated_and_whole_over_tcp(
    make_world: Callable[..., Topology], kind: type[Authority]
) -> None:
    program(kind)
    world = make_world(addresses=("192.5.6.30",))
    kind(world, "auth-local", nsid="x").serve(zones())
    short = ask(world, "192.5.6.30", "no-such-name.com.", "A", payload=512)
    assert short.flags & dns.flags.TC
    whole = ask(world, "192.5.6.30", "no-such-name.com.", "A", payload=512, tcp=True)
    assert not whole.flags & dns.flags.TC
    signed = [r.covers for r in whole.authority if r.rdtype == dns.rdatatype.RRSIG]
    assert sorted(signed) == sorted(
        r.rdtype for r in whole.authority if r.rdtype != dns.rdatatype.RRSIG
    )
    assert len(signed) >= 3  # the SOA and at least two NSEC3 RRsets


@pytest.mark.parametrize("kind", [Nsd, MiniAuthority])
def test_a_server_refuses_fails_falls_silent_and_recovers(
    make_world: Callable[..., Topology], kind: type[Authority]
) -> None:
    program(kind)
    world = make_world(addresses=("192.5.6.30", "2001:503:a83e::2:30"))
    server = kind(world, "auth-local", nsid="x")
    server.serve(zones())
    for rcode in ("SERVFAIL", "REFUSED"):
        server.answer_rcode(rcode)
        for address in world.addresses:
            assert dns.rcode.to_text(ask(world, address, "com.", "SOA").rcode()) == rcode
    server.serve(zones())
    server.silence()
    with world.socket(EDGE, Family.IPV4) as sock:
        sock.settimeout(0.3)
        sock.connect(("192.5.6.30", 53))
        sock.send(dns.message.make_query("com.", "SOA").to_wire())
        with pytest.raises(TimeoutError):
            sock.recv(4096)
    server.speak()
    assert ask(world, "192.5.6.30", "com.", "SOA").answer
    server.stop()
    with world.socket(EDGE, Family.IPV4) as sock:
        sock.settimeout(3.0)
        sock.connect(("192.5.6.30", 53))
        sock.send(b"\0" * 12)
        with pytest.raises(ConnectionRefusedError):
            sock.recv(4096)


@pytest.mark.parametrize("kind", [Unbound, MiniResolver])
def test_a_resolver_believes_the_healthy_copy_and_no_ill_one(
    make_world: Callable[..., Topology], kind: type[Resolving]
) -> None:
    program(kind)
    world = make_world()
    server = MiniAuthority(world, "auth-local", nsid="local-1")
    server.serve(zones())
    resolver = kind(world, keys=KEYS)
    resolver.start()
    for name, rdtype in (("com.", "SOA"), ("net.", "DNSKEY"), ("d0000.com.", "DS")):
        answer = resolver.ask(name, rdtype)
        assert answer is not None
        assert answer.rcode() == dns.rcode.NOERROR
        assert answer.flags & dns.flags.AD
    assert not failed(resolver, "healthy.com.")
    for ill in (FaultKind.EXPIRED, FaultKind.BAD_SIGNATURE, FaultKind.UNSIGNED):
        server.serve(zones(Fault(kind=ill)))
        assert failed(resolver, f"{ill.replace('_', '-')}.com."), ill
        server.serve(zones())
        assert not failed(resolver, f"after-{ill.replace('_', '-')}.com."), ill


@pytest.mark.parametrize("kind", [Nsd, MiniAuthority])
@pytest.mark.skipif(not find("unbound"), reason="unbound is not installed")
def test_a_resolver_follows_the_chain_from_a_root_anchor_alone(
    make_world: Callable[..., Topology], kind: type[Authority]
) -> None:
    program(kind)
    world = make_world()
    root_keys = Keys.fresh()
    root = ZoneSpec.root(KEYS.items(), serial=2026112400)
    kind(world, "auth-local", nsid="x").serve(
        [sign(root, root_keys), gtld_servers_zone(serial=1), *zones()]
    )
    resolver = Unbound(world, keys={".": root_keys})
    resolver.start()
    for name, rdtype in (("com.", "DS"), ("com.", "SOA"), ("d0000.net.", "DS"), (".", "DNSKEY")):
        answer = resolver.ask(name, rdtype)
        assert answer is not None
        assert answer.rcode() == dns.rcode.NOERROR, (name, rdtype)
        assert answer.flags & dns.flags.AD, (name, rdtype)


def test_clients_count_every_question_and_see_the_detour_end_the_failures(
    make_world: Callable[..., Topology],
) -> None:
    world = make_world()
    servers = {
        name: MiniAuthority(world, path.auth, nsid=name)
        for name, path in world.paths.items()
        if name in (LOCAL, "pao")
    }
    for server in servers.values():
        server.serve(zones())
    resolver = (Unbound if find("unbound") else MiniResolver)(world, keys=KEYS)
    resolver.start()
    clients = Clients(world, rate=100.0)
    clients.start()
    until(lambda: clients.totals().answered > 50, 20.0)
    assert clients.totals().failed == 0
    servers[LOCAL].serve(zones(ALL_EXPIRED))
    until(lambda: clients.totals().servfail > 50, 20.0)
    route_all(world, "pao")
    moved = clients.totals()
    until(lambda: clients.totals().answered > moved.answered + 100, 20.0)
    end = clients.stop()
    assert end.asked == end.answered + end.failed
    assert end.first_failure is not None
    assert end.last_failure is not None
    assert end.last_failure - moved.time < 2.0


def test_a_program_that_does_not_start_says_why(make_world: Callable[..., Topology]) -> None:
    world = make_world(addresses=("192.5.6.30",))
    stray = MiniAuthority(world, "auth-local", addresses=["192.0.2.1"], nsid="x")
    with pytest.raises(LabError, match="Cannot assign requested address"):
        stray.serve(zones())
    with pytest.raises(LabError, match="nonsense"):
        world.ip(EDGE, "nonsense")


BUILD = textwrap.dedent("""
    import sys
    from steering.lab.servers.authority import MiniAuthority
    from steering.lab.network.topology import Topology
    from steering.lab.servers.zone import Keys, ZoneSpec, sign
    with Topology() as world:
        server = MiniAuthority(world, "auth-local", nsid="x")
        server.serve([sign(ZoneSpec.like_com("com.", count=20), Keys.fresh())])
        print(world.pid, world.work, flush=True)
        sys.stdin.read()
""")


def _child(words: Sequence[str], code: str = BUILD, **env: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [*words, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": root} | env,
        cwd="/",
    )


def _inside(namespace: str) -> list[int]:
    """Processes of a PID or network namespace, as seen from out here."""
    kind, processes = namespace.partition(":")[0], Path("/proc").glob("[0-9]*")
    return [int(p.name) for p in processes if _link(p / "ns" / kind) == namespace]


def test_nothing_outlives_a_parent_that_is_killed() -> None:
    with _child([sys.executable]) as child:
        assert child.stdout
        pid, work = child.stdout.readline().split()
        namespace = _link(Path(f"/proc/{pid}/ns/pid"))
        network = _link(Path(f"/proc/{pid}/ns/net"))
        assert len(_inside(namespace)) >= 2
        child.send_signal(signal.SIGKILL)
        child.wait()
        until(lambda: not _inside(namespace), 5.0)
    assert _inside(network) == []
    assert not Path("/run/netns/auth-local").exists()
    shutil.rmtree(work)


BESIDE = """
from steering.lab.network.links import Spaces
print(Spaces("a").run("a", "readlink /proc/self/ns/net"), flush=True)
input()
"""


@pytest.mark.usefixtures("namespace")
def test_nor_does_a_namespace_beside_one_that_is_killed() -> None:
    with _child([sys.executable], BESIDE) as child:
        assert child.stdout
        network = child.stdout.readline().strip()
        assert _inside(network)
        child.send_signal(signal.SIGKILL)
    until(lambda: _inside(network), wanted=[])


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


@pytest.mark.skipif(os.geteuid() != 0, reason="all the other tests show it already")
def test_it_needs_no_root_where_user_namespaces_work(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    python = shutil.which("python3", path="/usr/bin")
    packages = str(Path(dns.message.__file__).parents[1])
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join((root, packages))
    trial = [*nobody, "unshare", "--user", "--map-root-user", "--net", "true"]
    if subprocess.run(trial, check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are forbidden here to people who are not root")
    version = [*nobody, python or "python3", "-c", "import dns.dnssec, cryptography, steering"]
    if subprocess.run(
        version, check=False, capture_output=True, env={"PYTHONPATH": path}
    ).returncode:
        pytest.skip("nobody can't run this Python")
    with _child([*nobody, python or "python3"], PYTHONPATH=path) as child:
        assert child.stdin
        assert child.stdout
        pid = int(child.stdout.readline().split()[0])
        uids = Path(f"/proc/{pid}/uid_map").read_text().split()
        assert uids == ["0", "65534", "1"]
        child.stdin.close()
        assert child.wait(20.0) == 0
        until(lambda: not Path(f"/proc/{pid}").exists(), 5.0)
