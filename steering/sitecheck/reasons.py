"""From what was found to what it means: one cell for each transport, with its reason and remedy.

Pure judgement over values. Only what was seen is said: what the kernel answers for these very
packets, what came instead of an answer, and what other legs were answered to the same question.
What a site's router does with a packet can't be seen from here; what can be compared is said.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from steering.model import LOCAL, Family, Seconds
from steering.observe.exchange import Ended, Exchange
from steering.sitecheck.legs import Findings, Leg, Tried

WITHOUT_EDNS = 512
"""Octets in one packet, from which on an answer stands under `large`: what DNS over UDP was limited
to (RFC 1035 2.3.4). Asked once, it can be told at any size; the agent counts from `model.LARGE` on.
"""
_HEADERS: Mapping[Family, int] = {Family.IPV4: 20 + 8, Family.IPV6: 40 + 8}
"""Octets around a message by UDP."""


class Word(enum.StrEnum):
    """What stands in a cell. Of several reasons the first in this order is the one that is told."""

    OK = "ok"
    NO_ADDRESS = "no address"
    OTHER_RULE = "other rule"
    NO_RULE = "no rule"
    LINK_DOWN = "link down"
    NO_ROUTE = "no route"
    FIREWALL = "firewall"
    MTU = "mtu"
    NEXT_HOP = "next hop"
    OTHER_WAY = "other way"
    NAT = "nat"
    RP_FILTER = "rp_filter"
    REFUSED = "refused"
    TOLD = "icmp"
    OURS = "error"
    NO_ANSWER = "no answer"
    NOT_TRIED = "not tried"


_ORDER = tuple(Word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a cell is not as it should be."""

    word: Word
    because: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one leg does with one kind of question."""

    word: Word
    rtt: Seconds | None = None
    octets: int = 0
    """That came in one packet, where that is what it is about."""
    reason: Reason | None = None
    """Why it failed, or why nothing is known."""

    @property
    def failed(self) -> bool:
        """Whether somebody has to do something."""
        return self.reason is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One leg of the table."""

    leg: Leg
    sent_from: str | None
    udp: Cell
    tcp: Cell
    large: Cell
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> Mapping[str, Cell]:
        return {"udp": self.udp, "tcp": self.tcp, "large": self.large}

    @property
    def failed(self) -> bool:
        return any(cell.failed for cell in self.cells.values())


def judged(findings: Sequence[Findings]) -> tuple[Row, ...]:
    """A row for each leg that is shown, in the same order."""
    every = [replace(one, tried=tuple(map(_over_its_path, one.tried))) for one in findings]
    return tuple(_Judge(one, every).row() for one in every if one.leg.shown)


