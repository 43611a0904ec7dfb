"""Every outcome, out of answers of real signed zones."""

from __future__ import annotations

import dataclasses

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.rrset
import pytest
from responses import (
    COM_CHILD,
    DENIAL,
    DNSKEY,
    EVERY,
    PLAIN_CHILD,
    SIGNED_CHILD,
    SOA,
    ask,
    com,
    keys_of,
    question,
    read,
)
from signedzone import DAY, NOW, Key, SignedZone

from steering.model import Kind, Outcome, Question
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import FRESH, Signatures, instant
from steering.observe.dnssec.trust import Trust


@pytest.mark.parametrize("nsec3", [True, False], ids=["NSEC3", "NSEC"])
@pytest.mark.parametrize("asked", EVERY, ids=lambda q: f"{q.kind}-{q.name}")
def test_a_healthy_zone_is_secure_whatever_is_asked(asked: Question, nsec3: bool) -> None:
    zone = com(nsec3=nsec3)
    reading = read(ask(zone, asked), asked, zone)
    assert (reading.outcome, reading.judged, reading.detail) == (Outcome.SECURE, True, "")
    assert reading.nsid == "sin1"
    assert reading.expires == NOW + 6 * DAY


def test_the_serial_comes_with_the_soa_and_with_denials() -> None:
    zone = com()
    assert read(ask(zone, SOA), SOA, zone).serial == NOW
    assert read(ask(zone, DENIAL), DENIAL, zone).serial == NOW
    assert read(ask(zone, DNSKEY), DNSKEY, zone).serial is None


@pytest.mark.parametrize("name", ["x.safe.com.", "safe.com.", "plain.com.", "www.com.", "com."])
def test_a_witness_may_be_a_referral_an_address_or_nothing(name: str) -> None:
    zone, asked = com(), question(name, "A", Kind.WITNESS)
    assert read(ask(zone, asked), asked, zone).outcome is Outcome.SECURE


@pytest.mark.parametrize("asked", EVERY, ids=lambda q: f"{q.kind}-{q.name}")
@pytest.mark.parametrize("with_keys", [True, False], ids=["keys", "no keys"])
def test_dates_are_judged_even_without_keys(asked: Question, with_keys: bool) -> None:
    zone = com(dates=lambda *_: (NOW - 7 * DAY, NOW - 60))
    reading = read(ask(zone, asked), asked, zone if with_keys else None)
    assert (reading.outcome, reading.judged) == (Outcome.EXPIRED, True)
    assert reading.evidence is not None
    assert reading.evidence.expiration == NOW - 60
    assert reading.evidence.inception == NOW - 7 * DAY
    assert reading.evidence.key_tag == (zone.ksk if asked is DNSKEY else zone.zsk).tag
    assert "expired 60 s ago" in reading.detail


def test_one_expired_rrset_decides_and_is_named() -> None:
    healthy = com()
    closest = healthy.cover(healthy.name)[0].name
    zone = com(dates=lambda owner, _: (NOW - DAY, NOW + DAY * (-1 if owner == closest else 1)))
    reading = read(ask(zone, DENIAL), DENIAL, zone)
    assert reading.outcome is Outcome.EXPIRED
    assert reading.evidence is not None
    assert (reading.evidence.owner, reading.evidence.rdtype) == (closest.to_text(), "NSEC3")
    assert read(ask(zone, SOA), SOA, zone).outcome is Outcome.SECURE


def test_dates_are_strict_unless_the_policy_allows_skew() -> None:
    zone = com(dates=lambda *_: (NOW - DAY, NOW))
    assert read(ask(zone, SOA), SOA, zone).outcome is Outcome.SECURE
    assert read(ask(zone, SOA), SOA, zone, wall=NOW + 1).outcome is Outcome.EXPIRED
    assert read(ask(zone, SOA), SOA, zone, wall=NOW + 1, skew=5).outcome is Outcome.SECURE
    early = com(dates=lambda *_: (NOW + 10, NOW + DAY))
    assert read(ask(early, SOA), SOA, early).outcome is Outcome.NOT_YET_VALID
    assert read(ask(early, SOA), SOA, early, skew=10).outcome is Outcome.SECURE


