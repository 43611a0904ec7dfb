"""The machines of the page on connecting a site, with the links that they have beforehand.

::

    edge eth0 ── lan0 router wan0 ── provider ── provider of pao ── eth0 pao
    edge or router bb0 ───────────────── backbone ─────────────────── bb0 pao

Each provider is also where an anycast instance is: the local one, and the one that pao reaches.
That of pao drops packets whose source is not from there. All reverse path filters are strict,
and edge and pao forward nothing, until the page says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from steering.lab.network.links import End
from steering.lab.network.topology import EDGE, ISP, Topology

NAMESPACES: Mapping[str, str] = {"edge": EDGE, "router": ISP, "pao": "pao", "pod": "pod"}
"""Where the machines of the page are in the world."""

GATEWAYS = {
    EDGE: ("192.0.2.1", "2001:db8:2::1"),
    ISP: ("10.254.1.1", "fd00:fe:1::1"),
    "pao": ("198.51.100.1", "2001:db8:51::1"),
    "auth-local": ("10.254.0.2", "fd00:fe::2"),
    "auth-pao": ("10.254.0.1", "fd00:fe::1"),
}
_LINKS = (
    (EDGE, "eth0", ISP, "lan0"),
    (ISP, "wan0", "auth-local", "sin"),
    ("auth-local", "far", "auth-pao", "far"),
    ("pao", "eth0", "auth-pao", "pao"),
)
_ADDRESSES = {
    (EDGE, "eth0"): ("192.0.2.53/24", "2001:db8:2::53/64"),
    (ISP, "lan0"): ("192.0.2.1/24", "2001:db8:2::1/64"),
    (ISP, "wan0"): ("10.254.1.2/24", "fd00:fe:1::2/64"),
    ("auth-local", "sin"): ("10.254.1.1/24", "fd00:fe:1::1/64"),
    ("auth-local", "far"): ("10.254.0.1/24", "fd00:fe::1/64"),
    ("auth-pao", "far"): ("10.254.0.2/24", "fd00:fe::2/64"),
    ("auth-pao", "pao"): ("198.51.100.1/24", "2001:db8:51::1/64"),
    ("pao", "eth0"): ("198.51.100.2/24", "2001:db8:51::2/64"),
}
_STRICT = "for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$file; done\n"
_NO_ROUTER = """\
echo 0 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
"""
_PROVIDER = """\
table inet provider {
  chain prerouting {
    type filter hook prerouting priority raw;
    iifname "pao" fib saddr . iif oif missing drop
  }
}
"""
"""BCP 38."""

SIN = ("192.0.2.0/24", "2001:db8:2::/64")
OURS = ("203.0.113.0/24", "2001:db8:113::/48")


def lay(
    world: Topology,
    *,
    backbone: str = "",
    at_pao: Iterable[str] = (),
    at_sin: Iterable[str] = (),
) -> None:
    """Take the world's links away, and lay these.

    The backbone, if there is one, begins at the machine of that name. The prefixes are announced
    at pao, and at the local site, whose router has them on to the edge host.
    """
    for namespace, link in ((EDGE, ISP), (EDGE, "bb-pao"), (ISP, "auth"), ("pao", "auth")):
        world.ip(namespace, "link", "del", link)
    links = [*_LINKS, *([(NAMESPACES[backbone], "bb0", "pao", "bb0")] if backbone else [])]
    for near, name, far, other in links:
        world.link(*(End(*end, _ADDRESSES.get(end, ())) for end in ((near, name), (far, other))))
    for namespace, gateways in GATEWAYS.items():
        world.ip_batch(namespace, (f"route replace default via {g}" for g in gateways))
    ways = [("auth-local", SIN, ISP), ("auth-local", at_sin, ISP), (ISP, at_sin, EDGE)]
    ways += [("auth-pao", at_pao, "pao")]
    for namespace, prefixes, to in ways:
        hops = {
            ":" in a: a.partition("/")[0]
            for (there, link), both in _ADDRESSES.items()
            if there == to and link in {"eth0", "wan0"}
            for a in both
        }
        world.ip_batch(namespace, (f"route add {p} via {hops[':' in p]}" for p in prefixes))
    for namespace, settings in (
        (EDGE, _STRICT + _NO_ROUTER),
        ("pao", _STRICT + _NO_ROUTER),
        (ISP, _STRICT),
    ):
        world.run(namespace, ["sh", "-e"], stdin=settings)
    world.run("auth-pao", ["nft", "-f", "-"], stdin=_PROVIDER)


def everything(world: Topology, machine: str) -> set[str]:
    """Links, addresses, routes, rules and firewall of a machine, but for what the kernel adds."""
    commands = (
        "cut -d: -f1 /proc/net/dev",
        "ip -o addr show scope global",
        "ip -4 route show table all",
        "ip -6 route show table all",
        "ip -4 rule",
        "ip -6 rule",
        "nft list ruleset",
    )
    namespace = NAMESPACES[machine]
    return {
        f"{command}: {line.strip()}"
        for command in commands
        for line in world.run(namespace, command.split(), check=False).stdout.splitlines()
        if " proto kernel " not in line
    }
