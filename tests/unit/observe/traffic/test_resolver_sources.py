"""What the resolvers of this host send from: said, seen, or left to the kernel."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

import pytest
from etc import ONE_SITE, place

from steering.config import ConfigError, load
from steering.model import Family, Source
from steering.observe.query import ProbePin
from steering.observe.traffic import resolver_sources
from steering.observe.traffic.resolver_sources import (
    EVERY,
    LASTING,
    LOOKS,
    Sources,
    kernel_source,
    lacks,
)

SERVER = "192.5.6.30"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout"
_QUEUES = "00000000:00000000 00:00000000 00000000   {user}        0"
UDP = [
    f"  123: 070200C0:9C40 1E0605C0:0035 01 {_QUEUES} {{inode}} 2 000000009a1b2c3d 0",
    f"  456: 0100007F:0035 00000000:0000 07 {_QUEUES} 77 2 00000000deadbeef 0",
]
"""As a kernel writes them: 192.0.2.7:40000 -> 192.5.6.30:53, and a socket that serves."""


def proc(tmp: Path, *lines: str, user: int = 106, inode: int = 4711) -> Path:
    (tmp / "net").mkdir(exist_ok=True)
    (tmp / "self" / "fd").mkdir(parents=True, exist_ok=True)
    text = "\n".join([HEAD, *(line.format(user=user, inode=inode) for line in lines)])
    (tmp / "net" / "udp").write_text(text + "\n")
    return tmp


def looked(found: Sources, looks: int, *, begin: float = 100.0, fresh: bool = True) -> float:
    """After so many looks; the instant of the last one."""
    now = begin
    table = found._proc / "net" / "udp"
    for number in range(looks + 1):  # the first one tells what the kernel chooses
        if fresh and table.exists():  # each look finds another socket
            table.write_bytes(
                re.sub(rb"(4711|4712)(?= 2 )", b"47%d" % (11 + number % 2), table.read_bytes())
            )
        now = begin + number * (LASTING / (LOOKS - 1))
        found.look(now)
    return now


@pytest.fixture(autouse=True)
def _every_address_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_sources, "lacks", lambda _source: "")
    monkeypatch.setattr(resolver_sources, "kernel_source", lambda _to: "198.51.100.1")


def test_what_a_resolver_is_seen_to_send_from_is_a_source_after_several_looks(
    tmp_path: Path,
) -> None:
    found = Sources({}, [SERVER], proc=proc(tmp_path, *UDP))
    looked(found, LOOKS - 1)
    assert found.in_use(Family.IPV4) == ()
    assert found.named == {}
    found = Sources({}, [SERVER], proc=tmp_path)
    looked(found, LOOKS)
    assert found.in_use(Family.IPV4) == (None, Source(address="192.0.2.7"))
    assert found.named == {Family.IPV4: ("", "192.0.2.7")}
    assert found.in_use(Family.IPV6) == ()
    assert found.trouble == ""


def test_a_socket_that_is_left_from_before_a_move_is_no_source(tmp_path: Path) -> None:
    """A stream that stays open has the source that the kernel chose before the detour."""
    found = Sources({}, [SERVER], proc=proc(tmp_path, *UDP))
    looked(found, 30, fresh=False)
    assert found.named == {}


def test_questions_under_way_at_each_move_make_no_source_however_many_moves_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, now = Sources({}, [SERVER], proc=tmp_path), 100.0
    for number in range(20):
        monkeypatch.setattr(resolver_sources, "kernel_source", lambda _to: "192.0.2.7")
        proc(tmp_path, *UDP, inode=5000 + number)
        found.look(now)
        monkeypatch.setattr(
            resolver_sources, "kernel_source", lambda _to: "198.51.100.1"
        )  # a detour
        for _ in range(3):
            found.look(now := now + 4.0)
        proc(tmp_path, *UDP[1:])
        found.look(now := now + 3600.0)
    assert found.named == {}


def test_thousands_of_sockets_cost_one_look_at_our_own_and_one_at_each_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def choice(to: str) -> str:
        asked.append(to)
        return "198.51.100.1"

    monkeypatch.setattr(resolver_sources, "kernel_source", choice)
    lines = [UDP[0].replace("{inode}", str(number)) for number in range(1, 4000)]
    found = Sources({}, [SERVER], proc=proc(tmp_path, *lines, UDP[1], user=os.geteuid()))
    own: list[int] = []

    def inodes() -> frozenset[int]:
        own.append(1)
        return frozenset()

    monkeypatch.setattr(found, "_own_inodes", inodes)
    found.look(100.0)
    assert asked == [SERVER]
    assert own == [1]


def test_a_socket_of_ipv6_may_carry_ipv4(tmp_path: Path) -> None:
    mapped = UDP[0].replace("070200C0", "0000000000000000FFFF0000070200C0")
    mapped = mapped.replace("1E0605C0", "0000000000000000FFFF00001E0605C0")
    (tmp_path / "net").mkdir()
    text = "\n".join([HEAD, mapped.format(user=106, inode=4711), UDP[1].format(user=106, inode=1)])
    (tmp_path / "net" / "udp6").write_text(text + "\n")
    (seen,) = resolver_sources.sockets(tmp_path, [SERVER])
    assert (seen.family, seen.source, seen.to) == (Family.IPV4, "192.0.2.7", SERVER)


def test_where_the_kernel_chooses_nothing_a_socket_shows_nothing_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default route is gone, and a resolver's socket is still there."""
    monkeypatch.setattr(resolver_sources, "kernel_source", lambda _to: None)
    found = Sources({}, [SERVER], proc=proc(tmp_path, *UDP))
    looked(found, 20)
    assert found.named == {}