@pytest.mark.parametrize("wrap", [1 << 31, 1 << 32], ids=["2038", "2106"])
def test_dates_stay_right_when_the_numbers_wrap(wrap: int) -> None:
    def dates(*_: object) -> tuple[int, int]:
        return (wrap - 100) % (1 << 32), (wrap + 100) % (1 << 32)

    zone = com(dates=dates)
    for wall, outcome in {
        wrap - 101: Outcome.NOT_YET_VALID,
        wrap - 100: Outcome.SECURE,
        wrap: Outcome.SECURE,
        wrap + 100: Outcome.SECURE,
        wrap + 101: Outcome.EXPIRED,
    }.items():
        trust = Trust(secure={"com.": keys_of(zone, checked=wall)})
        reading = read(ask(zone, SOA), SOA, zone, wall=wall, trust=trust)
        assert reading.outcome is outcome, wall
        assert reading.expires == wrap + 100


def test_a_stamp_means_the_nearest_moment() -> None:
    assert instant(5, (1 << 32) + 3) == (1 << 32) + 5
    assert instant((1 << 32) - 5, (1 << 32) + 3) == (1 << 32) - 5
    assert instant(NOW, NOW + 0.9) == NOW


def test_a_changed_record_is_a_bad_signature() -> None:
    zone = com()
    message = ask(zone, SOA)
    message.answer[0] = dns.rrset.from_text(
        "com.", 900, "IN", "SOA", "evil. host.example. 1 1800 900 604800 900"
    )
    reading = read(message, SOA, zone)
    assert (reading.outcome, reading.judged) == (Outcome.BAD_SIGNATURE, True)


def test_any_good_signature_is_enough() -> None:
    zone = com()
    message = ask(zone, SOA)
    bad = Key().sign(message.answer[0], zone.name, (NOW - DAY, NOW + DAY))
    old = zone.zsk.sign(message.answer[0], zone.name, (NOW - 2 * DAY, NOW - DAY))
    message.answer[1] = dns.rrset.from_rdata_list("com.", 900, [bad, old, *message.answer[1]])
    assert read(message, SOA, zone).outcome is Outcome.SECURE


@pytest.mark.parametrize("asked", EVERY, ids=lambda q: f"{q.kind}-{q.name}")
def test_missing_signatures_in_a_signed_zone_are_unsigned(asked: Question) -> None:
    zone = com()
    message = ask(zone, asked)
    for section in (message.answer, message.authority):
        section[:] = [rrset for rrset in section if rrset.rdtype != dns.rdatatype.RRSIG]
    reading = read(message, asked, zone)
    assert (reading.outcome, reading.judged) == (Outcome.UNSIGNED, True)
    unknown = read(message, asked, None)
    assert (unknown.outcome, unknown.judged) == (Outcome.UNSIGNED, False)


def test_a_server_that_knows_no_dnssec_is_unsigned() -> None:
    zone = com(signed=False)
    for asked in EVERY:
        assert read(ask(zone, asked), asked, com()).outcome is Outcome.UNSIGNED, asked


def test_a_signature_by_someone_else_does_not_count() -> None:
    zone = com()
    message = ask(zone, SOA)
    other = Key().sign(message.answer[0], dns.name.root, (NOW - DAY, NOW + DAY))
    message.answer[1] = dns.rrset.from_rdata("com.", 900, other)
    assert read(message, SOA, zone).outcome is Outcome.UNSIGNED


def test_an_unknown_key_is_bogus_only_beside_a_fresh_set() -> None:
    zone, other = com(), com()
    fresh = Trust(secure={"com.": keys_of(other)})
    old = Trust(secure={"com.": keys_of(other, checked=NOW - FRESH - 1)})
    message = ask(zone, SOA)
    known = read(message, SOA, zone, trust=fresh)
    assert (known.outcome, known.judged) == (Outcome.NO_KEY, True)
    doubted = read(message, SOA, zone, trust=old)
    assert (doubted.outcome, doubted.judged) == (Outcome.NO_KEY, False)


