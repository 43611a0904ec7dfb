"""The second look: what keys say of answers that others asked for, and what may be told of it."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import replace

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from samples import ADDRESS, NOW, SPEC, Bench, Known, answer, known, served

from steering.lab.servers.zone import (
    Fault,
    FaultKind,
    nsec3_hash,
    sign,
)
from steering.lab.servers.zone import Keys as Signers
from steering.lab.waiting import async_until
from steering.model import LOCAL, Outcome
from steering.observe.dnssec.trust import Trust
from steering.observe.traffic.verify import HELD, QUEUE, STALE, SampledResponse, SampleVerifier


def names(count: int = 200) -> list[str]:
    return [f"n{n}.com." for n in range(count)]


def test_a_good_answer_is_proved_and_its_serial_with_it() -> None:
    (heard,) = Bench().see(answer(served(), "nobody.com."))
    assert (heard.proved, heard.serials) == (1, {"com.": int(NOW)})
    assert not heard.failures
    assert not heard.disproved


def test_a_candidate_that_is_good_proves_nothing_of_the_sample() -> None:
    (heard,) = Bench().see(answer(served(), "nobody.com."), drawn=False)
    assert heard.proved == 0


def test_a_flipped_signature_is_disproved() -> None:
    zone = served(Fault(kind=FaultKind.BAD_SIGNATURE))
    (heard,) = Bench().see(answer(zone, "d0001.com."))
    assert [f.outcome for f in heard.disproved] == [Outcome.BAD_SIGNATURE]
    assert heard.disproved[0].ask == "d0001.com.", "a DS record is seen again by its owner"


def test_stripped_signatures_are_disproved_only_where_they_were_asked_for() -> None:
    zone = served(Fault(kind=FaultKind.UNSIGNED))
    (heard,) = Bench().see(answer(zone, "nobody.com."))
    assert [f.outcome for f in heard.disproved] == [Outcome.UNSIGNED]
    assert not Bench().see(answer(zone, "nobody.com.", do=False))


def test_the_name_that_a_client_asked_for_is_not_told() -> None:
    stripped = served(Fault(kind=FaultKind.UNSIGNED))
    expired = served(Fault(kind=FaultKind.EXPIRED))
    for zone in (stripped, expired):
        for secret in ("secret-of-a-client.com.", "d0040.com.", "www.d0041.com."):
            for heard in Bench().see(answer(zone, secret), turns=20):
                assert "secret" not in repr(heard)
                assert "d004" not in repr(heard)


def test_a_failing_denial_is_shown_again_by_a_made_up_name() -> None:
    zone = served(Fault(kind=FaultKind.EXPIRED, share=0.5, spare_apex=True))
    bench = Bench()
    heard = bench.see(*(answer(zone, name) for name in names()), drawn=False, turns=20)
    failing = {f.evidence.owner for h in heard for f in h.failures if f.evidence.rdtype == "NSEC3"}
    assert len(failing) > 3
    shown = {f.evidence.owner: f.ask for h in heard for f in h.failures if f.ask is not None}
    assert failing <= shown.keys()
    for owner, name in shown.items():
        assert name is not None
        assert name not in names()
        again = Bench().see(answer(zone, name))[0]
        assert again.failures[0].outcome is Outcome.EXPIRED, (owner, name)


def test_one_name_for_a_gap_is_enough_for_a_while() -> None:
    zone = served(Fault(kind=FaultKind.EXPIRED, spare_apex=True))
    bench = Bench()

    def shown() -> int:
        seen = bench.see(answer(zone, "nobody.com."), drawn=False, turns=20)
        return sum(f.ask is not None for h in seen for f in h.failures)

    assert shown() == 1
    assert shown() == 0
    bench.now += 601
    assert shown() == 1


def test_all_that_waits_is_looked_at_by_one_ring_of_the_bell() -> None:
    bench = Bench()
    bench.see(*[answer(served(), f"n{n}.com.") for n in range(3)], turns=-6)

    async def run() -> None:
        running = asyncio.create_task(bench.look.run())
        await async_until(lambda: bench.look.looked >= 3, 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert bench.look.looked == 0
    asyncio.run(run())


def test_another_zones_answer_says_nothing() -> None:
    bench = Bench()
    query = dns.message.make_query("www.example.org.", "A", want_dnssec=True)
    reply = dns.message.make_response(query)
    assert not bench.see(reply.to_wire())


def test_what_a_resolver_would_not_use_of_an_answer_is_no_failure_of_traffic() -> None:
    """The same rule as for our own questions: an alias into a zone below, the apex's NS bare."""
    zone = served()
    message = dns.message.from_wire(answer(zone, "nobody.com."))
    good = message.to_wire(max_size=65_535)
    message.authority.append(dns.rrset.from_text("com.", 60, "IN", "NS", "a.gtld-servers.net."))
    message.authority.append(dns.rrset.from_text("other.", 60, "IN", "SOA", "a. b. 1 2 3 4 5"))
    for wire in (good + b"\0\0", message.to_wire(max_size=65_535)):
        (heard,) = Bench().see(wire)
        assert (heard.proved, heard.failures, heard.disproved) == (1, (), ())


