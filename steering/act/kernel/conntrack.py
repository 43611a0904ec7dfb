"""Reads the kernel's connection table: what this host forwards to a nameserver, and what came back.

If a host translates addresses (NAT), the kernel keeps an entry for each connection that it
forwards: its source, its translated source, and whether an answer came. This module reads the
entries of questions by UDP; the kernel filters out all others. It changes nothing. If no rule of a
firewall or of NAT needs it, the kernel has no such table, and nothing is found. After
linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from steering.act.kernel import framing, rtnetlink
from steering.act.kernel.gateways import routes_for
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.rtnetlink import RouteKind
from steering.act.kernel.rules import Flow
from steering.model import Family, Seconds

NETFILTER: Final = 12  # NETLINK_NETFILTER
_GET: Final = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_HEAD: Final = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource
_NESTED: Final = 0x8000
_ORIGINAL, _REPLY, _STATUS, _TIMEOUT, _FILTER = 1, 2, 3, 7, 25  # CTA_*
_ADDRESSES, _PORTS = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_PROTOCOL, _TO_PORT = 1, 3  # CTA_PROTO_NUM, CTA_PROTO_DST_PORT
_FROM: Final = {Family.IPV4: 1, Family.IPV6: 3}  # CTA_IP_V4_SRC, CTA_IP_V6_SRC
_TO: Final = {Family.IPV4: 2, Family.IPV6: 4}
_BY_SERVICE: Final = 1 << 3 | 1 << 5  # CTA_FILTER_F_CTA_PROTO_NUM, _PROTO_DST_PORT
_SEEN_REPLY, _ASSURED = 1 << 1, 1 << 2  # IPS_*
_UDP, _DNS = 17, 53
_LIMITS: Final = Path("/proc/sys/net/netfilter")
AT_ONCE: Final = 4096
"""Entries of a family that are read at most."""
SOURCES: Final = 256
"""Sources among these at most: more mean that an attacker forges them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConntrackEntry:
    """One connection by UDP to port 53 of an address."""

    address: str
    source: str
    apart: bool = False
    """Not forwarded for a client behind this host: this host sends it, or another site does, whose
    packets no detour takes. One entry for each source."""
    translated: str
    """The source with which it leaves; the same as `source` if it is not translated."""
    answered: bool
    lasting: bool
    """Packets have gone both ways for a while: a port that is used repeatedly."""
    age: Seconds | None
    """Since its latest packet, rounded up to seconds; None: not known."""