@pytest.mark.parametrize("asked", EVERY, ids=lambda q: f"{q.kind}-{q.name}")
def test_keys_that_could_not_be_had_say_nothing_of_the_upstream(asked: Question) -> None:
    reading = read(ask(com(), asked), asked, None)
    assert (reading.outcome, reading.judged) == (Outcome.NO_KEY, False)


def test_a_zone_proven_insecure_may_go_unsigned() -> None:
    zone = com(signed=False)
    trust = Trust(insecure=frozenset({"com."}))
    for asked in (SOA, DENIAL):
        assert read(ask(zone, asked), asked, zone, trust=trust).outcome is Outcome.INSECURE


@pytest.mark.parametrize(
    ("rcode", "outcome"),
    [
        (dns.rcode.SERVFAIL, Outcome.SERVFAIL),
        (dns.rcode.REFUSED, Outcome.REFUSED),
        (dns.rcode.NOTAUTH, Outcome.LAME),
        (dns.rcode.FORMERR, Outcome.SERVFAIL),
        (dns.rcode.NOTIMP, Outcome.SERVFAIL),
        (dns.rcode.BADVERS, Outcome.SERVFAIL),
    ],
)
@pytest.mark.parametrize("echo", [True, False], ids=["question", "no question"])
def test_rcodes_have_their_classes(rcode: dns.rcode.Rcode, outcome: Outcome, echo: bool) -> None:
    message = dns.message.make_response(
        dns.message.make_query("com.", "SOA", want_dnssec=True, id=7)
    )
    message.set_rcode(rcode)
    if not echo:
        message.question = []
    reading = read(message, SOA, com())
    assert reading.outcome is outcome
    assert dns.rcode.to_text(rcode) in reading.detail


def test_a_server_that_does_not_speak_for_the_zone_is_lame() -> None:
    zone = com()
    upward = dns.message.make_response(dns.message.make_query("com.", "SOA", id=7))
    upward.authority.append(dns.rrset.from_text(".", 300, "IN", "NS", "a.root-servers.net."))
    assert read(upward, SOA, zone).detail == "a referral to ."
    cached = ask(zone, SOA)
    cached.flags &= ~dns.flags.AA
    empty = dns.message.make_response(dns.message.make_query("com.", "SOA", id=7))
    empty.flags |= dns.flags.AA
    parent = SignedZone(".").ask("com.", "SOA")
    for message in (upward, cached, empty, parent):
        assert read(message, SOA, zone).outcome is Outcome.LAME, message


@pytest.mark.parametrize("nsec3", [True, False], ids=["NSEC3", "NSEC"])
def test_a_denial_lacking_any_record_of_its_proof_is_unsigned(nsec3: bool) -> None:
    zone = com(nsec3=nsec3)
    whole = ask(zone, DENIAL)
    denials = {
        rrset.name
        for rrset in whole.authority
        if rrset.rdtype in (dns.rdatatype.NSEC, dns.rdatatype.NSEC3)
    }
    assert denials
    for left_out in denials:
        message = ask(zone, DENIAL)
        message.authority[:] = [r for r in message.authority if r.name != left_out]
        if not nsec3 and left_out == zone.name:
            message.authority[:0] = whole.authority[:2]
        reading = read(message, DENIAL, zone)
        assert reading.outcome is Outcome.UNSIGNED, left_out
        assert reading.evidence is not None


def test_a_denial_of_another_name_proves_nothing() -> None:
    zone = com(names=tuple(f"host{i}" for i in range(64)), opt_out=False)
    message = ask(zone, DENIAL)
    other = zone.ask("host3x.com.", "A")
    assert {r.name for r in other.authority} != {r.name for r in message.authority}
    message.authority = other.authority
    assert read(message, DENIAL, zone).outcome is Outcome.UNSIGNED


def test_an_existing_name_cannot_be_denied() -> None:
    zone, asked = com(), question("www.com.", "A", Kind.WITNESS)
    message = ask(zone, asked)
    denied = zone.ask("nothere.com.", "A")
    message.answer, message.authority = [], denied.authority
    message.set_rcode(dns.rcode.NXDOMAIN)
    reading = read(message, asked, zone)
    assert reading.outcome is Outcome.UNSIGNED