def test_rubbish_says_nothing() -> None:
    wire = answer(served(), "nobody.com.")
    bench = Bench()
    assert not bench.see(b"", b"\0", wire[:11], *(wire[:n] for n in range(12, len(wire), 37)))
    assert bench.look.looked


def test_without_keys_only_dates_speak() -> None:
    bench = Bench(Known(Trust()))
    assert not bench.see(answer(served(), "nobody.com."))
    late = served(Fault(kind=FaultKind.EXPIRED))
    (heard,) = bench.see(answer(late, "nobody.com."))
    assert [f.outcome for f in heard.failures] == [Outcome.EXPIRED]


def test_a_key_that_nobody_knows_makes_the_store_look_again() -> None:
    stranger = sign(SPEC, Signers.fresh())
    bench = Bench()
    (heard,) = bench.see(answer(stranger, "nobody.com."))
    assert [f.outcome for f in heard.disproved] == [Outcome.NO_KEY]
    assert bench.keys.missed == ["com."]


def test_a_key_that_the_server_has_not_shown_yet_is_missed_and_nothing_is_held_against_it() -> None:
    zone = sign(SPEC, Signers.fresh())
    bench = Bench()
    (keys,) = bench.keys.trust.secure.values()
    bench.keys.trust = Trust(secure={"com.": replace(keys, checked=-math.inf)})
    assert bench.see(answer(zone, "nobody.com.")) == []
    assert bench.keys.missed == ["com."]


def test_what_waited_for_too_long_is_not_looked_at() -> None:
    bench = Bench()
    wire = answer(served(), "nobody.com.")
    bench.look.offer(
        SampledResponse(
            address=ADDRESS,
            path=LOCAL,
            at=bench.now - STALE - 1,
            message=wire,
            drawn=True,
            zones=("com.",),
            skew=0.0,
        )
    )
    bench.look.work()
    assert not bench.look.take()
    assert bench.look.dropped == 1


def test_a_flood_costs_no_more_than_a_tenth_of_a_core() -> None:
    spent, now = 0.0, 0.0
    zone = served()
    wires = [answer(zone, name) for name in names(50)]

    def cpu() -> float:
        nonlocal spent
        spent += 0.0005  # each reading of the clock is half a millisecond later
        return spent

    look = SampleVerifier(
        known(zone), wall=lambda: NOW, monotonic=lambda: now, cpu=cpu, rng=random.Random(1)
    )
    for round_ in range(400):
        for wire in wires[:10]:
            look.offer(
                SampledResponse(
                    address=ADDRESS,
                    path=LOCAL,
                    at=now,
                    message=wire,
                    drawn=True,
                    zones=("com.",),
                    skew=0.0,
                )
            )
        pause = look._pause()
        now += pause or 0.0001
        look.work()
        assert spent / 2 <= 0.1 * now + 0.06, round_


@pytest.mark.parametrize("zone", ["com.", "."])
def test_names_for_a_gap_hash_into_it(zone: str) -> None:
    from steering.observe.traffic.denied_names import DeniedNames

    apex = dns.name.from_text(zone)
    hashes = sorted(nsec3_hash(dns.name.from_text(f"x{n}", origin=apex)) for n in range(40))
    gaps = DeniedNames(zone, random.Random(3))
    rdata = dns.rdata.from_text
    for first, last in zip(hashes, [*hashes[1:], hashes[0]], strict=True):
        record = rdata("IN", "NSEC3", f"1 1 0 - {last} NS")
        gaps.open(f"{first}.{zone}" if zone != "." else f"{first}.", record, 0.0)  # type: ignore[arg-type]
    found = dict(gaps.search(200_000, 1.0))
    assert len(found) == 40
    assert not gaps
    for owner, name in found.items():
        first = owner.split(".", maxsplit=1)[0]
        last = [*hashes[1:], hashes[0]][hashes.index(first)]
        digest = nsec3_hash(dns.name.from_text(name))
        assert first < digest < last if first < last else digest > first or digest < last


def test_long_messages_that_wait_are_bounded_by_their_octets() -> None:
    bench = Bench()
    for _ in range(QUEUE):
        for drawn in (True, False):
            bench.look.offer(
                SampledResponse(
                    address=ADDRESS,
                    path=LOCAL,
                    at=bench.now,
                    message=bytes(65_535),
                    drawn=drawn,
                    zones=("com.",),
                    skew=0.0,
                )
            )
    waiting = (*bench.look._candidates, *bench.look._drawn)
    assert sum(len(glimpse.message) for glimpse in waiting) <= HELD + 65_535
    assert bench.look.dropped == 2 * QUEUE - len(waiting)
    for _ in range(2 * QUEUE):
        bench.look.work()
    assert bench.look._octets == 0
