"""The lab's zones: signed as BIND signs them, and ill exactly as told."""

from __future__ import annotations

import time
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.name
import dns.node
import dns.rdataset
import dns.rdatatype
import dns.rrset
import pytest
from dns.rdtypes.ANY.RRSIG import RRSIG

from steering.lab.network.sandbox import find
from steering.lab.servers.signzone import read_zone, signzone
from steering.lab.servers.zone import (
    DATA_LIFE,
    DNSKEY_LIFE,
    Fault,
    FaultKind,
    Keys,
    SignedZone,
    Validity,
    ZoneSpec,
    nsec3_hash,
    sign,
)

KEYS = Keys.fresh()
SPEC = ZoneSpec.like_com("com.", serial=1_688_800_000, count=200, secure=0.5)
NOW = 1_800_000_000.0
VALIDITY = Validity.since(NOW)


def signatures(zone: SignedZone) -> list[tuple[dns.name.Name, RRSIG]]:
    return [(r.name, s) for r in zone.rrsets for s in r if isinstance(s, RRSIG)]


def failing(
    zone: SignedZone, now: float = NOW
) -> set[tuple[dns.name.Name, dns.rdatatype.RdataType]]:
    """Owner and type of each RRset whose signature does not validate."""
    keys: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset] = {
        r.name: r for r in zone.rrsets if r.rdtype == dns.rdatatype.DNSKEY
    }
    rrsets = {(r.name, r.rdtype): r for r in zone.rrsets}
    found = set()
    for owner, rrsig in signatures(zone):
        of = (owner, rrsig.type_covered)
        signed = dns.rrset.from_rdata(owner, rrsig.original_ttl, rrsig)
        try:
            dns.dnssec.validate(rrsets[of], signed, keys, now=now)
        except dns.exception.ValidationFailure:
            found.add(of)
    return found


def test_a_fresh_zone_validates_whole() -> None:
    zone = sign(SPEC, KEYS, VALIDITY)
    assert len(signatures(zone)) == 100 + 101 + 4  # DS; NSEC3; SOA, NS, DNSKEY, NSEC3PARAM
    assert failing(zone) == set()


def test_signatures_live_as_long_as_those_of_com_do() -> None:
    for _, rrsig in signatures(sign(SPEC, KEYS, VALIDITY)):
        keys = rrsig.type_covered == dns.rdatatype.DNSKEY
        assert rrsig.expiration - rrsig.inception == (DNSKEY_LIFE if keys else DATA_LIFE)


def test_jitter_spreads_the_ends_and_leaves_the_beginning() -> None:
    zone = sign(SPEC, KEYS, Validity.since(NOW, jitter=1000))
    ends = {s.expiration for _, s in signatures(zone) if s.type_covered != dns.rdatatype.DNSKEY}
    assert len(ends) > 100
    assert max(ends) - min(ends) > 900
    assert max(ends) <= NOW - 3600 + DATA_LIFE


def test_signatures_run_out_one_by_one_during_a_test() -> None:
    zone = sign(SPEC, KEYS, Validity(inception=NOW - 100, now=NOW, life=160, jitter=60))
    counts = [len(failing(zone, NOW + seconds)) for seconds in (-1, 20, 40, 61)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[3] == len(signatures(zone)) - 1  # the DNSKEY set outlives the data


def test_thirteen_percent_expired_are_the_same_ones_every_time() -> None:
    fault = Fault(kind=FaultKind.EXPIRED, share=0.13)
    first, second = (failing(sign(SPEC, KEYS, VALIDITY, fault)) for _ in range(2))
    assert first == second
    assert 0.08 < len(first) / 205 < 0.18


def test_a_greater_share_takes_all_of_the_smaller_one_with_it() -> None:
    small, great = (
        failing(sign(SPEC, KEYS, VALIDITY, Fault(kind=FaultKind.EXPIRED, share=share)))
        for share in (0.05, 0.3)
    )
    assert small < great


def test_an_apex_that_is_spared_proves_its_denials_still() -> None:
    fault = Fault(kind=FaultKind.EXPIRED, spare_apex=True)
    zone = sign(SPEC, KEYS, VALIDITY, fault)
    apex = dns.name.from_text("com.")
    well = {name for name, _ in signatures(zone)} - {name for name, _ in failing(zone)}
    hashed = sorted(r.name for r in zone.rrsets if r.rdtype == dns.rdatatype.NSEC3)
    wildcard = dns.name.from_text(nsec3_hash(dns.name.from_text("*.com.")), apex)
    covering = max((n for n in hashed if n < wildcard), default=hashed[-1])
    assert well == {apex, dns.name.from_text(nsec3_hash(apex), apex), covering}


@pytest.mark.parametrize("kind", [FaultKind.EXPIRED, FaultKind.BAD_SIGNATURE])
def test_an_ill_zone_fails_whole(kind: FaultKind) -> None:
    zone = sign(SPEC, KEYS, VALIDITY, Fault(kind=kind))
    assert len(failing(zone)) == len(signatures(zone))


def test_expired_signatures_were_good_once() -> None:
    zone = sign(SPEC, KEYS, VALIDITY, Fault(kind=FaultKind.EXPIRED))
    assert failing(zone, NOW - 7200) == set()


def test_an_unsigned_copy_has_no_trace_of_dnssec_but_the_delegations() -> None:
    zone = sign(SPEC, KEYS, VALIDITY, Fault(kind=FaultKind.UNSIGNED))
    kinds = {dns.rdatatype.to_text(r.rdtype) for r in zone.rrsets}
    assert kinds == {"SOA", "NS", "DS", "A", "AAAA"}


def test_a_zone_file_reads_back_as_it_was(tmp_path: Path) -> None:
    zone = sign(SPEC, KEYS, VALIDITY)
    again = read_zone(zone.write(tmp_path / "com.zone"), "com.")
    assert sorted(again.text.splitlines()) == sorted(zone.text.splitlines())
    assert again.serial == 1_688_800_000


@pytest.mark.skipif(not find("dnssec-signzone"), reason="bind9-utils is not installed")
def test_bind_signs_the_same_zone(tmp_path: Path) -> None:
    validity = Validity.since(time.time())
    ours, theirs = sign(SPEC, KEYS, validity), signzone(SPEC, KEYS, validity, tmp_path)
    assert _shape(ours) == _shape(theirs)
    assert failing(theirs, time.time()) == set()


def _shape(zone: SignedZone) -> list[str]:
    """Every record, the signatures without their bytes."""
    return sorted(
        " ".join(line.lower().split()[: 12 if " RRSIG " in line else None])
        for line in zone.text.splitlines()
    )


def test_a_root_zone_vouches_for_its_children() -> None:
    root_keys = Keys.fresh()
    spec = ZoneSpec.root([("com.", KEYS), ("net.", Keys.fresh())], serial=2026112400)
    zone = sign(spec, root_keys, VALIDITY)
    assert failing(zone) == set()
    ds = [r for r in zone.rrsets if r.rdtype == dns.rdatatype.DS]
    assert [r.name.to_text() for r in ds] == ["com.", "net."]
    assert ds[0][0].to_text() == KEYS.ds("com.")
