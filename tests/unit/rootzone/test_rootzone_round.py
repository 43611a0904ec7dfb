"""A round takes the newest good copy, whatever one of the sources gives."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dns.message
import dns.name
import dns.rdata
import dns.zone
import pytest
from rootcopy import SERIAL
from transfers import ROOT, Transfer, message, one, serving
from wholezone import WholeZone

from steering.model import WallTime
from steering.observe.dnssec.anchors import Anchor
from steering.observe.zone import child, work
from steering.observe.zone.facts import LIMITS, Failed, Fault, Fetched, Source, ZoneFacts
from steering.observe.zone.messages import Task
from steering.observe.zone.verify import RefusedAlgorithmError, verify
from steering.rootzone.fetch import Outcome, Result, fetch
from steering.rootzone.keep import Kept

CPU = replace(LIMITS, cpu=3.0, memory=4_000_000_000, octets=1 << 40, records=1 << 40)


@pytest.fixture(scope="module")
def made() -> WholeZone:
    return WholeZone(now=time.time())


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "rootzone")


def fetched(made: WholeZone, kept: Kept, *sources: Source) -> Result:
    with kept.locked():
        return asyncio.run(fetch(kept, sources, made.anchors, made.now, CPU))


def costly(zone: dns.zone.Zone) -> Transfer:
    """Records without end, that cost more CPU than there is."""
    rdata = dns.rdata.from_text("IN", "TXT", "x")

    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        yield message(query, [one(ROOT, 86400, zone.get_soa())])
        many = [one(dns.name.from_text(f"a{n}."), 1, rdata) for n in range(2000)]
        same = message(query, many)
        yield from itertools.repeat(same)

    return transfer


@pytest.mark.long
def test_a_source_that_ends_the_child_does_not_keep_the_zone_of_the_others_away(
    made: WholeZone, kept: Kept
) -> None:
    hostile, older, good = (made.signed(SERIAL + n) for n in (2, 0, 1))
    with (
        serving(hostile, costly(hostile)) as first,
        serving(older) as second,
        serving(good) as third,
    ):
        result = fetched(made, kept, first, second, third)
        assert result.outcome is Outcome.NEW, result
        assert result.copy is not None
        assert (result.copy.facts.serial, result.copy.source) == (SERIAL + 1, str(third))
        assert kept.copy() == result.copy
        assert "CPU" in result.shown[0].because
        # There is nothing newer now, and what the first one does is not passed over.
        result = fetched(made, kept, first, third)
    assert result.outcome is Outcome.FAILED
    assert result.because.startswith(f"{first}: ")
    assert result.copy == kept.copy()


def test_where_every_source_ends_the_child_the_copy_at_hand_stays(
    made: WholeZone, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(made.signed(SERIAL)) as source:
        before = fetched(made, kept, source).copy
    asked = []

    async def ends(sources: Sequence[Source], *_: object, **__: object) -> Failed:
        asked.append([one.address for one in sources])
        return Failed(because="ended by a limit", fault=Fault.HOST)

    monkeypatch.setattr(child, "fetch", ends)
    result = fetched(made, kept, Source(address="192.0.2.1"), Source(address="192.0.2.2"))
    assert asked == [["192.0.2.1", "192.0.2.2"], ["192.0.2.1"], ["192.0.2.2"]]
    assert result.outcome is Outcome.FAILED
    assert result.because == "192.0.2.1: ended by a limit; 192.0.2.2: ended by a limit"
    assert before is not None
    assert result.copy == before == kept.copy()


def test_an_algorithm_that_this_host_refuses_is_told_of_the_one_source(
    made: WholeZone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature that the others do not have may be what is refused."""

    def refusing(
        zone: dns.zone.Zone,
        anchor: Anchor,
        wall: WallTime,
        *,
        octets: int,
        understood: frozenset[str],
        digest_required: bool,
    ) -> ZoneFacts:
        if zone.get_soa().serial == SERIAL + 1:
            raise RefusedAlgorithmError("algorithm 5 is refused")
        return verify(
            zone,
            anchor,
            wall,
            octets=octets,
            understood=understood,
            digest_required=digest_required,
        )

    monkeypatch.setattr(work, "verify", refusing)
    with serving(made.signed(SERIAL + 1)) as first, serving(made.signed(SERIAL)) as second:
        found = work._done(task(made, tmp_path / "z", made.now, first, second))
    assert isinstance(found, Fetched)
    assert found.copy is not None
    assert found.copy.source == str(second)
    assert found.shown[0].because == "algorithm 5 is refused"


def task(made: WholeZone, file: Path, wall: WallTime, *sources: Source) -> Task:
    ds = "\n".join(f". IN DS {one.to_text()}" for one in made.anchors["."].ds)
    return Task(
        zone=".", anchors=ds, wall=wall, file=file, limits=LIMITS, sources=sources, newer_than=None
    )