def _over_its_path(tried: Tried) -> Tried:
    """Without what came where the packets did not go over the path all the while.

    Somebody may take the rules out meanwhile, a guard among others.
    """
    if tried.way.leads:
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
    """One leg, beside all others."""

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
            return Cell(word=Word.OK, rtt=min(times))
        reasons = [self._reason(tried, exchange, pick, by) for tried, exchange in asked]
        if not reasons:
            reasons = [self._unsent()]
        first = min(reasons, key=lambda reason: _ORDER.index(reason.word))
        return _failed(first)

    def _notes(self, pick: _Pick, by: str) -> Iterator[str]:
        """What is not so of the whole leg: an address that it does not reach."""
        asked = [(t, exchange) for t in self._found.tried if (exchange := pick(t)) is not None]
        if not any(exchange.answered for _, exchange in asked):
            return
        for tried, exchange in asked:
            if not exchange.answered and self._elsewhere(tried.address, pick):
                yield f"{tried.address} is not answered by {by}; over another path it is"

    def _elsewhere(self, address: str, pick: _Pick) -> bool:
        return any(_answered(other, address, pick) for other in self._family)

    def _unsent(self) -> Reason:
        if self._found.lacking:
            return Reason(
                word=Word.NO_ADDRESS,
                because=f"{self._leg.source}: {self._found.lacking}",
                remedy="put the address, or the interface, on this host, or take it out of "
                "resolver_sources",
            )
        return Reason(word=Word.NOT_TRIED, because="the time was up before it was asked")

    def _reason(self, tried: Tried, exchange: Exchange, pick: _Pick, by: str) -> Reason:
        """Why this question brought no answer."""
        known = self._unsendable(tried) or self._seen(tried, exchange)
        return known or self._silence(tried, exchange, pick, by)

    def _unsendable(self, tried: Tried) -> Reason | None:
        """What the kernel says of packets that it was not to be sent at all, or not that way."""
        way, path = tried.way, self._leg.path
        if way.before and not way.leads:
            return Reason(word=Word.OTHER_RULE, because=way.before)
        if not way.leads and not way.ruled:
            return Reason(
                word=Word.NO_RULE,
                because=f"no rule of ours sends questions over {path}, so none was sent",
                remedy="run the agent, or let `steering check --sites --temporary-rules` put in "
                "what carries these questions while it asks",
            )
        if not way.routed:
            over = "" if path == LOCAL else f"over {path} "
            return Reason(
                word=Word.NO_ROUTE,
                because=f"the kernel has no route {over}to {tried.address}",
                remedy="see that the link is up and the next hop on a network of it: "
                f"`ip route get {tried.address}{self._marked}`",
            )
        if not way.leads:
            return Reason(
                word=Word.NO_ROUTE,
                because=f"packets for it leave by {way.onward}, and not over {path}",
                remedy="see `ip rule` and `ip route show table all` for what sends them there",
            )
        if not way.up:
            return Reason(
                word=Word.LINK_DOWN,
                because=f"the link {way.interface} is down",
                remedy=f"`ip link show {way.interface}`",
            )
        return None

    @property
    def _marked(self) -> str:
        """For `ip route get`."""
        return "" if self._found.mark is None else f" mark {self._found.mark:#x}"

    def _seen(self, tried: Tried, exchange: Exchange) -> Reason | None:
        """What came instead of an answer, or kept the question from leaving."""
        way = tried.way
        if exchange.ended is Ended.LOCAL_ERROR and exchange.errno in {errno.EPERM, errno.EACCES}:
            return Reason(
                word=Word.FIREWALL,
                because=f"this host's own firewall does not let it out by {way.onward}",
                remedy="`nft list ruleset`, `iptables-save`: UDP and TCP port 53 to "
                f"{tried.address}",
            )
        if exchange.errno == errno.EMSGSIZE:
            return Reason(
                word=Word.MTU,
                because=f"even a small question is too large for this way: {_mtus(tried)}",
                remedy="see the MTU of the tunnel or link to the site at both ends",
            )
        if not way.reached:
            return self._next_hop(tried)
        bound = self._leg.source.interface if self._leg.source is not None else None
        if bound and exchange.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return Reason(
                word=Word.NO_ROUTE,
                because=f"its sockets are bound to {bound}, and the way leaves by {way.onward}",
                remedy=f"resolvers that are bound to {bound} can't be sent over this path",
            )
        if exchange.ended is Ended.LOCAL_ERROR:
            return Reason(word=Word.OURS, because=f"this host says: {exchange.detail}")
        if exchange.ended is Ended.ASTRAY:
            return Reason(
                word=Word.OTHER_WAY,
                because=f"the answer came in by {exchange.detail}, not by {way.interface}, and "
                "does not count",
                remedy="if that is how your network works, say `return: any` for the site; else "
                "the site's network has to send answers back over it",
            )
        if exchange.ended is Ended.ELSEWHERE:
            return Reason(
                word=Word.NAT,
                because=f"asked was {tried.address}, port 53, and the answer came from "
                f"{exchange.detail}",
                remedy="something on the way translates addresses, and not the answers back: look "
                "at NAT on the site's router and on this host",
            )
        if exchange.ended is Ended.ERROR:
            return self._told(tried, exchange)
        return None

    def _next_hop(self, tried: Tried) -> Reason:
        way, link = tried.way, tried.way.interface
        four = self._leg.family is Family.IPV4
        remedy = f"`ip neigh show dev {link}`: is the router there, and the address its own?"
        if four and self._leg.source is not None:
            remedy += (
                " If it answers other sources, it may not know the one that the ARP requests"
                f" carry: sysctl -w net.ipv4.conf.{link}.arp_announce=2"
            )
        return Reason(
            word=Word.NEXT_HOP,
            because=f"the next hop {way.gateway} on {link} does not answer "
            f"{'ARP' if four else 'neighbour discovery'}",
            remedy=remedy,
        )

    def _told(self, tried: Tried, exchange: Exchange) -> Reason:
        if exchange.errno in {errno.ECONNREFUSED, errno.ECONNRESET} or exchange.connected:
            return Reason(
                word=Word.REFUSED,
                because=f"{tried.address} was asked, and it was refused: {exchange.detail}",
                remedy="a firewall on the way may refuse port 53, or the nameserver itself",
            )
        return Reason(
            word=Word.TOLD,
            because=f"instead of an answer from {tried.address} came an ICMP error: "
            f"{exchange.detail}",
            remedy="ask who runs that router why it has no way, or forbids it",
        )

    def _silence(self, tried: Tried, exchange: Exchange, pick: _Pick, by: str) -> Reason:
        reverse = tried.way.reverse
        if reverse is not None and self._found.dropped:
            back = f"by {reverse.back}" if reverse.back else "nowhere"
            return Reason(
                word=Word.RP_FILTER,
                because=f"{reverse.interface} has rp_filter = {reverse.value}, the route back to "
                f"{tried.address} leaves {back}, and the kernel counts {self._found.dropped} "
                "dropped for that while the path was asked alone",
                remedy=f"sysctl -w net.ipv4.conf.{reverse.interface}.rp_filter=2"
                if reverse.back
                else f"a route back to {tried.address}",
            )
        because = f"nothing came back from {tried.address}"
        if exchange.connected:
            because = f"{tried.address} took the connection, and its answer did not come"
        told, remedy = self._compared(tried.address, pick, by)
        if reverse is not None:
            told += f"; and rp_filter = {reverse.value} on {reverse.interface} would drop it"
        return Reason(word=Word.NO_ANSWER, because=because + told, remedy=remedy)

    def _compared(self, address: str, pick: _Pick, by: str) -> tuple[str, str]:
        """What other legs say of the same question, and what follows."""
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
                "does a resolver send from it at all? Its network has to know the way back"
                if path == LOCAL
                else f"{path} routes back, or translates, not every source of this host: it has to "
                "do so for this one",
            )
        other = _udp if pick is _tcp else _tcp
        if _answered(self._found, address, other):
            than = "UDP" if by == "TCP" else "TCP"
            return f"; by {than} it is answered", f"{by} port 53 is dropped on the way: a firewall?"
        if path == LOCAL:
            return "", "a firewall on the way, or this host's uplink"
        here = (each for each in self._here if each is not self._found)
        if not any(_answered(each, address, pick) for each in here):
            return "; nor does anything over the other paths", "it may be the nameserver itself"
        remedy = (
            f"look with tcpdump at {path}'s router whether these questions arrive and leave again: "
            "does it forward them, and does its network know the way back to their source, or "
            "translate it?"
        )
        return "; over another path the same question is answered", remedy

    def _large(self) -> Cell:
        """Whether what is large comes back as well as what is small."""
        if not any(
            exchange is not None and exchange.answered
            for tried in self._found.tried
            for exchange in (tried.udp, tried.tcp)
        ):
            return Cell(word=Word.NOT_TRIED)
        best, lost = self._datagrams()
        if lost is not None and lost[0] > best:
            return _failed(self._too_large(lost[1], lost[0], best))
        streams = [(t, t.stream) for t in self._found.tried if t.stream is not None]
        come = [stream.packet for _, stream in streams if stream.answered]
        if not come:
            for tried, _ in streams:
                if stream := self._stream_elsewhere(tried.address):
                    return _failed(self._stalled(tried, stream))
        octets = max([best, *come])
        return (
            Cell(word=Word.OK, octets=octets)
            if octets >= WITHOUT_EDNS
            else Cell(word=Word.NOT_TRIED)
        )

    def _datagrams(self) -> tuple[int, tuple[int, Tried] | None]:
        """Octets of the largest answer by UDP, and of the largest that came to others alone."""
        best, lost = 0, list[tuple[int, Tried]]()
        for tried in self._found.tried:
            for what, exchange in tried.large.items():
                if exchange.answered:
                    best = max(best, exchange.octets)
                elif (size := self._seen_elsewhere(tried.address, what)) >= WITHOUT_EDNS:
                    lost.append((size, tried))
        return best, max(lost, key=lambda one: one[0], default=None)

    def _seen_elsewhere(self, address: str, what: str) -> int:
        """Octets of the answer to the same question over another leg; 0: nobody got one."""
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
        """What came over another leg by TCP, in the largest packets; None: nobody got it."""
        come = (
            tried.stream
            for other in self._family
            for tried in other.tried
            if tried.address == address and tried.stream and tried.stream.answered
        )
        return max(come, key=lambda stream: stream.packet, default=None)

    def _too_large(self, tried: Tried, octets: int, best: int = 0) -> Reason:
        size = octets + _HEADERS[self._leg.family]
        come = f"answers of up to {best} octets" if best else "small answers"
        return Reason(
            word=Word.MTU,
            because=f"{come} come back, one of {octets} (a packet of {size}) from {tried.address} "
            f"does not, and over another path it does; {_mtus(tried)}",
            remedy="packets of that size are dropped on the way: see the MTU of the tunnel or link "
            'to the site at both ends, and let fragments and ICMP "too big" pass',
        )

    def _stalled(self, tried: Tried, stream: Exchange) -> Reason:
        in_segments = f", in segments of up to {stream.packet}," if stream.packet else ""
        return Reason(
            word=Word.MTU,
            because=f"by TCP a small answer comes from {tried.address}, and {stream.octets} octets "
            f"at once{in_segments} do not, as they do over another path; {_mtus(tried)}",
            remedy="full segments are dropped on the way: see the MTU of the tunnel or link to the "
            "site, clamp the segment size at its router (nft: tcp option maxseg size set rt mtu), "
            'and let ICMP "too big" pass',
        )


def _failed(reason: Reason) -> Cell:
    return Cell(word=reason.word, reason=reason)


def _mtus(tried: Tried) -> str:
    told = [f"the link {tried.way.interface} takes {tried.way.mtu}"] if tried.way.mtu else []
    if tried.route_mtu and tried.route_mtu != tried.way.mtu:
        told.append(f"the kernel was told of {tried.route_mtu} on this way")
    return ", ".join(told) or "the MTU of this way is not known"
