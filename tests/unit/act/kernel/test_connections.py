"""What the kernel's connection table shows of forwarded questions, entry by entry."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from wire_kernel import Refuse, WireKernel, wire_kernel

from steering.act.kernel import conntrack, rtnetlink
from steering.act.kernel.conntrack import AT_ONCE, SOURCES, Conntrack, ConntrackEntry
from steering.act.kernel.framing import attribute, packed, u32
from steering.act.kernel.rtnetlink import Route, RouteKind, route_body
from steering.model import Family

SERVER, OTHER, POD, HOST = "192.0.2.53", "192.0.2.54", "10.1.0.7", "198.51.100.1"


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    place = tmp_path / "netfilter"
    place.mkdir()
    for name, number in (("count", 5), ("udp_timeout", 30), ("udp_timeout_stream", 120)):
        (place / f"nf_conntrack_{name}").write_text(f"{number}\n")
    return place


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> WireKernel:
    made = wire_kernel(monkeypatch)
    made.dumps[conntrack._GET] = []
    return made


def side(source: str, to: str, port: int, protocol: int = 17) -> bytes:
    family = Family.of(source)
    ends = attribute(conntrack._FROM[family], packed(source))
    ends += attribute(conntrack._TO[family], packed(to))
    service = attribute(1, bytes([protocol])) + attribute(3, port.to_bytes(2, "big"))
    return attribute(1 | 0x8000, ends) + attribute(2 | 0x8000, service)


def entry(
    source: str = POD,
    server: str = SERVER,
    *,
    translated: str = HOST,
    answers: str | None = None,
    port: int = 53,
    protocol: int = 17,
    status: int | None = 0b1010,
    left: int | None = 25,
) -> bytes:
    family = conntrack._HEAD.pack(rtnetlink.family_number(Family.of(server)), 0, 0)
    body = family + attribute(1 | 0x8000, side(source, server, port, protocol))
    body += attribute(2 | 0x8000, side(answers or server, translated, 40000))
    if status is not None:
        body += attribute(3, status.to_bytes(4, "big"))
    return body + (b"" if left is None else attribute(7, left.to_bytes(4, "big")))


def route(destination: str, *, kind: RouteKind = RouteKind.UNICAST, link: int = 2) -> bytes:
    family = Family.of(destination)
    made = Route(
        family=family, table=254, protocol=2, destination=destination, length=32, kind=kind
    )
    return route_body(made) + attribute(rtnetlink._OIF, u32(link))


def seen(limits: Path, *addresses: str, **more: tuple[str, ...]) -> list[ConntrackEntry]:
    return Conntrack(limits=limits, **more).questions(Family.IPV4, addresses or (SERVER, OTHER))


WANTED = ConntrackEntry(
    address=SERVER, source=POD, translated=HOST, answered=True, lasting=False, age=5
)


def test_a_forwarded_question_shows_who_sent_it_and_whether_an_answer_came(
    kernel: WireKernel, limits: Path
) -> None:
    kernel.dumps[conntrack._GET] = [entry()]
    assert seen(limits) == [WANTED]
    for status, answered, lasting, age in (
        (0b0000, False, False, 5),
        (0b0010, True, False, 5),
        (0b0100, False, True, 95),
        (0b0110, True, True, 95),
    ):
        kernel.dumps[conntrack._GET] = [entry(status=status)]
        wanted = replace(WANTED, answered=answered, lasting=lasting, age=age)
        assert seen(limits) == [wanted]
    lengths: tuple[tuple[int | None, int | None], ...] = ((None, None), (30, 0), (31, None))
    for left, rest in lengths:
        kernel.dumps[conntrack._GET] = [entry(left=left)]
        assert seen(limits) == [replace(WANTED, age=rest)]


def test_what_is_no_question_to_the_address_is_left_out(kernel: WireKernel, limits: Path) -> None:
    kernel.dumps[conntrack._GET] = [
        entry(server="192.0.2.99"),
        entry(port=54),
        entry(protocol=6),
        entry(answers="192.0.2.99"),
        entry(status=None),
        entry()[:40],
        entry(OTHER, OTHER)[:20],
    ]
    assert seen(limits) == []
    kernel.dumps[conntrack._GET].append(entry(server=OTHER))
    assert [one.address for one in seen(limits)] == [OTHER]
    assert seen(limits, SERVER) == []


def test_entries_of_both_families_are_read(kernel: WireKernel, limits: Path) -> None:
    six = entry("fd00::7", "2001:db8::53", translated="2001:db8::1")
    kernel.dumps[conntrack._GET] = [six]
    (one,) = Conntrack(limits=limits).questions(Family.IPV6, ["2001:db8::53", SERVER])
    assert (one.source, one.translated) == ("fd00::7", "2001:db8::1")


def test_what_this_host_or_another_site_sends_is_apart_and_once_a_source(
    kernel: WireKernel, limits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes = {"bb-pao": 7}

    def index(name: str) -> int:
        if name not in indexes:
            raise OSError(errno.ENODEV, name)
        return indexes[name]

    monkeypatch.setattr(socket, "if_nametoindex", index)
    kernel.lookups = {
        HOST: route(HOST, kind=RouteKind.LOCAL),
        "10.9.0.1": route("10.9.0.1", link=7),
        POD: route(POD),
    }
    kernel.dumps[conntrack._GET] = [
        entry(source, server)
        for source in (POD, HOST, "10.9.0.1", "10.8.8.8")
        for server in (SERVER, OTHER)
    ]
    found = seen(limits, transit=("bb-pao", "gone"))
    apart = [one.source for one in found if one.apart]
    assert sorted(apart) == ["10.9.0.1", HOST]
    others = [(one.source, one.address) for one in found if not one.apart]
    assert others == [
        (source, server) for source in (POD, "10.8.8.8") for server in (SERVER, OTHER)
    ]


def test_so_many_entries_and_sources_are_looked_at_and_no_more(
    kernel: WireKernel, limits: Path
) -> None:
    many = [entry(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(SOURCES + 9)]
    kernel.dumps[conntrack._GET] = many
    assert len({one.source for one in seen(limits)}) == SOURCES
    kernel.dumps[conntrack._GET] = [entry(server="192.0.2.99")] * AT_ONCE + [entry()]
    assert seen(limits) == []
    kernel.dumps[conntrack._GET] = [entry(server="192.0.2.99")] * (AT_ONCE - 1) + [entry()]
    assert seen(limits) == [WANTED]


def test_without_a_connection_table_there_is_nothing_and_no_request(
    kernel: WireKernel, limits: Path
) -> None:
    kernel.dumps[conntrack._GET] = [entry()]
    (limits / "nf_conntrack_count").write_text("0\n")
    assert seen(limits) == []
    (limits / "nf_conntrack_count").unlink()
    assert seen(limits) == [WANTED], "it is not known that there is none"
    asked = kernel.requests
    assert Conntrack(limits=limits).questions(Family.IPV6, [SERVER]) == []
    (limits / "nf_conntrack_udp_timeout").unlink()
    assert seen(limits) == []
    assert kernel.requests == asked
    (limits / "nf_conntrack_udp_timeout").write_text("soon\n")
    assert seen(limits) == []


def refusing(number: int) -> Refuse:
    return lambda _kind, _body: number


def test_a_table_that_cannot_be_read_is_an_error_that_says_why(
    kernel: WireKernel, limits: Path
) -> None:
    with pytest.raises(OSError, match="there is no") as missing:
        seen(limits / "nowhere" / "netfilter")
    assert missing.value.errno == errno.ENOTDIR
    for number, text in (
        (errno.EINVAL, "can't list connections"),
        (errno.EPERM, "not permitted"),
    ):
        kernel.refuse = refusing(number)
        with pytest.raises(OSError, match=text) as refused:
            seen(limits)
        assert refused.value.errno == number
    kernel.refuse = lambda _kind, _body: errno.ENOENT
    assert seen(limits) == []


def test_the_kernel_is_asked_for_questions_by_udp_alone(kernel: WireKernel, limits: Path) -> None:
    bodies: list[bytes] = []

    def ask(_kind: int, body: bytes) -> int:
        bodies.append(body)
        return 0

    kernel.refuse = ask
    seen(limits)
    service = attribute(1, b"\x11") + attribute(3, struct.pack("!H", 53))
    wanted = attribute(25 | 0x8000, attribute(1, u32(40)) + attribute(2, u32(0)))
    original = attribute(1 | 0x8000, attribute(2 | 0x8000, service))
    assert bodies == [b"\2\0\0\0" + original + wanted]