def test_without_a_descriptor_nothing_is_found_and_no_source_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_sources, "lacks", lacks)
    monkeypatch.setattr(resolver_sources, "kernel_source", kernel_source)
    said = Source(address="127.0.0.1")
    found = Sources({Family.IPV4: (said,)}, [SERVER], proc=proc(tmp_path, *UDP))

    def none(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", none)
    looked(found, 20)
    assert found.in_use(Family.IPV4) == (said,)
    assert found.trouble == ""
    assert kernel_source(SERVER) is None


def test_where_our_own_sockets_cannot_be_listed_none_is_taken_for_a_resolvers(
    tmp_path: Path,
) -> None:
    found = Sources({}, [SERVER], proc=proc(tmp_path, *UDP))
    (tmp_path / "self" / "fd").rmdir()
    looked(found, 20)
    assert found.named == {}


def test_a_pin_by_another_source_is_told(tmp_path: Path) -> None:
    pins = {"pao": ProbePin(ipv4="198.51.100.9"), "fra": ProbePin(dscp=12)}
    found = Sources({}, [SERVER], pins=pins, proc=proc(tmp_path, *UDP))
    looked(found, LOOKS)
    assert "pao is asked from 198.51.100.9 alone" in found.trouble
    assert "fra" not in found.trouble
    assert found.named == {}, "no question from it could take that path"
    said = Sources(
        {Family.IPV4: (Source(address="192.0.2.7"),)}, [SERVER], pins=pins, proc=tmp_path
    )
    assert said.named == {Family.IPV4: ("192.0.2.7",)}
    assert "pao is asked from 198.51.100.9 alone" in said.trouble


def test_a_dig_of_somebody_is_no_source(tmp_path: Path) -> None:
    """Who does not answer on port 53 here is no resolver, however long he asks."""
    found = Sources({}, [SERVER], proc=proc(tmp_path, UDP[0]))
    looked(found, 20)
    assert found.in_use(Family.IPV4) == ()


def test_what_the_kernel_chooses_is_no_source_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_sources, "kernel_source", lambda _to: "192.0.2.7")
    found = Sources({}, [SERVER], proc=proc(tmp_path, *UDP))
    looked(found, 20)
    assert found.in_use(Family.IPV4) == ()


def test_a_closed_socket_that_lingers_is_nobodys(tmp_path: Path) -> None:
    """It has user 0 and inode 0, whoever it was: our own questions by TCP, too."""
    found = Sources({}, [SERVER], proc=proc(tmp_path, *UDP, user=0, inode=0))
    looked(found, 20)
    assert found.named == {}


def test_who_talks_to_others_is_passed_over(tmp_path: Path) -> None:
    found = Sources({}, ["192.5.6.31"], proc=proc(tmp_path, *UDP))
    looked(found, 20)
    assert found.in_use(Family.IPV4) == ()


def test_our_own_sockets_are_no_resolvers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        inode = os.fstat(mine.fileno()).st_ino
        table = proc(tmp_path, *UDP, user=os.geteuid(), inode=inode)
        (tmp_path / "self" / "fd").rmdir()
        (tmp_path / "self" / "fd").symlink_to("/proc/self/fd")
        found = Sources({}, [SERVER], proc=table)
        looked(found, 20)
        assert found.in_use(Family.IPV4) == ()
        proc(tmp_path, *UDP, user=os.geteuid())
        looked(found, 20, begin=1000.0)
        assert found.in_use(Family.IPV4) == (None, Source(address="192.0.2.7"))


def test_one_that_is_not_seen_any_more_is_forgotten(tmp_path: Path) -> None:
    found = Sources({}, [SERVER], proc=proc(tmp_path, *UDP))
    now = looked(found, LOOKS)
    proc(tmp_path)
    found.look(now + resolver_sources.FORGOTTEN - 1)
    assert found.named
    found.look(now + resolver_sources.FORGOTTEN + EVERY)
    assert not found.named


def test_what_the_configuration_says_is_what_counts_and_what_differs_is_told(
    tmp_path: Path,
) -> None:
    said = Source(address="192.0.2.53")
    found = Sources({Family.IPV4: (said,)}, [SERVER], proc=proc(tmp_path, *UDP))
    looked(found, LOOKS)
    assert found.in_use(Family.IPV4) == (said,)
    assert "192.0.2.7" in found.trouble
    assert "106" in found.trouble


