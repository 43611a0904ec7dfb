"""Answers that differ only in who gives them are read once, and no others are."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedzone import NOW, SignedZone

from steering.model import Outcome
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.trust import Trust
from steering.observe.probe.answer_cache import AnswerCache

ZONE = SignedZone("com.")
TRUST = Trust()
SECURE = Classified(outcome=Outcome.SECURE, nsid="sin1", serial=NOW)


def answer(nsid: bytes = b"sin1", query_id: int = 7) -> bytes:
    zone = dataclasses.replace(ZONE, nsid=nsid)
    return zone.ask("com.", "SOA", query_id).to_wire()


def kept(reading: Classified = SECURE) -> AnswerCache:
    twins = AnswerCache()
    twins.keep(answer(), TRUST, reading)
    return twins


@pytest.mark.parametrize(
    ("nsid", "text"), [(b"sin1", "sin1"), (b"pao2", "pao2"), (b"\xff\x00", "ff00"), (b"", None)]
)
def test_another_instances_equal_answer_is_read_alike_under_its_own_name(
    nsid: bytes, text: str | None
) -> None:
    found = kept().find(answer(nsid, query_id=99), TRUST)
    assert found == dataclasses.replace(SECURE, nsid=text)


def test_other_beliefs_about_keys_need_a_new_reading() -> None:
    assert kept().find(answer(), Trust()) is None


@pytest.mark.parametrize("outcome", [Outcome.MALFORMED, Outcome.SERVFAIL, Outcome.LAME])
def test_what_may_rest_on_the_options_is_never_shared(outcome: Outcome) -> None:
    assert kept(Classified(outcome=outcome)).find(answer(), TRUST) is None


def test_an_extended_rcode_makes_another_answer() -> None:
    message = ZONE.ask("com.", "SOA")
    message.ednsflags |= 1 << 24
    assert kept().find(message.to_wire(), TRUST) is None


@given(st.integers(2, 2000), st.integers(1, 255))
def test_any_changed_octet_before_the_options_makes_another_answer(at: int, by: int) -> None:
    wire = bytearray(answer())
    options = len(wire) - (4 + len(b"sin1"))
    at = 2 + at % (options - 2)
    wire[at] ^= by
    assert kept().find(bytes(wire), TRUST) is None


@given(st.binary(max_size=60))
def test_broken_options_never_raise_nor_match(tail: bytes) -> None:
    wire = answer()
    start = len(wire) - (4 + len(b"sin1"))
    cut = wire[: start - 2] + len(tail).to_bytes(2, "big") + tail
    found = kept().find(cut, TRUST)
    options, whole = tail, True
    while options and whole:
        size = int.from_bytes(options[2:4], "big")
        whole = len(options) >= 4 + size
        options = options[4 + size :]
    assert (found is not None) == whole


def test_an_answer_without_options_is_always_read() -> None:
    message = ZONE.ask("com.", "SOA")
    message.use_edns(False)
    twins = AnswerCache()
    twins.keep(message.to_wire(), TRUST, SECURE)
    assert twins.find(message.to_wire(), TRUST) is None
