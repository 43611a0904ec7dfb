"""What is made of what was found: each reason from what shows it, and from nothing less."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace

import pytest

from steering.act.kernel.path_check import PathCheck, ReversePath
from steering.model import LOCAL, Family, Source
from steering.observe.exchange import Ended, Exchange
from steering.report.terminal import WIDTH
from steering.sitecheck.cells import Row, State
from steering.sitecheck.legs import Findings, Leg, Tried
from steering.sitecheck.reasons import judged
from steering.sitecheck.text import data_of, text_of

A, B = "192.0.2.1", "192.0.2.2"
OWN = Source(address="10.53.0.1")
GOOD = Exchange(ended=Ended.ANSWERED, rtt=0.0123, octets=100)
SILENT = Exchange(ended=Ended.SILENT)
HERE = PathCheck(interface="isp", link=2, gateway="10.255.0.2", mtu=1500)
THERE = PathCheck(interface="bb-pao", link=3, gateway="10.255.1.2", mtu=1400)


def answer(octets: int) -> Exchange:
    return replace(GOOD, octets=octets, packet=octets)


def tried(
    check: PathCheck,
    udp: Exchange = GOOD,
    tcp: Exchange = GOOD,
    *,
    address: str = A,
    large: Mapping[str, Exchange] | None = None,
    stream: Exchange | None = None,
    route_mtu: int | None = None,
) -> Tried:
    return Tried(
        address=address,
        check=check,
        udp=udp,
        tcp=tcp,
        large=large or {},
        stream=stream,
        route_mtu=route_mtu,
    )


def leg(path: str, *found: Tried, source: Source | None = None, dropped: int = 0) -> Findings:
    return Findings(
        leg=Leg(path=path, family=Family.IPV4, source=source),
        sent_from=source.address if source else "10.255.1.1",
        mark=0x41,
        dropped=dropped,
        tried=found,
    )


LOCAL_FINE = leg(LOCAL, tried(HERE))


def over_pao(found: Findings, *others: Findings) -> Row:
    """What is made of a leg over a site beside the local path, which is well."""
    return judged((LOCAL_FINE, found, *others))[1]


def because(row: Row, cell: str) -> str:
    reason = row.cells[cell].reason
    return "" if reason is None else reason.because


def test_what_is_answered_is_well_and_says_how_soon() -> None:
    slower = tried(THERE, replace(GOOD, rtt=0.2), address=B)
    row = over_pao(leg("pao", tried(THERE), slower))
    assert (row.udp.state, row.udp.rtt, row.tcp.state) == (State.OK, 0.0123, State.OK)
    assert not row.failed


def test_an_address_that_a_site_does_not_reach_is_a_note_and_no_failure() -> None:
    here = leg(LOCAL, tried(HERE), tried(HERE, address=B))
    there = leg("pao", tried(THERE), tried(THERE, SILENT, SILENT, address=B))
    row = judged((here, there))[1]
    assert not row.failed
    assert row.notes == tuple(
        f"{B} does not answer by {by}; over another path it does" for by in ("UDP", "TCP")
    )


@pytest.mark.parametrize(
    ("check", "udp", "state", "says"),
    [
        (
            replace(THERE, leads=False, before="the rule `100: from all lookup 7` comes first"),
            SILENT,
            State.OTHER_RULE,
            "`100: from all lookup 7`",
        ),
        (replace(THERE, leads=False, has_rule=False), SILENT, State.NO_RULE, "none was sent"),
        (PathCheck(leads=False, routed=False), SILENT, State.NO_ROUTE, f"no route over pao to {A}"),
        (
            replace(HERE, leads=False),
            SILENT,
            State.NO_ROUTE,
            "leave by isp, via 10.255.0.2, and not over pao",
        ),
        (replace(THERE, up=False), SILENT, State.LINK_DOWN, "bb-pao is down"),
        (replace(THERE, reached=False), SILENT, State.NEXT_HOP, "10.255.1.2 on bb-pao"),
        (
            THERE,
            Exchange(ended=Ended.LOCAL_ERROR, errno=errno.EPERM),
            State.FIREWALL,
            "own firewall does not let it out",
        ),
        (
            THERE,
            Exchange(ended=Ended.LOCAL_ERROR, errno=errno.EMSGSIZE),
            State.MTU,
            "MTU of bb-pao is 1400",
        ),
        (
            THERE,
            Exchange(ended=Ended.LOCAL_ERROR, errno=errno.EIO, detail="input/output error"),
            State.ERROR,
            "input/output error",
        ),
        (
            THERE,
            Exchange(ended=Ended.ASTRAY, detail="isp"),
            State.OTHER_WAY,
            "came in by isp, not by bb-pao",
        ),
        (
            THERE,
            Exchange(ended=Ended.ELSEWHERE, detail="198.51.100.9, port 53"),
            State.NAT,
            f"{A}, port 53, was asked, and the answer came from 198.51.100.9, port 53",
        ),
        (
            THERE,
            Exchange(ended=Ended.ERROR, errno=errno.ECONNREFUSED, detail="10.255.1.2: port"),
            State.REFUSED,
            "10.255.1.2: port",
        ),
        (
            THERE,
            Exchange(ended=Ended.ERROR, errno=errno.EHOSTUNREACH, detail="10.9.9.9: no route"),
            State.ICMP,
            "10.9.9.9: no route",
        ),
        (THERE, SILENT, State.NO_ANSWER, f"nothing came back from {A}"),
    ],
)
def test_a_failure_has_the_reason_that_was_seen(
    check: PathCheck, udp: Exchange, state: State, says: str
) -> None:
    row = over_pao(leg("pao", tried(check, udp, udp)))
    assert row.udp.state is state
    assert says in because(row, "udp")
    assert row.large.state is State.NOT_TRIED


def test_what_is_surer_is_told_of_several_addresses() -> None:
    refused = Exchange(ended=Ended.ERROR, errno=errno.ECONNREFUSED, detail="10.255.1.2: port")
    row = over_pao(leg("pao", tried(THERE, SILENT), tried(THERE, refused, address=B)))
    assert row.udp.state is State.REFUSED


def test_a_source_that_this_host_lacks_is_not_asked_from() -> None:
    found = replace(leg("pao", source=OWN), lacking="this host has no such address now")
    row = over_pao(found)
    assert {cell.state for cell in (row.udp, row.tcp)} == {State.NO_ADDRESS}
    assert str(OWN) in because(row, "udp")


def test_what_was_not_reached_in_time_is_not_called_well() -> None:
    row = over_pao(leg("pao"))
    assert row.udp.state is State.NOT_TRIED
    assert row.failed


# --- what only a comparison shows -----------------------------------------------------------


def test_another_source_that_is_answered_says_whose_way_back_is_missing() -> None:
    own = leg("pao", tried(THERE, SILENT, SILENT), source=OWN)
    at_home = leg(LOCAL, tried(HERE), source=OWN)
    row = over_pao(own, at_home, leg("pao", tried(THERE)))
    assert row.udp.state is State.NO_ANSWER
    assert "10.255.1.1 gets answers to the same question" in because(row, "udp")
    assert row.udp.reason
    assert "it has to do so for this one" in row.udp.reason.remedy


def test_silence_over_every_path_may_be_the_nameservers() -> None:
    quiet = leg("pao", tried(THERE, SILENT, SILENT))
    row = judged((leg(LOCAL, tried(HERE, SILENT, SILENT)), quiet))[1]
    assert "nor over the other paths" in because(row, "udp")


def test_tcp_alone_that_is_lost_is_a_matter_of_tcp() -> None:
    row = over_pao(leg("pao", tried(THERE, GOOD, SILENT)))
    assert row.tcp.state is State.NO_ANSWER
    assert "by UDP it is answered" in because(row, "tcp")
    stands = over_pao(leg("pao", tried(THERE, GOOD, replace(SILENT, connected=True))))
    assert "accepted the connection, but no answer came" in because(stands, "tcp")


@pytest.mark.parametrize(
    ("reverse", "dropped", "state"),
    [
        (ReversePath(interface="bb-pao", value=1, back="isp"), 7, State.RP_FILTER),
        (ReversePath(interface="bb-pao", value=2, back=None), 7, State.RP_FILTER),
        # It would drop them: but nothing was dropped, so nothing came.
        (ReversePath(interface="bb-pao", value=1, back="isp"), 0, State.NO_ANSWER),
        # Something was dropped, and nothing of these.
        (None, 7, State.NO_ANSWER),
    ],
)
def test_rp_filter_takes_the_sysctl_and_the_way_back_and_packets_that_were_dropped(
    reverse: ReversePath | None, dropped: int, state: State
) -> None:
    check = replace(THERE, reverse=reverse)
    row = over_pao(leg("pao", tried(check, SILENT, SILENT), dropped=dropped))
    assert row.udp.state is state
    assert ("rp_filter" in because(row, "udp")) is (reverse is not None)


def test_a_large_answer_that_is_lost_alone_is_the_mtu() -> None:
    here = leg(LOCAL, tried(HERE, large={"com. DNSKEY": answer(1100), "com. SOA": answer(300)}))
    there = tried(THERE, large={"com. DNSKEY": SILENT, "com. SOA": answer(300)}, route_mtu=1000)
    row = judged((here, leg("pao", there)))[1]
    assert (row.udp.state, row.large.state) == (State.OK, State.MTU)
    for said in ("up to 300 octets", "one of 1100 (a packet of 1128)", "is 1400", "is 1000"):
        assert said in because(row, "large")


def test_a_lost_answer_that_is_smaller_than_one_that_came_is_not_the_mtu() -> None:
    here = leg(LOCAL, tried(HERE, large={"a": answer(700), "b": answer(900)}))
    row = judged((here, leg("pao", tried(THERE, large={"a": SILENT, "b": answer(900)}))))[1]
    assert (row.large.state, row.large.octets) == (State.OK, 900)


def test_a_source_that_is_bound_to_a_link_leaves_by_no_other() -> None:
    source = replace(OWN, interface="eth1")
    unreachable = Exchange(
        ended=Ended.LOCAL_ERROR, errno=errno.EHOSTUNREACH, detail="no route to host"
    )
    row = over_pao(leg("pao", tried(THERE, unreachable, unreachable), source=source))
    assert row.udp.state is State.NO_ROUTE
    assert "bound to eth1, and the path leaves by bb-pao" in because(row, "udp")


def test_many_small_segments_are_not_large() -> None:
    row = over_pao(leg("pao", tried(THERE, stream=replace(GOOD, octets=3000, packet=0))))
    assert row.large.state is State.NOT_TRIED
    row = over_pao(leg("pao", tried(THERE, stream=replace(GOOD, octets=3000, packet=1400))))
    assert (row.large.state, row.large.octets) == (State.OK, 1400)


def test_a_stream_that_stalls_is_the_mtu_where_others_have_it() -> None:
    here = leg(LOCAL, tried(HERE, stream=answer(4000)))
    row = judged((here, leg("pao", tried(THERE, stream=SILENT))))[1]
    assert row.large.state is State.MTU
    assert "4000 octets at once, in segments of up to 4000, do not" in because(row, "large")
    nobody = judged((leg(LOCAL, tried(HERE, stream=SILENT)), leg("pao", tried(THERE))))
    assert {row.large.state for row in nobody} == {State.NOT_TRIED}
    assert not any(row.failed for row in nobody)


def test_where_no_answer_is_large_nothing_is_said_of_it() -> None:
    row = over_pao(leg("pao", tried(THERE, large={"com. SOA": answer(300)})))
    assert (row.large.state, row.failed) == (State.NOT_TRIED, False)


# --- how it is printed ----------------------------------------------------------------------


def test_the_table_fits_the_terminal_whatever_the_names() -> None:
    source = Source(address="2001:db8:1111:2222:3333:4444:5555:6666")
    site = "a-site-with-a-very-long-name"
    rows = judged(
        (
            leg(LOCAL, tried(HERE)),
            leg(site, tried(replace(THERE, reached=False), SILENT, SILENT), source=source),
        )
    )
    text = text_of(rows, ["head"])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert f"{site}, ipv4, from {source}, udp and tcp: next hop:" in " ".join(text.split())
    assert ":6666  " in text.split("\n\n")[1]


def test_what_is_so_of_several_sources_is_told_once() -> None:
    others = [Source(address=f"10.53.0.{n}") for n in range(2, 5)]
    dead = tried(replace(THERE, reached=False), SILENT, SILENT)
    rows = judged((LOCAL_FINE, *(leg("pao", dead, source=source) for source in others)))
    text = " ".join(text_of(rows, []).split())
    assert "pao, ipv4, from 10.53.0.2, 10.53.0.3, 10.53.0.4, udp and tcp: next hop:" in text
    assert text.count("does not answer ARP") == 1


def test_the_same_as_data() -> None:
    (one,) = data_of([over_pao(leg("pao", tried(THERE, SILENT)))])
    assert one["path"] == "pao"
    assert one["source"] == "kernel"
    udp, tcp = one["udp"], one["tcp"]
    assert isinstance(udp, dict)
    assert isinstance(tcp, dict)
    assert udp["state"] == "no answer"
    assert udp["because"]
    assert (tcp["state"], tcp["rtt_ms"]) == ("ok", 12.3)


def test_what_came_while_the_rules_went_is_not_the_sites() -> None:
    """It may have come over the local path."""
    gone = replace(HERE, leads=False, has_rule=False)
    here = leg(LOCAL, tried(HERE))
    large = {"com. DNSKEY": answer(1200)}
    found = judged([here, leg("pao", tried(gone, large=large, stream=answer(1448)))])[1]
    assert {cell.state for cell in (found.udp, found.tcp)} == {State.NO_RULE}
    assert found.large.state is State.NOT_TRIED
    some = judged([here, leg("pao", tried(THERE), tried(gone, address=B))])[1]
    assert some.udp.state is State.OK
