"""A resolver is asked for the end of a zone more than once before anything is said of it."""

from __future__ import annotations

import asyncio
import random

import dns.message
import dns.rcode
import dns.rrset
import pytest
from scripted import Server, serving

from steering.observe.zone import ends
from steering.observe.zone.facts import Digest, ZoneFacts

FACTS = ZoneFacts(
    zone=".",
    serial=1,
    refresh=1.0,
    retry=1.0,
    expire=1.0,
    records=1,
    octets=1,
    expires=None,
    digest=Digest.VERIFIED,
)
HOME = "127.0.0.1"


def asked_for_the_end(
    monkeypatch: pytest.MonkeyPatch, *rcodes: dns.rcode.Rcode | None
) -> tuple[ends.Missing, list[str]]:
    """What is missing where a name gets these answers in turn (None: silence), then the last.

    Also the names that were asked for.
    """
    monkeypatch.setattr(ends, "PAUSE", 0.01)
    seen: list[str] = []

    def respond(wire: bytes, _: bool) -> list[bytes]:
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text()
        if name == ".":
            made = dns.message.make_response(query)
            made.answer.append(dns.rrset.from_text(".", 1, "IN", "SOA", "a. b. 1 1 1 1 1"))
            return [] if rcodes == (None,) else [made.to_wire()]
        rcode = rcodes[min(seen.count(name), len(rcodes) - 1)]
        seen.append(name)
        made = dns.message.make_response(query)
        if rcode is None:
            return []
        made.set_rcode(rcode)
        return [made.to_wire()]

    async def ask() -> ends.Missing:
        async with serving(Server(HOME, respond)) as port:
            return await ends.missing(HOME, FACTS, random.Random(1), port=port, limit=0.3)

    return asyncio.run(ask()), seen


def test_one_lost_packet_is_asked_again_and_nothing_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, seen = asked_for_the_end(monkeypatch, None, dns.rcode.NXDOMAIN)
    assert found == ends.Missing(problems=(), silent=False)
    assert len(seen) == 4  # two names, twice


def test_what_fails_each_time_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found, seen = asked_for_the_end(monkeypatch, dns.rcode.SERVFAIL)
    assert not found.silent
    assert len(found.problems) == 2
    assert "SERVFAIL, wanted NXDOMAIN" in found.problems[0]
    assert len(seen) == 6


def test_silence_to_a_few_questions_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = asked_for_the_end(monkeypatch, None, None)
    assert len(found.problems) == 2
    assert not found.silent


def test_silence_to_all_questions_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = asked_for_the_end(monkeypatch, None)
    assert len(found.problems) == 3
    assert found.silent