def test_a_delegation_without_ds_needs_its_proof() -> None:
    zone = com()
    for asked in (PLAIN_CHILD, question("x.plain.com.", "A", Kind.WITNESS)):
        message = ask(zone, asked)
        message.authority[:] = [
            r for r in message.authority if dns.rdatatype.NSEC3 not in (r.rdtype, r.covers)
        ]
        assert read(message, asked, zone).outcome is Outcome.UNSIGNED


def test_a_ds_cannot_be_denied_by_the_gap_of_a_zone_without_opt_out() -> None:
    zone = com(opt_out=False)
    message = ask(zone, SIGNED_CHILD)
    message.answer = []
    message.authority = zone.ask("nothere.com.", "DS").authority
    assert read(message, SIGNED_CHILD, zone).outcome is Outcome.UNSIGNED


@pytest.mark.parametrize("nsec3", [True, False], ids=["NSEC3", "NSEC"])
def test_a_wildcard_answers_random_names_and_shows_that_it_had_to(nsec3: bool) -> None:
    zone = com(wildcard=True, nsec3=nsec3)
    message = ask(zone, DENIAL)
    assert read(message, DENIAL, zone).outcome is Outcome.SECURE
    message.authority = []
    assert read(message, DENIAL, zone).outcome is Outcome.UNSIGNED


def test_hashing_without_end_is_not_followed() -> None:
    zone = com(iterations=2500)
    assert read(ask(zone, DENIAL), DENIAL, zone).outcome is Outcome.INSECURE


def test_the_root_is_a_zone_like_any_other() -> None:
    for nsec3 in (True, False):
        root = SignedZone(".", children={"com": (COM_CHILD,), "plain": ()}, nsec3=nsec3)
        for asked in (
            question(".", "SOA", Kind.SOA, "."),
            question(".", "DNSKEY", Kind.DNSKEY, "."),
            question("f3kq0zx71abcde.", "A", Kind.DENIAL, "."),
            question("com.", "DS", Kind.DELEGATION, "."),
            question("plain.", "DS", Kind.DELEGATION, "."),
        ):
            assert read(ask(root, asked), asked, root).outcome is Outcome.SECURE, asked


def test_a_zone_below_on_the_same_server_does_not_count() -> None:
    parent, child = com(), SignedZone("gtld.com.", dates=lambda *_: (0, 1))
    for name in ("nothere.gtld.com.", "www.gtld.com."):
        asked = question(name, "A", Kind.WITNESS)
        reading = read(ask(child, asked), asked, parent)
        assert not reading.judged, name


def test_verified_signatures_are_remembered_up_to_a_bound() -> None:
    zone, held = com(), Signatures(capacity=8)
    trust = Trust(secure={"com.": keys_of(zone)})
    for number in range(40):
        asked = dataclasses.replace(DENIAL, name=f"x{number}.com.")
        wire = ask(zone, asked).to_wire()
        reading = classify(wire, asked, 7, trust, wall=NOW, skew=0, signatures=held)
        assert reading.outcome is Outcome.SECURE
    assert 0 < len(held) <= 8


def test_another_set_of_keys_has_a_digest_of_its_own_whatever_the_order() -> None:
    """A signature that was good by one set is not taken to be good by another."""
    zone, other = com(), com()
    keys = keys_of(zone)
    turned = dns.rdataset.from_rdata_list(3600, list(reversed(list(zone.dnskey()))))
    assert dataclasses.replace(keys, rdataset=turned).digest == keys.digest
    assert keys_of(other).digest != keys.digest
    less = dns.rdataset.from_rdata_list(3600, list(zone.dnskey())[:1])
    assert dataclasses.replace(keys, rdataset=less).digest != keys.digest


def test_dnspython_leaves_dates_to_us() -> None:
    rrset = com().soa()
    key, signer = Key(), dns.name.from_text("com.")
    rrsig = key.sign(rrset, signer, (1, 2))
    held: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset] = {
        signer: dns.rdataset.from_rdata(3600, key.dnskey)
    }
    dns.dnssec.validate_rrsig(rrset, rrsig, held, None, float("nan"))
    with pytest.raises(dns.exception.ValidationFailure):
        dns.dnssec.validate_rrsig(rrset, rrsig, held, None, NOW)