def test_a_source_that_this_host_lacks_is_in_use_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_sources, "lacks", lacks)
    gone, here = Source(address="192.0.2.53"), Source(address="127.0.0.1")
    found = Sources({Family.IPV4: (gone, here)}, [SERVER], proc=tmp_path)
    found.look(100.0)
    assert found.in_use(Family.IPV4) == (here,)
    assert "192.0.2.53" in found.trouble
    assert "no such address" in found.trouble


def test_a_flood_of_sources_is_bounded(tmp_path: Path) -> None:
    lines = [UDP[1]] + [UDP[0].replace("070200C0", f"{n:02X}0200C0") for n in range(1, 200)]
    found = Sources({}, [SERVER], proc=proc(tmp_path, *lines))
    looked(found, 20)
    assert len(found.in_use(Family.IPV4)) == resolver_sources.MOST + 1


def test_a_list_of_sockets_that_is_rubbish_or_absent_is_none(tmp_path: Path) -> None:
    found = Sources({}, [SERVER], proc=tmp_path)
    looked(found, 20)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "udp").write_bytes(b"\xff\x00 12: ZZ:0035 \n" * 1000)
    looked(found, 20, begin=1000.0)
    assert found.named == {}


def test_what_was_seen_goes_over_to_the_next_version_of_the_files(tmp_path: Path) -> None:
    was = Sources({}, [SERVER], proc=proc(tmp_path, *UDP))
    now = looked(was, LOOKS)
    after = Sources({}, [SERVER], was=was, proc=tmp_path)
    after.look(now + EVERY)
    assert after.named == was.named


def test_the_real_list_of_sockets_is_read_as_this_kernel_writes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """IPv4 and IPv6, by connected sockets of this very test."""
    anybody = re.compile(rb"^ *\d+: \S+ \S+ \S+ \S+ \S+ \S+ +(\d+) ", re.MULTILINE)
    monkeypatch.setattr(resolver_sources, "_SERVING", anybody)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
    ):
        four.bind(("127.0.0.5", 0))
        four.connect(("127.0.0.9", 53))
        six.connect(("::1", 53))
        seen = {
            (one.family, one.source, one.to)
            for one in resolver_sources.sockets(Path("/proc"), ["127.0.0.9", "::1"])
            if one.inode in {os.fstat(s.fileno()).st_ino for s in (four, six)}
        }
    assert seen == {
        (Family.IPV4, "127.0.0.5", "127.0.0.9"),
        (Family.IPV6, "::1", "::1"),
    }


def test_the_kernel_says_what_it_would_choose() -> None:
    assert kernel_source("127.0.0.9") == "127.0.0.1"
    assert kernel_source("::1") == "::1"


# --- the files --------------------------------------------------------------------------------


def files(tmp: Path, more: str) -> Path:
    policy = "upstream: x\nzones: [x.]\nnameservers: {a.x.: [192.5.6.30]}\n"
    return place(tmp, f"{ONE_SITE}{more}\n", x=policy)


def test_a_source_is_an_address_or_an_address_with_an_interface(tmp_path: Path) -> None:
    said = "{ipv4: [10.0.0.53, {address: 10.0.1.53, interface: eth1}], ipv6: ['2001:db8::53']}"
    config = load(files(tmp_path, f"resolver_sources: {said}")).config
    assert config.resolver_sources is not None
    assert config.resolver_sources.by_family == {
        Family.IPV4: (
            Source(address="10.0.0.53"),
            Source(address="10.0.1.53", interface="eth1"),
        ),
        Family.IPV6: (Source(address="2001:db8::53"),),
    }
    written = config.model_dump(mode="json")["resolver_sources"]["ipv4"]
    assert written == ["10.0.0.53", {"address": "10.0.1.53", "interface": "eth1"}]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("{}", "ipv4, ipv6 or both"),
        ("{ipv4: ['2001:db8::53']}", "wanted an IPv4 address"),
        ("{ipv4: [x]}", "is no address"),
        ("{ipv4: [{interface: eth1}]}", "wanted address and interface"),
        ("{ipv4: [{address: 10.0.0.53, dev: eth1}]}", "wanted address and interface"),
        ("{ipv4: [{address: 10.0.0.53, interface: 'eth 1'}]}", "is no interface"),
        ("{ipv4: [10.0.0.53, 10.0.0.53]}", "listed twice"),
        (f"{{ipv4: [{', '.join(f'10.0.0.{n}' for n in range(1, 18))}]}}", "at most 16"),
    ],
)
def test_what_is_no_source_is_refused_with_what_is_wanted(
    tmp_path: Path, said: str, wanted: str
) -> None:
    with pytest.raises(ConfigError) as told:
        load(files(tmp_path, f"resolver_sources: {said}"))
    assert "resolver_sources" in str(told.value)
    assert wanted in str(told.value)
