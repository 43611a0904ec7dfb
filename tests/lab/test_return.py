"""By which link an answer comes in: against a real kernel, with a forger on the local link."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kernelhost import ADDRESSES, CLAIM, IPV4, build_host, ip

from steering.act.kernel.actuator import KernelActuator
from steering.agent.kernel_paths import KernelPaths
from steering.lab.network.links import run
from steering.lab.waiting import async_until, until
from steering.model import LOCAL, Family
from steering.observe.nonce import system_random
from steering.observe.probe.echo import Echo
from steering.observe.query import Query, Reply, query
from steering.observe.strays import Stray

pytestmark = pytest.mark.lab

ADDRESS = {Family.IPV4: "192.0.2.1", Family.IPV6: "2001:db8::1"}
MARK = CLAIM.mark_of("pao")
_UDP = 17
_ETHERTYPE = {Family.IPV4: 0x0800, Family.IPV6: 0x86DD}
_HEADERS = {Family.IPV4: 14 + 20, Family.IPV6: 14 + 40}  # before UDP's
_ALL = 3  # ETH_P_ALL


@pytest.fixture
def ways(namespace: None) -> Iterator[KernelPaths]:
    """What the kernel says of the paths, with our rules in it."""
    build_host()
    for name in ("all", "eth0", "bb-pao"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    for site, link in (("pao", "bb-pao"), ("fra", "bb-fra")):
        for hop in CLAIM.next_hops[site].values():  # nobody is there to be asked for them
            run(f"ip neigh replace {hop} lladdr {mac(f'far-{link}')} dev {link} nud permanent")
    with KernelActuator(CLAIM) as kernel:
        assert kernel.prepare(ADDRESSES) == ()
        ways = KernelPaths(kernel, acting=True, watched=ADDRESSES)
        ways.changed()
        yield ways


def mac(link: str) -> str:
    (found,) = ip(f"link show dev {link}")
    return str(found["address"])


@dataclass
class Question:
    """One that left by the link to the site, as a router there sees it."""

    frame: bytes
    family: Family

    @property
    def id_and_question(self) -> tuple[bytes, bytes]:
        message = self.frame[_HEADERS[self.family] + 8 :]
        return message[:2], message[12 : message.index(b"\0", 12) + 5]

    def answer(self, rcode: int, *, to: str) -> bytes:
        """A frame to one of the host's links, as if the nameserver had sent it."""
        number, question = self.id_and_question
        wire = number + bytes((0x84, rcode)) + b"\0\1" + bytes(6) + question
        ports = self.frame[_HEADERS[self.family] :][:4]
        udp = ports[2:] + ports[:2] + struct.pack("!HH", 8 + len(wire), 0) + wire
        ends = self.frame[14 + 12 : 14 + 20] if self.family is Family.IPV4 else self.frame[22:54]
        half = len(ends) // 2
        turned = ends[half:] + ends[:half]
        if self.family is Family.IPV4:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, _UDP, 0) + turned
            head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        else:
            head = struct.pack("!IHBB", 0x60000000, len(udp), _UDP, 64) + turned
            pseudo = turned + struct.pack("!II", len(udp), _UDP)
            udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
        ends_of_link = bytes.fromhex((mac(to) + mac(f"far-{to}")).replace(":", ""))
        return ends_of_link + struct.pack("!H", _ETHERTYPE[self.family]) + head + udp


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def wire(link: str) -> socket.socket:
    """The far end of one of the host's links."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    made.bind((f"far-{link}", _ALL))
    made.setblocking(False)
    return made


async def seen_at(router: socket.socket, family: Family) -> Question:
    """The question that comes by."""
    async with asyncio.timeout(5):
        while True:
            frame = await asyncio.get_running_loop().sock_recv(router, 2048)
            at = _HEADERS[family]
            protocol = frame[23] if family is Family.IPV4 else frame[20]
            kind = int.from_bytes(frame[12:14], "big")
            if (kind, protocol) == (_ETHERTYPE[family], _UDP) and frame[
                at + 2 : at + 4
            ] == b"\0\x35":
                return Question(frame, family)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("checked", [True, False], ids=["path", "any"])
def test_an_answer_forged_on_the_local_link_is_not_the_sites(
    ways: KernelPaths, family: Family, checked: bool
) -> None:
    """The forger knows all there is to guess: port, id, case."""

    async def story() -> None:
        assert ways.leads("pao", ADDRESS[family])
        link = ways.link("pao", family)
        assert link == socket.if_nametoindex("bb-pao")
        replies: list[Reply] = []
        strays: list[Stray] = []
        with wire("bb-pao") as router, wire("eth0") as stranger:
            inquiry = Query(
                query("abcdefghijkl.com.", "A", rng=system_random()),
                system_random().getrandbits(16),
                ADDRESS[family],
                done=replies.append,
                timeout=10.0,
                mark=MARK,
                echo=Echo(),
                link=link if checked else None,
                on_stray=strays.append,
            )
            try:
                question = await seen_at(router, family)
                stranger.send(question.answer(5, to="eth0"))
                await async_until(lambda: strays or replies)
                router.send(question.answer(3, to="bb-pao"))
                await async_until(lambda: replies)
            finally:
                inquiry.cancel()
        (reply,) = replies
        assert reply.wire is not None
        rcode = reply.wire[3] & 15
        assert (rcode, strays) == ((3, [Stray.LINK]) if checked else (5, []))

    asyncio.run(story())


@pytest.mark.parametrize("family", Family)
def test_an_answer_by_the_wrong_link_alone_is_silence_that_says_which(
    ways: KernelPaths, family: Family
) -> None:
    async def story() -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        with wire("bb-pao") as router, wire("eth0") as stranger:
            Query(
                query("abcdefghijkl.com.", "A", rng=system_random()),
                system_random().getrandbits(16),
                ADDRESS[family],
                done=answer.set_result,
                timeout=1.5,
                mark=MARK,
                link=ways.link("pao", family),
            )
            stranger.send((await seen_at(router, family)).answer(0, to="eth0"))
            return await answer

    reply = asyncio.run(story())
    assert (reply.wire, reply.ours, reply.reached) == (None, False, False)
    assert reply.detail == "an answer came in by eth0, not by bb-pao"


def test_only_a_sites_own_single_link_is_compared(ways: KernelPaths) -> None:
    def known() -> dict[tuple[str, Family], str]:
        ways.changed()
        every = [(path, family) for path in (LOCAL, "live", "pao", "fra") for family in Family]
        found = {pair: ways.link(*pair) for pair in every}
        return {p: socket.if_indextoname(link) for p, link in found.items() if link is not None}

    own = {(site, family): f"bb-{site}" for site in ("pao", "fra") for family in Family}
    assert known() == own
    # The site's router and the provider's in one network.
    run("ip route replace default via 10.255.1.9")
    run("ip -6 route replace default via fd00:ff:1::9")
    fra = {pair: link for pair, link in own.items() if pair[0] == "fra"}
    until(lambda: known() == fra)
    # Two uplinks, one of which is a site's link.
    for v, net in (("-4", "10.255.{}.9"), ("-6", "fd00:ff:{}::9")):
        hops = " ".join(f"nexthop via {net.format(n or '0')} dev {d}" for n, d in UPLINKS)
        run(f"ip {v} route replace default {hops}".replace("fd00:ff:0::9", "fd00:ff::9"))
    pao = {pair: link for pair, link in own.items() if pair[0] == "pao"}
    until(lambda: known() == pao)
    # No way out but the sites': what comes in elsewhere is still not theirs.
    run("ip route del default")
    run("ip -6 route del default")
    until(lambda: known() == own)


UPLINKS = ((0, "eth0"), (2, "bb-fra"))


def test_a_site_reached_over_several_links_is_not_compared(ways: KernelPaths) -> None:
    """As an operator's own rules may have it, where the agent may only observe."""
    table = CLAIM.table + CLAIM.number("pao")
    hops = "nexthop via 10.255.1.2 dev bb-pao nexthop via 10.255.2.9 dev bb-fra"
    for address in IPV4:
        run(f"ip route replace {address} table {table} proto {CLAIM.protocol} {hops}")

    def links() -> tuple[int | None, int | None]:
        ways.changed()
        return ways.link("pao", Family.IPV4), ways.link("pao", Family.IPV6)

    until(lambda: links() == (None, socket.if_nametoindex("bb-pao")))


def test_an_agent_without_marks_compares_no_link(namespace: None) -> None:
    build_host()
    ways = KernelPaths(None, acting=False)
    ways.changed()
    assert ways.link("pao", Family.IPV4) is None