class Conntrack:
    """Reads the table of this network namespace, which needs CAP_NET_ADMIN.

    The route back to a source shows where it is. Whether this host can bind to it shows nothing:
    with net.ipv4.ip_nonlocal_bind it can bind to any address.
    """

    def __init__(self, transit: Collection[str] = (), limits: Path = _LIMITS) -> None:
        """`transit` are interfaces by which other sites' packets arrive; no detour takes these
        packets. They are recognised by the route back to their source.
        """
        self._transit, self._limits = frozenset(transit), limits

    def questions(self, family: Family, addresses: Collection[str]) -> list[ConntrackEntry]:
        """The entries to these addresses of a family; only some if there are very many.

        Empty if the kernel has no such table. Raises OSError if it can't be read. The kernel walks
        its whole table for each call: 9 ms for 262,144 buckets.
        """
        if not self._limits.parent.is_dir():
            why = f"there is no {self._limits.parent} (ProcSubset= of the unit?)"
            raise OSError(errno.ENOTDIR, why)
        lasts = {lasting: self._limit(lasting=lasting) for lasting in (False, True)}
        wanted = {framing.packed(a): a for a in addresses if Family.of(a) is family}
        if lasts[False] is None or not wanted or self._number("nf_conntrack_count") == 0:
            return []  # no connection is tracked in this namespace
        try:
            with QuerySocket(NETFILTER) as query:
                found = query.some(_GET, _request(family), AT_ONCE)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOENT}:
                raise OSError(error.errno, "the kernel can't list connections") from error
            raise
        size = family.bits // 8
        there = _HEAD.size + 4 + 4 + 4 + size + 4  # behind four attributes' heads and the source
        entries = (
            _entry(family, wanted, body, lasts)
            for body in found
            if body[there : there + size] in wanted  # most are not; parsing one takes 10 us
        )
        ours = [entry for entry in entries if entry is not None]
        apart, behind = self._by_location(dict.fromkeys(entry.source for entry in ours))
        once = {entry.source: entry for entry in ours if entry.source in apart}
        others = [entry for entry in ours if entry.source in behind]
        return [*(replace(entry, apart=True) for entry in once.values()), *others]

    def _by_location(self, sources: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
        """The sources that are this host, or are reached by a transit interface; and the others."""
        transit = set()
        for name in self._transit:
            with suppress(OSError):  # there is no such interface now
                transit.add(socket.if_nametoindex(name))
        apart, behind, asked = set(), set(), list(islice(sources, SOURCES))
        with QuerySocket() as query:
            routes = routes_for(query, map(_back, asked))
        for source, route in zip(asked, routes, strict=True):
            if route is not None and (route.kind is RouteKind.LOCAL or route.oif in transit):
                apart.add(source)
            else:
                behind.add(source)
        return frozenset(apart), frozenset(behind)

    def _limit(self, *, lasting: bool) -> int | None:
        """Seconds after which the kernel deletes an entry; None: it has no connection table."""
        return self._number(f"nf_conntrack_udp_timeout{'_stream' if lasting else ''}")

    def _number(self, name: str) -> int | None:
        """One number of the kernel's connection tracking in this namespace; None: there is none."""
        with suppress(OSError, ValueError):
            return int((self._limits / name).read_text())
        return None


def _back(source: str) -> Flow:
    """Packets to a source, whatever they are."""
    return Flow(destination=source, protocol=0, source_port=0, destination_port=0)


def _nest(kind: int, *parts: bytes) -> bytes:
    return framing.attribute(kind | _NESTED, b"".join(parts))


def _request(family: Family) -> bytes:
    """Requests all entries by UDP to port 53; the kernel filters them since Linux 5.8.

    It is no filter by address: for IPv6 the kernel inverts the comparison, up to Linux 6.18 at
    least.
    """
    port = framing.attribute(_TO_PORT, struct.pack("!H", _DNS))
    by = _nest(_PORTS, framing.attribute(_PROTOCOL, bytes([_UDP])), port)
    flags = framing.attribute(1, framing.u32(_BY_SERVICE))  # CTA_FILTER_ORIG_FLAGS
    wanted = _nest(_FILTER, flags, framing.attribute(2, framing.u32(0)))
    return _HEAD.pack(rtnetlink.family_number(family), 0, 0) + _nest(_ORIGINAL, by) + wanted


def _entry(
    family: Family, wanted: Mapping[bytes, str], body: bytes, lasts: Mapping[bool, int | None]
) -> ConntrackEntry | None:
    """Parses an entry; None if it is not one of those requested: older kernels list all."""
    found = framing.attributes(body, _HEAD.size)
    original, reply = found.get(_ORIGINAL, b""), found.get(_REPLY, b"")
    address = wanted.get(_end(original, _TO[family]))
    if address is None or _service(original) != (_UDP, _DNS):
        return None
    if _end(reply, _FROM[family]) != framing.packed(address):
        return None  # it is redirected to another server, which answers in its place
    source, translated = _end(original, _FROM[family]), _end(reply, _TO[family])
    if {len(source), len(translated)} != {family.bits // 8} or _STATUS not in found:
        return None
    flags = int.from_bytes(found[_STATUS], "big")
    lasting = bool(flags & _ASSURED)
    limit, left = lasts[lasting], found.get(_TIMEOUT)
    age = None if limit is None or left is None else limit - int.from_bytes(left, "big")
    return ConntrackEntry(
        address=address,
        source=framing.text(source),
        translated=framing.text(translated),
        answered=bool(flags & _SEEN_REPLY),
        lasting=lasting,
        age=age if age is not None and age >= 0 else None,
    )


def _end(encoded: bytes, kind: int) -> bytes:
    """One address of a tuple; empty: there is none."""
    within = framing.attributes(framing.attributes(encoded, 0).get(_ADDRESSES, b""), 0)
    return within.get(kind, b"")


def _service(encoded: bytes) -> tuple[int, int]:
    """Protocol and destination port of a tuple."""
    within = framing.attributes(framing.attributes(encoded, 0).get(_PORTS, b""), 0)
    protocol, port = within.get(_PROTOCOL, b""), within.get(_TO_PORT, b"")
    return int.from_bytes(protocol, "big"), int.from_bytes(port, "big")
