"""What this host's kernel does with packets from one source over one path, and with their answers.

Everything is read from the kernel: by a look-up with the same mark, source and protocol, from the
state of the link and of the next hop, and from the sysctls by which the kernel drops answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from steering.act.kernel import decoding, rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.gateways import gateway_dead, leads, link_at, route_for
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.rtnetlink import RouteKind
from steering.act.kernel.rules import Action, Flow
from steering.model import LOCAL, Family

_STRICT, _LOOSE = 1, 2  # rp_filter (RFC 3704 2.2, 2.4)
_DROPPED = "IPReversePathFilter"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversePath:
    """Why the kernel drops the answers: rp_filter, as fib_validate_source applies it."""

    interface: str
    """The interface that the probes leave by, and the answers should arrive by."""
    value: int
    back: str | None
    """The interface of the route back; None: there is no route back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCheck:
    """Where such packets go, and what would drop them or their answers on this host."""

    leads: bool = True
    """They take the intended path."""
    has_rule: bool = True
    """The rule for packets with this path's mark is there."""
    before: str = ""
    """The foreign rule that catches them first, and the remedy; empty: none does."""
    routed: bool = True
    """There is some route for them."""
    interface: str | None = None
    """The interface that they leave by; None: none, or several."""
    link: int | None = None
    """Its index."""
    gateway: str | None = None
    up: bool = True
    """Its link is up."""
    reached: bool = True
    """The next hop answers ARP or neighbour discovery, or was not asked for recently."""
    mtu: int | None = None
    """Of the link."""
    reverse: ReversePath | None = None
    """Why rp_filter drops the answers; None: it does not."""

    @property
    def onward(self) -> str:
        """Where they go, as text."""
        if self.interface is None:
            return "nowhere" if not self.routed else f"via {self.gateway or 'several links'}"
        return f"{self.interface}, via {self.gateway}" if self.gateway else self.interface


def check_path(
    query: QuerySocket,
    claim: Claim | None,
    path: str,
    flow: Flow,
    *,
    before: Mapping[tuple[str, str], str] | None = None,
) -> PathCheck:
    """Checks the path of these packets now. `before`: (address, site) -> foreign rule before ours.

    Raises OSError if the kernel can't be queried.
    """
    route = route_for(query, flow)
    routed = route is not None and route.kind is not RouteKind.UNREACHABLE
    family = Family.of(flow.destination)
    index = route.oif if route is not None and routed else None
    link = link_at(query, index)
    interface = None if link is None else link.name
    return PathCheck(
        leads=claim is None or (routed and leads(route, claim, path, family)),
        has_rule=claim is None or path == LOCAL or _has_rule(query, claim, path, family),
        before=(before or {}).get((flow.destination, path), ""),
        routed=routed,
        interface=interface,
        link=index,
        gateway=route.gateway if route is not None else None,
        up=link is None or link.carries,
        reached=not routed or not gateway_dead(flow.destination, flow.mark),
        mtu=None if link is None else link.mtu,
        reverse=_reverse(query, flow, index, interface) if family is Family.IPV4 else None,
    )


def dropped_on_return() -> int:
    """How many packets rp_filter has dropped in this network namespace so far."""
    try:
        lines = Path("/proc/net/netstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        found = dict(zip(names.split(), numbers.split(), strict=False))
        if _DROPPED in found:
            return int(found[_DROPPED])
    return 0


def _has_rule(query: QuerySocket, claim: Claim, site: str, family: Family) -> bool:
    mark, table = claim.mark_of(site), claim.table + claim.number(site)
    rules = map(decoding.rule_from, query.dump(rtnetlink.GETRULE, rtnetlink.rules_of(family)))
    return any(
        rule is not None
        and rule.action is Action.LOOKUP
        and rule.table == table
        and rule.mask
        and rule.mark == mark & rule.mask
        for rule in rules
    )


def _reverse(
    query: QuerySocket, flow: Flow, link: int | None, interface: str | None
) -> ReversePath | None:
    """The kernel looks up the route back without the mark of the probes.

    With `src_valid_mark` it uses the mark of the arriving packet, which has none either.
    """
    if link is None or interface is None:
        return None
    value = max(_setting("all"), _setting(interface))
    if value not in {_STRICT, _LOOSE}:
        return None
    back = route_for(query, replace(flow, mark=0))
    there = back is not None and back.kind is not RouteKind.UNREACHABLE
    leaves_by = back.oif if back is not None and there else None
    if (leaves_by == link) if value == _STRICT else there:
        return None
    by = link_at(query, leaves_by)
    return ReversePath(interface=interface, value=value, back=None if by is None else by.name)


def _setting(name: str) -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/conf", name, "rp_filter").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
