"""Policy routing rules, ours and those of other programs, and which packets they catch. Pure.

A rule is matched as `fib_rule_match` in net/core/fib_rules.c does. `str` of a rule is the line that
`ip rule` prints; a test compares both.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from socket import IPPROTO_TCP, IPPROTO_UDP

from steering.bounds import U32
from steering.model import Family

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

DNS = 53
_LOOPBACK = "lo"
"""The input interface of this host's own packets (flowi_iif)."""
_TABLES = {253: "default", 254: "main", 255: "local"}
_PROTOCOLS = {1: "icmp", IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", 58: "ipv6-icmp"}


class Action(enum.IntEnum):
    """What a rule does with the packets that it catches: FR_ACT_* of linux/fib_rules.h."""

    LOOKUP = 1
    GOTO = 2
    NOP = 3
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    OTHER = 255

    @classmethod
    def _missing_(cls, _: object) -> Action:
        return cls.OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Packets of this host that are the same for a route look-up; of a port or protocol 0: any."""

    destination: str
    mark: int = 0
    protocol: int = IPPROTO_UDP
    source: str | None = None
    """None: not chosen yet, as at the first look-up for an unbound socket."""
    source_port: int = 49152
    destination_port: int = DNS
    uid: int = field(default_factory=os.geteuid)

    def __str__(self) -> str:
        words = [_PROTOCOLS[self.protocol].upper()]
        if self.source is not None:
            words.append(f"from {self.source}")
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports that a rule selects by, by range or by mask."""

    first: int
    last: int
    mask: int = 0xFFFF

    def contains(self, port: int) -> bool:
        if self.mask not in {0, 0xFFFF}:
            return (port ^ self.first) & self.mask == 0
        return self.first <= port <= self.last

    def __str__(self) -> str:
        if self.mask not in {0, 0xFFFF}:
            return f"{self.first}/{self.mask:#x}"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One policy routing rule, with all attributes. Two are equal if they do the same."""

    family: Family
    priority: int
    action: Action
    protocol: int = 0
    """RTPROT_*: which program installed it; 0 if not set."""
    table: int = 0
    goto: int | None = None
    resolved: bool = field(default=True, compare=False)
    """False: the rule that it jumps to does not exist, so it does nothing."""
    inverted: bool = False
    source: Network | None = None
    destination: Network | None = None
    iif: str | None = None
    oif: str | None = None
    mark: int = 0
    mask: int = 0
    """0: any mark."""
    tos: int = 0
    dscp: int | None = None
    tunnel: int = 0
    l3mdev: bool = False
    uids: tuple[int, int] | None = None
    ip_protocol: int = 0
    source_ports: Ports | None = None
    destination_ports: Ports | None = None
    flow_label: bool = False
    realms: int = 0
    suppress_length: int | None = None
    """Routes of this prefix length or shorter are ignored; None: none are."""
    suppress_group: int | None = None
    unknown: frozenset[int] = frozenset()
    """Numbers of attributes that this program does not know (a newer kernel)."""
    detached: tuple[bool, bool] = field(default=(False, False), compare=False)
    body: bytes = field(default=b"", compare=False, repr=False)
    """As the kernel dumped it: a removal with it removes exactly this rule."""

    def catches(self, flow: Flow) -> bool:
        """Whether the rule applies to these packets."""
        return self._selects(flow) is not self.inverted

    def _selects(self, flow: Flow) -> bool:
        # Our sockets are bound to no link or VRF, and the resolvers' traffic class is 0.
        if self.l3mdev or self.oif or self.tunnel or self.tos or self.dscp or self.flow_label:
            return False
        return (
            self.iif in {None, _LOOPBACK}
            and (self.mark ^ flow.mark) & self.mask == 0
            and (self.uids is None or self.uids[0] <= flow.uid <= self.uids[1])
            and self.ip_protocol in {0, flow.protocol}
            and _contains(self.source_ports, flow.source_port)
            and _contains(self.destination_ports, flow.destination_port)
            and _covers(self.destination, flow.destination)
            and _covers(self.source, flow.source)
        )

    def may_catch(self, destinations: Iterable[Address], own: Iterable[Address]) -> bool:
        """Whether it could catch packets from addresses of this host to any of these."""
        if self.inverted:
            return True
        bound = self.l3mdev or self.oif or self.tunnel or self.tos or self.dscp or self.flow_label
        return (
            not bound
            and self.iif in {None, _LOOPBACK}
            and _contains(self.destination_ports, DNS)
            and self.ip_protocol in {0, IPPROTO_UDP, IPPROTO_TCP}
            and (self.source is None or any(address in self.source for address in own))
            and (self.destination is None or any(a in self.destination for a in destinations))
        )

    def suppresses(self, length: int) -> bool:
        """Whether it ignores a route of this prefix length; the kernel then goes on.

        The links of a suppressed group are not known here, so its routes count as ignored; what is
        installed is looked up anyway.
        """
        short = self.suppress_length is not None and length <= self.suppress_length
        return short or self.suppress_group is not None

    def __str__(self) -> str:
        return f"{self.priority}: {' '.join(self._words())}"

    def _words(self) -> list[str]:
        words = ["not"] if self.inverted else []
        words += ["from", _prefix(self.source) or "all"]
        if self.destination is not None:
            words += ["to", _prefix(self.destination) or "all"]
        if self.tos:
            words += ["tos", f"{self.tos:#x}"]
        if self.mask:
            mark = f"{self.mark:#x}" if self.mark else "0"
            words += ["fwmark", mark if self.mask == U32 else f"{mark}/{self.mask:#x}"]
        for word, name, detached in zip(
            ("iif", "oif"), (self.iif, self.oif), self.detached, strict=True
        ):
            if name is not None:
                words += [word, name, *(["[detached]"] if detached else [])]
        if self.l3mdev:
            words += ["lookup", "[l3mdev-table]"]
        if self.uids is not None:
            words += ["uidrange", f"{self.uids[0]}-{self.uids[1]}"]
        if self.ip_protocol:
            words += ["ipproto", _PROTOCOLS.get(self.ip_protocol, str(self.ip_protocol))]
        for word, ports in (("sport", self.source_ports), ("dport", self.destination_ports)):
            if ports is not None:
                words += [word, str(ports)]
        if self.dscp is not None:
            words += ["dscp", str(self.dscp)]
        if self.flow_label:
            words.append("flowlabel …")
        if self.tunnel:
            words += ["tun_id", str(self.tunnel)]
        words += [f"attribute {number}" for number in sorted(self.unknown)]
        return words + self._action_words()

    def _action_words(self) -> list[str]:
        match self.action:
            case Action.LOOKUP:
                words = ["lookup", _TABLES.get(self.table, str(self.table))] if self.table else []
                if self.suppress_length is not None:
                    words += ["suppress_prefixlength", str(self.suppress_length)]
                if self.suppress_group is not None:
                    words += ["suppress_ifgroup", str(self.suppress_group)]
                return words
            case Action.GOTO:
                return ["goto", str(self.goto), *([] if self.resolved else ["[unresolved]"])]
        return [self.action.name.lower()]


def _contains(ports: Ports | None, port: int) -> bool:
    return ports is None or ports.contains(port)


def _covers(prefix: Network | None, address: str | None) -> bool:
    if prefix is None or prefix.prefixlen == 0:
        return True
    return address is not None and _parsed(address) in prefix


@functools.lru_cache(maxsize=1024)
def _parsed(address: str) -> Address:
    return ipaddress.ip_address(address)


def _prefix(prefix: Network | None) -> str:
    if prefix is None:
        return ""
    whole = prefix.prefixlen == prefix.max_prefixlen
    return str(prefix.network_address) if whole else str(prefix)
