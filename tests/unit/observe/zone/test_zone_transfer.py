"""A transfer is taken from a server that may be hostile: nothing of it is believed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.zone
import pytest
from transfers import ROOT, Transfer, message, of, one, records, refusing, serving, whole
from wholezone import WholeZone

from steering.observe.zone.child import examine, fetch
from steering.observe.zone.facts import LIMITS, Copy, Digest, Failed, Fetched, Source, ZoneFacts

SERIAL = 2026120100


@pytest.fixture(scope="module")
def made() -> WholeZone:
    return WholeZone(now=time.time())


@pytest.fixture(scope="module")
def zone(made: WholeZone) -> dns.zone.Zone:
    return made.signed(SERIAL)


def fetched(
    made: WholeZone,
    into: Path,
    *sources: Source,
    newer_than: int | None = None,
    octets: int = 200_000,
    seconds: float = 60.0,
) -> Fetched:
    limits = replace(LIMITS, octets=octets, records=2000, time=seconds)
    found = asyncio.run(
        fetch(
            sources,
            into,
            ".",
            made.anchors,
            wall=made.now,
            limits=limits,
            newer_than=newer_than,
        )
    )
    assert isinstance(found, Fetched), found
    return found


def test_a_good_zone_is_taken_and_its_file_is_good(
    made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    file = tmp_path / "root.zone"
    with serving(zone) as source:
        found = fetched(made, file, source)
    assert isinstance(found.copy, Copy)
    assert (found.copy.facts.serial, found.copy.facts.digest) == (SERIAL, Digest.VERIFIED)
    again = asyncio.run(examine(file, ".", made.anchors, made.now))
    assert isinstance(again, ZoneFacts)
    assert again.good
    assert again.records == found.copy.facts.records
    assert next(q.name for q in again.ends_with) == "tld00011."


def test_a_new_type_is_written_as_every_loader_reads_it(made: WholeZone, tmp_path: Path) -> None:
    def add(zone: dns.zone.Zone) -> None:
        for rdata in (r"TYPE65400 \# 3 010203", 'RESINFO "qnamemin"'):
            kind, text = rdata.split(" ", 1)
            zone.find_rdataset(dns.name.from_text("new."), kind, create=True).add(
                dns.rdata.from_text("IN", kind, text), 86400
            )

    file = tmp_path / "root.zone"
    with serving(made.signed(SERIAL, before=add)) as source:
        found = fetched(made, file, source)
    assert found.copy is not None, found
    assert found.copy.facts.unknown_types == ("RESINFO", "TYPE65400")
    text = file.read_text()
    assert "RESINFO" not in text.split("\n", 1)[1]
    assert "TYPE261\t\\# " in text
    again = asyncio.run(examine(file, ".", made.anchors, made.now))
    assert isinstance(again, ZoneFacts)
    assert again.good


def _endless(zone: dns.zone.Zone) -> Transfer:
    first, *others, _ = records(zone)

    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        yield message(query, [first])
        for _ in itertools.count():
            yield message(query, others[:20])

    return transfer


def _endless_new(zone: dns.zone.Zone) -> Transfer:
    """Endless, of records that nobody has seen before."""
    first = records(zone)[0]

    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        yield message(query, [first])
        for n in itertools.count():
            rdata = dns.rdata.from_text("IN", "TXT", "x" * 200)
            yield message(
                query, [one(dns.name.from_text(f"a{n}-{k}."), 1, rdata) for k in range(9)]
            )

    return transfer


def _other_zone(zone: dns.zone.Zone) -> Transfer:
    rdata = dns.rdata.from_text("IN", "SOA", "a. b. 2027010100 1 1 1 1")
    soa = one(dns.name.from_text("example."), 1, rdata)
    return of([soa, soa])


def _outside(_: dns.zone.Zone) -> Transfer:
    """Its question is about another zone than was asked for."""

    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        other = dns.message.make_query("example.", "AXFR", id=query.id)
        yield message(other, records(_))

    return transfer


def _other_class(zone: dns.zone.Zone) -> Transfer:
    first, *_, last = records(zone)
    text = dns.rdata.from_text(dns.rdataclass.CH, "TXT", "spoiled")
    return of([first, one(dns.name.from_text("x."), 1, text), last])


def _soa_inside(zone: dns.zone.Zone) -> Transfer:
    first, *others, last = records(zone)
    second = one(ROOT, 86400, zone.get_soa().replace(serial=7))
    return of([first, *others[:5], second, *others[5:], last])


def _soa_of_a_child(zone: dns.zone.Zone) -> Transfer:
    first, *others, last = records(zone)
    return of([first, *others, one(dns.name.from_text("tld00001."), 1, zone.get_soa()), last])


def _behind_the_end(zone: dns.zone.Zone) -> Transfer:
    all_of_it = records(zone)
    return of([*all_of_it, all_of_it[3]])


def _cut(zone: dns.zone.Zone) -> Transfer:
    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        yield next(iter(whole(zone)(query)))
        raise ConnectionError

    return transfer


def _silent(_: dns.zone.Zone) -> Transfer:
    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        yield from ()

    return transfer


def _junk(_: dns.zone.Zone) -> Transfer:
    return lambda query: [
        query.id.to_bytes(2, "big") + b"\x84\0\0\0\xff\xff\0\0\0\0" + b"\xc0" * 99
    ]


def _short(_: dns.zone.Zone) -> Transfer:
    return lambda _: [b"\0"]


def _other_id(zone: dns.zone.Zone) -> Transfer:
    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        for wire in whole(zone)(query):
            yield (query.id ^ 1).to_bytes(2, "big") + wire[2:]

    return transfer


def _without_a_soa(zone: dns.zone.Zone) -> Transfer:
    return of(records(zone)[1:])


HOSTILE = {
    "endless": (_endless, "more than"),
    "endless and new": (_endless_new, "more than"),
    "cut": (_cut, "closed the connection"),
    "of another zone": (_other_zone, "a SOA of example."),
    "an answer about another zone": (_outside, "another question's answer"),
    "of another class": (_other_class, "a record of class 3"),
    "a second SOA inside": (_soa_inside, "a second SOA inside"),
    "a child's SOA": (_soa_of_a_child, "a SOA of tld00001."),
    "records behind the end": (_behind_the_end, "behind the SOA"),
    "silent": (_silent, "no answer in time"),
    "junk": (_junk, "can't be read"),
    "shorter than a header": (_short, "shorter than a header"),
    "another id": (_other_id, "no part of this transfer"),
    "no SOA at its beginning": (_without_a_soa, "does not begin with a SOA"),
    "refused": (lambda _: refusing, "REFUSED for the AXFR"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_transfer_ends_soon_and_leaves_nothing(
    how: str, made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    transfer, why = HOSTILE[how]
    file = tmp_path / "root.zone"
    with serving(zone, transfer(zone)) as source:
        found = fetched(made, file, source, seconds=8.0)
    assert found.copy is None
    assert not file.exists()
    (shown,) = found.shown
    assert shown.serial == SERIAL
    assert why in shown.because


def test_a_transfer_larger_than_the_limit_is_refused_before_it_is_held(
    made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    with serving(zone) as source:
        found = fetched(made, tmp_path / "root.zone", source, octets=3000)
    assert found.copy is None
    assert "more than 3000 octets" in found.shown[0].because


def test_the_newest_that_is_good_is_taken_of_several(made: WholeZone, tmp_path: Path) -> None:
    old, new = made.signed(SERIAL), made.signed(SERIAL + 1)
    newest = WholeZone(now=made.now).signed(SERIAL + 2)  # by keys of others
    with serving(old) as one, serving(new) as two, serving(newest) as three:
        found = fetched(made, tmp_path / "root.zone", one, two, three)
    assert found.copy is not None
    assert (found.copy.facts.serial, found.copy.source) == (SERIAL + 1, str(two))
    assert "trust anchor" in found.shown[2].because


@pytest.mark.parametrize("ahead", [0, -1, -100, 1 << 31, (1 << 31) + 1])
def test_a_serial_that_is_not_newer_is_not_taken(
    ahead: int, made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    at_hand = (SERIAL - ahead) % (1 << 32)
    with serving(zone) as source:
        found = fetched(made, tmp_path / "root.zone", source, newer_than=at_hand)
    assert found.copy is None
    assert not (tmp_path / "root.zone").exists()


def test_a_server_that_shows_a_new_serial_and_gives_an_old_zone_gives_nothing(
    made: WholeZone, tmp_path: Path
) -> None:
    old, new = made.signed(SERIAL), made.signed(SERIAL + 1)
    with serving(new, whole(old)) as source:
        found = fetched(made, tmp_path / "root.zone", source, newer_than=SERIAL)
    assert found.copy is None
    assert "not newer" in found.shown[0].because


def test_a_source_that_falls_silent_leaves_time_for_the_others(
    made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    with serving(zone, _silent(zone)) as dead, serving(zone) as source:
        found = fetched(made, tmp_path / "root.zone", dead, source, seconds=10.0)
    assert found.copy is not None
    assert found.shown[0].because == "no answer in time"


def test_a_source_that_is_not_there_costs_nothing_but_its_time(
    made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    with serving(zone) as gone:
        pass
    with serving(zone) as source:
        found = fetched(made, tmp_path / "root.zone", gone, source)
    assert found.copy is not None
    assert "refused" in found.shown[0].because


def test_a_child_without_memory_says_so_and_no_more(
    made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    file = tmp_path / "root.zone"
    file.write_text(zone.to_text(relativize=False))
    small = replace(LIMITS, memory=30_000_000)
    found = asyncio.run(examine(file, ".", made.anchors, made.now, small))
    assert isinstance(found, Failed)


def test_a_child_that_takes_too_long_is_ended(
    made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    began = time.monotonic()
    with serving(zone, _endless(zone)) as source:
        limits = replace(LIMITS, octets=1 << 40, records=1 << 40, time=3.0)
        found = asyncio.run(
            fetch([source], tmp_path / "z", ".", made.anchors, wall=made.now, limits=limits)
        )
    assert isinstance(found, Failed | Fetched)
    assert not isinstance(found, Fetched) or found.copy is None
    assert time.monotonic() - began < 8


def test_a_zone_of_five_gigabytes_is_not_read(made: WholeZone, tmp_path: Path) -> None:
    file = tmp_path / "root.zone"
    with file.open("wb") as sparse:
        sparse.truncate(5 << 30)
    began = time.monotonic()
    found = asyncio.run(examine(file, ".", made.anchors, made.now))
    assert isinstance(found, Failed)
    assert "wanted at most" in found.because
    assert time.monotonic() - began < 5


def test_a_zone_without_an_anchor_of_its_own_is_not_verified(
    made: WholeZone, zone: dns.zone.Zone, tmp_path: Path
) -> None:
    file = tmp_path / "root.zone"
    file.write_text(zone.to_text(relativize=False))
    found = asyncio.run(examine(file, "example.", made.anchors, made.now))
    assert isinstance(found, Failed)
