"""Judges the findings: for each leg one cell for each transport, with reason and remedy.

Pure functions over values. Only observations are reported: what the kernel does with these packets,
what came instead of an answer, and the answers to the same question over other legs. What a site's
router does with a packet can't be seen from here; only the comparison can be reported.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from steering.model import LOCAL, Family
from steering.observe.exchange import Ended, Exchange
from steering.sitecheck.cells import Cell, Reason, Row, State
from steering.sitecheck.legs import Findings, Tried

WITHOUT_EDNS = 512
"""Octets of the smallest answer that `large` reports: the limit of DNS over UDP without EDNS
(RFC 1035 2.3.4). The agent itself counts answers from `model.LARGE` octets on as large.
"""
_HEADERS: Mapping[Family, int] = {Family.IPV4: 20 + 8, Family.IPV6: 40 + 8}
"""Octets around a message by UDP."""
_ORDER = tuple(State)


def judged(findings: Sequence[Findings]) -> tuple[Row, ...]:
    """A row for each leg that is shown, in the same order."""
    every = [replace(one, tried=tuple(map(_over_its_path, one.tried))) for one in findings]
    return tuple(_Judge(one, every).row() for one in every if one.leg.shown)


def _over_its_path(tried: Tried) -> Tried:
    """Drops the results if the packets did not take the path all the time.

    The rules may have been removed meanwhile, for example by a guard.
    """
    if tried.check.leads:
        return tried
    silent = Exchange(ended=Ended.SILENT)
    return replace(tried, udp=silent, tcp=silent, large={}, stream=None)


_Pick = Callable[[Tried], Exchange | None]


def _udp(tried: Tried) -> Exchange | None:
    return tried.udp


def _tcp(tried: Tried) -> Exchange | None:
    return tried.tcp


def _answered(found: Findings, address: str, pick: _Pick) -> bool:
    return any(
        (exchange := pick(tried)) is not None and exchange.answered
        for tried in found.tried
        if tried.address == address
    )


class _Judge:
    """Judges one leg, in comparison with all others."""

    def __init__(self, found: Findings, every: Sequence[Findings]) -> None:
        self._found, self._leg = found, found.leg
        self._family = [each for each in every if each.leg.family is found.leg.family]
        self._here = [each for each in self._family if each.leg.source == found.leg.source]

    def row(self) -> Row:
        udp, tcp = self._small(_udp, "UDP"), self._small(_tcp, "TCP")
        return Row(
            leg=self._leg,
            sent_from=self._found.sent_from,
            udp=udp,
            tcp=tcp,
            large=self._large(),
            notes=tuple(self._notes(_udp, "UDP")) + tuple(self._notes(_tcp, "TCP")),
        )

    def _small(self, pick: _Pick, by: str) -> Cell:
        asked = [(t, exchange) for t in self._found.tried if (exchange := pick(t)) is not None]
        times = [e.rtt for _, e in asked if e.answered and e.rtt is not None]
        if times:
            return Cell(state=State.OK, rtt=min(times))
        reasons = [self._reason(tried, exchange, pick, by) for tried, exchange in asked]
        if not reasons:
            reasons = [self._unsent()]
        first = min(reasons, key=lambda reason: _ORDER.index(reason.state))
        return _failed(first)

    def _notes(self, pick: _Pick, by: str) -> Iterator[str]:
        """Addresses that this leg does not reach, although it reaches others."""
        asked = [(t, exchange) for t in self._found.tried if (exchange := pick(t)) is not None]
        if not any(exchange.answered for _, exchange in asked):
            return
        for tried, exchange in asked:
            if not exchange.answered and self._elsewhere(tried.address, pick):
                yield f"{tried.address} does not answer by {by}; over another path it does"

    def _elsewhere(self, address: str, pick: _Pick) -> bool:
        return any(_answered(other, address, pick) for other in self._family)

    def _unsent(self) -> Reason:
        if self._found.lacking:
            return Reason(
                state=State.NO_ADDRESS,
                because=f"{self._leg.source}: {self._found.lacking}",
                remedy="configure the address, or the interface, on this host, or remove it from "
                "resolver_sources",
            )
        return Reason(state=State.NOT_TRIED, because="there was no time left to ask it")

    def _reason(self, tried: Tried, exchange: Exchange, pick: _Pick, by: str) -> Reason:
        """Why this question got no answer."""
        known = self._not_sent(tried) or self._seen(tried, exchange)
        return known or self._no_answer(tried, exchange, pick, by)

    def _not_sent(self, tried: Tried) -> Reason | None:
        """Why the kernel does not send these packets over the path; None: it does."""
        check, path = tried.check, self._leg.path
        if check.before and not check.leads:
            return Reason(state=State.OTHER_RULE, because=check.before)
        if not check.leads and not check.has_rule:
            return Reason(
                state=State.NO_RULE,
                because=f"no rule of ours sends questions over {path}, so none was sent",
                remedy="run the agent, or use `steering check --sites --temporary-rules`, which "
                "installs the rules for these questions while it asks",
            )
        if not check.routed:
            over = "" if path == LOCAL else f"over {path} "
            return Reason(
                state=State.NO_ROUTE,
                because=f"the kernel has no route {over}to {tried.address}",
                remedy="check that the link is up and the next hop is in its subnet: "
                f"`ip route get {tried.address}{self._marked}`",
            )
        if not check.leads:
            return Reason(
                state=State.NO_ROUTE,
                because=f"packets for it leave by {check.onward}, and not over {path}",
                remedy="find what sends them there: `ip rule`, `ip route show table all`",
            )
        if not check.up:
            return Reason(
                state=State.LINK_DOWN,
                because=f"the link {check.interface} is down",
                remedy=f"`ip link show {check.interface}`",
            )
        return None

    @property
    def _marked(self) -> str:
        """The mark as an argument of `ip route get`."""
        return "" if self._found.mark is None else f" mark {self._found.mark:#x}"

    def _seen(self, tried: Tried, exchange: Exchange) -> Reason | None:
        """What came instead of an answer, or prevented the question; None: nothing."""
        check = tried.check
        if exchange.ended is Ended.LOCAL_ERROR and exchange.errno in {errno.EPERM, errno.EACCES}:
            return Reason(
                state=State.FIREWALL,
                because=f"this host's own firewall does not let it out by {check.onward}",
                remedy="allow UDP and TCP port 53 to "
                f"{tried.address} (`nft list ruleset`, `iptables-save`)",
            )
        if exchange.errno == errno.EMSGSIZE:
            return Reason(
                state=State.MTU,
                because=f"even a small question is too large for this path: {_mtus(tried)}",
                remedy="check the MTU of the tunnel or link to the site at both ends",
            )
        if not check.reached:
            return self._next_hop(tried)
        bound = self._leg.source.interface if self._leg.source is not None else None
        if bound and exchange.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return Reason(
                state=State.NO_ROUTE,
                because=f"its sockets are bound to {bound}, and the path leaves by {check.onward}",
                remedy=f"resolvers that are bound to {bound} can't use this path",
            )
        if exchange.ended is Ended.LOCAL_ERROR:
            return Reason(state=State.ERROR, because=f"error on this host: {exchange.detail}")
        if exchange.ended is Ended.ASTRAY:
            return Reason(
                state=State.OTHER_WAY,
                because=f"the answer came in by {exchange.detail}, not by {check.interface}, and "
                "does not count",
                remedy="if your network works like that, set `return: any` for the site; otherwise "
                "the site's network has to send answers back over it",
            )
        if exchange.ended is Ended.ELSEWHERE:
            return Reason(
                state=State.NAT,
                because=f"{tried.address}, port 53, was asked, and the answer came from "
                f"{exchange.detail}",
                remedy="a device on the path translates addresses of the questions, but not of the "
                "answers: check NAT on the site's router and on this host",
            )
        if exchange.ended is Ended.ERROR:
            return self._icmp_or_refused(tried, exchange)
        return None

    def _next_hop(self, tried: Tried) -> Reason:
        check, link = tried.check, tried.check.interface
        four = self._leg.family is Family.IPV4
        remedy = f"`ip neigh show dev {link}`: is the router up, and does it have this address?"
        if four and self._leg.source is not None:
            remedy += (
                " If it answers other sources, it may have no route to the source in the ARP"
                f" requests: sysctl -w net.ipv4.conf.{link}.arp_announce=2"
            )
        return Reason(
            state=State.NEXT_HOP,
            because=f"the next hop {check.gateway} on {link} does not answer "
            f"{'ARP' if four else 'neighbour discovery'}",
            remedy=remedy,
        )

    def _icmp_or_refused(self, tried: Tried, exchange: Exchange) -> Reason:
        if exchange.errno in {errno.ECONNREFUSED, errno.ECONNRESET} or exchange.connected:
            return Reason(
                state=State.REFUSED,
                because=f"{tried.address} was asked, and it was refused: {exchange.detail}",
                remedy="a firewall on the path, or the nameserver itself, may refuse port 53",
            )
        return Reason(
            state=State.ICMP,
            because=f"instead of an answer from {tried.address} came an ICMP error: "
            f"{exchange.detail}",
            remedy="ask the operator of that router why it has no route, or rejects it",
        )

    def _no_answer(self, tried: Tried, exchange: Exchange, pick: _Pick, by: str) -> Reason:
        reverse = tried.check.reverse
        if reverse is not None and self._found.dropped:
            back = f"by {reverse.back}" if reverse.back else "nowhere"
            return Reason(
                state=State.RP_FILTER,
                because=f"{reverse.interface} has rp_filter = {reverse.value}, the route back to "
                f"{tried.address} leaves {back}, and the kernel dropped {self._found.dropped} "
                "packets for that while only this path was asked",
                remedy=f"sysctl -w net.ipv4.conf.{reverse.interface}.rp_filter=2"
                if reverse.back
                else f"add a route to {tried.address}",
            )
        because = f"nothing came back from {tried.address}"
        if exchange.connected:
            because = f"{tried.address} accepted the connection, but no answer came"
        seen, remedy = self._compared(tried.address, pick, by)
        if reverse is not None:
            seen += f"; and rp_filter = {reverse.value} on {reverse.interface} would drop it"
        return Reason(state=State.NO_ANSWER, because=because + seen, remedy=remedy)

    def _compared(self, address: str, pick: _Pick, by: str) -> tuple[str, str]:
        """The results of other legs for the same question, and the remedy that follows."""
        path = self._leg.path
        others = [
            other.sent_from or str(other.leg.source)
            for other in self._family
            if other.leg.path == path
            and other.leg.source != self._leg.source
            and _answered(other, address, pick)
        ]
        others = list(dict.fromkeys(others))
        if others:
            return (
                f"; {', '.join(others)} gets answers to the same question",
                "does a resolver send from it at all? The network needs a route back to it"
                if path == LOCAL
                else f"{path} routes back, or translates, only some sources of this host: it has "
                "to do so for this one too",
            )
        other = _udp if pick is _tcp else _tcp
        if _answered(self._found, address, other):
            than = "UDP" if by == "TCP" else "TCP"
            return (
                f"; by {than} it is answered",
                f"{by} port 53 is dropped: a firewall?",
            )
        if path == LOCAL:
            return "", "check firewalls on the path, and this host's uplink"
        here = (each for each in self._here if each is not self._found)
        if not any(_answered(each, address, pick) for each in here):
            return "; nor over the other paths", "the nameserver itself may be down"
        remedy = (
            f"check with tcpdump at {path}'s router whether these questions arrive and leave again:"
            " does it forward them, and does its network have a route back to their source, or "
            "translate it?"
        )
        return "; over another path the same question is answered", remedy

    def _large(self) -> Cell:
        """Whether large answers come back as well as small ones."""
        if not any(
            exchange is not None and exchange.answered
            for tried in self._found.tried
            for exchange in (tried.udp, tried.tcp)
        ):
            return Cell(state=State.NOT_TRIED)
        best, lost = self._datagrams()
        if lost is not None and lost[0] > best:
            return _failed(self._too_large(lost[1], lost[0], best))
        streams = [(t, t.stream) for t in self._found.tried if t.stream is not None]
        received = [stream.packet for _, stream in streams if stream.answered]
        if not received:
            for tried, _ in streams:
                if stream := self._stream_elsewhere(tried.address):
                    return _failed(self._stream_lost(tried, stream))
        octets = max([best, *received])
        return (
            Cell(state=State.OK, octets=octets)
            if octets >= WITHOUT_EDNS
            else Cell(state=State.NOT_TRIED)
        )

    def _datagrams(self) -> tuple[int, tuple[int, Tried] | None]:
        """Octets of the largest answer by UDP, and of the largest that only other legs got."""
        best, lost = 0, list[tuple[int, Tried]]()
        for tried in self._found.tried:
            for what, exchange in tried.large.items():
                if exchange.answered:
                    best = max(best, exchange.octets)
                elif (size := self._seen_elsewhere(tried.address, what)) >= WITHOUT_EDNS:
                    lost.append((size, tried))
        return best, max(lost, key=lambda one: one[0], default=None)

    def _seen_elsewhere(self, address: str, what: str) -> int:
        """Octets of the answer to the same question over another leg; 0: no leg got one."""
        return max(
            (
                tried.large[what].octets
                for other in self._family
                for tried in other.tried
                if tried.address == address and what in tried.large and tried.large[what].answered
            ),
            default=0,
        )

    def _stream_elsewhere(self, address: str) -> Exchange | None:
        """The result by TCP of the other leg with the largest packets; None: no leg got it."""
        received = (
            tried.stream
            for other in self._family
            for tried in other.tried
            if tried.address == address and tried.stream and tried.stream.answered
        )
        return max(received, key=lambda stream: stream.packet, default=None)

    def _too_large(self, tried: Tried, octets: int, best: int = 0) -> Reason:
        size = octets + _HEADERS[self._leg.family]
        received = f"answers of up to {best} octets" if best else "small answers"
        return Reason(
            state=State.MTU,
            because=f"{received} come back, one of {octets} (a packet of {size}) from "
            f"{tried.address} does not, and over another path it does; {_mtus(tried)}",
            remedy="packets of that size are dropped on the path: check the MTU of the tunnel or "
            'link to the site at both ends, and allow fragments and ICMP "too big"',
        )

    def _stream_lost(self, tried: Tried, stream: Exchange) -> Reason:
        in_segments = f", in segments of up to {stream.packet}," if stream.packet else ""
        return Reason(
            state=State.MTU,
            because=f"by TCP a small answer comes from {tried.address}, and {stream.octets} octets "
            f"at once{in_segments} do not, as they do over another path; {_mtus(tried)}",
            remedy="full segments are dropped on the path: check the MTU of the tunnel or link to "
            "the site, clamp the segment size at its router (nft: tcp option maxseg size set rt "
            'mtu), and allow ICMP "too big"',
        )


def _failed(reason: Reason) -> Cell:
    return Cell(state=reason.state, reason=reason)


def _mtus(tried: Tried) -> str:
    seen = [f"the MTU of {tried.check.interface} is {tried.check.mtu}"] if tried.check.mtu else []
    if tried.route_mtu and tried.route_mtu != tried.check.mtu:
        seen.append(f"the path MTU that the kernel learnt is {tried.route_mtu}")
    return ", ".join(seen) or "the MTU of this path is not known"
